"""Reductions, scans, sorts and first indices: what looks at many points of an expression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Arg, Expr, Read, Reduce, Scan, TopK, Var
from attnc.ir.walk import bound, kept_variable, subexpressions

Observer: TypeAlias = Reduce | Scan | Arg | TopK


def observers(expr: Expr) -> Iterator[Observer]:
    """Every observer in an expression, inner ones first."""
    for node in subexpressions(expr):
        if isinstance(node, Reduce | Scan | Arg | TopK):
            yield node


def observes(einsum: Einsum) -> bool:
    """Whether an Einsum is more than a map."""
    return any(True for e in (einsum.value, *einsum.where) for _ in observers(e))


def scans(expr: Expr) -> list[Scan]:
    """Every scan in an expression."""
    return [node for node in observers(expr) if isinstance(node, Scan)]


def combined(expr: Expr) -> frozenset[str]:
    """The variables that an expression's observers go along, bound or not."""
    found: set[str] = set()
    for node in observers(expr):
        found |= bound(node)
        if isinstance(node, Scan):
            found.add(node.variable)
    return frozenset(found)


def looked_along(node: Observer) -> frozenset[str]:
    """The variables along which an observer looks at all points, or fills them."""
    variable = kept_variable(node)
    return bound(node) | ({variable} if variable else frozenset())


def index_variables(read: Read) -> frozenset[str]:
    """The variables in the index of a read."""
    nodes = (n for i in read.index for n in subexpressions(i))
    return frozenset(n.name for n in nodes if isinstance(n, Var))
