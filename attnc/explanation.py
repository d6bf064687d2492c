"""What a cascade costs as written, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnc.errors import Source, UsageError
from attnc.grammar.scope import is_extent, suggestion
from attnc.ir import printer
from attnc.ir.cascade import Binding, Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Value
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.walk import subexpressions
from attnc.passes.analysis.cost import Cost, Formulas, cost, known_values
from attnc.passes.analysis.passes import Count, passes
from attnc.planning import compiled

if TYPE_CHECKING:
    import sympy


def explanation(
    facts: Facts, sizes: Mapping[str, int], dtype: str, source: Source | None = None
) -> dict[str, object]:
    """Passes, operations, bytes, footprint and graph of a cascade as written; its kernels.

    Formulas are texts over extents and parameters, in bytes and scalar operations; `value` is the
    number at the given sizes, or None where a size is missing. Untyped tensors have `dtype`.
    Refusals have lines of `source`. For what is compiled, see `attnc.planning`.
    Raises `UsageError` for a size that the cascade does not have.
    """
    check_sizes(facts, sizes)
    values = known_values(facts, sizes)
    formulas = Formulas(facts)
    found = cost(facts, dtype, formulas)
    numbers = _Numbers(formulas, values)
    return {
        "cascade": facts.cascade.name,
        "dtype": dtype,
        "sizes": {n: v for n, v in values.items() if is_extent(n) or n in sizes},
        "missing": numbers.missing(found),
        "written": {
            "passes": {v: _passes(c, facts, values) for v, c in passes(facts).items()},
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
        **compiled(facts, source),
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


def _passes(count: Count, facts: Facts, values: Mapping[str, Constant]) -> int | str:
    """The number of passes, or a formula where it depends on a size that is not known."""
    trips: dict[str, int] = {}
    for variable, _ in count.rounds:
        found = evaluate(facts.variables[variable], values)
        if not isinstance(found, int):
            break
        trips[variable] = found
    else:
        return max(count.at(trips), 1)
    parts = [
        f"{each}*{printer.expression(facts.variables[v], printer.PRODUCT + 1)}".removeprefix("1*")
        for v, each in count.rounds
    ]
    return " + ".join([*parts, *([str(count.fixed)] if count.fixed else [])])


class _Numbers:
    """Formulas with their values at the known sizes."""

    def __init__(self, formulas: Formulas, values: Mapping[str, Constant]) -> None:
        self.formulas = formulas
        self.known = values
        self.values: dict[Any, Constant] = {
            formulas.of_name(name): value
            for name, value in values.items()
            if isinstance(value, int) and not isinstance(value, bool)
        }

    def missing(self, found: Cost) -> list[str]:
        """The sizes that a number would need."""
        sizes = (found.operations, found.traffic, found.compulsory)
        needed = frozenset[Any]().union(*(s.free_symbols for s in sizes))
        names = {str(s) for s in needed - self.values.keys() if s not in self.formulas.opaque}
        for symbol in needed & self.formulas.opaque.keys():
            nodes = subexpressions(self.formulas.opaque[symbol])
            names |= {n.name for n in nodes if isinstance(n, Value) and n.name not in self.known}
        return sorted(names)

    def value(self, formula: sympy.Expr) -> int | None:
        """The number of a formula, if every size in it is known."""
        found = dict(self.values)
        for symbol in formula.free_symbols & self.formulas.opaque.keys():
            size = evaluate(self.formulas.opaque[symbol], self.known)
            if size is not None:
                found[symbol] = size
        number = formula.subs(found)
        return int(number) if number.is_Integer else None

    def quantity(self, formula: sympy.Expr) -> dict[str, object]:
        """A formula and its value."""
        return {"formula": str(formula), "value": self.value(formula)}

    def ratio(self, above: sympy.Expr, below: sympy.Expr) -> float | None:
        """A quotient of two formulas at the known sizes."""
        a, b = self.value(above), self.value(below)
        return None if a is None or not b else round(a / b, 3)

    def largest(self, formulas: Sequence[sympy.Expr]) -> dict[str, object]:
        """The largest of some formulas: those that no other exceeds whatever the sizes are."""
        kept: list[sympy.Expr] = []
        for formula in sorted(formulas, key=lambda f: -len(f.args)):
            if not any(_never_less(other, formula) for other in kept):
                kept = [k for k in kept if not _never_less(formula, k)] + [formula]
        values = [self.value(f) for f in kept]
        known = [v for v in values if v is not None]
        text = str(kept[0]) if len(kept) == 1 else f"max({', '.join(str(f) for f in kept)})"
        value = max(known) if known and len(known) == len(kept) else None
        return {"formula": text if kept else "0", "value": value if kept else 0}


def _never_less(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether `a - b` is a sum of terms that are not negative."""
    terms = (a - b).expand().as_coefficients_dict().values()
    return all(factor >= 0 for factor in terms)


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
