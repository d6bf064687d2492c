"""Pieces of a kernel's text: what they are held in, and the axes along which they vary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from attnc.ir.nodes import quick
from attnc.ir.printer import ATOM
from attnc.ir.types import Kind


class Held(Enum):
    """What a value is held in by a kernel.

    `INT` is the type of coordinates, 32 bits unless a call needs 64; `TYPE` the element type of
    tensors that declare none; `FLOAT` what is computed in for these, f32 or f64.
    """

    BOOL = "tl.int1"
    INT = "INDEX"
    I32 = "tl.int32"
    I64 = "tl.int64"
    TYPE = "TYPE"
    F32 = "tl.float32"
    FLOAT = "FLOAT"
    F64 = "tl.float64"


HELD = {
    Kind.BOOL: Held.BOOL,
    Kind.I32: Held.I32,
    Kind.I64: Held.I64,
    Kind.F32: Held.F32,
    Kind.FLOAT: Held.FLOAT,
    Kind.F64: Held.F64,
}
"""What values of a kind are held in, where nothing narrower will do."""


@quick
@dataclass(frozen=True, slots=True)
class Term:
    """A text, its axes in the order of its dimensions, and what it is held in.

    `literal`: a number of the text itself, which takes the type of what it meets.
    """

    text: str
    axes: tuple[str, ...]
    held: Held
    level: int = ATOM
    literal: bool = False

    @property
    def true(self) -> bool:
        """Whether it is a condition that holds everywhere, as its text says."""
        return self.literal and self.text == "True"

    def at(self, level: int) -> str:
        """The text, in parentheses where it binds more weakly than `level`."""
        return self.text if self.level >= level else f"({self.text})"


def spread(term: Term, axes: Sequence[str]) -> Term:
    """A term that broadcasts over `axes`: dimensions of size 1 are put in for those it lacks."""
    if not term.axes or tuple(axes) == term.axes:
        return term
    wanted = tuple(a for a in axes if a in term.axes)
    if wanted != term.axes:
        term = permuted(term, wanted)
    if len(term.axes) == len(axes):
        return term
    index = ", ".join(":" if a in term.axes else "None" for a in axes)
    return replace(term, text=f"{term.at(ATOM)}[{index}]", axes=tuple(axes), level=ATOM)


def permuted(term: Term, axes: tuple[str, ...]) -> Term:
    """A term with its dimensions in another order."""
    if axes == term.axes:
        return term
    if len(axes) == 2:
        text = f"tl.trans({term.text})"
    else:
        text = f"tl.permute({term.text}, {tuple(term.axes.index(a) for a in axes)})"
    return replace(term, text=text, axes=axes, level=ATOM)


def united(order: Callable[[str], int], *terms: Term) -> tuple[str, ...]:
    """The axes of several terms together: in the order of one that has them all, else as given."""
    found = {a for t in terms for a in t.axes}
    for term in terms:
        if len(term.axes) == len(found):
            return term.axes
    return tuple(sorted(found, key=order))
