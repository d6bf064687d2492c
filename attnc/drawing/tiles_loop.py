"""One loop of a kernel as a picture: points, and the tiles that are visited."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from attnc.drawing.tiles_kinds import LoopTiles, TilePanel, TileRequest, Visit
from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir import printer
from attnc.ir.expr import Apply, Expr, Name, Read
from attnc.ir.tiles import Load, Map
from attnc.ir.tiles_walk import conjuncts
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.analysis.tile_along import Along
from attnc.passes.analysis.tile_numbers import Frame, Numbers
from attnc.passes.analysis.tile_presence import predicates
from attnc.passes.analysis.tile_visits import Innermost, Rounds, rounds
from attnc.passes.tiling.presence import both
from attnc.tile_data import turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

MAX_POINTS: Final = 1 << 24
MAX_TILES: Final = 128
"""Most tiles on a side."""
MAX_PANELS: Final = 12


@dataclass
class LoopPicture:
    """Draws one loop."""

    numbers: Numbers
    frame: Frame
    loop: Innermost
    request: TileRequest
    full: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    """By the axis of a loop: which rounds of partial ranges are run as full ones."""
    cut: bool = False
    """Whether lanes of a tile behind the end of its range are left out."""

    def tiles(self) -> LoopTiles:
        kernel, frame = self.numbers.kernel, self.frame
        tested = predicates(self.numbers, self.loop)
        conditions = (n for parts in tested for c in parts for n in subexpressions(c))
        self.cut = any(map(_within, conditions))
        matter = self.numbers.mentioned(*itertools.chain(*tested), *self._bounds())
        self.numbers.check(*itertools.chain(*tested))
        column = self.loop.loop.axis
        parallel = [a.name for a in kernel.axes if a.kind == "par"]
        row = self._row(parallel, matter)
        flat = [a for a in self.loop.axes[:-1] if frame.along[a].tile == 1]
        others = [a for a in (*parallel, *self.loop.axes[:-1]) if a not in (row, *flat)]
        self._check_at(others)
        single = {a for a in others if _count(frame.along[a]) == 1}
        varying = [a for a in others if a in matter - single and a not in self.request.at]
        sides = (row, *flat, column) if row is not None else (*flat, column)
        self._check(sides)
        tile = frame.along[column].tile
        rows = None if row is None else (row, frame.along[row].tile)
        counts = [_count(frame.along[a]) for a in sides]
        return LoopTiles(
            rows,
            (", ".join([*flat, column]), tile),
            "; ".join(dict.fromkeys(t for t in map(self._told, tested) if t))
            + self._coordinates(sides),
            tuple(self._panels(row, flat, others, varying, tested)),
            prod(counts),
            tuple(a for a in others if a not in matter),
        )

    def _told(self, tested: Sequence[Expr]) -> str:
        """What is tested, without what holds for all points or for none, and names opened."""
        said = [p for condition in tested for p in conjuncts(condition) if not self._always(p)]
        parts = [part for condition in said for part in conjuncts(self._opened(condition))]
        shown = [
            p for p in parts if self._counts(p) and not self.numbers.is_extent(p) and not _within(p)
        ]
        return printer.expression(both(*shown)) if shown else ""

    def _coordinates(self, sides: Sequence[str]) -> str:
        """What coordinates are that go by a stride along the sides."""
        kernel = self.numbers.kernel
        made = {coord.name: printer.expression(coord.value) for coord in kernel.coords}
        shown = [f"{name} = {made[name]}" for name, axis in turns(kernel).items() if axis in sides]
        return f" with {', '.join(shown)}" if shown else ""

    def _always(self, condition: Expr) -> bool:
        """Whether a condition that does not vary along the columns holds at these sizes."""
        axis = self.loop.loop.axis
        if axis in self.numbers.mentioned(condition) or self.numbers.is_extent(condition):
            return False
        return bool(np.all(self.frame.number(condition)))

    def _counts(self, condition: Expr) -> bool:
        return bool(self.numbers.mentioned(condition)) or any(
            isinstance(n, Read) for n in subexpressions(condition)
        )

    def _opened(self, expr: Expr) -> Expr:
        """An expression with what is loaded and computed in the place of its names."""
        item = self.numbers.tiles.get(expr.name) if isinstance(expr, Name) else None
        match item:
            case Map(value=value):
                return self._opened(value)
            case Load(tensor=tensor, index=index):
                return Read(tensor, index)
            case _:
                return rebuild(expr, tuple(map(self._opened, children(expr))))

    def _bounds(self) -> Iterator[Expr]:
        for loop in (*self.loop.around, self.loop.loop):
            yield loop.where
            yield from (e for r in loop.ranges for e in (r.low, r.high, r.step))

    def _row(self, parallel: Sequence[str], matter: frozenset[str]) -> str | None:
        """What tiles are drawn below each other: an axis that is tiled and makes a difference."""
        along = self.frame.along
        ranked = sorted(parallel, key=lambda a: (along[a].tile > 1, a in matter, parallel.index(a)))
        free = [a for a in ranked if a not in self.request.at]
        return free[-1] if free else None

    def _check_at(self, others: Sequence[str]) -> None:
        for name, index in self.request.at.items():
            if name not in others:
                hint = suggestion(name, others) or f"variables: {', '.join(others) or 'none'}"
                raise UsageError(f"--at: no other tiles have a variable '{name}'; {hint}")
            last = self.frame.along[name].last
            if not 0 <= index <= last:
                raise UsageError(f"--at {name}={index}: it ranges over 0..{last}")

    def _check(self, sides: Sequence[str]) -> None:
        along = [self.frame.along[a] for a in sides]
        if not all(_count(a) for a in along):
            raise UsageError("there is no tile at all: a size is 0")
        points = prod(_count(a) * a.tile for a in along)
        if points > MAX_POINTS or max(map(_count, along)) > MAX_TILES:
            raise UsageError(
                f"a picture of {points:,} points in {' by '.join(str(_count(a)) for a in along)} "
                f"tiles is too large: at most {MAX_POINTS:,} in {MAX_TILES} tiles each way; give "
                "smaller sizes with --size, or larger tiles with --tile"
            )

    def _panels(
        self,
        row: str | None,
        flat: Sequence[str],
        others: Sequence[str],
        varying: Sequence[str],
        tested: Sequence[tuple[Expr, ...]],
    ) -> Iterator[TilePanel]:
        """A panel for each tile of the others that makes a difference, equal ones together."""
        along = self.frame.along
        choices = [range(_count(along[a])) for a in varying]
        if prod(map(len, choices)) > 64 * MAX_PANELS:
            raise self._too_many(varying)
        found: dict[tuple[bytes, tuple[Visit, ...]], tuple[list[str], TilePanel]] = {}
        for places in itertools.product(*choices):
            chosen = dict.fromkeys(others, 0) | dict(zip(varying, places, strict=True))
            chosen |= {a: i // along[a].tile for a, i in self.request.at.items()}
            frame = self._at(chosen)
            cells = self._cells(Frame(self.numbers, frame.along), row, flat, tested)
            visits = tuple(self._visits(frame, row, flat, cells))
            label = ", ".join(f"{a} = {_span(along[a], chosen[a])}" for a in varying)
            key = (cells.tobytes(), visits)
            labels, _ = found.setdefault(key, ([], TilePanel("", cells, visits)))
            labels.append(label)
        if len(found) > MAX_PANELS:
            raise self._too_many(varying)
        for labels, panel in found.values():
            more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
            yield TilePanel("; ".join(labels[:3]) + more, panel.cells, panel.visits)

    def _too_many(self, varying: Sequence[str]) -> UsageError:
        return UsageError(
            f"there are too many different pictures, for {', '.join(varying)}: at most "
            f"{MAX_PANELS} are drawn; fix some with --at {varying[0]}=0, or give smaller --size"
        )

    def _at(self, chosen: Mapping[str, int]) -> Frame:
        """The frame with one tile of some axes."""
        along = dict(self.frame.along)
        for axis, place in chosen.items():
            whole = along[axis]
            start = self.numbers.along_tiles(axis, np.ravel(whole.start)[[place]])
            along[axis] = Along(start, whole.last, whole.tile, whole.step)
        return Frame(self.numbers, along)

    def _cells(
        self, frame: Frame, row: str | None, flat: Sequence[str], tested: Sequence[tuple[Expr, ...]]
    ) -> Bools:
        """Where a point counts for anyone, as rows and columns."""
        numbers, sides = self.numbers, [*([row] if row else []), *flat, self.loop.loop.axis]
        found: Any = np.zeros([1] * numbers.rank, np.bool_)
        for conditions in tested:
            held: Any = np.ones([1] * numbers.rank, np.bool_)
            for condition in conditions:
                held = np.logical_and(held, frame.number(condition))
            found = np.logical_or(found, held)
        shape = [1] * numbers.rank
        for axis in sides:
            at = 2 * numbers.position[axis]
            shape[at : at + 2] = _count(frame.along[axis]), frame.along[axis].tile
        places = [2 * numbers.position[a] + i for a in sides for i in (0, 1)]
        rest = tuple(i for i in range(numbers.rank) if i not in places)
        found = found.any(axis=rest, keepdims=True)
        found = np.broadcast_to(found, shape).transpose([*places, *rest])
        lengths = [_count(frame.along[a]) * frame.along[a].tile for a in sides]
        found = found.reshape(lengths)
        found = found[tuple(slice(0, int(frame.along[a].last) + 1) for a in sides)]
        cells: Bools = found.reshape(found.shape[0] if row else 1, -1)
        return cells

    def _visits(
        self, frame: Frame, row: str | None, flat: Sequence[str], cells: Bools
    ) -> Iterator[Visit]:
        turns: dict[int, list[tuple[tuple[int, ...], Visit]]] = {}
        found = rounds(self.numbers, frame, self.loop)
        for part in (p for r in found for p in r.parted(self.full)):
            for first, order, visit in self._of_range(part, row, flat, cells):
                turns.setdefault(first, []).append((order, visit))
        for first in sorted(turns):
            for turn, (_, visit) in enumerate(sorted(turns[first], key=lambda item: item[0])):
                yield Visit(visit.rows, visit.columns, turn, visit.full, visit.points)

    def _of_range(
        self, part: Rounds, row: str | None, flat: Sequence[str], cells: Bools
    ) -> Iterator[tuple[int, tuple[int, ...], Visit]]:
        """The tiles of one range, with the row they are in and when they have their turn."""
        here, frame = part.each()
        numbers, axis = self.numbers, self.loop.loop.axis
        along = frame.along
        shape = np.broadcast_shapes(
            here.shape, *(numbers.whole(a.start).shape for a in along.values())
        )
        wanted = [a for a in (row, *self.loop.axes) if a is not None]
        keep = [2 * numbers.position[a] for a in wanted]
        shape = tuple(n if i in keep else 1 for i, n in enumerate(shape))
        starts = {a: np.broadcast_to(numbers.whole(along[a].start), shape) for a in wanted}
        last = np.broadcast_to(numbers.whole(along[axis].last), shape)
        step = np.broadcast_to(numbers.whole(along[axis].step), shape)
        size = int(self.frame.along[axis].last) + 1
        signs = [-1 if o.backward else 1 for o in (*self.loop.around, self.loop.loop)]
        for at in map(tuple, np.argwhere(np.broadcast_to(here, shape)).tolist()):
            before = 0
            for outer in flat:
                before = before * (int(self.frame.along[outer].last) + 1) + int(starts[outer][at])
            first, by = int(starts[axis][at]), int(step[at])
            end = min(first + along[axis].tile * by, size)
            lanes = range(first, min(end, int(last[at]) + 1) if self.cut else end, by)
            if not lanes:
                continue
            base = before * size
            runs = ((lanes[0], lanes[-1] + 1),) if by == 1 else tuple((n, n + 1) for n in lanes)
            columns = tuple((base + a, base + b) for a, b in runs)
            low = int(starts[row][at]) if row else 0
            high = min(low + along[row].tile, cells.shape[0]) if row else 1
            points = any(bool(cells[low:high, a:b].any()) for a, b in columns)
            turns = (at[2 * numbers.position[a]] for a in self.loop.axes)
            order = tuple(
                sign * n
                for place, turn, sign in zip(part.path, turns, signs, strict=True)
                for n in (place, turn)
            )
            yield low, order, Visit((low, high), columns, 0, part.full, points)


def _within(condition: Expr) -> bool:
    """Whether this says that a lane lies in the range that is gone through."""
    return isinstance(condition, Apply) and condition.function == "within"


def _count(along: Along) -> int:
    return int(np.size(along.start))


def _span(along: Along, place: int) -> str:
    """The coordinates of a tile."""
    first = int(np.ravel(along.start)[place])
    last = min(first + along.tile - 1, int(along.last))
    return str(first) if first == last else f"{first}..{last}"
