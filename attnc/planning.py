"""A cascade as a plan of tile programs, and what can be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attnc.compilation import algebra
from attnc.errors import Diagnostic, Source, SpecError
from attnc.ir.facts import Facts
from attnc.passes.algebra.pipeline import ALGEBRA, at_sizes
from attnc.passes.tiling.combine import Combine
from attnc.passes.tiling.fuse import Fused, fuse
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.means import Means

BEFORE: Final = (Means(), *ALGEBRA, Combine())
"""The passes before a plan is made."""


def planned(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    pieces: Mapping[str, int] | None = None,
) -> tuple[Facts, Fused]:
    """The cascade that is tiled, and its plan; raises `NotLowered`.

    `sizes` are those at which costs are compared; others are nominal. A kernel that streams one of
    the variables in `pieces` goes through it in so many pieces, which another one merges.
    """
    steps = (Means(), *at_sizes(sizes or {}), Combine())
    before = algebra(facts, steps)
    return before, fuse(before, sizes, pieces)


def refused(error: NotLowered, source: Source) -> SpecError:
    """That tiles cannot do a term yet, at its place in the spec."""
    message = f"this cannot be tiled yet: {error.reason}"
    return SpecError([Diagnostic(message, source, error.expr.span)])
