"""The units that expressions have by what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attnc.ir.expr import Apply, Binary, Choice, Expr, Name, Unary
from attnc.passes.tiling.scalars import LN2, ONE, Scalar
from attnc.passes.tiling.unit_nodes import NATURAL, Nodes


class Natural:
    """Natural units of expressions; `labels` are those of tiles, 1 for others."""

    def __init__(self, nodes: Nodes, labels: Mapping[str, Scalar]) -> None:
        self.nodes: Nodes = nodes
        self.labels: Mapping[str, Scalar] = labels
        self._known: dict[int, tuple[Scalar, ...]] = {}

    def __call__(self, expr: Expr) -> tuple[Scalar, ...]:
        """The units that an expression has by what it is made of."""
        found = self._known.get(id(expr))
        if found is None:
            units = dict.fromkeys(self._units(expr)) if self.nodes(expr).tiles else {ONE: None}
            found = self._known[id(expr)] = tuple(units)[:NATURAL] or (ONE,)
        return found

    def _units(self, expr: Expr) -> Iterable[Scalar]:
        if not self.nodes(expr).kind.floating:
            return (ONE,)
        match expr:
            case Name(name=name):
                return (self.labels.get(name, ONE),)
            case Unary(op="-", operand=operand):
                return self(operand)
            case Binary(op="+" | "-", left=left, right=right) | Choice(then=left, other=right):
                return self._of_some((left, right))
            case Binary(op="*" | "/" as op, left=left, right=right):
                return self._of_product(op, left, right)
            case Apply(function="max" | "min" | "clip", arguments=arguments):
                return self._of_some(arguments)
            case Apply(function="abs" | "relu" | "detach", arguments=(operand,)):
                return self(operand)
            case Apply(function="log"):
                return (LN2, ONE)
            case _:
                return (ONE,)

    def _of_some(self, parts: Iterable[Expr]) -> Iterable[Scalar]:
        return (u for p in parts if not self.nodes(p).uniform for u in self(p))

    def _of_product(self, op: str, left: Expr, right: Expr) -> Iterable[Scalar]:
        a, b = (self._factors(side) for side in (left, right))
        return (x * y if op == "*" else x / y for x in a for y in b)

    def _factors(self, side: Expr) -> tuple[Scalar, ...]:
        node = self.nodes(side)
        if node.uniform:
            return (ONE,) if node.factor is None else (node.factor,)
        return self(side)
