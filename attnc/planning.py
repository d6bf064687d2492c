"""A cascade as a plan of tile programs, and what can be said of it."""

from __future__ import annotations

from collections.abc import Mapping

from attnc.compilation import algebra
from attnc.errors import Diagnostic, Source, SpecError
from attnc.ir.facts import Facts
from attnc.passes.algebra.pipeline import at_sizes
from attnc.passes.tiling.fuse import Fused, fuse
from attnc.passes.tiling.lower import NotLowered


def planned(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    pieces: Mapping[str, int] | None = None,
) -> tuple[Facts, Fused]:
    """The cascade that is tiled, and its plan; raises `NotLowered`.

    `sizes` are those at which costs are compared; others are nominal. A kernel that streams one of
    the variables in `pieces` goes through it in so many pieces, which another one merges.
    """
    before = algebra(facts, at_sizes(sizes or {}))
    return before, fuse(before, sizes, pieces)


def refused(error: NotLowered, source: Source) -> SpecError:
    """That tiles cannot do a term yet, at its place in the spec."""
    message = f"this cannot be tiled yet: {error.reason}"
    return SpecError([Diagnostic(message, source, error.expr.span)])
