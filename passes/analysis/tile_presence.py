"""Which tiles have a point, by looking at every point: nothing of a loop's ranges is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np

from attnc.ir.expr import Bool, Expr
from attnc.ir.tiles import Dot, Fold, Scan, Store, TopK
from attnc.ir.tiles_walk import conjuncts, statements
from attnc.passes.analysis.tile_along import Along, NotCounted
from attnc.passes.analysis.tile_numbers import Frame, Numbers
from attnc.passes.analysis.tile_visits import MOST, Innermost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

POINTS: Final = 1 << 28
"""Most points that are looked at."""
BLOCK: Final = 1 << 21
"""Points that are looked at together."""


@dataclass(frozen=True)
class Presence:
    """For each tile, on the grid of aligned ones: whether any of its points is present, or all.

    Arrays are as those of `Numbers`, 1 long along axes that make no difference.
    """

    some: Bools
    every: Bools

    def count(self, tiles: Mapping[str, int], numbers: Numbers) -> tuple[int, int]:
        """How many tiles have a point, and of how many each is one; `tiles` are those of axes."""
        return _count(self.some, tiles, numbers), _count(self.every, tiles, numbers)


def _count(found: Bools, tiles: Mapping[str, int], numbers: Numbers) -> int:
    alike = (n for a, n in tiles.items() if found.shape[2 * numbers.position[a]] == 1)
    return int(found.sum(dtype=np.int64)) * prod(alike)


def predicates(numbers: Numbers, loop: Innermost) -> list[tuple[Expr, ...]]:
    """What those who look at lanes along a loop's axis test, each as what it joins.

    That lanes lie within an extent is left out, which is so for each that is looked at.
    """
    found: dict[frozenset[Expr], tuple[Expr, ...]] = {}
    for item in statements(loop.loop.body):
        match item:
            case Dot(over=over, where=where) | Fold(over=over, where=where) if (
                loop.loop.axis in over
            ):
                tested = where
            case Scan(over=axis, where=where) | TopK(over=axis, where=where) if (
                axis == loop.loop.axis
            ):
                tested = where
            case Store(where=where) if loop.loop.axis in numbers.mentioned(*item.index, where):
                tested = where
            case _:
                continue
        parts = tuple(p for p in conjuncts(tested) if p != Bool(True) and not numbers.is_extent(p))
        found.setdefault(frozenset(parts), parts)
    return list(found.values())


def presence(numbers: Numbers, frame: Frame, loop: Innermost) -> Presence:
    """Looks at each point of the tiles of a frame; raises `NotCounted`."""
    some: Bools = np.zeros([1] * numbers.rank, np.bool_)
    every: Bools = np.ones([1] * numbers.rank, np.bool_)
    for axis in loop.axes:  # the last tile of an axis may have lanes that are no points
        along = frame.along[axis]
        every = every & (along.start + along.tile - 1 <= along.last)
    for tested in predicates(numbers, loop):
        numbers.check(*tested)
        any_here: Bools = np.ones([1] * numbers.rank, np.bool_)
        for group in _groups(numbers, tested):
            found = _looked_at(numbers, frame, group)
            any_here = _joined(any_here, found.some)
            every = _joined(every, found.every)
        some = some | any_here
    return Presence(some, every)


def _joined(a: Bools, b: Bools) -> Bools:
    if prod(np.broadcast_shapes(a.shape, b.shape)) > MOST:
        raise NotCounted(f"there are more than {MOST:,} tiles")
    return a & b


def _groups(numbers: Numbers, tested: Sequence[Expr]) -> list[tuple[Expr, ...]]:
    """Conditions that share axes together: of others, each may be looked at by itself."""
    groups: list[tuple[frozenset[str], tuple[Expr, ...]]] = []
    for condition in tested:
        axes = numbers.mentioned(condition)
        members: tuple[Expr, ...] = (condition,)
        apart: list[tuple[frozenset[str], tuple[Expr, ...]]] = []
        for other, those in groups:
            if other & axes:
                axes, members = axes | other, (*those, *members)
            else:
                apart.append((other, those))
        groups = [*apart, (axes, members)]
    return [members for _, members in groups]


def _looked_at(numbers: Numbers, frame: Frame, tested: Sequence[Expr]) -> Presence:
    axes = sorted(numbers.mentioned(*tested), key=numbers.position.__getitem__)
    counts = [np.asarray(frame.along[a].start).size for a in axes]
    lanes = [frame.along[a].tile for a in axes]
    points = prod(counts) * prod(lanes)
    if points > POINTS:
        raise NotCounted(f"there are more than {POINTS:,} points to look at")
    shape = [1] * numbers.rank
    for axis, count in zip(axes, counts, strict=True):
        shape[2 * numbers.position[axis]] = count
    some, every = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for chosen in _blocks(counts, lanes):
        place = [slice(None)] * numbers.rank
        along = dict(frame.along)
        for axis, part in zip(axes, chosen, strict=True):
            place[2 * numbers.position[axis]] = part
            whole = along[axis]
            start = numbers.along_tiles(axis, np.asarray(whole.start).ravel()[part])
            along[axis] = Along(start, whole.last, whole.tile, whole.step)
        block = Frame(numbers, along)
        held: Bools = np.asarray(True)
        for condition in tested:
            held = held & np.asarray(block.number(condition), np.bool_)
        held = numbers.whole(held)
        across = tuple(range(1, numbers.rank, 2))
        some[tuple(place)] = held.any(axis=across, keepdims=True)
        every[tuple(place)] = held.all(axis=across, keepdims=True)
    return Presence(some, every)


def _blocks(counts: Sequence[int], lanes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Tiles in blocks of few points: as many of the last axes as fit."""
    left = max(1, BLOCK // max(prod(lanes), 1))
    sizes: list[int] = []
    for count in reversed(counts):
        size = max(1, min(count, left))
        sizes.append(size)
        left = max(1, left // size)
    parts = [
        [slice(i, i + size) for i in range(0, count, size)]
        for count, size in zip(counts, reversed(sizes), strict=True)
    ]
    yield from product(*parts)
