"""Conditions that others imply, and so need no test of their own.

Rows beyond an extent are computed and never stored: what holds of them does not matter, as long as
no other row, and no memory, depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from attnc.ir.expr import Apply, Compare, Expr, Int, Logical, Name, Var
from attnc.ir.integers import Integers
from attnc.ir.tiles import Dot, Find, Fold, Load, Map, Scan, Store, TopK
from attnc.ir.tiles_full import Full, Round, edge, variables
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import conjuncts, names, statements
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import both

MOST: Final = 12
"""The most conditions among which one is looked for that others imply."""


@dataclass
class Needless:
    """Leaves out conditions of one kernel."""

    context: Context
    _known: Integers = field(init=False)
    _rows: tuple[Expr, ...] = field(init=False)
    _strict: frozenset[str] = field(init=False)
    _sizes: dict[str, Expr] = field(init=False)
    _answers: dict[tuple[tuple[Expr, ...], Expr], bool] = field(
        default_factory=dict[tuple[tuple[Expr, ...], Expr], bool]
    )

    def __post_init__(self) -> None:
        context, kernel = self.context, self.context.kernel
        sizes = {a.name: a.size for a in kernel.axes} | {c.name: c.size for c in kernel.coords}
        self._sizes = sizes
        self._known = known_of(context.plan, context.facts.values)
        self.full: Full = Full.of(self._known, kernel, context.kind, context.varies)
        reduced = {
            axis
            for s in statements(kernel.body)
            if isinstance(s, Dot | Fold | Scan | TopK)
            for axis in (s.over if isinstance(s.over, tuple) else (s.over,))
        }
        free = {a.name for a in kernel.axes if a.kind == "par"} - reduced
        coords = {c.name for c in kernel.coords if context.varies(c.value) <= free}
        self._rows = tuple(
            Compare(("<=", "<"), (Int(0), Var(name), sizes[name])) for name in (*free, *coords)
        )
        self._strict = self._on_memory()

    def _on_memory(self) -> frozenset[str]:
        """Tiles on which addresses and masks depend."""
        body = self.context.kernel.body
        found: set[str] = set()
        for item in statements(body):
            match item:
                case Load(index=index, where=where) | Find(index=index, where=where):
                    found |= names(*index, where)
                case Store(index=index, guard=guard):
                    found |= names(*index, guard)
                case _:
                    pass
        size = -1
        while size != len(found):
            size = len(found)
            for item in statements(body):
                if isinstance(item, Map | Fold) and item.target in found:
                    found |= names(item.value)
        return frozenset(found)

    def _shows(self, hypotheses: tuple[Expr, ...], condition: Expr) -> bool:
        """Whether a condition follows; each question is answered once."""
        key = hypotheses, condition
        if key not in self._answers:
            self._answers[key] = self._known.knowing(hypotheses).shows(condition)
        return self._answers[key]

    def _edges(self, condition: Expr) -> Iterator[Expr]:
        """That edges of tiles in a condition are coordinates: it stands where there are some."""
        for node in subexpressions(condition):
            match node:
                case Apply(function="low" | "high" as which, arguments=(Var(name=name),)):
                    size = self._sizes[name]
                    yield Compare(("<=", "<"), (Int(0), edge(which, name), size))
                case _:
                    pass

    def mask(self, predicate: Expr, around: Round) -> Expr:
        """A predicate on memory without what a full range says, and what the rest of it implies."""
        return self._reduced(self.full.mask(around, predicate), ())

    def condition(self, target: str, value: Expr) -> Expr:
        """The value of a tile of truths, the same where rows are within their extents."""
        return value if target in self._strict else self._reduced(value, self._rows)

    def _reduced(self, predicate: Expr, given: tuple[Expr, ...]) -> Expr:
        parts = list(conjuncts(predicate))
        if not 1 < len(parts) <= MOST:
            return predicate
        for part in list(parts):
            rest = [p for p in parts if p is not part and _plain(p)]
            linked = [p for p in rest if variables(p) & variables(part)]
            covered = frozenset(v for p in linked for v in variables(p))
            # what bounds a coordinate alone follows from what else is said of it
            own = variables(part)
            if not (isinstance(part, Compare) and _plain(part) and own and own <= covered):
                continue
            edges = [e for p in (part, *linked) for e in self._edges(p)]
            hypotheses = (*given, *edges, *map(_named, linked))
            if self._shows(hypotheses, _named(part)):
                parts = [p for p in parts if p is not part]
        return both(*parts)


def _named(expr: Expr) -> Expr:
    """A condition with the edges of tiles as coordinates."""
    match expr:
        case Apply(function="low" | "high" as which, arguments=(Var(name=name),)):
            return edge(which, name)
        case _:
            parts = children(expr)
            return rebuild(expr, tuple(map(_named, parts))) if parts else expr


def _plain(expr: Expr) -> bool:
    """Whether a condition is about coordinates and values alone, without a choice."""
    return not any(isinstance(n, Name | Logical) for n in subexpressions(expr))
