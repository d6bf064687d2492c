"""A cascade as a plan of tile programs, and what can be said of it."""

from __future__ import annotations

from attnc.compilation import algebra
from attnc.errors import Diagnostic, Source, SpecError
from attnc.ir import printer
from attnc.ir.expr import Expr
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


def compiled(facts: Facts, source: Source | None) -> dict[str, object]:
    """Kernels and refusals as plain data; `compiled` is None where tiles cannot do it yet.

    A refusal has the term, the reason, and the line of the spec, where that is known.
    """

    def line(expr: Expr) -> int | None:
        if source is None or expr.span.start < 0:
            return None
        return source.position(expr.span.start)[0]

    try:
        _, fused = planned(facts)
    except NotLowered as error:
        refusal = {
            "term": printer.expression(error.expr),
            "reason": error.reason,
            "line": line(error.expr),
        }
        return {"compiled": None, "refusals": [refusal]}
    kernels = [
        {
            "name": kernel.name,
            "streams": [a.name for a in kernel.axes if a.kind == "stream"],
            "passes": {a.name: 1 for a in kernel.axes if a.kind == "stream"},
        }
        for kernel in fused.plan.kernels
    ]
    refusals = [
        {"term": printer.expression(r.term), "reason": r.reason, "line": line(r.term)}
        for r in fused.refusals
    ]
    buffers = [b.name for b in fused.plan.buffers]
    return {"compiled": {"kernels": kernels, "buffers": buffers}, "refusals": refusals}
