"""A value with a bound on the error that a legal execution may have made, over arrays.

The rules of propagation are first-order rules made safe for large errors. An error of `inf` says
that nothing is known: a legal execution may have decided otherwise. Every function here takes and
gives arrays that broadcast against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from attnc.ir.types import Kind
from tests.acceptance import formats
from tests.acceptance.formats import Array, Mask

Cause: TypeAlias = Literal["operations", "functions", "sums", "operands", "casts", "output"]
DIVISION: Final = 3
"""Units that a division may lose beside its rounding: two ulps, as the fast ones do."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What one expression is at many points.

    `size` is the sum of the absolute values of the terms that make up `value`: a legal execution
    may group sums and products in another way, and loses units of `size` and not of `value`.
    Where a point is absent, `value` and `size` are 0, and `error` is 0, or `inf` if a legal
    execution may find it present.
    """

    value: Any
    error: Array
    size: Array
    present: Mask
    kind: Kind

    @property
    def undecided(self) -> Mask:
        """Where a legal execution may decide otherwise."""
        return np.isinf(self.error)

    @property
    def exact(self) -> Mask:
        """Where every legal execution has this value."""
        return np.asarray(self.error == 0)

    @property
    def gone(self) -> Mask:
        """Where every legal execution finds nothing."""
        return ~self.present & ~self.undecided


@dataclass
class Budget:
    """What an execution may lose: its types, its tiles, and the tensor that is being computed.

    `tiles` maps a rank to the size of its tiles. `only` leaves one cause in one tensor, so that
    the parts of a bound can be told apart; `causes` collects them.
    """

    accumulate: str
    matrix: str
    tiles: Mapping[str, int] = field(default_factory=dict)
    only: tuple[str, Cause] | None = None
    tensor: str = ""
    causes: dict[tuple[str, Cause], None] = field(default_factory=dict)

    def allows(self, cause: Cause) -> bool:
        """Whether errors of this cause count here."""
        self.causes[self.tensor, cause] = None
        return self.only is None or self.only == (self.tensor, cause)

    def format(self, kind: Kind) -> str:
        """The format in which values of a floating kind are computed."""
        match kind:
            case Kind.F64:
                return "f64"
            case Kind.F32:
                return "f32"
            case _:
                return self.accumulate

    def lost(self, units: Any, exact: Any, kind: Kind, cause: Cause) -> Array:
        """The error of one operation that loses so many units, times its size, unless `exact`."""
        name = self.format(kind)
        lost = np.where(exact, 0.0, formats.unit(name) * units + formats.least(name))
        return lost if self.allows(cause) else np.zeros_like(lost)


def contagious(
    value: Any, error: Any, size: Any, kind: Kind, *operands: Estimate, limit: str | None = None
) -> Estimate:
    """An operation that is absent where an operand is; `limit` is the format it must fit."""
    present = reduce(np.logical_and, (o.present for o in operands))
    gone = reduce(np.logical_or, (o.gone for o in operands))
    if kind.floating:
        # An infinite value has no error of its own: only what was not decided stays so.
        settled = reduce(np.logical_and, (~o.undecided for o in operands))
        error = np.where(~np.isfinite(value) & settled, 0.0, error)
        if limit is not None:
            over = np.isfinite(value) & (np.abs(value) + error > formats.largest(limit))
            error = np.where(over, np.inf, error)
        size = np.where(np.isfinite(size), size, 0.0)
    error = np.where(gone, 0.0, np.where(present & ~np.isnan(error), error, np.inf))
    return Estimate(
        np.where(present, value, np.zeros((), np.asarray(value).dtype)),
        error,
        np.where(present, size, 0.0),
        present,
        kind,
    )


def known(value: Any, kind: Kind, present: Mask) -> Estimate:
    """What is known exactly."""
    zero = np.zeros_like(value, np.float64)
    return Estimate(value, zero, np.abs(zero + value), present, kind)


def doubt(*operands: Estimate) -> Array:
    """The error of what is exact unless an operand is undecided."""
    undecided = reduce(np.logical_or, (o.undecided for o in operands))
    return np.where(undecided, np.inf, 0.0)


def converted(x: Estimate, kind: Kind, budget: Budget) -> Estimate:
    """`x` as another kind; integers wrap."""
    if x.kind is kind:
        return x
    if not kind.floating:
        error = doubt(x)
        if kind is Kind.BOOL:
            value: Any = x.value != 0
            error = np.where(~x.exact & (np.abs(x.value * 1.0) <= x.error), np.inf, error)
        else:
            value = np.asarray(x.value).astype(np.int64)
            value = value.astype(np.int32).astype(np.int64) if kind is Kind.I32 else value
        return Estimate(value, error, np.abs(value * 1.0), x.present, kind)
    value, name = np.asarray(x.value).astype(np.float64), budget.format(kind)
    if x.kind.floating and formats.WIDTHS[budget.format(x.kind)] <= formats.WIDTHS[name]:
        return Estimate(x.value, x.error, x.size, x.present, kind)
    size = np.maximum(x.size, np.abs(value))
    exact = x.exact & formats.holds(value, name)
    error = x.error + budget.lost(size, exact, kind, "casts")
    return contagious(value, error, size, kind, x, limit=name)


# Arithmetic; both operands are of the result's floating kind.


def added(a: Estimate, b: Estimate, budget: Budget, sign: int = 1) -> Estimate:
    """`a + b` or `a - b`."""
    name = budget.format(a.kind)
    value, size = a.value + sign * b.value, a.size + b.size
    step = np.minimum(formats.grid(a.value), formats.grid(b.value))
    whole = size <= 2.0 ** formats.WIDTHS[name][0] * step
    nothing = (a.exact & (a.size == 0)) | (b.exact & (b.size == 0))
    exact = (a.exact & b.exact & whole & formats.holds(value, name)) | nothing
    error = a.error + b.error + budget.lost(size, exact, a.kind, "operations")
    return contagious(value, error, size, a.kind, a, b, limit=name)


def multiplied(a: Estimate, b: Estimate, budget: Budget) -> Estimate:
    """`a * b`."""
    name = budget.format(a.kind)
    value, size = a.value * b.value, a.size * b.size
    step = formats.grid(a.value) * formats.grid(b.value)
    short = np.abs(value) <= 2.0 ** formats.WIDTHS[name][0] * step
    shift = (a.exact & formats.power_of_two(a.value)) | (b.exact & formats.power_of_two(b.value))
    exact = ((a.exact & b.exact & short) | shift) & _normal(value, name)
    carried = np.abs(a.value) * b.error + a.error * (np.abs(b.value) + b.error)
    error = carried + budget.lost(size, exact, a.kind, "operations")
    return contagious(value, error, size, a.kind, a, b, limit=name)


def divided(a: Estimate, b: Estimate, budget: Budget) -> Estimate:
    """`a / b`."""
    name = budget.format(a.kind)
    value = a.value / b.value
    size = a.size / np.abs(b.value)
    shift = b.exact & formats.power_of_two(b.value) & _normal(value, name)
    exact = shift | (a.exact & (a.value == 0))
    if name == "f64":  # never done by a fast reciprocal
        parts = (a.value, b.value, value)
        short = reduce(np.logical_and, (formats.holds(x, "f32") for x in parts))
        exact = exact | (a.exact & b.exact & short & (value * b.value == a.value))
    room = np.abs(b.value) - b.error
    carried = np.where(room > 0, (a.error + np.abs(value) * b.error) / room, np.inf)
    carried = np.where(a.exact & b.exact, 0.0, carried)
    units = size + DIVISION * np.abs(value)
    error = carried + budget.lost(units, exact, a.kind, "operations")
    return contagious(value, error, size, a.kind, a, b, limit=name)


def _normal(value: Array, name: str) -> Mask:
    return np.asarray((np.abs(value) >= formats.least(name)) | (value == 0))


def negated(a: Estimate) -> Estimate:
    """`-a`."""
    return Estimate(-a.value, a.error, a.size, a.present, a.kind)


def larger(a: Estimate, b: Estimate) -> Estimate:
    """The maximum of two floats: the lesser one counts only as far as its error reaches up."""
    value = np.maximum(a.value, b.value)
    first, gap = a.value >= b.value, np.abs(a.value - b.value)
    gap = np.where(np.isnan(gap), 0.0, gap)
    error = np.where(first, np.maximum(a.error, b.error - gap), np.maximum(b.error, a.error - gap))
    return contagious(value, error, np.abs(value), a.kind, a, b)


def smaller(a: Estimate, b: Estimate) -> Estimate:
    """The minimum of two floats."""
    return negated(larger(negated(a), negated(b)))


def floored(x: Estimate) -> Estimate:
    """The largest integer that is not larger; undecided where the error reaches a step."""
    value = np.floor(x.value)
    reaches = (x.value - value < x.error) | (value + 1 - x.value <= x.error)
    error = np.where(~x.exact & reaches, np.inf, 0.0)
    return contagious(value, error, np.abs(value), x.kind, x)


def nearest(x: Estimate) -> Estimate:
    """The nearest integer, ties to even."""
    value = np.rint(x.value)
    reaches = 0.5 - np.abs(x.value - value) <= x.error
    error = np.where(~x.exact & reaches, np.inf, 0.0)
    return contagious(value, error, np.abs(value), x.kind, x)


def truncated(x: Estimate, kind: Kind) -> Estimate:
    """An integer cast: absent for NaN and what does not fit."""
    size, whole = np.abs(x.value), np.floor(np.abs(x.value))
    reaches = ((size >= 1) & (size - whole < x.error)) | (whole + 1 - size <= x.error)
    error = np.where(~x.exact & reaches, np.inf, 0.0)
    limit = 2.0 ** (31 if kind is Kind.I32 else 63)
    number = np.trunc(x.value)
    fits = (number >= -limit) & (number < limit)
    value = np.where(fits, number, 0.0).astype(np.int64)
    there = known(value, kind, x.present & fits)
    return contagious(value, np.maximum(error, doubt(x)), whole, kind, x, there)


def compared(op: str, a: Estimate, b: Estimate) -> Estimate:
    """A comparison: undecided where the errors of both sides reach over their distance."""
    ufunc = {
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }[op]
    reach = a.error + b.error
    same = a.value == b.value
    # Integers have no error short of doubt; the distance of infinities is that of their kinds.
    gap = np.where(same, 0.0, np.abs(np.subtract(a.value, b.value, dtype=np.float64)))
    error = np.where((reach > 0) & (gap <= reach), np.inf, doubt(a, b))
    return contagious(ufunc(a.value, b.value), error, np.float64(1), Kind.BOOL, a, b)


def both(a: Estimate, b: Estimate, deciding: bool) -> Estimate:
    """`a and b` (deciding: false) or `a or b` (true), where one side may decide alone."""
    sides = [s.present & (s.value == deciding) for s in (a, b)]
    settled = [s & ~e.undecided for s, e in zip(sides, (a, b), strict=True)]
    decides, sure = sides[0] | sides[1], settled[0] | settled[1]
    present = decides | (a.present & b.present)
    value = np.where(decides, deciding, present & (not deciding))
    error = np.where(sure, 0.0, doubt(a, b))
    return Estimate(value, error, present * 1.0, present, Kind.BOOL)


def chosen(condition: Estimate, then: Estimate, other: Estimate) -> Estimate:
    """`then if condition else other`; where that is not decided, the branches may be close."""
    yes = condition.value
    value = np.where(yes, then.value, other.value)
    here = np.where(yes, then.present, other.present)
    error = np.where(yes, then.error, other.error)
    apart = np.abs(np.subtract(then.value, other.value, dtype=np.float64))
    apart = np.where(np.isnan(apart), np.inf, apart)
    either = np.maximum(then.error, other.error) + apart
    either = np.where(then.present & other.present & condition.present, either, np.inf)
    if not then.kind.floating:
        either = np.where(either == 0, 0.0, np.inf)
    error = np.where(condition.undecided, either, error)
    error = np.where(condition.gone, 0.0, error)
    present = condition.present & here
    size = np.where(yes, then.size, other.size) * present
    zero = np.zeros((), np.asarray(value).dtype)
    return Estimate(np.where(present, value, zero), error, size, present, then.kind)


def filtered(x: Estimate, condition: Estimate) -> Estimate:
    """`x` where a condition holds, else absent."""
    holds = condition.present & condition.value
    present = x.present & holds
    refused = ~holds & ~condition.undecided
    error = np.where(condition.undecided & ~x.gone, np.inf, x.error)
    error = np.where(refused, 0.0, error)
    zero = np.zeros((), np.asarray(x.value).dtype)
    return Estimate(np.where(present, x.value, zero), error, x.size * present, present, x.kind)


def filled(x: Estimate, other: Estimate) -> Estimate:
    """`default(x, other)`."""
    present = x.present | other.present
    error = np.where(x.present | x.undecided, x.error, other.error)
    value = np.where(x.present, x.value, other.value)
    size = np.where(x.present, x.size, other.size)
    return Estimate(value, error, size, present, x.kind)


def cast(x: Estimate, name: str, budget: Budget) -> Estimate:
    """A cast to a narrow float: where `x` is not exact the value stays as it is, with the error
    of the rounding, for a legal execution rounds another number."""
    near = formats.rounded(x.value, name)
    value = np.where(x.exact, near, x.value)
    lost = formats.unit(name) * (np.abs(x.value) + x.error) + formats.least(name)
    lost = np.where(x.exact | (not budget.allows("casts")), 0.0, lost)
    return contagious(value, x.error + lost, np.abs(value), x.kind, x, limit=name)
