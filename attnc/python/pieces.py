"""A spec put together from pieces of a Python function, each of which knows where it was written.

What a function says (its name, its annotations, its docstring) becomes the text of a `.attn` file,
and that text alone is compiled. A place in it leads back to the place in the function.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from attnc.errors import Span

Part: TypeAlias = Literal["name", "docstring", "argument", "annotation", "default", "returns"]


class Origin(NamedTuple):
    """A part of a function; `key` names the argument, or counts the annotations of the result."""

    part: Part
    key: str = ""


class Origins(NamedTuple):
    """A range of one part: offsets in its text, or None for all of it."""

    origin: Origin
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a spec and where it was written.

    With `at`, the text stands literally at that offset of its origin; without, it was made for it.
    """

    text: str
    origin: Origin
    at: int | None = None


@dataclass(frozen=True)
class Assembled:
    """The text of a spec as its pieces."""

    pieces: tuple[Piece, ...]

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return "".join(piece.text for piece in self.pieces)

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [], 0
        for piece in self.pieces:
            starts.append(at)
            at += len(piece.text)
        return starts

    def origins(self, span: Span) -> Origins:
        """Where a range of the text was written: in the part in which it begins."""
        first = self._piece(span.start)
        last = self._piece(max(span.start, span.end - 1))
        piece, begin = self.pieces[first], self._starts[first]
        if piece.at is None:
            return Origins(piece.origin)
        start = piece.at + span.start - begin
        end = min(span.end - begin, len(piece.text)) + piece.at
        other = self.pieces[last]
        if other.origin == piece.origin and other.at is not None:
            end = other.at + min(span.end - self._starts[last], len(other.text))
        return Origins(piece.origin, Span(start, max(start, end)))

    def _piece(self, offset: int) -> int:
        """The piece that holds an offset; never an empty one."""
        found = max(bisect.bisect_right(self._starts, offset) - 1, 0)
        while found > 0 and not self.pieces[found].text:
            found -= 1
        return found


class Fault(NamedTuple):
    """What is wrong in a part of a function."""

    message: str
    place: Origins
    hints: tuple[str, ...] = ()


class Faulty(Exception):
    """A function that is no spec."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("; ".join(f.message for f in self.faults))
