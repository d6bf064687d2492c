"""How many tiles the loops of a kernel visit at known sizes, and how many hold a point at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from attnc.ir.cascade import Constant
from attnc.ir.expr import Expr
from attnc.ir.tiles import Kernel, Plan
from attnc.passes.analysis.tile_along import Along, NotCounted
from attnc.passes.analysis.tile_numbers import Frame, Numbers
from attnc.passes.analysis.tile_presence import presence
from attnc.passes.analysis.tile_visits import Innermost, innermost, rounds

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class TileCounts:
    """Pairs of a program and a tile that it goes through, of all innermost loops of a kernel.

    `visited` are the tiles that the ranges name, of them `full` those in which nothing is tested;
    `all` what a loop over everything would go through, in each program as many lanes as there are
    coordinates where it goes by a stride. `minimum` are those that hold a point, on
    the grid of aligned tiles, of them `full_possible` those that hold nothing else: by looking at
    each point. What is not known is None; `why` says why.
    """

    all: int | None = None
    visited: int | None = None
    full: int | None = None
    minimum: int | None = None
    full_possible: int | None = None
    why: list[str] = field(default_factory=list[str])


def tile_counts(
    plan: Plan,
    kernel: Kernel,
    values: Mapping[str, Constant],
    tiles: Mapping[str, int],
    data: Mapping[str, NDArray[Any]] | None = None,
    full: Mapping[str, Expr] | None = None,
) -> TileCounts | None:
    """The tiles of a kernel; None where it streams nothing.

    `values` are sizes, parameters and bindings, `tiles` sizes of tiles of parallel and streamed
    axes; others are 1. `data` are arrays of inputs that ranges and conditions may read. `full` says
    of rounds of partial ranges, by the axis of their loop, whether they are run as full ones.
    """
    loops = innermost(kernel)
    if not loops:
        return None
    numbers = Numbers(plan, kernel, values, data or {})
    found = TileCounts()
    try:
        frame = whole_frame(numbers, tiles)
        counts = {a: _tiles(frame.along[a]) for a in numbers.position}
        programs = [(a.name, counts[a.name]) for a in kernel.axes if a.kind == "par"]
        every = prod(n for _, n in programs)
        found.all = sum(every * _rounds(numbers, frame, loop) for loop in loops)
    except NotCounted as error:
        found.why.append(str(error))
        return found
    try:
        parts = [part for loop in loops for part in rounds(numbers, frame, loop)]
        totals = [(p.full, p.total(programs)) for part in parts for p in part.parted(full or {})]
        found.visited = sum(n for _, n in totals)
        found.full = sum(n for is_full, n in totals if is_full)
    except NotCounted as error:
        found.why.append(f"what is visited: {error}")
    try:
        pairs = [_present(numbers, frame, loop, counts, programs) for loop in loops]
        found.minimum, found.full_possible = (sum(p[i] for p in pairs) for i in (0, 1))
    except NotCounted as error:
        found.why.append(f"what is needed: {error}")
    return found


def _rounds(numbers: Numbers, frame: Frame, loop: Innermost) -> int:
    """The tiles of all that loops could go through, were it not for a stride."""
    kernel, found = numbers.kernel, 1
    moving = {a.name for a in kernel.axes if a.kind in ("stream", "step")}
    for axis in loop.axes:
        sizes = [kernel.axis(axis).size]
        sizes += [c.size for c in kernel.coords if numbers.mentioned(c.value) & moving == {axis}]
        longest = max(_size(Frame(numbers, {}), size) for size in sizes)
        found *= -(-longest // frame.along[axis].tile)
    return found


def _present(
    numbers: Numbers,
    frame: Frame,
    loop: Innermost,
    counts: Mapping[str, int],
    programs: Iterable[tuple[str, int]],
) -> tuple[int, int]:
    tiles = dict(programs) | {a: counts[a] for a in loop.axes}
    if not prod(tiles.values()):
        return 0, 0
    return presence(numbers, frame, loop).count(tiles, numbers)


def whole_frame(numbers: Numbers, tiles: Mapping[str, int]) -> Frame:
    """All tiles of all axes, aligned; raises `NotCounted` where a size is not known."""
    along: dict[str, Along] = {}
    none = Frame(numbers, {})
    for axis in numbers.kernel.axes:
        size = int(_size(none, axis.size))
        match axis.kind:
            case "whole":
                along[axis.name] = Along(0, size - 1, max(size, 1))
            case "step":
                starts = numbers.along_tiles(axis.name, np.arange(size))
                along[axis.name] = Along(starts, size - 1, 1)
            case _:
                tile = tiles.get(axis.name, 1)
                starts = numbers.along_tiles(axis.name, np.arange(0, size, tile))
                along[axis.name] = Along(starts, size - 1, tile)
    return Frame(numbers, along)


def _size(frame: Frame, size: Expr) -> int:
    found: int = frame.number(size)
    return max(int(found), 0)


def _tiles(along: Along) -> int:
    return int(np.asarray(along.start).size)
