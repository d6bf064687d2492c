"""Sums, products and quotients of tiles that are held in units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from attnc.ir.expr import Binary, Expr, Name
from attnc.ir.tiles import Dot
from attnc.ir.types import Kind
from attnc.ir.walk import children
from attnc.passes.tiling.scalars import ONE, Scalar
from attnc.passes.tiling.unit_natural import Natural
from attnc.passes.tiling.unit_nodes import (
    DIVISION,
    FUSED,
    Made,
    Nodes,
    cheapest,
    is_product,
    joined,
    keeps_unit,
)


class Arithmetic(ABC):
    """Ways to make sums, products and quotients, by ways to make what is in them."""

    nodes: Nodes
    labels: Mapping[str, Scalar]
    natural: Natural
    depth: int

    @abstractmethod
    def best(self, expr: Expr, unit: Scalar) -> Made | None:
        """The cheapest way to an expression in a unit; None if it has no such unit."""

    @abstractmethod
    def part(self, expr: Expr, unit: Scalar) -> Made | None:
        """The same for an operand of a sum."""

    @abstractmethod
    def scaled(self, expr: Expr, unit: Scalar) -> Iterable[Made | None]:
        """Ways to an expression that end with a product."""

    @abstractmethod
    def times(self, expr: Expr, made: Made, factor: Scalar) -> Made:
        """What was made of an expression, times a uniform number."""

    @abstractmethod
    def truth(self, expr: Expr) -> Made:
        """A condition."""

    def weight(self, expr: Expr) -> float:
        """How often an expression is computed."""
        return self.nodes.weight(expr, self.depth)

    def rounded(self, expr: Expr) -> bool:
        """Whether a tile is a sum of many products, and not what a quotient would make exact."""
        return isinstance(expr, Name) and isinstance(self.nodes.context.defined.get(expr.name), Dot)

    def as_written(self, expr: Expr, cost: float = 0) -> Made | None:
        """An expression of operands in the unit 1."""
        parts = [
            self.truth(c) if self.nodes(c).kind is Kind.BOOL else self.best(c, ONE)
            for c in children(expr)
        ]
        return joined(expr, parts, cost * self.weight(expr))

    def sum(self, expr: Binary, unit: Scalar) -> Iterable[Made | None]:
        """Ways to a sum or a difference."""
        if self._apart(expr, unit):
            yield from self._difference(expr, unit)
            return
        for a in (self._multiplied(expr.left, unit), self.part(expr.left, unit)):
            for b in (self.part(expr.right, unit), self._multiplied(expr.right, unit)):
                yield self._added(expr, a, b)

    def _multiplied(self, expr: Expr, unit: Scalar) -> Made | None:
        """An operand of a sum that ends with a product, which costs no more than the sum."""
        return None if keeps_unit(expr) else cheapest(self.scaled(expr, unit))

    def _added(self, expr: Binary, left: Made | None, right: Made | None) -> Made | None:
        own = self.weight(expr)
        fused = any(
            made is not None and is_product(made.expr) and self.weight(side) == own
            for made, side in ((left, expr.left), (right, expr.right))
        )
        return joined(expr, [left, right], own * (FUSED - 1 if fused else 1))

    def _apart(self, expr: Binary, unit: Scalar) -> bool:
        """Whether it is a difference of two tiles, both in other units than it, and not in one."""
        sides = expr.left, expr.right
        units = {self.labels.get(s.name, ONE) for s in sides if isinstance(s, Name)}
        return (
            expr.op == "-" and all(self.nodes(s).tiles for s in sides) and len({unit, *units}) == 3
        )

    def _difference(self, expr: Binary, unit: Scalar) -> Iterable[Made | None]:
        """Both are brought to one unit, and on from there in the same way: what is equal stays
        so, and a maximum less what it was taken of is never above 0."""
        for common in self.natural(expr):
            parts = [(side, self.best(side, common)) for side in (expr.left, expr.right)]
            yield self._added(
                expr,
                *(
                    made
                    if made is None or common == unit
                    else self.times(side, made, common / unit)
                    for side, made in parts
                ),
            )

    def product(self, expr: Binary, unit: Scalar) -> Iterable[Made | None]:
        """Ways to a product: a uniform factor goes into the unit, at no cost."""
        if unit == ONE:
            yield self.as_written(expr, 1)
        left, right = self.nodes(expr.left), self.nodes(expr.right)
        for a, b in ((left, right), (right, left)):
            if a.factor is not None and b.kind.floating:
                yield self.best(b.expr, unit / a.factor)
        if left.uniform or right.uniform:
            return
        cost = self.weight(expr)
        for part in self.natural(expr.left):
            yield self._pair(expr, part, unit / part, cost)
        for part in self.natural(expr.right):
            yield self._pair(expr, unit / part, part, cost)

    def quotient(self, expr: Binary, unit: Scalar) -> Iterable[Made | None]:
        """Ways to a quotient."""
        left, right = self.nodes(expr.left), self.nodes(expr.right)
        if unit == ONE:
            exact = right.factor is not None and right.factor.whole and not self.rounded(expr.left)
            yield self.as_written(expr, 1 if exact else DIVISION)
        if right.uniform:
            if right.factor is not None and left.kind.floating:
                yield self.best(expr.left, unit * right.factor)
            return
        cost = DIVISION * self.weight(expr)
        for part in self.natural(expr.right):
            yield self._pair(expr, unit * part, part, cost)
        if not left.uniform:
            for part in self.natural(expr.left):
                yield self._pair(expr, part, part / unit, cost)

    def _pair(self, expr: Binary, left: Scalar, right: Scalar, cost: float) -> Made | None:
        return joined(expr, [self.best(expr.left, left), self.best(expr.right, right)], cost)
