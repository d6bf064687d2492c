"""The tiles of a stream in which a point may be present, and those in which all are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Value, Var
from attnc.passes.conditions.knowledge import Knowledge
from attnc.passes.conditions.spans import Span
from attnc.passes.running.build import multiplied
from attnc.passes.tiling.presence import both, either, negation

ZERO: Final = Int(0)
MOST: Final = 4
"""Most spans between the ends of a stream; more are taken together."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Coordinates from `low` on, up to before `high`, by tiles; none where `low` is not less."""

    low: Expr
    high: Expr
    full: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What a span is in tiles: from the beginning of one on, up to the end of one, or before it."""

    start: Expr
    end: Expr


@dataclass(frozen=True, slots=True)
class Parts:
    """Some spans: what begins at 0 is one, and so is what ends with the extent."""

    first: Expr | None
    """The end of what begins at 0."""
    middle: tuple[Part, ...]
    last: Expr | None
    """The start of what ends with the extent."""


@dataclass
class Cover:
    """Makes pieces of spans for one loop; `let` gives a number a name."""

    axis: str
    size: Expr
    known: Knowledge
    let: Callable[[str, Expr], Expr]
    whole: bool = False
    """Whether pieces end with a tile, or with the extent: loops inside look at all of its lanes."""
    present: tuple[Piece, ...] = ()
    """Where points may be present, to the coordinate."""
    _tile: Expr = field(init=False)

    def __post_init__(self) -> None:
        self._tile = Apply("tile", (Var(self.axis),))

    def __call__(
        self, present: Sequence[Span], absent: Sequence[Span] | None
    ) -> tuple[list[Piece], Expr]:
        """Disjoint pieces, and a condition that tiles with a point meet.

        `present` are the spans in which a point may be present, `absent` those in which one may be
        absent; None: no tile is known to be full.
        """
        present = list(map(self._tight, present))
        parts = [self._visited(s) for s in present]
        where = self._where(present, parts)
        visited = self._disjoint(self._merged(parts))
        full = (
            []
            if absent is None
            else self._full(self._merged(self._spoilt(self._tight(s)) for s in absent))
        )
        return self._outside(visited, full), where

    # Numbers

    def _down(self, number: Expr) -> Expr:
        """Where the tile of a coordinate begins."""
        if number == ZERO:
            return ZERO
        return multiplied(Binary("//", number, self._tile), self._tile)

    def _up(self, number: Expr) -> Expr:
        """Where the last tile before a coordinate ends."""
        if number == ZERO:
            return ZERO
        return multiplied(Apply("ceildiv", (number, self._tile)), self._tile)

    def _most(self, *numbers: Expr) -> Expr:
        """The greatest of some numbers; what is known to be at most another one is left out."""
        return self._extreme("max", numbers, self.known.at_most)

    def _least(self, *numbers: Expr) -> Expr:
        """The least of some numbers."""
        return self._extreme("min", numbers, lambda a, b: self.known.at_most(b, a))

    def _extreme(
        self, function: str, numbers: Iterable[Expr], under: Callable[[Expr, Expr], bool]
    ) -> Expr:
        found: list[Expr] = []
        for number in dict.fromkeys(numbers):
            if any(under(number, other) for other in found):
                continue
            found = [other for other in found if not under(other, number)]
            found.append(number)
        return found[0] if len(found) == 1 else Apply(function, tuple(found))

    # Spans as parts

    def _tight(self, span: Span) -> Span:
        """A span without bounds that any coordinate is within."""
        lows = tuple(x for x in span.lows if not self.known.at_most(x, ZERO))
        ends = tuple(x for x in span.ends if not self.known.at_most(self.size, x))
        return replace(span, lows=lows, ends=ends)

    def _visited(self, span: Span) -> tuple[Span, Part]:
        """The tiles that a span meets, none where it has no coordinate."""
        low, end, some = self._bounds(span)
        part = self._part(span, self._down(low), end, some, ZERO)
        self.present += (Piece(self._clear(span, low, end, some, ZERO).start, part.end),)
        return span, part

    def _spoilt(self, span: Span) -> tuple[Span, Part]:
        """The tiles that a span meets, in which not all points are present."""
        low, end, some = self._bounds(span)
        end = self._up(self._most(ZERO, end)) if span.ends else self.size
        return span, self._part(span, self._down(low), end, some, ZERO)

    def _bounds(self, span: Span) -> tuple[Expr, Expr, Expr]:
        """The first coordinate, the one behind the last, and whether there is any."""
        known = self.known.knowing(span.guards)
        low, end = self._most(ZERO, *span.lows), self._least(self.size, *span.ends)
        some = both(*span.guards)
        if low != ZERO and not known.shows(Compare(("<",), (low, end))):
            low, end = self.let("low", low), self.let("end", end)
            some = both(some, Compare(("<",), (low, end)))
        return low, end, some

    def _part(self, span: Span, start: Expr, end: Expr, some: Expr, none: Expr) -> Part:
        part = self._clear(span, start, end, some, none)
        return Part(self._within("start", part.start), self._within("end", part.end))

    def _clear(self, span: Span, start: Expr, end: Expr, some: Expr, none: Expr) -> Part:
        certain = both(*span.assumed)
        if not span.ends:
            start = _chosen(some, start, self.size)
        else:
            end = _chosen(some, end, none)
        return Part(_chosen(certain, start, ZERO), _chosen(certain, end, self.size))

    def _within(self, base: str, number: Expr) -> Expr:
        """A number with a name; a start is never negative."""
        found = self.let(base, number)
        if isinstance(found, Value) and base == "start":
            self.known.floors.add(found.name)
        return found

    def _merged(self, parts: Iterable[tuple[Span, Part]]) -> Parts:
        firsts: list[Expr] = []
        lasts: list[Expr] = []
        middle: list[Part] = []
        for span, part in parts:
            if span.ends and not span.lows:
                firsts.append(part.end)
            elif not span.ends:
                lasts.append(part.start)
            else:
                middle.append(part)
        first = self.let("end", self._most(*firsts)) if firsts else None
        last = self.let("start", self._least(*lasts)) if lasts else None
        if len(middle) > MOST:
            starts, ends = ([getattr(p, end) for p in middle] for end in ("start", "end"))
            middle = [
                Part(
                    self._within("start", self._least(*starts)), self.let("end", self._most(*ends))
                )
            ]
        return Parts(first, self._sorted(middle), last)

    def _sorted(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Parts by their starts, each before the next."""
        found = list(parts)
        for last in range(len(found) - 1, 0, -1):
            for i in range(last):
                a, b = found[i], found[i + 1]
                if self.known.at_most(a.start, b.start):
                    continue
                if self.known.at_most(b.start, a.start):
                    found[i], found[i + 1] = b, a
                    continue
                turned = Compare(("<",), (b.start, a.start))
                pair = [
                    Part(
                        self.let("start", Apply(edge, (a.start, b.start))),
                        self.let("end", Choice(turned, one.end, other.end)),
                    )
                    for edge, one, other in (("min", b, a), ("max", a, b))
                ]
                found[i : i + 2] = pair
        return tuple(found)

    def _where(self, spans: Sequence[Span], parts: Sequence[tuple[Span, Part]]) -> Expr:
        """That a tile may have a point; true where its span says so."""
        if not any(span.tests for span in spans):
            return both()
        at = Apply("low", (Var(self.axis),))
        found: Expr = negation(both())
        for span, part in parts:
            inside = Compare(("<=", "<"), (part.start, at, part.end))
            uncertain = negation(both(*span.assumed))
            tests = either(both(*span.tests), uncertain) if span.assumed else both(*span.tests)
            found = either(found, tests if len(parts) == 1 else both(inside, tests))
        return found

    # Parts as pieces

    def _disjoint(self, parts: Parts) -> list[Part]:
        """Parts, each of which begins where the tiles of those before it have ended."""
        found: list[Part] = []
        before: Expr = ZERO
        if parts.first is not None:
            found.append(Part(ZERO, parts.first))
            before = self._most(ZERO, self._up(parts.first)) if parts.middle else ZERO
        for i, part in enumerate(parts.middle):
            before = self._within("start", before)
            start = self._most(before, part.start)
            end = part.end if parts.last is None else self._least(part.end, parts.last)
            found.append(Part(start, end))
            if i + 1 < len(parts.middle):
                before = self._most(before, self._up(part.end))
        if parts.last is not None:
            up = ZERO if parts.first is None else self._most(ZERO, self._up(parts.first))
            found.append(Part(self._within("start", self._most(up, parts.last)), self.size))
        return found

    def _full(self, absent: Parts) -> list[Piece]:
        """What is left between parts in which a point may be absent, in whole tiles."""
        low: Expr = ZERO if absent.first is None else absent.first
        end = self._down(self.size)
        if absent.last is not None:
            end = self._least(end, absent.last)
        end = self.let("full", end)
        found: list[Piece] = []
        starts = [p.start for p in absent.middle]
        for i, part in enumerate(absent.middle):
            low = self.let("full", low)
            high = self.let("full", self._most(low, self._least(*starts[i:], end)))
            found.append(Piece(low, high, full=True))
            low = self._most(high, part.end)
        low = self.let("full", low)
        found.append(Piece(low, self.let("full", self._most(low, end)), full=True))
        return found

    def _outside(self, visited: Sequence[Part], full: Sequence[Piece]) -> list[Piece]:
        """The full pieces, and what is visited before, between and behind them."""
        found: list[Piece] = []
        before: Expr = ZERO
        for piece in (*full, None):
            if piece is None or piece.low != ZERO:
                end = None if piece is None else piece.low
                found += [self._clipped(part, before, end) for part in visited]
            if piece is not None:
                found.append(piece)
                before = piece.high
        return found

    def _clipped(self, part: Part, low: Expr, high: Expr | None) -> Piece:
        end = part.end if not self.whole else self._least(self.size, self._up(part.end))
        end = end if high is None else self._least(end, high)
        return Piece(self._most(low, part.start), end)


def _chosen(condition: Expr, then: Expr, other: Expr) -> Expr:
    return then if condition == both() or then == other else Choice(condition, then, other)
