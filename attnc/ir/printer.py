"""Prints level 1 (and what was just parsed) as the language itself, minimally parenthesised.

What is printed parses back to an equal value.
"""

from __future__ import annotations

import math
from typing import Final, assert_never

from attnc.ir.cascade import (
    Binding,
    Cascade,
    Constant,
    Einsum,
    Input,
    Output,
    Parameter,
    Program,
    Require,
    Slot,
    Statement,
    Variables,
)
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bool,
    Bracket,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
    Var,
)

# Binding strength, weakest first, as in Python.
CHOICE, OR, AND, NOT, COMPARE, BIT_OR, BIT_XOR, BIT_AND, SHIFT, SUM, PRODUCT, SIGN, POWER, ATOM = (
    range(14)
)
BINARY: Final = {
    "|": BIT_OR,
    "^": BIT_XOR,
    "&": BIT_AND,
    "<<": SHIFT,
    ">>": SHIFT,
    "+": SUM,
    "-": SUM,
    "*": PRODUCT,
    "/": PRODUCT,
    "//": PRODUCT,
    "%": PRODUCT,
    "**": POWER,
}
WIDTH = 100
INDENT = "    "


def constant(value: Constant) -> str:
    """A literal with its sign: `-inf`, `true`, `1e-06`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)


def strength(expr: Expr) -> int:
    """How strongly the outermost operator of `expr` binds."""
    match expr:
        case Choice():
            return CHOICE
        case Logical(op=op):
            return OR if op == "or" else AND
        case Unary(op=op):
            return NOT if op == "not" else SIGN
        case Compare():
            return COMPARE
        case Binary(op=op):
            return BINARY[op]
        case _:
            return ATOM


def expression(expr: Expr, least: int = CHOICE) -> str:
    """The text of `expr`, in parentheses where it binds more weakly than `least`."""
    try:
        text = expr.printed
    except AttributeError:
        text = expr.printed = _bare(expr)
    return text if least == CHOICE or strength(expr) >= least else f"({text})"


def _listed(exprs: tuple[Expr, ...], separator: str = ", ") -> str:
    return separator.join(expression(e) for e in exprs)


def _bare(expr: Expr) -> str:
    match expr:
        case Int(value=number) | Float(value=number) | Bool(value=number):
            return constant(number)
        case Absent():
            return "absent"
        case Name(name=name) | Value(name=name) | Var(name=name):
            return name
        case Read(tensor=tensor, index=index):
            separator = "," if all(isinstance(i, Var | Name | Int) for i in index) else ", "
            return f"{tensor}[{_listed(index, separator)}]"
        case Unary(op="not", operand=operand):
            return f"not {expression(operand, NOT)}"
        case Unary(op=op, operand=operand):
            return f"{op}{expression(operand, SIGN)}"
        case Binary(op="**", left=left, right=right):
            return f"{expression(left, ATOM)} ** {expression(right, SIGN)}"
        case Binary(op=sign, left=left, right=right):
            level = BINARY[sign]
            return f"{expression(left, level)} {sign} {expression(right, level + 1)}"
        case Logical(op=word, left=left, right=right):
            level = strength(expr)
            return f"{expression(left, level)} {word} {expression(right, level + 1)}"
        case Compare(ops=ops, operands=operands):
            parts = [expression(operands[0], COMPARE + 1)]
            for relation, operand in zip(ops, operands[1:], strict=True):
                parts += [relation, expression(operand, COMPARE + 1)]
            return " ".join(parts)
        case Choice(condition=condition, then=then, other=other):
            first, test = expression(then, OR), expression(condition, OR)
            return f"{first} if {test} else {expression(other, CHOICE)}"
        case Apply(function=function, arguments=arguments):
            return f"{function}({_listed(arguments)})"
        case Reduce(op=name, variables=variables, body=body):
            return f"{name}[{','.join(variables)}]({expression(body)})"
        case Scan(op=name, variable=variable, reverse=reverse, body=body):
            return f"{name}[{variable}{', reverse' if reverse else ''}]({expression(body)})"
        case Arg(op=name, variable=variable, body=body):
            return f"{name}[{variable}]({expression(body)})"
        case TopK(variable=variable, into=into, body=body):
            return f"argtopk[{variable} -> {into}]({expression(body)})"
        case Call(name=name, brackets=brackets, arguments=arguments):
            inner = "" if brackets is None else f"[{', '.join(_bracket(b) for b in brackets)}]"
            return f"{name}{inner}({_listed(arguments)})"
        case _:
            assert_never(expr)


def _bracket(item: Bracket) -> str:
    key = expression(item.key)
    if item.arrow is not None:
        return f"{key} -> {item.arrow}"
    return key if item.value is None else f"{key} = {expression(item.value)}"


def slot(item: Slot) -> str:
    """One position of a left side."""
    if item.variable is None:
        return str(item.offset)
    return item.variable if item.offset == 0 else f"{item.variable}+{item.offset}"


def left_side(statement: Einsum) -> str:
    """The left side of an Einsum: `Z[b,h,t+1]`."""
    return f"{statement.tensor}[{','.join(slot(s) for s in statement.slots)}]"


def statement(item: Statement, indent: str = "") -> str:
    """One statement; long lines are broken where the language lets a line go on."""
    match item:
        case Binding(name=name, value=value):
            return wrapped(f"{name} = {expression(value)}", indent)
        case Variables(names=names, range=size):
            return wrapped(f"var {', '.join(names)} in {expression(size)}", indent)
        case Require(condition=condition):
            return wrapped(f"require {expression(condition)}", indent)
        case Einsum(value=value, where=where):
            head = f"{left_side(item)} = {expression(value)}"
            if not where:
                return wrapped(head, indent)
            tail = f"where {_listed(where)}"
            if len(indent) + len(head) + 1 + len(tail) <= WIDTH:
                return f"{indent}{head} {tail}"
            return f"{wrapped(head, indent)}\n{wrapped(tail, indent + INDENT)}"
        case _:
            assert_never(item)


CONTINUES: Final = frozenset({*BINARY, "and", "or", "if", "else", "<", "<=", ">", ">=", "==", "!="})


def wrapped(text: str, indent: str) -> str:
    """`text` in lines of at most `WIDTH` where it can be broken at a space.

    A line goes on after a comma and before an operator, in a bracket or not.
    """
    words = text.split(" ")
    lines, line = [], indent + words[0]
    for before, word in zip(words, words[1:], strict=False):
        may_break = word in CONTINUES or before.endswith(",")
        if may_break and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = indent + INDENT + word
        else:
            line += " " + word
    return "\n".join([*lines, line])


def _shape(item: Input | Output) -> str:
    text = f"{item.name}[{','.join(str(s) for s in item.sizes)}]"
    return text if item.element is None else f"{text}: {item.element}"


def _parameter(item: Parameter) -> str:
    text = f"{item.name}: {item.type}"
    return text if item.default is None else f"{text} = {constant(item.default)}"


def _output(item: Output) -> str:
    return _shape(item) if item.empty is None else f"{_shape(item)} empty {constant(item.empty)}"


def header(item: Cascade) -> str:
    """The first line of a cascade, broken after the arguments where it is long."""
    arguments = [_shape(i) for i in item.inputs] + [_parameter(p) for p in item.parameters]
    outputs = ", ".join(_output(o) for o in item.outputs)
    line = f"cascade {item.name}({', '.join(arguments)}) -> {outputs}:"
    if len(line) <= WIDTH:
        return line
    broken = "".join(f"{INDENT}{a},\n" for a in arguments)
    return f"cascade {item.name}(\n{broken}) -> {outputs}:"


def cascade(item: Cascade) -> str:
    """A whole cascade, ending with a newline."""
    body = "".join(statement(s, INDENT) + "\n" for s in item.statements)
    return f"{header(item)}\n{body}"


def program(item: Program) -> str:
    """A whole file."""
    return "\n".join(cascade(c) for c in item.cascades)
