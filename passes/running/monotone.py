"""What a maximum or a minimum can be taken out of: functions that keep the order of `x`.

`max[n](s * c + r)` is `max[n](s) * c + r` for positive `c`, and `max[n](exp(s - r))` is
`exp(max[n](s) - r)`. A function that turns the order around makes a minimum of a maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from attnc.ir.expr import Apply, Binary, Expr, Int, Unary
from attnc.ir.walk import children, rebuild
from attnc.passes.running.build import added
from attnc.passes.running.signs import Signs
from attnc.passes.running.terms import Inseparable, Splitter

INCREASING: Final = frozenset(
    "exp exp2 expm1 log log2 log1p sqrt tanh sigmoid relu softplus erf floor ceil round".split()
)
"""Functions of one argument that never decrease where they are defined."""


@dataclass(frozen=True, slots=True)
class Hoisted:
    """`outer(extreme[n](inner))`, where `inner` is streamed alone.

    It is `turned` if the extreme is the other one: a minimum for a maximum.
    """

    inner: Expr
    outer: Callable[[Expr], Expr]
    turned: bool


def hoisted(expr: Expr, split: Splitter, signs: Signs) -> Hoisted:
    """A reduced expression as a monotone function of a streamed one; raises `Inseparable`."""
    if split.steady(expr):
        return Hoisted(expr, lambda e: e, turned=False)
    match expr:
        case Unary(op="-", operand=operand):
            return _inside(expr, 0, operand, split, signs, turned=True)
        case Binary(op="+", left=left, right=right) if not split.varies(right):
            return _inside(expr, 0, left, split, signs)
        case Binary(op="+", left=left, right=right) if not split.varies(left):
            return _inside(expr, 1, right, split, signs)
        case Binary(op="-", left=left, right=right) if not split.varies(right):
            return _inside(expr, 0, left, split, signs)
        case Binary(op="-", left=left, right=right) if not split.varies(left):
            return _inside(expr, 1, right, split, signs, turned=True)
        case Binary(op="*" | "/", left=left, right=right) if not split.varies(right):
            return _scaled(expr, 0, left, right, split, signs)
        case Binary(op="*", left=left, right=right) if not split.varies(left):
            return _scaled(expr, 1, right, left, split, signs)
        case Apply(function=name, arguments=(argument,)) if name in INCREASING:
            return _inside(expr, 0, argument, split, signs)
        case Apply(function="max" | "min" | "clip", arguments=arguments) if len(
            [a for a in arguments if split.varies(a)]
        ) == 1 and (expr.function != "clip" or split.varies(arguments[0])):
            (place,) = (i for i, a in enumerate(arguments) if split.varies(a))
            return _inside(expr, place, arguments[place], split, signs)
        case Apply(function="abs", arguments=(argument,)) if signs.nonnegative(argument):
            return _inside(expr, 0, argument, split, signs)
        case Binary(op="**", left=left, right=Int(value=value)) if value % 2 or signs.nonnegative(
            left
        ):
            return _inside(expr, 0, left, split, signs)
        case Binary(op="+" | "-"):
            coordinate = split.coordinate(expr)
            if coordinate is None:
                raise Inseparable(expr, "it is no sum of what is streamed and what is not")
            return Hoisted(coordinate.streamed, lambda e: added(e, coordinate.steady), turned=False)
        case _:
            raise Inseparable(expr, "it is not known to keep the order of what is streamed")


def _scaled(
    expr: Expr, place: int, streamed: Expr, scale: Expr, split: Splitter, signs: Signs
) -> Hoisted:
    sign = signs.sign(scale)
    if sign is None or sign == 0:
        raise Inseparable(expr, "the sign of its scale is not known")
    return _inside(expr, place, streamed, split, signs, turned=sign < 0)


def _inside(
    expr: Expr, place: int, operand: Expr, split: Splitter, signs: Signs, *, turned: bool = False
) -> Hoisted:
    """The same of one operand, with this node around it."""
    found = hoisted(operand, split, signs)

    def outer(extreme: Expr) -> Expr:
        inner = found.outer(extreme)
        operands = children(expr)
        return rebuild(expr, (*operands[:place], inner, *operands[place + 1 :]))

    return Hoisted(found.inner, outer, found.turned != turned)
