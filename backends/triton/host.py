"""Expressions over sizes and parameters as Python text: what a wrapper computes before a launch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from attnc.backends.refused import NotPrinted
from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Unary,
    Value,
)
from attnc.ir.printer import AND, BINARY, CHOICE, COMPARE, NOT, OR, SIGN
from attnc.ir.walk import subexpressions

FUNCTIONS = {
    "sqrt": "math.sqrt",
    "exp": "math.exp",
    "exp2": "math.exp2",
    "expm1": "math.expm1",
    "log": "math.log",
    "log2": "math.log2",
    "log1p": "math.log1p",
    "tanh": "math.tanh",
    "sin": "math.sin",
    "cos": "math.cos",
    "erf": "math.erf",
    "abs": "abs",
    "min": "min",
    "max": "max",
    "floor": "math.floor",
    "ceil": "math.ceil",
    "round": "round",
    "i32": "int",
    "i64": "int",
    "f64": "float",
    "bool": "bool",
}


@dataclass(frozen=True)
class Host:
    """Prints an expression; `name` gives the Python name of a value."""

    name: Callable[[str], str]

    def __call__(self, expr: Expr, least: int = CHOICE) -> str:
        """The text, in parentheses where it binds more weakly than `least`."""
        text, level = self._bare(expr)
        return text if level >= least else f"({text})"

    def _bare(self, expr: Expr) -> tuple[str, int]:
        atom = 100
        match expr:
            case Int(value=number):
                return str(number), atom
            case Float(value=number):
                return ("math.inf" if math.isinf(number) else repr(number)), atom
            case Bool(value=truth):
                return str(truth), atom
            case Value(name=name):
                return self.name(name), atom
            case Unary(op="not", operand=operand):
                return f"not {self(operand, NOT)}", NOT
            case Unary(op="~", operand=operand):
                return f"_inverse({self(operand)})", atom
            case Unary(op=op, operand=operand):
                return f"{op}{self(operand, SIGN)}", SIGN
            case Binary(op="/", left=left, right=right) if not _never_zero(right):
                return f"_quotient({self(left)}, {self(right)})", atom
            case Binary(op="**", left=left, right=right):
                return f"{self(left, atom)} ** {self(right, SIGN)}", BINARY["**"]
            case Binary(op=op, left=left, right=right):
                level = BINARY[op]
                return f"{self(left, level)} {op} {self(right, level + 1)}", level
            case Logical(op=word, left=left, right=right):
                level = OR if word == "or" else AND
                return f"{self(left, level)} {word} {self(right, level + 1)}", level
            case Compare(ops=ops, operands=operands):
                parts = [self(operands[0], COMPARE + 1)]
                for relation, operand in zip(ops, operands[1:], strict=True):
                    parts += [relation, self(operand, COMPARE + 1)]
                return " ".join(parts), COMPARE
            case Choice(condition=condition, then=then, other=other):
                test = self(condition, OR)
                return f"{self(then, OR)} if {test} else {self(other)}", CHOICE
            case Apply(function="rsqrt", arguments=(x,)):
                return f"1 / math.sqrt({self(x)})", BINARY["/"]
            case Apply(function="ceildiv", arguments=(a, b)):
                return f"-(-{self(a, SIGN)} // {self(b, BINARY['//'] + 1)})", SIGN
            case Apply(function="clip", arguments=(x, low, high)):
                return f"min(max({self(x)}, {self(low)}), {self(high)})", atom
            case Apply(function="pow", arguments=(a, b)):
                return self._bare(Binary("**", a, b))
            case Apply(function=function, arguments=arguments) if function in FUNCTIONS:
                return f"{FUNCTIONS[function]}({', '.join(map(self, arguments))})", atom
            case _:
                raise NotPrinted(
                    "a number that reads tensors, or a function that is computed in tiles alone",
                    expr,
                )


def _never_zero(expr: Expr) -> bool:
    match expr:
        case Int(value=value) | Float(value=value):
            return value != 0
        case _:
            return False


def may_fail(expr: Expr) -> bool:
    """Whether computing an expression may find a division by zero, or a number out of range."""
    for node in subexpressions(expr):
        match node:
            case Binary(op="//" | "%", right=right) if not _never_zero(right):
                return True
            case Binary(op="**" | "<<" | ">>"):
                return True
            case Apply(function=function) if function not in ("abs", "min", "max", "clip"):
                return True
            case _:
                pass
    return False
