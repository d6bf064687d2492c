"""Formulas with their values at sizes that are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnc.ir import printer
from attnc.ir.cascade import Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Expr, Value
from attnc.ir.walk import subexpressions
from attnc.passes.analysis.cost import Formulas
from attnc.passes.analysis.passes import Count

if TYPE_CHECKING:
    import sympy


class Quantities:
    """Formulas with their values at the known sizes, as plain data."""

    def __init__(self, formulas: Formulas, values: Mapping[str, Constant]) -> None:
        self.formulas = formulas
        self.known = values
        self.values: dict[Any, Constant] = {
            formulas.of_name(name): value
            for name, value in values.items()
            if isinstance(value, int) and not isinstance(value, bool)
        }

    def missing(self, found: Iterable[sympy.Expr]) -> list[str]:
        """The sizes that the values of some formulas would need."""
        needed = frozenset[Any]().union(*(s.free_symbols for s in found))
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
        return quotient(self.value(above), self.value(below))

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


def quotient(above: int | None, below: int | None) -> float | None:
    """`above / below`, where both are known and that is a number."""
    return None if above is None or not below else round(above / below, 3)


def times(count: Count, sizes: Mapping[str, Expr], values: Mapping[str, Constant]) -> int | str:
    """The number of passes, or a formula where it depends on a size that is not known."""
    trips: dict[str, int] = {}
    for variable, _ in count.rounds:
        found = evaluate(sizes[variable], values)
        if not isinstance(found, int):
            break
        trips[variable] = found
    else:
        return max(count.at(trips), 1)
    parts = [
        f"{each}*{printer.expression(sizes[v], printer.PRODUCT + 1)}".removeprefix("1*")
        for v, each in count.rounds
    ]
    return " + ".join([*parts, *([str(count.fixed)] if count.fixed else [])])


def _never_less(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether `a - b` is a sum of terms that are not negative."""
    terms = (a - b).expand().as_coefficients_dict().values()
    return all(factor >= 0 for factor in terms)
