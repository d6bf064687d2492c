"""Which lanes of a tile anyone looks at."""

from __future__ import annotations

from collections.abc import Iterable

from attnc.ir.expr import Expr, Name
from attnc.ir.tiles import (
    Dot,
    Find,
    Fold,
    If,
    Let,
    Load,
    Loop,
    Map,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.context import Context


class Demand:
    """For each tile, conditions that hold for every lane of it that is looked at."""

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self.found: dict[str, frozenset[Expr]] = {}
        self._body(context.kernel.body)

    def __call__(self, name: str) -> frozenset[Expr]:
        """The conditions; none for a tile that is looked at everywhere."""
        return self.found.get(name, frozenset())

    def _body(self, body: tuple[Statement, ...]) -> None:
        for item in reversed(body):
            self._statement(item)

    def _statement(self, item: Statement) -> None:
        match item:
            case Load(index=index, where=where):
                self._read(index, self.context.conditions(where))
                self._read([where], frozenset())
            case Find(index=index, value=value, where=where):
                self._read([*index, value], self.context.conditions(where))
                self._read([where], frozenset())
            case Map(value=value):
                self._read([value], self(item.target))
            case Dot(left=left, right=right, where=where):
                self._read([Name(left), Name(right)], self.context.conditions(where))
                self._read([where], frozenset())
            case Fold(value=value, where=where) | TopK(value=value, where=where):
                self._read([value], self.context.conditions(where))
                self._read([where], frozenset())
            case Scan(value=value, where=where):
                self._read([value], self.context.conditions(where))
                self._read([where], frozenset())
            case Store(index=index, value=value, where=where, guard=guard):
                lanes = self.context.conditions(guard)
                self._read([*index, where], lanes)
                self._read([value], lanes | self.context.conditions(where))
                self._read([guard], frozenset())
            case Let(value=value):
                self._read([value], frozenset())
            case If(condition=condition, body=body, carries=carries):
                self._read([c.next for c in carries], frozenset())
                self._body(body)
                self._read([condition, *(c.start for c in carries)], frozenset())
            case Loop():
                self._read([c.next for c in item.carries], frozenset())
                self._body(item.body)
                bounds = [e for r in item.ranges for e in (r.low, r.high, r.step)]
                starts = [c.start for c in item.carries]
                self._read([*bounds, *starts, *item.given, item.where], frozenset())

    def _read(self, exprs: Iterable[Expr], lanes: frozenset[Expr]) -> None:
        """Some expressions are looked at where these conditions hold, and elsewhere maybe not."""
        for expr in exprs:
            for node in subexpressions(expr):
                if isinstance(node, Name):
                    self._seen(node.name, lanes)

    def _seen(self, name: str, lanes: frozenset[Expr]) -> None:
        axes = set(self.context.axes[name])
        own = frozenset(c for c in lanes if self.context.varies(c) <= axes)
        known = self.found.get(name)
        self.found[name] = own if known is None else known & own
