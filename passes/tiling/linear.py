"""Sums of integers: what is linear in a coordinate, so that inequalities can be solved for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attnc.ir.expr import Binary, Compare, Expr, Int, Unary
from attnc.passes.running.build import multiplied, total


@dataclass(frozen=True)
class Linear:
    """`number + factor * atom + ...`, where no factor is 0."""

    number: int = 0
    factors: Mapping[Expr, int] = field(default_factory=dict[Expr, int])

    def __add__(self, other: Linear) -> Linear:
        factors = dict(self.factors)
        for atom, factor in other.factors.items():
            factors[atom] = factors.get(atom, 0) + factor
        return Linear(self.number + other.number, {a: f for a, f in factors.items() if f})

    def __neg__(self) -> Linear:
        return Linear(-self.number, {a: -f for a, f in self.factors.items()})

    def __sub__(self, other: Linear) -> Linear:
        return self + -other

    def without(self, atom: Expr) -> Linear:
        """The rest, one atom left out."""
        return Linear(self.number, {a: f for a, f in self.factors.items() if a != atom})


def linear(expr: Expr, whole: Callable[[Expr], bool]) -> Linear:
    """An integer expression as a sum; `whole` says of parts whether they must stay as they are."""
    match expr:
        case Int(value=value):
            return Linear(value)
        case _ if whole(expr):
            return Linear(0, {expr: 1})
        case Unary(op="-", operand=operand):
            return -linear(operand, whole)
        case Binary(op="+", left=left, right=right):
            return linear(left, whole) + linear(right, whole)
        case Binary(op="-", left=left, right=right):
            return linear(left, whole) - linear(right, whole)
        case _:
            return Linear(0, {expr: 1})


def at_least_zero(difference: Linear) -> Expr | bool:
    """`0 <= difference`, with nothing negated: what is taken away stands on the left."""
    if not difference.factors:
        return difference.number >= 0
    left = [multiplied(Int(-f), a) for a, f in difference.factors.items() if f < 0]
    right = [multiplied(Int(f), a) for a, f in difference.factors.items() if f > 0]
    number = difference.number
    strict = number == -1  # `a < b`, rather than `a + 1 <= b`
    if number > 0:
        right.append(Int(number))
    elif number < 0 and not strict:
        left.append(Int(-number))
    return Compare(("<" if strict else "<=",), (total(left), total(right)))
