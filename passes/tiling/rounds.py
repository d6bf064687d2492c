"""The rounds of a loop: what its predicates vary along, and what is known before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from attnc.ir.claims import sorted_ranks
from attnc.ir.expr import Apply, Binary, Compare, CompareOp, Expr, Int, Name, Value, Var
from attnc.ir.integers import Integers
from attnc.ir.tiles import Dot, Find, Fold, Let, Load, Loop, Map, Scan, Statement, Store, TopK
from attnc.ir.tiles_walk import names, statements, targets
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild
from attnc.passes.conditions.intervals import Bounds, Intervals
from attnc.passes.conditions.knowledge import Knowledge
from attnc.passes.conditions.ordered import Order
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, both, chosen, conjuncts


@dataclass
class Rounds:
    """The lanes of a loop's rounds, and the statements that tell numbers of them beforehand."""

    context: Context
    loop: Loop
    around: tuple[str, ...]
    """The axes that loops around this one stream."""
    integers: Integers
    before: list[Statement] = field(default_factory=list[Statement])
    """Statements that are to stand before the loop."""
    _told: dict[Expr, Bounds] = field(default_factory=dict[Expr, Bounds])
    _orders: dict[Expr, Order | None] = field(default_factory=dict[Expr, Order | None])
    _places: dict[tuple[Expr, CompareOp, Expr], Expr] = field(
        default_factory=dict[tuple[Expr, CompareOp, Expr], Expr]
    )

    def __post_init__(self) -> None:
        self.stream: str = self.loop.axis
        self.inside: frozenset[str] = frozenset(
            t for s in (self.loop, *statements(self.loop.body)) for t in targets(s)
        )
        self.loaded: frozenset[str] = frozenset(
            s.target for s in self.loop.body if isinstance(s, Load)
        )
        """What each round loads, apart from loops in it."""
        inner = {s.axis for s in statements(self.loop.body) if isinstance(s, Loop)}
        self.inner: frozenset[str] = frozenset(inner)
        sizes = {a: self.context.kernel.axis(a).size for a in self._tiled()}
        self.known: Knowledge = Knowledge(self.integers, sizes)
        self._intervals = Intervals(self._edges, lambda e: bool(self.depends(e)), self.known)

    def _tiled(self) -> Iterator[str]:
        """The axes of which there is a current tile."""
        for axis in self.context.kernel.axes:
            if axis.kind == "par" or axis.name in (*self.around, self.stream):
                yield axis.name

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        return self.context.kind(expr)

    def opened(self, expr: Expr) -> Expr:
        """An expression with what coordinates, and tiles that are no numbers of tensors, are of."""
        match expr:
            case Var(name=name) if name in self.context.coords:
                return self.opened(self.context.coords[name])
            case Name(name=name):
                item = self.context.defined.get(name)
                if isinstance(item, Map) and item.kind in (Kind.BOOL, Kind.I32, Kind.I64):
                    return self.opened(item.value)
                return expr
            case _:
                return rebuild(expr, tuple(map(self.opened, children(expr))))

    def depends(self, expr: Expr) -> frozenset[str]:
        """The axes along which an expression varies; what a round computes varies along its own."""
        found = self.context.varies(expr)
        return found | {self.stream} if names(expr) & self.inside else found

    def _edges(self, axis: str) -> Bounds:
        """The least and the greatest coordinate that a round has of an axis."""
        item = self.context.kernel.axis(axis)
        if item.kind == "whole" or axis in self.inner:
            return Int(0), Binary("-", item.size, Int(1))
        return Apply("low", (Var(axis),)), Apply("high", (Var(axis),))

    def bounds(self, expr: Expr) -> Bounds | None:
        """The least and the greatest value in a round, if known; told before it where possible."""
        if expr not in self._told:
            found = self._intervals(expr)
            if self.stream in self.depends(expr):
                return found
            if found is None and self.depends(expr) & self.inner:
                return None  # of which there are no tiles before the loop
            if found is None:
                found = self._reduced("min", expr), self._reduced("max", expr)
                self.known = self.known.knowing([Compare(("<=",), found)])
            low, high = found
            self._told[expr] = self.let("least", low), self.let("most", high)
        return self._told[expr]

    def _reduced(self, op: str, expr: Expr) -> Expr:
        """A reduction of all lanes that exist; where an operand does not, it is taken for 0."""
        context = self.context
        here = both(*(p for n in sorted(names(expr)) for p in self._loaded(n)))
        axes = context.sorted(context.varies(expr, here))
        value = Apply("i64", (chosen(here, expr, Int(0)),))
        base = next(iter(sorted(names(expr))), self.stream)
        item = Fold(
            context.fresh(f"{base}_{op}"), (), Kind.I64, op, axes, value, context.valid(axes)
        )
        self._add(item)
        return Name(item.target)

    def _loaded(self, tile: str) -> Iterator[Expr]:
        """Where a tile that is loaded exists."""
        item = self.context.defined.get(tile)
        if isinstance(item, Load | Find):
            own = set(conjuncts(self.context.valid(item.axes)))
            yield from (p for p in conjuncts(item.where) if p not in own and p != TRUE)

    def order(self, expr: Expr) -> Order | None:
        """How an expression is sorted along the stream, if it is known to be."""
        if expr not in self._orders:
            self._orders[expr] = self._order(expr)
        return self._orders[expr]

    def _order(self, expr: Expr) -> Order | None:
        """The rank of a tensor along which it is sorted, and nothing else of the stream counts."""
        for load, rank, down in self._sorted(expr):
            place = self.opened(load.index[rank])
            others = (e for i, e in enumerate(load.index) if i != rank)
            fixed = not any(self.depends(e) & {self.stream, *self.inner} for e in others)
            if self.depends(place) == {self.stream} and fixed:
                return Order(place, down)
        return None

    def _sorted(self, expr: Expr) -> Iterator[tuple[Load, int, bool]]:
        """The ranks along which a tile is sorted that is loaded, and whether it descends."""
        item = self.context.defined.get(expr.name) if isinstance(expr, Name) else None
        if isinstance(item, Load):
            for tensor, rank, down in sorted(sorted_ranks(self.context.plan)):
                if tensor == item.tensor:
                    yield item, rank, down

    def ordered(self, expr: Expr, number: Expr) -> bool:
        """Whether rows of whose values a number is the least or greatest have most between them.

        Either they are sorted by these values, or each has a row of its own in what is sorted.
        """
        own = self.context.varies(expr)
        folds = (self.context.defined.get(name) for name in names(number))
        rows = (Name(n) for f in folds if isinstance(f, Fold) for n in names(f.value))
        return all(self.context.varies(r) <= own or any(self._sorted(r)) for r in rows)

    def place(self, expr: Expr, op: CompareOp, number: Expr) -> Expr:
        """Where what is sorted begins to compare so with a number of the whole tile."""
        key = expr, op, number
        if key not in self._places:
            load, rank, _ = next(
                found
                for found in self._sorted(expr)
                if self.depends(self.opened(found[0].index[found[1]])) == {self.stream}
            )
            index = (*load.index[:rank], *load.index[rank + 1 :])
            fixed = (p for p in conjuncts(load.where) if self.stream not in self.depends(p))
            where = both(*fixed)
            axes = self.context.sorted(self.context.varies(*index, where))
            name = self.context.fresh(f"{load.tensor}_from")
            self._add(Find(name, axes, load.tensor, index, rank, op, number, where))
            self._places[key] = Name(name)
        return self._places[key]

    def some(self, expr: Expr) -> Expr | None:
        """Whether a condition that does not vary along the stream holds anywhere, if known."""
        if self.depends(expr) & self.inner:
            return None
        axes = self.context.sorted(self.context.varies(expr))
        where = both(self.context.valid(axes), expr)
        item = Fold(self.context.fresh("some"), (), Kind.BOOL, "any", axes, TRUE, where)
        self._add(item)
        return Name(item.target)

    def let(self, base: str, value: Expr) -> Expr:
        """A number with a name, if it is more than one already."""
        if isinstance(value, Int | Value | Name) or _edge(value):
            return value
        name = self.context.fresh(f"{self.stream}_{base}")
        kind = self.kind(value)
        self._add(Let(name, value, kind))
        self.known.lets[name] = value
        return Value(name)

    def _add(self, item: Statement) -> None:
        self.context.add([item])
        self.before.append(item)


def _edge(value: Expr) -> bool:
    return isinstance(value, Apply) and value.function in ("low", "high", "tile")


def effects(loop: Loop) -> Iterator[Expr]:
    """The predicates of a loop's rounds: where none has a lane, a round changes nothing.

    What combines lanes along the axis brings its identity then, so that all it carries stays; what
    is stored along the axis is written in each round.
    """
    for item in statements(loop.body):
        match item:
            case Fold(over=over, where=where) | Dot(over=over, where=where):
                if loop.axis in over:
                    yield where
            case Scan(over=over, where=where) | TopK(over=over, where=where):
                if over == loop.axis:
                    yield where
            case Store(guard=guard):
                yield guard
            case _:
                pass
