"""Loops that look at the predicate of a list once more, for rows without a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnc.ir.expr import Expr, Name, Read
from attnc.ir.tiles import Dot, Fold, If, Load, Loop, Map, Range, Scan, Statement, Store, TopK
from attnc.ir.tiles_walk import statements
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, conjuncts
from attnc.passes.tiling.summary_look import Look


@dataclass
class Again:
    """Lets loops behind the one that a look was for go through its list, where that is enough.

    They have its ranges, and ask whether there is any lane for which at least the same holds.
    """

    context: Context
    look: Look
    all: Range
    """The whole list."""

    def __call__(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        """Statements with such loops changed."""
        found: list[Statement] = []
        for item in body:
            match item:
                case Loop() if self._asks_no_more(item):
                    found.append(replace(item, ranges=(self.all,)))
                case If(body=inner):
                    found.append(replace(item, body=self(inner)))
                case _:
                    found.append(item)
        return tuple(found)

    def _asks_no_more(self, loop: Loop) -> bool:
        own = self.look.loop
        alike = (loop.axis, loop.ranges, loop.where) == (own.axis, own.ranges, TRUE)
        if not alike or loop.ordered or loop.backward:
            return False
        asked = {self._meaning(p) for p in (*self.look.parts, *self.look.rows)}
        for item in statements(loop.body):
            match item:
                case Load() | Map():
                    pass
                case Fold(op="any", value=value, where=where):
                    if not asked <= {self._meaning(p) for p in self._parts(value, where)}:
                        return False
                case Fold() | Dot() | Scan() | TopK() | Store() | Loop() | If() | _:
                    return False
        return True

    def _parts(self, *predicates: Expr) -> list[Expr]:
        """The conditions that predicates join, tiles of truths opened."""
        found: list[Expr] = []
        for part in (p for predicate in predicates for p in conjuncts(predicate)):
            item = self.context.defined.get(part.name) if isinstance(part, Name) else None
            found += self._parts(item.value) if isinstance(item, Map) else [part]
        return found

    def _meaning(self, expr: Expr) -> Expr:
        """An expression with what is loaded and computed in the place of tiles."""
        if isinstance(expr, Name):
            match self.context.defined.get(expr.name):
                case Load(tensor=tensor, index=index):
                    return Read(tensor, tuple(map(self._meaning, index)))
                case Map(value=value):
                    return self._meaning(value)
                case _:
                    return expr
        parts = children(expr)
        return rebuild(expr, tuple(map(self._meaning, parts))) if parts else expr
