"""A cascade as observers of whole expressions: what is not kept is put where it is read.

A definition that is put where it is read has its left side's variables replaced by the index, and
its conditions as `only`. A variable that is bound inside of its own scope is one axis of the tiles
with the outer one if a kernel holds it whole; else it gets another name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Compare, Expr, Int, Read, Var
from attnc.ir.walk import bound, children, node_body, rebuild, rename_bound, substitute
from attnc.passes.tiling.presence import balanced


@dataclass
class Variables:
    """The sizes of rank variables, to which new ones are added."""

    sizes: dict[str, Expr]

    def like(self, variable: str, taken: frozenset[str]) -> str:
        """A variable of the same range that is not taken: `n_2` beside `n`, the same each time."""
        stem, size, number = variable.partition("_")[0], self.sizes[variable], 1
        name = variable
        while name in taken or self.sizes.get(name, size) != size:
            number += 1
            name = f"{stem}_{number}"
        self.sizes[name] = size
        return name

    def fresh(self, variable: str) -> str:
        """A variable of the same range that occurs nowhere else."""
        return self.like(variable, frozenset(self.sizes))


@dataclass
class Inliner:
    """Substitutes definitions; `kept` are the tensors that are computed and read as they are."""

    definitions: Mapping[str, Einsum]
    kept: frozenset[str]
    variables: Variables
    whole_axis: Callable[[str], bool]
    """Whether kernels hold an axis whole."""
    _known: dict[tuple[str, int | None], Expr] = field(
        default_factory=dict[tuple[str, int | None], Expr]
    )

    def __call__(self, expr: Expr) -> Expr:
        """An expression over inputs and kept tensors alone."""
        inner = rebuild(expr, tuple(self(c) for c in children(expr)))
        if not isinstance(inner, Read) or inner.tensor in self.kept:
            return inner
        definition = self.definitions.get(inner.tensor)
        return inner if definition is None else self.at(definition, inner)

    def at(self, definition: Einsum, read: Read) -> Expr:
        """What a definition computes where it is read."""
        index = dict(zip(definition.variables, read.index, strict=True))
        found = substitute(self.body(definition), index, self.variables.fresh)
        for variable, at in index.items():
            if not self._within(at, variable):
                inside = Compare(("<=", "<"), (Int(0), at, self.variables.sizes[variable]))
                found = Apply("only", (found, inside), read.span)
        return found

    def _within(self, index: Expr, variable: str) -> bool:
        """Whether an index is a variable of the same range."""
        sizes = self.variables.sizes
        return isinstance(index, Var) and sizes[index.name] == sizes[variable]

    def body(self, einsum: Einsum) -> Expr:
        """What a definition computes, its conditions included."""
        key = einsum.tensor, einsum.initial
        known = self._known.get(key)
        if known is None:
            value = self(einsum.value)
            if einsum.where:
                value = Apply("only", (value, balanced([self(c) for c in einsum.where])))
            known = self._known[key] = value
        return known

    def whole(self, einsum: Einsum) -> Einsum:
        """A definition over inputs and kept tensors, without conditions of its own."""
        value = self._apart(self.body(einsum), frozenset(einsum.variables), self.whole_axis)
        return replace(einsum, value=value, where=())

    def step(self, einsum: Einsum, variable: str, others: frozenset[str] = frozenset()) -> Einsum:
        """The same of a step along a variable, or of an initial value.

        Its kernel holds all axes whole but that one and `others`.
        """
        taken = frozenset((variable, *others, *einsum.variables))
        value = self._apart(self.body(einsum), taken, lambda v: v != variable and v not in others)
        return replace(einsum, value=value, where=())

    def _apart(self, expr: Expr, taken: frozenset[str], whole: Callable[[str], bool]) -> Expr:
        """An expression among the variables `taken`, whose inner ones have other names."""
        mine = bound(expr)
        names: dict[str, str] = {}
        for variable in sorted(v for v in mine & taken if not whole(v)):
            names[variable] = self.variables.like(variable, taken | mine | {*names.values()})
        if names:
            new: dict[str, Expr] = {v: Var(n) for v, n in names.items()}
            body = substitute(node_body(expr), new, self.variables.fresh)
            expr = rename_bound(rebuild(expr, (body,)), names)
        inside = taken | bound(expr)
        return rebuild(expr, tuple(self._apart(c, inside, whole) for c in children(expr)))
