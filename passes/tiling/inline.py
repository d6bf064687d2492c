"""A cascade as reductions over streamed ranks: maps between them substituted.

Every definition that is no reduction over a streamed rank is put where it is read, with its left
side's variables replaced by the index, and its conditions as `only`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Compare, Expr, Int, Read, Reduce, Var
from attnc.ir.walk import children, rebuild, substitute
from attnc.passes.tiling.presence import balanced


@dataclass
class Inliner:
    """Substitutes definitions; `kept` are the tensors that are computed and read as they are."""

    definitions: Mapping[str, Einsum]
    kept: frozenset[str]
    sizes: Mapping[str, Expr]
    fresh: Callable[[str], str]
    _known: dict[str, Expr] = field(default_factory=dict)

    def __call__(self, expr: Expr) -> Expr:
        """An expression over inputs and kept tensors alone."""
        inner = rebuild(expr, tuple(self(c) for c in children(expr)))
        if not isinstance(inner, Read) or inner.tensor in self.kept:
            return inner
        definition = self.definitions.get(inner.tensor)
        if definition is None:
            return inner
        index = dict(zip(definition.variables, inner.index, strict=True))
        found = substitute(self.body(definition), index, self.fresh)
        for variable, at in index.items():
            if not self._within(at, variable):
                inside = Compare(("<=", "<"), (Int(0), at, self.sizes[variable]))
                found = Apply("only", (found, inside))
        return found

    def _within(self, index: Expr, variable: str) -> bool:
        """Whether an index is a variable of the same range."""
        return isinstance(index, Var) and self.sizes[index.name] == self.sizes[variable]

    def body(self, einsum: Einsum) -> Expr:
        """What a definition computes, its conditions included."""
        known = self._known.get(einsum.tensor)
        if known is None:
            value = self(einsum.value)
            if einsum.where:
                value = Apply("only", (value, balanced([self(c) for c in einsum.where])))
            known = self._known[einsum.tensor] = value
        return known


def reduction(einsum: Einsum, streamed: frozenset[str]) -> Reduce | None:
    """The reduction over streamed ranks that an Einsum is, if it is one without conditions."""
    value = einsum.value
    if isinstance(value, Reduce) and set(value.variables) <= streamed:
        return value
    return None
