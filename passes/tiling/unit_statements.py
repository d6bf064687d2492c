"""Statements of a kernel whose tiles are held in units: what they cost, and what they become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Expr, Float, Int, Name, Unary, Value
from attnc.ir.nodes import changed
from attnc.ir.tiles import (
    Carry,
    Dot,
    Fold,
    If,
    Kernel,
    Let,
    Loop,
    Map,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import expressions, mapped, names
from attnc.ir.types import Kind
from attnc.passes.tiling.context import TILES, Context
from attnc.passes.tiling.scalars import ONE, Scalar, scalar
from attnc.passes.tiling.unit_memory import Memory, behind, guards
from attnc.passes.tiling.unit_nodes import Made, Nodes, Place
from attnc.passes.tiling.unit_rules import Rules

CASTS = {Kind.F32: "f32", Kind.FLOAT: "float", Kind.F64: "f64"}


@dataclass(frozen=True)
class Cell:
    """A part of a kernel that is rewritten as one: a statement, or what a block does beside its
    body; `depth` is the number of loops around it."""

    item: Statement
    depth: int
    names: tuple[str, ...]
    """The tiles in it, and those that these are made of."""
    own: tuple[str, ...]
    """Those of them whose units it depends on."""


def cells(context: Context, kernel: Kernel) -> Iterator[Cell]:
    """The parts of a kernel, in order."""

    def of_body(body: Iterable[Statement], depth: int) -> Iterator[Cell]:
        for item in body:
            found = names(*expressions(item))
            if isinstance(item, Loop | If):
                found |= {c.name for c in item.carries}
            elif isinstance(item, TILES):
                found.add(item.target)
            own = behind(context, found)
            made = [context.defined[n] for n in found if n in context.defined]
            found |= names(*(e for s in made for e in expressions(s)))
            floating = (n for n in sorted(found) if context.kinds[n].floating)
            yield Cell(item, depth, tuple(floating), own)
            if isinstance(item, Loop | If):
                yield from of_body(item.body, depth + isinstance(item, Loop))

    return of_body(kernel.body, 0)


@dataclass(frozen=True)
class Written:
    """What a cell becomes: statements in its place (a block with its old body), and its cost."""

    items: tuple[Statement, ...]
    cost: float
    tiles: frozenset[tuple[str, Scalar]]
    """Tiles in other units that it reads; what they cost is not in it."""


@dataclass
class Names:
    """Names of numbers and of tiles in other units than their own."""

    context: Context
    numbers: dict[tuple[Scalar, Kind], str] = field(default_factory=dict[tuple[Scalar, Kind], str])
    tiles: dict[tuple[str, Scalar], str] = field(default_factory=dict[tuple[str, Scalar], str])

    def __post_init__(self) -> None:
        for name in self.context.lets:
            kind = self.context.values[name].kind
            found = scalar(Value(name), self.context.lets) if kind.floating else None
            if found is not None:
                self.numbers.setdefault((found, kind), name)

    def number(self, value: Scalar, kind: Kind) -> Expr:
        """A uniform number in a kind; literals are written where they stand."""
        expr = value.expression
        if isinstance(expr.operand if isinstance(expr, Unary) else expr, Int | Float):
            return expr
        key = value, kind if kind.floating else Kind.FLOAT
        if key not in self.numbers:
            self.numbers[key] = self.context.fresh("c")
        return Value(self.numbers[key])

    def tile(self, name: str, unit: Scalar) -> str:
        """A tile in another unit."""
        key = name, unit
        if key not in self.tiles:
            self.tiles[key] = self.context.fresh(f"{name}_u")
        return self.tiles[key]

    def take(self, other: Names, used: set[str]) -> None:
        """Gives names to what another has names in use for, so that these are the first ones."""
        for (value, kind), name in other.numbers.items():
            if name in used:
                self.number(value, kind)
        for key, name in other.tiles.items():
            if name in used:
                self.tile(*key)

    def named(self, used: set[str]) -> set[tuple[object, str]]:
        """The names among `used`, with what they are of."""
        every = (*self.numbers.items(), *self.tiles.items())
        return {(key, name) for key, name in every if name in used}

    def lets(self, used: set[str]) -> Iterator[Let]:
        """The numbers that are used and new."""
        for (value, kind), name in self.numbers.items():
            if name in used and name not in self.context.lets:
                yield Let(name, Apply(CASTS[kind], (value.expression,)), kind)


class Writer:
    """Rewrites the cells of a kernel for given units of its tiles."""

    def __init__(
        self,
        nodes: Nodes,
        labels: Mapping[str, Scalar],
        where: Mapping[str, int],
        used: Names,
        memory: Memory,
    ) -> None:
        self.nodes: Nodes = nodes
        self.context: Context = nodes.context
        self.labels: Mapping[str, Scalar] = labels
        self.where: Mapping[str, int] = where
        """The depth at which a tile is defined."""
        self.used: Names = used
        self.memory: Memory = memory
        """What was made with the same names."""
        self._tiles: dict[tuple[str, Scalar], Made | None] = {}
        self._known: dict[tuple[int, Kind], Rules] = {}

    def unit(self, name: str) -> Scalar:
        """The unit of a tile."""
        return self.labels.get(name, ONE)

    # Tiles in other units

    def tile(self, name: str, unit: Scalar) -> Made | None:
        """What defines a tile in another unit, beside it."""
        key = name, unit
        if key not in self._tiles:
            self._tiles[key] = self._tile(name, unit)
        return self._tiles[key]

    def _tile(self, name: str, unit: Scalar) -> Made | None:
        item = self.context.defined.get(name)
        if item is None:
            return None
        rules = self._rules(self.where[name], item.kind)
        held = Made(0, Name(name))
        found = rules.times(held.expr, held, self.unit(name) / unit)
        if isinstance(item, Map) and guards(item.value):
            return rules.exact(item.value, unit) or found
        return found

    def _named(self, name: str, unit: Scalar) -> tuple[float, str] | None:
        """Its name, and what it costs: half of that where others may read it, too."""
        made = self.tile(name, unit)
        if made is None:
            return None
        cost = made.cost / 2 if self.nodes.readers[name] > 1 else made.cost
        return cost, self.used.tile(name, unit)

    def _rules(self, depth: int, kind: Kind) -> Rules:
        key = depth, kind if kind.floating else Kind.FLOAT
        found = self._known.get(key)
        if found is None:
            numbers, place = self.used.number, Place(*key)
            found = Rules(self.nodes, self.labels, place, numbers, self._named, self.memory)
            self._known[key] = found
        return found

    # Cells

    def __call__(self, cell: Cell) -> Written:
        """What a cell becomes."""
        item = cell.item
        kind = Kind.FLOAT
        if isinstance(item, TILES):
            kind = item.kind
        elif isinstance(item, Store):
            kind = self.nodes(item.value).kind
        rules = self._rules(cell.depth, kind)
        match item:
            case Map() if item.target in self.nodes.coordinates:
                return _written([item], [])
            case Map() if item.kind.floating:
                made = rules.wanted(item.value, self.unit(item.target))
                new = item if made.expr is item.value else replace(item, value=made.expr)
                return _written([new], [made])
            case Dot():
                return self._dot(item, cell.depth)
            case Fold() | Scan() if item.kind.floating and item.op in ("sum", "max", "min"):
                return self._combined(item, rules, cell.depth)
            case Fold(op="argmax" | "argmin") | TopK() if self.nodes(item.value).kind.floating:
                return self._ranked(item, rules)
            case Fold() | Scan() if item.kind.floating:
                return self._multiplied(item, rules)
            case Loop() | If():
                return self._block(item, cell.depth)
            case _:
                found: list[Made] = []
                return _written([_changed(item, rules, found)], found)

    def _dot(self, item: Dot, depth: int) -> Written:
        rules = self._rules(depth, item.kind)
        found: list[Made] = []
        new = _changed(item, rules, found)
        assert isinstance(new, Dot)
        unit = self.unit(item.left) * self.unit(item.right)
        return self._converted(new, unit, rules, found)

    def _combined(self, item: Fold | Scan, rules: Rules, depth: int) -> Written:
        unit = self.unit(item.target)
        best: Written | None = None
        for other in dict.fromkeys((unit, *rules.natural(item.value))):
            if other != unit and not self.nodes.positive(other):
                continue
            value, where = rules.best(item.value, other), rules.truth(item.where)
            if value is None:
                continue
            new = item
            if value.expr is not item.value or where.expr is not item.where:
                new = replace(item, value=value.expr, where=where.expr)
            written = self._converted(new, other, rules, [value, where])
            if best is None or written.cost < best.cost:
                best = written
        if best is None:
            raise ValueError("a reduction has no unit")
        return best

    def _multiplied(self, item: Fold | Scan, rules: Rules) -> Written:
        """A product of lanes, whose number is not known: of these in the unit 1 alone."""
        found: list[Made] = []
        new = _changed(item, rules, found)
        assert isinstance(new, Fold | Scan)
        return self._converted(new, ONE, rules, found)

    def _converted(
        self, item: Dot | Fold | Scan, unit: Scalar, rules: Rules, found: list[Made]
    ) -> Written:
        """What combines tiles, and then a product if its unit is to be another."""
        factor = unit / self.unit(item.target)
        if factor == ONE:
            return _written([item], found)
        target = Name(item.target)
        raw = Name(self.used.tile(item.target, unit))
        made = rules.times(target, Made(0, raw), factor)
        outer = Map(item.target, item.axes, item.kind, made.expr)
        return _written([replace(item, target=raw.name), outer], [*found, made])

    def _ranked(self, item: Fold | TopK, rules: Rules) -> Written:
        """What has the same order in any unit that is positive."""
        units = [u for u in rules.natural(item.value) if self.nodes.positive(u)]
        values = [rules.best(item.value, u) for u in dict.fromkeys((*units, ONE))]
        value = min((v for v in values if v is not None), key=lambda v: v.cost)
        where = rules.truth(item.where)
        if value.expr is item.value and where.expr is item.where:
            return _written([item], [value, where])
        return _written([replace(item, value=value.expr, where=where.expr)], [value, where])

    def _block(self, item: Loop | If, depth: int) -> Written:
        found: list[Made] = []
        inside = depth + isinstance(item, Loop)
        carries: list[Carry] = []
        for carry in item.carries:
            unit = self.unit(carry.name)
            start = self._rules(depth, carry.kind).wanted(carry.start, unit)
            after = self._rules(inside, carry.kind).wanted(carry.next, unit)
            found += [start, after]
            if start.expr is carry.start and after.expr is carry.next:
                carries.append(carry)
            else:
                carries.append(replace(carry, start=start.expr, next=after.expr))
        new = item
        if self.nodes.moves(item):
            bare = _changed(replace(item, carries=()), self._rules(depth, Kind.FLOAT), found)
            assert isinstance(bare, Loop | If)
            new = bare
        return _written([changed(new, carries=tuple(carries))], found)


def _changed(item: Statement, rules: Rules, found: list[Made]) -> Statement:
    """A statement with its expressions in the unit 1."""
    if not rules.nodes.moves(item):
        return item

    def change(expr: Expr) -> Expr:
        made = rules.wanted(expr)
        found.append(made)
        return made.expr

    new = mapped(item, change)
    return item if new is item or new == item else new


def _written(items: Iterable[Statement], found: Iterable[Made]) -> Written:
    made = list(found)
    tiles = frozenset[tuple[str, Scalar]]().union(*[m.tiles for m in made])
    return Written(tuple(items), sum([m.cost - m.shared for m in made]), tiles)
