"""Expressions over tiles that are held in units: what each costs, in whatever unit it is wanted.

A tile `t` of unit `u` stands for `u * t`. An expression in a unit is chosen from the leaves up, as
instructions are from a tree: each node is made in the unit that is wanted from parts in units of
their own, or in one of those that are natural to it, and multiplied. What is cheapest stays; of
two that cost the same, what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Logical, Name, Unary
from attnc.ir.types import Kind, Origin
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.scalars import LN2, ONE, Scalar
from attnc.passes.tiling.unit_arithmetic import Arithmetic
from attnc.passes.tiling.unit_memory import Memory
from attnc.passes.tiling.unit_natural import Natural
from attnc.passes.tiling.unit_nodes import (
    POWER,
    Made,
    Node,
    Nodes,
    Place,
    cheapest,
    joined,
    keeps_unit,
    power_unit,
)


class Rules(Arithmetic):
    """Expressions at one place, in units; `labels` are those of tiles, 1 for others."""

    def __init__(
        self,
        nodes: Nodes,
        labels: Mapping[str, Scalar],
        place: Place,
        number: Callable[[Scalar, Kind], Expr],
        tile: Callable[[str, Scalar], tuple[float, str] | None],
        memory: Memory,
    ) -> None:
        self.nodes: Nodes = nodes
        self.labels: Mapping[str, Scalar] = labels
        self.place: Place = place
        self.depth: int = place.depth
        self.number: Callable[[Scalar, Kind], Expr] = number
        """The value of a uniform number, in a kind."""
        self.tile: Callable[[str, Scalar], tuple[float, str] | None] = tile
        """A tile in another unit, if it can be defined there: what it costs at least, its name."""
        self.memory: Memory = memory
        self._tokens: dict[int, int] = {}
        self.natural: Natural = Natural(nodes, labels)

    # In the unit that is wanted

    def best(self, expr: Expr, unit: Scalar) -> Made | None:
        """The cheapest way to an expression in a unit; None if it has no such unit."""
        key, known = (self._token(expr), unit), self.memory.best
        if key not in known:
            known[key] = cheapest(self._ways(expr, unit))
        return known[key]

    def _token(self, expr: Expr) -> int:
        found = self._tokens.get(id(expr))
        if found is None:
            found = self._tokens[id(expr)] = self.memory.token(expr, self.place, self.labels)
        return found

    def part(self, expr: Expr, unit: Scalar) -> Made | None:
        """An operand of a sum, a choice or a maximum.

        Sums in it are not multiplied as a whole, but their operands, be they many: so what is
        equal on both sides of a difference is rounded in the same way, and stays equal.
        """
        return self.exact(expr, unit) if keeps_unit(expr) else self.best(expr, unit)

    def wanted(self, expr: Expr, unit: Scalar = ONE) -> Made:
        """The cheapest way to an expression in a unit that it can have."""
        node = self.nodes(expr)
        if unit == ONE and not node.tiles:
            return Made(0, expr)
        found = self.truth(expr) if node.kind is Kind.BOOL else self.best(expr, unit)
        if found is None:
            raise ValueError("an expression has no such unit")
        return found

    def _ways(self, expr: Expr, unit: Scalar) -> Iterable[Made | None]:
        yield self.exact(expr, unit)
        if isinstance(expr, Name) and self.nodes(expr).tiles:
            held = self.labels.get(expr.name, ONE)
            other = None if held == unit else self.tile(expr.name, unit)
            if other is not None:
                cost, name = other
                yield Made(cost, Name(name), frozenset(((expr.name, unit),)), cost)
        yield from self.scaled(expr, unit)

    def scaled(self, expr: Expr, unit: Scalar) -> Iterable[Made | None]:
        """Ways to an expression that end with a product.

        None where a number may stand for it, as one that fills what is absent: that is exact.
        """
        if self.nodes(expr).uniform or self._filled(expr):
            return
        for other in self.natural(expr):
            if other != unit:
                found = self.exact(expr, other)
                yield None if found is None else self.times(expr, found, other / unit)

    def _filled(self, expr: Expr) -> bool:
        """Whether a side of a choice is a number that a product may round."""
        sides = (expr.then, expr.other) if isinstance(expr, Choice) else ()
        numbers = (node for node in map(self.nodes, sides) if node.uniform)
        return any(not (node.zero or node.infinite) for node in numbers)

    def times(self, expr: Expr, made: Made, factor: Scalar) -> Made:
        """What was made of an expression, times a uniform number."""
        node = self.nodes(expr)
        own = node.kind.floating and node.origin is Origin.TENSOR
        kind = node.kind if own else self.place.kind
        cost = made.cost + self.weight(expr)
        if factor.inverse.whole and not factor.exact and not self.rounded(expr):
            new = Binary("/", made.expr, self.number(factor.inverse, kind))
        else:
            new = Binary("*", made.expr, self.number(factor, kind))
        return Made(cost, new, made.tiles, made.shared)

    # Node by node

    def exact(self, expr: Expr, unit: Scalar) -> Made | None:
        """An expression whose outermost operation gives it in a unit."""
        key, known = (self._token(expr), unit), self.memory.exact
        if key not in known:
            known[key] = cheapest(self._made(expr, unit))
        return known[key]

    def _made(self, expr: Expr, unit: Scalar) -> Iterable[Made | None]:
        node = self.nodes(expr)
        if node.uniform:
            yield self._uniform(node, unit)
        elif not node.tiles:
            yield Made(0, expr) if unit == ONE else None
        elif not node.kind.floating:
            yield self.as_written(expr) if unit == ONE else None
        else:
            yield from self._operation(expr, unit)

    def _uniform(self, node: Node, unit: Scalar) -> Made | None:
        if unit == ONE or (node.infinite and self.nodes.positive(unit)):
            return Made(0, node.expr)
        if node.zero:
            return Made(0, node.expr) if self.nodes.finite(unit) else None
        if node.factor is None:
            return None
        kind = self.place.kind
        return Made(0, self.number(node.factor / unit, kind))

    def _operation(self, expr: Expr, unit: Scalar) -> Iterable[Made | None]:
        match expr:
            case Name(name=name):
                yield Made(0, expr) if self.labels.get(name, ONE) == unit else None
            case Unary(op="-", operand=operand):
                yield joined(expr, [self.part(operand, unit)])
            case Binary(op="+" | "-"):
                yield from self.sum(expr, unit)
            case Binary(op="*"):
                yield from self.product(expr, unit)
            case Binary(op="/"):
                yield from self.quotient(expr, unit)
            case Binary(op="**", right=right):
                if unit == ONE:
                    wanted = power_unit(expr)
                    yield self.as_written(expr, POWER)
                    yield None if wanted is None else self._power(right, wanted)
            case Choice():
                yield self._choice(expr, unit)
            case Apply():
                yield from self._function(expr, unit)
            case _:
                yield self.as_written(expr) if unit == ONE else None

    def _choice(self, expr: Choice, unit: Scalar) -> Made | None:
        then, other = self.part(expr.then, unit), self.part(expr.other, unit)
        if then is None or other is None:
            return None
        guard = self._guard(expr, then, other) if self.nodes.positive(unit) else None
        return joined(expr, [then, guard or self.truth(expr.condition), other])

    def _guard(self, expr: Choice, then: Made, other: Made) -> Made | None:
        """Whether a branch is infinite, asked of it in the unit that is chosen: a product may be
        infinite where what it is made of is not."""
        match expr.condition:
            case Compare(ops=("==" | "!=",), operands=(a, b)) if self.nodes(b).infinite:
                for side, made in ((expr.then, then), (expr.other, other)):
                    if side == a and not self.nodes(a).uniform:
                        return Made(0, rebuild(expr.condition, (made.expr, b)), made.tiles)
            case _:
                pass
        return None

    def _function(self, expr: Apply, unit: Scalar) -> Iterable[Made | None]:
        match expr.function:
            case "max" | "min" | "abs" | "relu" | "clip" if self.nodes.positive(unit):
                yield joined(expr, [self.part(a, unit) for a in expr.arguments])
            case "detach":
                yield joined(expr, [self.part(a, unit) for a in expr.arguments])
            case "log" if unit == LN2:
                made = self.best(expr.arguments[0], ONE)
                yield made and replace(made, expr=Apply("log2", (made.expr,)))
            case _ if unit != ONE:
                yield None
            case "exp":
                yield self.as_written(expr, 1)
                yield self._power(expr.arguments[0], LN2)
            case "log":
                yield self.as_written(expr, 1)
            case "sign":
                (operand,) = expr.arguments
                for part in self.natural(operand):
                    if self.nodes.positive(part):
                        yield joined(expr, [self.exact(operand, part)])
                yield self.as_written(expr)
            case _:
                yield self.as_written(expr)

    def _power(self, exponent: Expr, unit: Scalar) -> Made | None:
        """2 to the power of what is held in a unit."""
        if not self.nodes(exponent).kind.floating:
            return None
        made = self.best(exponent, unit)
        return made and replace(made, expr=Apply("exp2", (made.expr,)))

    # What is true of tiles

    def truth(self, expr: Expr) -> Made:
        """A condition: of tiles in one unit, or else in the unit 1."""
        if not self.nodes(expr).tiles:
            return Made(0, expr)
        token, known = self._token(expr), self.memory.truths
        if token not in known:
            known[token] = self._condition(expr)
        return known[token]

    def _condition(self, expr: Expr) -> Made:
        found: Made | None
        match expr:
            case Compare():
                found = self._comparison(expr)
            case Unary() | Logical():
                found = joined(expr, [self.truth(c) for c in children(expr)])
            case _:
                found = self.as_written(expr)
        if found is None:
            raise ValueError("a condition has no unit")
        return found

    def _comparison(self, expr: Compare) -> Made | None:
        nodes = [self.nodes(o) for o in expr.operands]
        moving = [n for n in nodes if not n.zero and not n.infinite]
        ways: list[Made | None] = []
        if all(n.kind.floating and not n.uniform for n in moving):
            common = [u for u in self.natural(moving[0].expr) if self.nodes.positive(u)]
            ways += (
                joined(expr, [self.exact(n.expr, unit) for n in nodes])
                for unit in common
                if all(unit in self.natural(n.expr) for n in moving)
            )
        ways.append(joined(expr, [self.wanted(n.expr) for n in nodes]))
        return cheapest(ways)
