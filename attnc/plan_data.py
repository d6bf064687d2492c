"""What is compiled, as plain data: kernels, what was derived for them, what stood in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from attnc.backends.numpy.tiled import DEFAULTS
from attnc.errors import Source
from attnc.ir import printer
from attnc.ir.expr import Expr
from attnc.ir.facts import Facts
from attnc.ir.tiles import AxisKind, Kernel
from attnc.ir.walk import subexpressions
from attnc.passes.analysis.cost import Cost
from attnc.passes.analysis.plan_cost import KernelCost, PlanCost, plan_cost
from attnc.passes.analysis.plan_passes import axis_sizes, kernel_passes, plan_passes
from attnc.passes.analysis.quantities import Quantities, quotient, times
from attnc.passes.running.show import described
from attnc.passes.tiling.fuse import Fused
from attnc.passes.tiling.lower import NotLowered
from attnc.planning import planned, ranged
from attnc.tile_data import check_tiles, tiles_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILES: Final = {
    cast("AxisKind", kind): None if size == "None" else int(size) for kind, size in DEFAULTS.items()
}
"""Sizes of tiles by the kind of their axis, as the NumPy backend takes them unasked."""


@dataclass(frozen=True)
class Asked:
    """How tiles are to be counted: their sizes by axis, and arrays of inputs that decide."""

    tiles: Mapping[str, int] = field(default_factory=dict[str, int])
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, Any])


def compiled(
    facts: Facts,
    sizes: Mapping[str, int],
    ranks: Iterable[str],
    dtype: str,
    written: Cost,
    numbers: Quantities,
    source: Source | None,
    asked: Asked,
) -> dict[str, object]:
    """Kernels and refusals as plain data; `compiled` is None where tiles cannot do it yet.

    `sizes` are those at which the passes compare costs, `ranks` those whose passes are counted.
    `written` is the cost of the text; ratios are of that to the plan's, so more is better. A
    refusal has the tensor, the term, the reason, and file and line of the spec, where known. Tiles
    are counted as is `asked`; raises `UsageError` for a size of tiles that no kernel has.
    """
    try:
        separate, fused = planned(facts, sizes)
    except NotLowered as error:
        return {
            "compiled": None,
            "refusals": [_refusal(None, error.expr, error.reason, facts, source)],
        }
    visiting = ranged(fused.plan)
    check_tiles(visiting, asked.tiles)
    counts, axes = plan_passes(fused.plan, separate), axis_sizes(fused.plan, separate)
    found = plan_cost(fused.plan, separate, dtype, TILES, numbers.formulas)
    live = numbers.largest(found.total.live())
    before = numbers.largest(written.live())
    return {
        "compiled": {
            "passes": {r: times(counts[r], axes, numbers.known) for r in ranks},
            "kernels": [
                _kernel(kernel, cost, fused, numbers)
                | {"tiles": tiles_of(visiting, run, numbers.known, asked.tiles, asked.data)}
                for kernel, cost, run in zip(
                    fused.plan.kernels, found.kernels, visiting.kernels, strict=True
                )
            ],
            "derived": _derived(fused),
            "buffers": _buffers(found, numbers),
            "tiles": {str(kind): size for kind, size in TILES.items()},
            "operations": numbers.quantity(found.total.operations),
            "bytes": {
                "traffic": numbers.quantity(found.total.traffic),
                "loaded": numbers.quantity(found.loaded),
            },
            "footprint": {"live": live},
            "ratio": {
                "operations": numbers.ratio(written.operations, found.total.operations),
                "traffic": numbers.ratio(written.traffic, found.total.traffic),
                "footprint": quotient(_number(before), _number(live)),
            },
        },
        "refusals": [
            _refusal(r.tensor, r.term, r.reason, separate, source) for r in fused.refusals
        ],
    }


def _number(quantity: Mapping[str, object]) -> int | None:
    value = quantity["value"]
    return value if isinstance(value, int) else None


def _kernel(
    kernel: Kernel, cost: KernelCost, fused: Fused, numbers: Quantities
) -> dict[str, object]:
    axes = {kind: [a.name for a in kernel.axes if a.kind == kind] for kind in TILES}
    return {
        "name": kernel.name,
        "streams": [*axes["stream"], *axes["step"]],
        "passes": kernel_passes(kernel, fused.plan),
        "parallel": axes["par"],
        "reads": list(cost.reads),
        "writes": list(cost.writes),
        "operations": numbers.quantity(cost.operations),
        "bytes": {
            "read": numbers.quantity(cost.read),
            "written": numbers.quantity(cost.written),
            "loaded": numbers.quantity(cost.loaded),
        },
        "state": numbers.largest(cost.state),
    }


def _derived(fused: Fused) -> list[dict[str, object]]:
    """Each reduction that runs while its rank is streamed, with what it carries."""
    return [
        {
            "tensor": one.tensor,
            "over": list(group.over),
            "op": one.op,
            "of": list(one.of),
            "carried": list(one.carried),
            "result": one.result,
        }
        for group in fused.partition.groups
        for one in described(group.forms)
    ]


def _buffers(found: PlanCost, numbers: Quantities) -> list[dict[str, object]]:
    return [
        {
            "tensor": b.name,
            **numbers.quantity(b.size),
            "made": b.maker,
            "over": list(b.over),
            "read": list(b.readers),
        }
        for b in found.buffers
    ]


def _refusal(
    tensor: str | None, term: Expr, reason: str, facts: Facts, source: Source | None
) -> dict[str, object]:
    """A refusal; where its term has no place in the text, that of the tensor's definition is."""
    line = None
    if source is not None:
        exprs = [term, *(e.value for e in facts.cascade.einsums if e.tensor == tensor)]
        starts = (n.span.start for e in exprs for n in _outermost_first(e) if n.span.start >= 0)
        start = next(starts, None)
        line = None if start is None else source.position(start)[0]
    return {
        "tensor": tensor,
        "term": printer.expression(term),
        "reason": reason,
        "file": None if source is None else source.name,
        "line": line,
    }


def _outermost_first(expr: Expr) -> Iterable[Expr]:
    return reversed(list(subexpressions(expr)))
