"""For which lanes of some axes a predicate holds anywhere along others.

A tile of consecutive coordinates `low(m)` to `high(m)` has one with `a <= m` and `m <= b` just if
`a <= b`, `a <= high(m)` and `low(m) <= b`. So what compares a coordinate with sums of others needs
no look at each lane. Anything else is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Int, Logical, Name, Var
from attnc.ir.tiles import Fold, Statement
from attnc.ir.types import Kind
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.linear import Linear, at_least_zero, linear
from attnc.passes.tiling.presence import FALSE, TRUE, both, either

MAX_CASES: Final = 8
"""Most alternatives that are solved each for itself."""

Bounds = Callable[[str], tuple[Expr, Expr]]
"""The first and the last coordinate of an axis."""


def of_tile(context: Context) -> Bounds:
    """The bounds of the current tile of an axis."""

    def bounds(axis: str) -> tuple[Expr, Expr]:
        if context.kernel.axis(axis).kind == "whole":
            return of_extent(context)(axis)
        return Apply("low", (Var(axis),)), Apply("high", (Var(axis),))

    return bounds


def of_extent(context: Context) -> Bounds:
    """The bounds of all of an axis."""

    def bounds(axis: str) -> tuple[Expr, Expr]:
        return Int(0), Binary("-", context.kernel.axis(axis).size, Int(1))

    return bounds


def solved(
    context: Context, parts: Iterable[Expr], away: Iterable[str], bounds: Bounds, empty: bool
) -> Expr | None:
    """Where all parts hold for some lane along `away`, without a look at those; None if unknown.

    `empty`: whether there may be no coordinate at all.
    """
    cases: list[list[Expr]] = [[]]
    for part in parts:
        choices = _alternatives(part)
        cases = [[*case, *choice] for case in cases for choice in choices]
        if len(cases) > MAX_CASES:
            return None
    found: Expr = FALSE
    axes = list(away)
    for case in cases:
        one = _eliminated(context, case, axes, bounds, empty)
        if one is None:
            return None
        found = either(found, one)
    return found


def _alternatives(part: Expr) -> list[list[Expr]]:
    match part:
        case Logical(op="or", left=left, right=right):
            return [*_alternatives(left), *_alternatives(right)]
        case Logical(op="and", left=left, right=right):
            return [[*a, *b] for a in _alternatives(left) for b in _alternatives(right)]
        case Compare(ops=ops, operands=operands) if len(ops) > 1:
            pairs = zip(ops, operands, operands[1:], strict=False)
            return [[Compare((op,), (a, b)) for op, a, b in pairs]]
        case _:
            return [[part]]


def _eliminated(
    context: Context, parts: Sequence[Expr], away: Sequence[str], bounds: Bounds, empty: bool
) -> Expr | None:
    """One conjunction with axis after axis solved for."""
    kept = list(parts)
    for axis in away:
        own = [p for p in kept if axis in context.varies(p)]
        kept = [p for p in kept if axis not in context.varies(p)]
        new = _along(context, own, axis, bounds, empty)
        if new is None:
            return None
        kept += new
    return both(*kept)


def _along(
    context: Context, parts: Sequence[Expr], axis: str, bounds: Bounds, empty: bool
) -> list[Expr] | None:
    """What parts that each bound one coordinate from one side say of everything else."""
    variable = Var(axis)

    def opaque(expr: Expr) -> bool:
        return context.kind(expr) is not Kind.I64  # narrow integers wrap around

    first, last = bounds(axis)
    lowest, highest = linear(first, opaque), linear(last, opaque)
    lows, highs = [lowest], [highest]
    for part in parts:
        if part == context.valid([axis]):
            continue  # which the bounds are within
        difference = _difference(context, part, opaque)
        if difference is None:
            return None
        factor = difference.factors.get(variable, 0)
        rest = difference.without(variable)
        if abs(factor) != 1 or any(axis in context.varies(a) for a in rest.factors):
            return None
        equal = isinstance(part, Compare) and part.ops == ("==",)
        if factor > 0 or equal:
            lows.append(-rest if factor > 0 else rest)
        if factor < 0 or equal:
            highs.append(rest if factor < 0 else -rest)
    found: list[Expr] = []
    for low in lows:
        for high in highs:
            if low is lowest and high is highest and not empty:
                continue
            holds = at_least_zero(high - low)
            if holds is False:
                return [FALSE]
            if holds is not True:
                if not _wide(context, holds):
                    return None
                found.append(holds)
    return found


def _difference(context: Context, part: Expr, opaque: Callable[[Expr], bool]) -> Linear | None:
    """What must be at least 0, or 0, for integers to compare like that."""
    match part:
        case Compare(ops=("<" | "<=" | "==" as op,), operands=(left, right)):
            pass
        case Compare(ops=(">" | ">=" as op,), operands=(right, left)):
            pass
        case _:
            return None
    if context.kind(left).floating or context.kind(right).floating:
        return None
    found = linear(right, opaque) - linear(left, opaque)
    return found + Linear(-1) if op in ("<", ">") else found


def _wide(context: Context, comparison: Expr) -> bool:
    """Whether the sums that are compared are made in 64 bits."""
    assert isinstance(comparison, Compare)
    sums = (o for o in comparison.operands if isinstance(o, Binary))
    return all(context.kind(o) is Kind.I64 for o in sums)


@dataclass
class Projector:
    """Says where a predicate holds anywhere along axes; what must be looked at becomes a tile."""

    context: Context
    known: dict[tuple[Expr, frozenset[str]], Expr] = field(
        default_factory=dict[tuple[Expr, frozenset[str]], Expr]
    )

    def __call__(self, parts: Iterable[Expr], kept: frozenset[str], emit: list[Statement]) -> Expr:
        """Where all parts hold for some lane, along the axes beside `kept`, that exists."""
        context = self.context
        free = [p for p in parts if context.varies(p) <= kept]
        rest = [p for p in parts if not context.varies(p) <= kept]
        if not rest:
            return both(*free)
        away = context.varies(*rest) - kept
        bounds = of_tile(context)
        order = context.sorted(away)
        found = solved(context, rest, order, bounds, empty=False)
        if found is None:
            found = self._looked(both(*rest, context.valid(away)), away, emit)
        return both(*free, found)

    def _looked(self, predicate: Expr, away: frozenset[str], emit: list[Statement]) -> Expr:
        key = predicate, away
        if key not in self.known:
            context = self.context
            axes = context.sorted(context.varies(predicate) - away)
            name = context.fresh("any")
            item = Fold(name, axes, Kind.BOOL, "any", context.sorted(away), predicate, TRUE)
            context.add([item])
            emit.append(item)
            self.known[key] = Name(name)
        return self.known[key]
