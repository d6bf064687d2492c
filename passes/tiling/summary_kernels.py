"""The kernels of a summary: one looks at pairs of tiles, one lists those that have a point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Logical, Name, Value, Var
from attnc.ir.tiles import (
    Axis,
    Carry,
    Fold,
    If,
    Kernel,
    Load,
    Loop,
    Map,
    Range,
    Scan,
    Statement,
    Store,
)
from attnc.ir.types import Kind
from attnc.passes.tiling.context import varying
from attnc.passes.tiling.presence import TRUE, both
from attnc.passes.tiling.summary_look import Look
from attnc.passes.tiling.unused import unused

PARTIAL: Final = 1
FULL: Final = 2
"""Kinds of tiles; 0 is one without a point."""


@dataclass(frozen=True)
class Lists:
    """The buffers of a summary."""

    kinds: str
    """The kind of each pair of tiles."""
    tiles: str
    """For each tile of rows: the numbers of those with some points, then those of full ones."""
    partial: str
    """How many tiles have some points."""
    end: str
    """How many have any."""


def looking(name: str, look: Look, lists: Lists) -> Kernel:
    """The kernel that tells of each pair of tiles whether it has a point, or all of them."""
    stream = look.loop.axis
    axes = tuple(replace(a, kind="par") for a in look.axes)
    fresh = _Fresh(look)
    order = [a.name for a in axes]
    own = next(a for a in axes if a.name == stream)
    made = (s for s in (*look.before, *look.inside) if isinstance(s, Load | Map | Fold))
    coords = {c.name: c.value for c in look.coords}
    along = varying(look.parts, order, coords, {s.target: s.axes for s in made})
    over = tuple(a for a in order if a in along)
    valid = both(*(_within(a) for a in axes if a.name in over))
    asked = both(*look.parts)
    some = Fold(fresh("some"), (), Kind.BOOL, "any", over, both(valid, asked), TRUE)
    filled = Choice(valid, asked, TRUE)
    every = Fold(fresh("every"), (), Kind.BOOL, "all", over, filled, TRUE)
    low, tile = Apply("low", (Var(stream),)), Apply("tile", (Var(stream),))
    end = Binary("+", low, tile)
    reached = _any(
        both(Compare(("<",), (low, r.high)), Compare(("<",), (r.low, end))) for r in look.ranges
    )
    whole = both(Name(every.target), Compare(("<=",), (end, own.size)))
    kind = Choice(Name(some.target), Choice(whole, Int(FULL), Int(PARTIAL)), Int(0))
    carry = Carry(fresh("kind"), (), Kind.I32, Int(0), kind)
    index = (*(number(a) for a in order if a != stream), number(stream))
    store = Store(lists.kinds, index, Name(carry.name), TRUE, 0, TRUE)
    inner = If(reached, (*look.inside, some, every), (carry,))
    return Kernel(name, axes, (*look.before, inner, store), look.coords)


def listing(name: str, look: Look, lists: Lists) -> Kernel:
    """The kernel that lists the tiles of each tile of rows."""
    stream = look.loop.axis
    axes = tuple(
        Axis(
            a.name,
            Apply("ceildiv", (a.size, Value(a.tile))),
            "stream" if a.name == stream else "par",
        )
        for a in look.axes
    )
    fresh = _Fresh(look)
    body: list[Statement] = []
    start: Expr = Int(0)
    guard = both(*(_within(a) for a in axes if a.name != stream))
    place = tuple(Var(a.name) for a in axes if a.name != stream)
    for kind, buffer in ((PARTIAL, lists.partial), (FULL, lists.end)):
        loop = _places(fresh, axes, stream, lists, kind, start)
        start = Name(loop.carries[0].name)
        stored = Store(buffer, place, Apply("i32", (start,)), TRUE, 0, guard)
        body += [loop, stored]
    return Kernel(name, axes, tuple(body))


def _places(
    fresh: _Fresh, axes: tuple[Axis, ...], stream: str, lists: Lists, which: int, start: Expr
) -> Loop:
    """A loop that lists all tiles of a kind, and carries how many are in the list."""
    order = tuple(a.name for a in axes)
    rows = tuple(a for a in order if a != stream)
    end = next(a.size for a in axes if a.name == stream)
    here = both(*map(_within, axes))
    places = tuple(map(Var, rows))
    kind = Load(fresh("kind"), order, Kind.I32, lists.kinds, (*places, Var(stream)), here)
    same = both(here, Compare(("==",), (Name(kind.target), Int(which))))
    one = Map(fresh("one"), order, Kind.I64, Choice(same, Int(1), Int(0)))
    value = Name(one.target)
    so_far = Scan(fresh("so_far"), order, Kind.I64, "sum", stream, False, value, TRUE)
    more = Fold(fresh("more"), rows, Kind.I64, "sum", (stream,), value, TRUE)
    count = fresh("count")
    at = Binary("-", Binary("+", Name(count), Name(so_far.target)), Int(1))
    inside = both(same, Compare(("<=", "<"), (Int(0), at, end)))
    store = Store(lists.tiles, (*places, at), Apply("i32", (Var(stream),)), TRUE, 0, inside)
    carry = Carry(count, rows, Kind.I64, start, Binary("+", Name(count), Name(more.target)))
    body = (kind, one, so_far, more, store)
    return Loop(stream, (Range(Int(0), end),), (carry,), body, ordered=True)


@dataclass
class _Fresh:
    """Gives names that are in use neither for what a look needs, nor twice."""

    look: Look

    def __post_init__(self) -> None:
        self.taken: set[str] = {*self.look.taken, *(a.tile for a in self.look.axes)}

    def __call__(self, base: str) -> str:
        found = unused(base, self.taken)
        self.taken.add(found)
        return found


def number(axis: str) -> Expr:
    """The number of the current tile of an axis."""
    return Binary("//", Apply("low", (Var(axis),)), Apply("tile", (Var(axis),)))


def _within(axis: Axis) -> Expr:
    return Compare(("<",), (Var(axis.name), axis.size))


def _any(conditions: Iterable[Expr]) -> Expr:
    found: Expr | None = None
    for condition in conditions:
        found = condition if found is None else Logical("or", found, condition)
    assert found is not None
    return found
