"""What the programs of a kernel go to, counted against where points are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnc.ir.tiles import Axis
from tests.visited import Array, Programs, Unsound


@dataclass
class Tally:
    """Tiles of some programs."""

    visited: int = 0
    minimum: int = 0
    full: int = 0
    full_possible: int = 0
    around: int = 0
    """Rounds of loops around others."""
    around_minimum: int = 0

    def add(self, other: Tally) -> None:
        """Counts those of others, too."""
        self.visited += other.visited
        self.minimum += other.minimum
        self.full += other.full
        self.full_possible += other.full_possible
        self.around += other.around
        self.around_minimum += other.around_minimum

    @property
    def exact(self) -> bool:
        """Whether nothing is visited in vain."""
        return self.visited == self.minimum


def tally(programs: Programs, here: Array) -> Tally:
    """Compares what all programs go to with where points are; raises `Unsound`.

    `here` are the points by the axes of the kernel, all of which have tiles, in their order.
    """
    axes = programs.kernel.axes
    assert here.ndim == len(axes)
    points = _blocked(programs, here, reaching=False)
    some = np.asarray(points.any(_lanes(axes)))
    every = np.asarray(_blocked(programs, here, reaching=True).all(_lanes(axes)))
    names = [a.name for a in axes]
    found, whole = Tally(), False
    for loop in programs.visits():
        inner = tuple(
            i for i, a in enumerate(axes) if a.kind == "stream" and a.name not in loop.axes
        )
        need = some.any(inner, keepdims=True)
        visited, full = (
            np.broadcast_to(x.squeeze(_lanes(axes)), need.shape) for x in (loop.visited, loop.full)
        )
        _check(need & ~visited, "a point is lost", names)
        beside = (points & ~loop.seen).any(_lanes(axes))
        _check(beside, "a point is beside what is present", names)
        counts = [int(np.count_nonzero(x)) for x in (visited, need)]
        if inner:
            found.add(Tally(around=counts[0], around_minimum=counts[1]))
            continue
        whole = True
        _check(full & ~every, "a full tile lacks a point", names)
        counts += [int(np.count_nonzero(x)) for x in (full, every)]
        found.add(Tally(*counts))
    if not whole:
        raise Unsound("there is no loop")
    return found


def _lanes(axes: Sequence[Axis]) -> tuple[int, ...]:
    return tuple(range(1, 2 * len(axes), 2))


def _blocked(programs: Programs, here: Array, *, reaching: bool) -> Array:
    """Points by tiles and lanes.

    Beyond an extent there are none; `reaching`: what lies there along parallel axes does not count.
    """
    for side, axis in enumerate(programs.kernel.axes):
        tile = programs.tiles[axis.name]
        spare = [(0, 0)] * here.ndim
        spare[side] = (0, -here.shape[side] % tile)
        here = np.pad(here, spare, constant_values=reaching and axis.kind == "par")
    shape = [
        x
        for size, axis in zip(here.shape, programs.kernel.axes, strict=True)
        for x in (size // programs.tiles[axis.name], programs.tiles[axis.name])
    ]
    return here.reshape(shape)


def _check(wrong: Array, message: str, names: Sequence[str]) -> None:
    if np.any(wrong):
        place = next(zip(*np.nonzero(wrong), strict=True))
        tile = ", ".join(f"{a}: {int(i)}" for a, i in zip(names, place, strict=True))
        raise Unsound(f"{message} in the tile {{{tile}}}")
