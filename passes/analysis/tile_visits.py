"""The tiles that the loops of a kernel go through, from their ranges, at known sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from attnc.ir.expr import Bool, Expr, Logical, Unary
from attnc.ir.tiles import If, Kernel, Let, Loop, Range, Statement
from attnc.ir.tiles_walk import statements
from attnc.passes.analysis.tile_along import Along, NotCounted, Number
from attnc.passes.analysis.tile_numbers import Frame, Numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST: Final = 1 << 26
"""Most numbers in one array."""


@dataclass(frozen=True)
class Innermost:
    """A loop over streamed tiles that has no other inside, and the loops around it, outer first."""

    loop: Loop
    around: tuple[Loop, ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """What the loops go through, outer first."""
        return (*(o.axis for o in self.around), self.loop.axis)


def innermost(kernel: Kernel) -> tuple[Innermost, ...]:
    """The loops whose tiles are counted, in their order; none where nothing is streamed."""
    return tuple(_innermost(kernel, kernel.body, ()))


def _innermost(
    kernel: Kernel, body: Iterable[Statement], around: tuple[Loop, ...]
) -> Iterator[Innermost]:
    for item in body:
        match item:
            case If(body=inner):
                yield from _innermost(kernel, inner, around)
            case Loop(body=inner) if _streams(kernel, inner):
                yield from _innermost(kernel, inner, (*around, item))
            case Loop() if kernel.axis(item.axis).kind == "stream":
                yield Innermost(item, around)
            case _:
                pass


def _streams(kernel: Kernel, body: Iterable[Statement]) -> bool:
    """Whether there is a loop over streamed tiles."""
    loops = (s for s in statements(body) if isinstance(s, Loop))
    return any(kernel.axis(loop.axis).kind == "stream" for loop in loops)


@dataclass(frozen=True)
class Rounds:
    """What one range of an innermost loop goes through, for each program and round around it.

    `path` are the places of this range and of those around it in their loops, outer first; `low` is
    where it begins, `stride` how far it is from tile to tile, `count` how many tiles there
    are, `last` the last coordinate; `live` says whether the program and the rounds around it exist.
    """

    loop: Loop
    path: tuple[int, ...]
    full: bool
    frame: Frame
    low: Number
    stride: Number
    last: Number
    count: Number
    live: Number
    where: Expr
    """Which rounds there are."""

    def total(self, programs: Iterable[tuple[str, int]]) -> int:
        """The number of tiles; `programs` are the parallel axes and how many tiles each has."""
        numbers = self.frame.numbers
        if self.loop.axis in numbers.mentioned(self.where):
            found = numbers.whole(self.each()[0])
        else:
            held = np.logical_and(self.live, self.frame.number(self.where))
            found = numbers.whole(np.where(held, self.count, 0))
        alike = (n for a, n in programs if found.shape[2 * numbers.position[a]] == 1)
        return int(found.sum(dtype=np.int64)) * prod(alike)

    def parted(self, full: Mapping[str, Expr]) -> tuple[Rounds, ...]:
        """Those that are run as partial ones, then as full ones, as is said for loops by axis."""
        if self.full or self.loop.axis not in full:
            return (self,)
        told = full[self.loop.axis]
        rest = Logical("and", self.where, Unary("not", told))
        path = (*self.path[:-1], self.path[-1] + len(self.loop.ranges))
        told = Logical("and", self.where, told)
        return replace(self, where=rest), replace(self, where=told, full=True, path=path)

    def each(self) -> tuple[NDArray[Any], Frame]:
        """Whether each round exists, along tiles of the axis, and the frame of the rounds."""
        numbers, axis = self.frame.numbers, self.loop.axis
        frame, here = _expanded(self.frame, axis, self)
        here = np.logical_and(here, frame.number(self.where))
        return numbers.whole(here), frame


def rounds(numbers: Numbers, frame: Frame, loop: Innermost) -> Iterator[Rounds]:
    """The ranges of an innermost loop, for each round of the loops around it.

    `frame` holds the parallel tiles. Raises `NotCounted`.
    """
    yield from _walk(numbers, frame, numbers.kernel.body, _Around(loop))


@dataclass(frozen=True)
class _Around:
    """The loop that is looked for, and what is known of the ranges around it."""

    target: Innermost
    path: tuple[int, ...] = ()
    full: bool = True
    live: Number = True


def _walk(
    numbers: Numbers, frame: Frame, body: Iterable[Statement], around: _Around
) -> Iterator[Rounds]:
    target = around.target
    for item in body:
        match item:
            case Let(name=name, value=value):
                with suppress(NotCounted):  # it is not needed, or told of where it is
                    frame.known[name] = frame.number(value)
            case If(condition=condition, body=inner) if _holds(inner, target.loop):
                held = np.logical_and(around.live, frame.number(condition))
                yield from _walk(numbers, frame, inner, replace(around, live=held))
            case Loop() if item is target.loop or any(item is outer for outer in target.around):
                for place, part in enumerate(item.ranges):
                    path = (*around.path, place)
                    yield from _range(numbers, frame, item, part, replace(around, path=path))
            case _:
                pass


def _holds(body: Iterable[Statement], loop: Loop) -> bool:
    return any(s is loop for s in statements(body))


def _range(
    numbers: Numbers, frame: Frame, item: Loop, part: Range, around: _Around
) -> Iterator[Rounds]:
    tile = frame.along[item.axis].tile
    low, high, step = (frame.number(e) for e in (part.low, part.high, part.step))
    stride = tile * step
    count = np.maximum(0, -np.floor_divide(low - high, stride))
    inner = item is around.target.loop
    # Where a tile of an outer loop may reach beyond, an inner one is not full.
    full = around.full and (part.full if inner or tile > 1 else True)
    where = Bool(True) if part.full else item.where
    found = Rounds(item, around.path, full, frame, low, stride, high - 1, count, around.live, where)
    if inner:
        yield found
        return
    inside, here = _expanded(frame, item.axis, found)
    if where != Bool(True):
        here = np.logical_and(here, inside.number(where))
    yield from _walk(numbers, inside, item.body, replace(around, full=full, live=here))


def _expanded(frame: Frame, axis: str, part: Rounds) -> tuple[Frame, Number]:
    """A frame in which tiles of an axis are the rounds of a range, and which of them there are."""
    numbers = frame.numbers
    most = int(np.max(part.count, initial=0))
    rounds = numbers.along_tiles(axis, np.arange(most))
    shape = np.broadcast_shapes(
        *(numbers.whole(n).shape for n in (part.count, part.low, part.live, rounds))
    )
    if prod(shape) > MOST:
        raise NotCounted(f"there are more than {MOST:,} rounds")
    tile = frame.along[axis].tile
    along = Along(part.low + rounds * part.stride, part.last, tile, part.stride // tile)
    return frame.inside(axis, along), np.logical_and(part.live, rounds < part.count)
