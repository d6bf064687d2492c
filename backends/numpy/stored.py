"""Tensors that the emitted function holds, and what emitting an expression asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from attnc.ir.expr import Expr
from attnc.ir.facts import Dimension, Facts
from attnc.ir.types import Kind


class NeedsPresence(Exception):
    """A tensor of a group is not present everywhere, as was assumed.

    Either it needs an array of presence, or it is present `when` some scalar conditions hold.
    """

    def __init__(self, tensor: str, when: tuple[str, ...] | None = None) -> None:
        super().__init__(tensor)
        self.tensor: str = tensor
        self.when: tuple[str, ...] | None = when


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that the emitted function holds.

    `positions` are the ranks that its presence array `here` spans. While its group runs,
    `computed` is the loop variable and the largest offset from it that is computed already.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    kind: Kind
    here: str | None = None
    positions: tuple[int, ...] = ()
    when: tuple[str, ...] = ()
    whole: str = ""
    kept: tuple[int, ...] = ()
    computed: tuple[str, int, int] | None = None


class Surroundings(Protocol):
    """What the emitter of expressions needs from the emitter of the function."""

    facts: Facts

    @property
    def tensors(self) -> Mapping[str, Stored]:
        """The tensors that the function holds so far."""

    def coordinate(self, variable: str) -> str:
        """The name of the array of a variable's coordinates."""

    def value(self, name: str) -> str:
        """The Python name of a value."""

    def size(self, variable: str) -> str:
        """The text of the size of a variable's range."""

    def nonempty(self, variable: str) -> str:
        """The condition that a variable's range is not empty."""

    def extent(self, size: Expr) -> str:
        """The text of an expression of values."""

    def temporary(self) -> str:
        """A new name."""
