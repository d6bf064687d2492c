"""Expressions made by passes, with what is trivially equal left out."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from attnc.ir.expr import Apply, Binary, Expr, Float, Int, Unary

ZERO, ONE = Int(0), Int(1)


def is_number(expr: Expr, value: int) -> bool:
    """Whether an expression is that literal number."""
    return isinstance(expr, Int | Float) and expr.value == value


def negated(a: Expr) -> Expr:
    """`-a`."""
    match a:
        case Unary(op="-", operand=inner):
            return inner
        case _ if is_number(a, 0):
            return a
        case _:
            return Unary("-", a)


def added(a: Expr, b: Expr) -> Expr:
    """`a + b`."""
    if is_number(a, 0):
        return b
    if is_number(b, 0):
        return a
    if isinstance(b, Unary) and b.op == "-":
        return Binary("-", a, b.operand)
    return Binary("+", a, b)


def subtracted(a: Expr, b: Expr) -> Expr:
    """`a - b`."""
    if a == b:
        return ZERO
    if is_number(a, 0):
        return negated(b)
    if isinstance(a, Unary) and isinstance(b, Unary) and a.op == b.op == "-":
        return subtracted(b.operand, a.operand)
    return added(a, negated(b))


def multiplied(a: Expr, b: Expr) -> Expr:
    """`a * b`."""
    if is_number(a, 0) or is_number(b, 0):
        return ZERO
    if is_number(a, 1):
        return b
    if is_number(b, 1):
        return a
    if isinstance(a, Unary) and a.op == "-":
        return negated(multiplied(a.operand, b))
    if isinstance(b, Binary) and b.op == "/" and is_number(b.left, 1):
        return Binary("/", a, b.right)
    return Binary("*", a, b)


def divided(a: Expr, b: Expr) -> Expr:
    """`a / b`."""
    if is_number(b, 1) or is_number(a, 0):
        return a
    if isinstance(a, Unary) and a.op == "-":
        return negated(divided(a.operand, b))
    return ONE if a == b else Binary("/", a, b)


def product(factors: Iterable[Expr]) -> Expr:
    """All factors multiplied; 1 for none."""
    found: Expr = ONE
    for factor in factors:
        found = multiplied(found, factor)
    return found


def total(terms: Iterable[Expr]) -> Expr:
    """All terms added; 0 for none."""
    found: Expr = ZERO
    for term in terms:
        found = added(found, term)
    return found


def power(base: Expr, exponent: Fraction) -> Expr:
    """`base ** exponent`, in its shortest form."""
    if exponent == 0:
        return ONE
    if exponent < 0:
        return divided(ONE, power(base, -exponent))
    if exponent == 1 or base == ONE:
        return base
    if exponent == Fraction(1, 2):
        return Apply("sqrt", (base,))
    if exponent.denominator == 1:
        return Binary("**", base, Int(exponent.numerator))
    return Binary("**", base, Float(float(exponent)))


def exponential(base: Expr | None, exponent: Expr) -> Expr:
    """`base ** exponent`; without a base `exp(exponent)`."""
    if is_number(exponent, 0):
        return ONE
    if base is None:
        return Apply("exp", (exponent,))
    if is_number(base, 2):
        return Apply("exp2", (exponent,))
    return Binary("**", base, exponent)
