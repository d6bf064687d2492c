"""What a cascade costs as written and as compiled, as plain data."""

from __future__ import annotations

from collections.abc import Mapping

from attnc.errors import Source, UsageError
from attnc.grammar.scope import is_extent, suggestion
from attnc.ir import printer
from attnc.ir.cascade import Binding
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.passes.analysis.cost import Formulas, cost, known_values
from attnc.passes.analysis.passes import passes
from attnc.passes.analysis.quantities import Quantities, times
from attnc.plan_data import Asked, compiled


def explanation(
    facts: Facts,
    sizes: Mapping[str, int],
    dtype: str,
    source: Source | None = None,
    asked: Asked | None = None,
) -> dict[str, object]:
    """Passes, operations, bytes, footprint and graph of a cascade as written; its kernels.

    Formulas are texts over extents and parameters, in bytes and scalar operations; `value` is the
    number at the given sizes, or None where a size is missing. Untyped tensors have `dtype`.
    Refusals have lines of `source`; tiles are counted as is `asked`. For what is compiled, see
    `attnc.plan_data`.
    Raises `UsageError` for a size that the cascade does not have.
    """
    check_sizes(facts, sizes)
    values = known_values(facts, sizes)
    formulas = Formulas(facts)
    found = cost(facts, dtype, formulas)
    numbers = Quantities(formulas, values)
    counts = passes(facts)
    return {
        "cascade": facts.cascade.name,
        "dtype": dtype,
        "sizes": {n: v for n, v in values.items() if is_extent(n) or n in sizes},
        "missing": numbers.missing((found.operations, found.traffic, found.compulsory)),
        "written": {
            "passes": {v: times(c, facts.variables, values) for v, c in counts.items()},
            "operations": numbers.quantity(found.operations),
            "bytes": {
                "inputs": numbers.quantity(found.inputs),
                "outputs": numbers.quantity(found.outputs),
                "compulsory": numbers.quantity(found.compulsory),
                "traffic": numbers.quantity(found.traffic),
            },
            "intensity": {
                "compulsory": numbers.ratio(found.operations, found.compulsory),
                "traffic": numbers.ratio(found.operations, found.traffic),
            },
            "footprint": {
                "live": numbers.largest(found.live()),
                "tensors": [{"tensor": t.name, **numbers.quantity(t.size)} for t in found.tensors],
            },
            "graph": _graph(facts),
        },
        **compiled(facts, sizes, counts, dtype, found, numbers, source, asked or Asked()),
    }


def check_sizes(facts: Facts, sizes: Mapping[str, int]) -> None:
    """Raises `UsageError` unless each size is of an extent or int parameter, and not negative."""
    bound = {s.name for s in facts.cascade.statements if isinstance(s, Binding)}
    known = [n for n in facts.values if is_extent(n) and n not in bound]
    known += [p.name for p in facts.cascade.parameters if p.type == "int" and p.name not in known]
    for name, value in sizes.items():
        if name not in known:
            hint = suggestion(name, known) or f"sizes: {', '.join(known)}"
            raise UsageError(f"'{facts.cascade.name}' has no size '{name}'; {hint}")
        if is_extent(name) and value < 0:
            raise UsageError(f"the extent {name} = {value} is negative")


def _graph(facts: Facts) -> list[dict[str, object]]:
    """The Einsums in running order with what each reads."""
    nodes: list[dict[str, object]] = []
    for stage in facts.stages:
        members = (*stage.initial, *stage.steps) if isinstance(stage, Loop) else (stage.einsum,)
        for einsum in members:
            node: dict[str, object] = {
                "tensor": einsum.tensor,
                "einsum": " ".join(printer.statement(einsum).split()),
                "reads": list(dict.fromkeys(r.tensor for r in tensor_reads(einsum))),
            }
            if isinstance(stage, Loop):
                node["loop"] = stage.variable
            nodes.append(node)
    return nodes
