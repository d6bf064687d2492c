"""What the parser yields beside level-1 nodes: macro definitions, `return`, whole files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from attnc.errors import NOWHERE, Span
from attnc.ir.cascade import Cascade
from attnc.ir.expr import Expr

MAX_TEXT: Final = 1024 * 1024
"""Longest source text, in characters."""

MAX_TOKENS: Final = 250_000
"""Most tokens in one file."""

MAX_LINE: Final = 20_000
"""Most tokens in one statement."""

MAX_LINES: Final = 12_000
"""Most statements in one file."""

MAX_NAME: Final = 200
"""Longest name, in characters."""

MAX_DEPTH: Final = 120
"""Deepest nesting of one expression, as written and again after macros are expanded."""

MAX_VARIABLES: Final = 48
"""Most rank variables in one Einsum; an array has at most 64 axes in NumPy."""

MAX_NODES: Final = 20_000
"""Most nodes of one expression after macros are expanded and sums are written."""

MAX_WORK: Final = 250_000
"""Most nodes of all expressions of one file, counted in the same way."""


@dataclass(frozen=True, slots=True)
class Definition:
    """`def name[brackets](parameters) = body`.

    One that is not `valid` was reported; what calls it is not to blame.
    """

    name: str
    brackets: tuple[str, ...] | None
    parameters: tuple[str, ...]
    body: Expr
    span: Span = NOWHERE
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Returned:
    """`return e1, e2`, which only a docstring may hold."""

    values: tuple[Expr, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Parsed:
    """A cascade whose expressions still hold `Name` and `Call` nodes.

    Where something in it did not parse, `lost` holds the names that it may have defined: their
    uses are not to blame. None if all of it parsed.
    """

    cascade: Cascade
    lost: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A parsed file."""

    definitions: tuple[Definition, ...]
    cascades: tuple[Parsed, ...]
