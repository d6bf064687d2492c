"""What an extreme is filled with, all others who look at no more lanes read filled, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Expr, Name
from attnc.ir.tiles import Fold, If, Kernel, Loop, Map, Plan, Statement
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.demand import Demand
from attnc.passes.tiling.identities import identity, literal
from attnc.passes.tiling.presence import TRUE, chosen


@dataclass(frozen=True)
class Extremes:
    """The value of a maximum or minimum becomes a tile that is filled with its identity.

    Where an expression holds the same value, and only lanes that count are looked at, it takes the
    tile: weights of scores are then computed from filled scores, and known to be 0.
    """

    name: str = field(default="extremes", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_Sharer(plan, kernel).shared() for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


class _Sharer:
    def __init__(self, plan: Plan, kernel: Kernel) -> None:
        self.kernel: Kernel = kernel
        self.context: Context = Context(plan, kernel)
        self.demand: Demand = Demand(self.context)
        self.filled: dict[Expr, list[tuple[frozenset[Expr], Expr]]] = {}
        """Expressions with the conditions under which tiles stand for them."""

    def shared(self) -> Kernel:
        """The kernel."""
        body = self._body(self.kernel.body)
        return self.kernel if body == self.kernel.body else replace(self.kernel, body=body)

    def _body(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        outer = dict(self.filled)
        found = tuple(new for item in body for new in self._statement(item))
        self.filled = outer
        return found

    def _statement(self, item: Statement) -> Iterator[Statement]:
        context = self.context
        match item:
            case Fold(op="max" | "min", value=value) if item.where != TRUE:
                where = here = context.lanes(item.where, item.over)
                if context.varies(item.where, value) != context.varies(where, value):
                    where = here = item.where
                if not isinstance(where, Name):
                    tile = context.map("here", where)
                    yield tile
                    here = Name(tile.target)
                fill = literal(identity(item.op, item.kind))
                number = Apply("i64", (value,)) if context.kind(value) is Kind.BOOL else value
                filled = context.map("x", chosen(here, number, fill))
                yield filled
                known = self.filled.get(value, [])
                pair = context.conditions(where), Name(filled.target)
                self.filled[value] = [pair, *known]
                yield replace(item, value=Name(filled.target), where=TRUE)
            case Fold(value=value, where=where):
                yield replace(item, value=self._of_kind(value, context.conditions(where)))
            case Map(value=value):
                yield replace(item, value=self._of_kind(value, self.demand(item.target)))
            case Loop() | If():
                yield replace(item, body=self._body(item.body))
            case _:
                yield item

    def _of_kind(self, expr: Expr, lanes: frozenset[Expr]) -> Expr:
        """The expression with tiles in it, unless these widen it: what is no tensor does not."""
        found = self._taken(expr, lanes)
        return found if self.context.kind(found) is self.context.kind(expr) else expr

    def _taken(self, expr: Expr, lanes: frozenset[Expr]) -> Expr:
        """An expression with tiles for what they stand for, where these conditions hold."""
        for conditions, tile in self.filled.get(expr, []):
            if conditions <= lanes:
                return tile
        return rebuild(expr, tuple(self._taken(c, lanes) for c in children(expr)))
