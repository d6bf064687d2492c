"""A cascade as a plan of tile programs, and what can be said of it."""

from __future__ import annotations

from attnc.compilation import algebra
from attnc.errors import Diagnostic, Source, SpecError
from attnc.ir.facts import Facts
from attnc.passes.algebra.cse import Cse
from attnc.passes.algebra.separate import Separate
from attnc.passes.tiling.fuse import Fused, fuse
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.means import Means

BEFORE = (Means(), Separate(), Cse())
"""The passes that a plan needs: every reduction an Einsum of its own."""


def planned(facts: Facts) -> tuple[Facts, Fused]:
    """The cascade that is tiled, and its plan; raises `NotLowered`."""
    separate = algebra(facts, BEFORE)
    return separate, fuse(separate)


def refused(error: NotLowered, source: Source) -> SpecError:
    """That tiles cannot do a term yet, at its place in the spec."""
    message = f"this cannot be tiled yet: {error.reason}"
    return SpecError([Diagnostic(message, source, error.expr.span)])
