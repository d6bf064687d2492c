"""One form for what is written in several: neutral operands, double signs, constants, names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from attnc.ir.cascade import Einsum, Statement
from attnc.ir.expr import (
    Apply,
    Arg,
    Binary,
    Bool,
    Choice,
    Expr,
    Float,
    Int,
    Logical,
    Read,
    Reduce,
    TopK,
    Unary,
    Var,
)
from attnc.ir.facts import Facts
from attnc.ir.walk import bound, children, in_order, rebuild, rename_bound, substitute
from attnc.passes.algebra.program import Tell, ignore, rewritten, singles, typing

MERGED: Final = frozenset(("sum", "prod", "max", "min", "any", "all"))
"""Reductions of which two, one around the other, are one."""

MAX_BITS: Final = 63
"""Widest constant."""


@dataclass(frozen=True)
class Simplify:
    """Expressions in their canonical form. Each rule keeps the value, the absence and the type.

    - `x + 0`, `x - 0`, `x * 1`, `x / 1`, `x ** 1`, `only(x, true)`, `c and true`, `c or false`
      become their operand; `x * 0` stays, since it is absent where `x` is.
    - Double signs and negations vanish; `x - -y` is `x + y`.
    - Operations on literals are done where the result is exact.
    - A choice by a literal is its branch.
    - `sum[n](sum[e](x))` is `sum[n,e](x)`; so are other reductions that combine in any order.
    - `where a and b` is `where a, b`: neither holds where one of both is absent.
    - A bound variable takes the first name, in the order of declaration, that has its range and
      means nothing else there. Equal reductions so become equal texts.

    What would change a type is left: `b + 0` is an integer for a bool `b`, and `x ** (1 + 1)` a
    float. Recurrence groups are left as they are.
    """

    name: str = field(default="simplify", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        alone, simplified = singles(facts), _Simplified(facts)
        statements: list[Statement] = []
        for statement in facts.cascade.statements:
            if isinstance(statement, Einsum) and statement.tensor in alone:
                statements.append(simplified.einsum(statement))
            else:
                statements.append(statement)
        return rewritten(facts, statements)


class _Simplified:
    """Expressions of one cascade, simplified."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.types = typing(facts)
        self.same_range: dict[Expr, list[str]] = {}
        for variable, size in facts.variables.items():
            self.same_range.setdefault(size, []).append(variable)

    def einsum(self, einsum: Einsum) -> Einsum:
        """A statement with its value and conditions simplified."""
        left = frozenset(einsum.variables)
        conditions = (self(c, left) for c in einsum.where)
        where = tuple(p for c in conditions for p in _conjuncts(c) if p != Bool(True))
        value = self(einsum.value, left)
        if (value, where) == (einsum.value, einsum.where):
            return einsum
        return replace(einsum, value=value, where=where)

    def __call__(self, expr: Expr, scope: frozenset[str]) -> Expr:
        """An expression among the variables `scope`."""
        expr = self._named(expr, scope)
        inside = scope | bound(expr)
        operands = tuple(self(child, inside) for child in children(expr))
        if isinstance(expr, Read):
            operands = tuple(map(_index, expr.index, operands))
        inner = rebuild(expr, operands)
        if inner is not expr and self.types(inner) != self.types(expr):
            inner = expr  # an exponent that is a literal makes another type
        while (new := simpler(inner)) is not None and self.types(new) == self.types(inner):
            inner = new
        return inner

    def _named(self, expr: Expr, scope: frozenset[str]) -> Expr:
        """A node with the variables that it binds called by their first possible names."""
        if not isinstance(expr, Reduce | Arg | TopK):
            return expr
        (body,) = children(expr)
        taken = scope | {*in_order(expr)}
        names: dict[str, str] = {}
        for variable in expr.variables if isinstance(expr, Reduce) else (expr.variable,):
            for name in self.same_range[self.facts.variables[variable]]:
                if name == variable:
                    break
                if name not in taken:
                    names[variable] = name
                    taken |= {name}
                    break
        if not names:
            return expr
        body = substitute(body, {v: Var(n) for v, n in names.items()}, _no_clash)
        return rename_bound(rebuild(expr, (body,)), names)


def _index(old: Expr, new: Expr) -> Expr:
    """An index simplified, unless that makes it a negative literal, which is an error to write."""
    number = _number(new)
    return old if number is not None and number < 0 else new


def _no_clash(variable: str) -> str:
    raise AssertionError(f"{variable} was to be replaced by a name that is not in use")


def _conjuncts(condition: Expr) -> Iterable[Expr]:
    match condition:
        case Logical(op="and", left=left, right=right):
            yield from _conjuncts(left)
            yield from _conjuncts(right)
        case _:
            yield condition


def simpler(expr: Expr) -> Expr | None:
    """A node of simplified operands in a simpler form, perhaps of another type; None if it has."""
    match expr:
        case Unary(op="-" | "not" | "~" as op, operand=Unary(op=other, operand=x)) if op == other:
            return x
        case Unary(op="not", operand=Bool(value=value)):
            return Bool(not value, expr.span)
        case Binary():
            return _constant(expr) or _binary(expr)
        case Logical(op=op, left=a, right=b):
            neutral = Bool(op == "and")
            return b if a == neutral else a if b == neutral else None
        case Choice(condition=Bool(value=value), then=then, other=other):
            return then if value else other
        case Apply(function="only", arguments=(x, Bool(value=True))):
            return x
        case Apply(function="default", arguments=(Int() | Float() | Bool() as x, _)):
            return x
        case Reduce(op=op, variables=outer, body=Reduce(op=other, variables=inner, body=body)):
            if op == other and op in MERGED and not {*outer} & {*inner}:
                return Reduce(op, (*outer, *inner), body, expr.span)
            return None
        case _:
            return None


def _binary(expr: Binary) -> Expr | None:
    """An operation with a neutral operand or with signs."""
    match expr:
        case Binary(op="+", left=x, right=Unary(op="-", operand=y)):
            return Binary("-", x, y, expr.span)
        case Binary(op="-", left=x, right=Unary(op="-", operand=y)):
            return Binary("+", x, y, expr.span)
        case Binary(op="+" | "-", left=x, right=zero) if _number(zero) == 0:
            return x
        case Binary(op="+", left=zero, right=x) if _number(zero) == 0:
            return x
        case Binary(op="-", left=zero, right=x) if _number(zero) == 0:
            return Unary("-", x, expr.span)
        case Binary(op="*" | "/" | "**", left=x, right=one) if _number(one) == 1:
            return x
        case Binary(op="*", left=one, right=x) if _number(one) == 1:
            return x
        case _:
            return None


def _number(expr: Expr) -> Fraction | None:
    """A literal with its sign."""
    match expr:
        case Int(value=value):
            return Fraction(value)
        case Float(value=value) if value != float("inf"):
            return Fraction(value)
        case Unary(op="-", operand=Int() | Float() as operand):
            found = _number(operand)
            return None if found is None else -found
        case _:
            return None


def _constant(expr: Binary) -> Expr | None:
    """An operation on literals as a literal, if that is exact."""
    a, b = _number(expr.left), _number(expr.right)
    if a is None or b is None:
        return None
    match expr.op:
        case "+":
            found = a + b
        case "-":
            found = a - b
        case "*":
            found = a * b
        case "/" if b:
            found = a / b
        case _:
            return None
    whole = expr.op != "/" and _is_integer(expr.left) and _is_integer(expr.right)
    size = abs(found)
    literal: Expr
    if whole:
        if size.numerator.bit_length() > MAX_BITS:
            return None
        literal = Int(size.numerator, expr.span)
    else:
        try:
            near = float(size)
        except OverflowError:
            return None
        if Fraction(near) != size:
            return None
        literal = Float(near, expr.span)
    return literal if found >= 0 else Unary("-", literal, expr.span)


def _is_integer(literal: Expr) -> bool:
    return isinstance(literal.operand if isinstance(literal, Unary) else literal, Int)
