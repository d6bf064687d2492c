"""Between which numbers an integer expression lies, so that 32 bits are used where they do.

Sizes, coordinates and integer parameters of a call are below `LIMIT`; a call with greater ones
computes its coordinates in 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from attnc.ir.expr import Apply, Binary, Bool, Choice, Expr, Float, Int, Name, Unary, Value, Var

LIMIT: Final = 2**29
"""Four coordinates may be added in 32 bits."""

Interval: TypeAlias = tuple[int, int]

I32: Final[Interval] = (-(2**31), 2**31 - 1)


def interval(expr: Expr, values: Mapping[str, Interval]) -> Interval | None:
    """Bounds of an integer expression; None where there are none.

    `values` has those of values.
    """
    match expr:
        case Int(value=value):
            return (value, value)
        case Var() | Apply(function="low" | "high"):
            return (0, LIMIT - 1)
        case Apply(function="tile"):
            return (1, LIMIT - 1)
        case Value(name=name):
            return values.get(name)
        case Unary(op="-", operand=operand):
            found = interval(operand, values)
            return found and (-found[1], -found[0])
        case Binary(op="*", left=Binary(op="//", left=x, right=by), right=again) if by == again:
            return _whole(interval(x, values), interval(by, values), up=False)
        case Binary(op="*", left=Apply(function="ceildiv", arguments=(x, by)), right=again) if (
            by == again
        ):
            return _whole(interval(x, values), interval(by, values), up=True)
        case Binary(op=op, left=left, right=right):
            a, b = interval(left, values), interval(right, values)
            return None if a is None or b is None else _binary(op, a, b)
        case Choice(then=then, other=other):
            a, b = interval(then, values), interval(other, values)
            return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))
        case Apply(function="min" | "max" as name, arguments=arguments):
            found_all = [interval(x, values) for x in arguments]
            known = [x for x in found_all if x is not None]
            if len(known) < len(found_all):
                return None
            chosen = min if name == "min" else max
            return (chosen(x[0] for x in known), chosen(x[1] for x in known))
        case Apply(function="ceildiv", arguments=(left, right)):
            a, b = interval(left, values), interval(right, values)
            found = a and b and _binary("//", (-a[1], -a[0]), b)
            return found and (-found[1], -found[0])
        case Apply(function="abs", arguments=(operand,)):
            found = interval(operand, values)
            return found and (0, max(abs(found[0]), abs(found[1])))
        case Bool() | Float() | Name():
            return None
        case _:
            return None


def _whole(number: Interval | None, by: Interval | None, *, up: bool) -> Interval | None:
    """Bounds of a number that is made a multiple of another, which is positive, down or up."""
    if number is None or by is None or by[0] <= 0:
        return None
    low, high = number
    nearest = 0 if low >= 0 and not up else low - (0 if up else by[1] - 1)
    return (nearest, high + (by[1] - 1 if up else 0))


def _binary(op: str, a: Interval, b: Interval) -> Interval | None:
    match op:
        case "+":
            return (a[0] + b[0], a[1] + b[1])
        case "-":
            return (a[0] - b[1], a[1] - b[0])
        case "*":
            products = [x * y for x in a for y in b]
            return (min(products), max(products))
        case "//" if b[0] >= 0:
            low = max(1, b[0])
            quotients = [x // y for x in a for y in (low, max(low, b[1]))]
            return (min(quotients), max(quotients))
        case "%" if b[0] >= 0:
            return (0, max(0, b[1] - 1))
        case _:
            return None


def fits(found: Interval | None) -> bool:
    """Whether 32 bits hold all of an interval."""
    return found is not None and I32[0] <= found[0] and found[1] <= I32[1]


def non_negative(found: Interval | None) -> bool:
    """Whether all of an interval is 0 or more."""
    return found is not None and found[0] >= 0
