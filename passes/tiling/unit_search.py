"""Which unit each tile of a kernel is held in, so that the least is multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from attnc.ir.expr import Apply, Binary, Choice, Expr, Float, Int, Name, Unary
from attnc.ir.tiles import Dot, Fold, If, Kernel, Load, Loop, Map, Scan, Statement
from attnc.ir.tiles_walk import expressions
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.context import TILES, Context
from attnc.passes.tiling.scalars import ONE, Scalar
from attnc.passes.tiling.unit_memory import Memory
from attnc.passes.tiling.unit_natural import Natural
from attnc.passes.tiling.unit_nodes import Made, Nodes, power_unit
from attnc.passes.tiling.unit_statements import Cell, Names, Writer, Written, cells

Labels = dict[str, Scalar]
UNITS: Final = 8
"""The most units that are tried."""
ROUNDS: Final = 4
LEAST: Final = 1e-9
"""The share of the cost that counts as less."""


@dataclass
class Search:
    """The units of one kernel's tiles: all are 1 at first, and change as long as that costs less.

    Tiles that are added, compared or chosen between change together, and then those about them, as
    long as that costs no more.
    """

    context: Context
    kernel: Kernel
    nodes: Nodes = field(init=False)
    cells: tuple[Cell, ...] = field(init=False)
    depths: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self.nodes = Nodes(self.context)
        self.cells = tuple(cells(self.context, self.kernel))
        self._written: dict[tuple[int, tuple[Scalar, ...]], Written | None] = {}
        self._tiles: dict[tuple[str, Scalar, tuple[Scalar, ...]], Made | None] = {}
        self._sources: dict[str, tuple[str, ...]] = {
            c.item.target: c.own for c in self.cells if isinstance(c.item, TILES)
        }
        for cell in self.cells:
            if isinstance(cell.item, TILES):
                self.depths[cell.item.target] = cell.depth
        self._places: dict[str, set[int]] = {}
        for index, cell in enumerate(self.cells):
            for name in {*cell.names, *_defined(cell.item)}:
                self._places.setdefault(name, set()).add(index)
        self._defining: dict[frozenset[str], list[tuple[int, set[str]]]] = {}
        self._costs: dict[frozenset[tuple[str, Scalar]], float] = {}
        self._at: Labels = {}
        self._now: list[Written | None] = [None for _ in self.cells]
        self._stale: set[int] = set(range(len(self.cells)))
        self.names: Names = Names(self.context)
        self.memory: Memory = Memory(self.context)
        self.exponents: tuple[Scalar, ...] = (ONE,)
        """The units that exponents are wanted in, and 1."""
        self.groups: tuple[frozenset[str], ...] = tuple(_groups(self.nodes, self.cells))
        self.beside: dict[frozenset[str], tuple[frozenset[str], ...]] = {
            g: tuple(self._beside(g)) for g in self.groups
        }

    def _beside(self, group: frozenset[str]) -> Iterator[frozenset[str]]:
        """The groups that share a statement with one, or read what one of its statements does."""
        near = {n for c in self.cells if group & {*c.names} for n in c.names}
        far = {n for c in self.cells if near & {*c.names} for n in c.names}
        return (g for g in self.groups if g != group and g & far)

    # Costs

    def writer(self, labels: Mapping[str, Scalar], names: Names | None = None) -> Writer:
        """What rewrites cells at some units."""
        if names is None:
            return Writer(self.nodes, labels, self.depths, self.names, self.memory)
        return Writer(self.nodes, labels, self.depths, names, Memory(self.context))

    def cost(self, labels: Mapping[str, Scalar]) -> float:
        """What a kernel costs at some units; infinite where they are impossible."""
        key = frozenset([item for item in labels.items() if item[1] is not ONE])
        found = self._costs.get(key)
        if found is None:
            found = self._costs[key] = self._cost(labels)
        return found

    def _cost(self, labels: Mapping[str, Scalar]) -> float:
        writer = self.writer(labels)
        self._move(labels)
        total, tiles = 0.0, set[tuple[str, Scalar]]()
        now, stale = self._now, self._stale
        for index, written in enumerate(now):
            if index in stale:
                written = now[index] = self._cell(writer, index)
                stale.remove(index)
            if written is None:
                return float("inf")
            total += written.cost
            if written.tiles:
                tiles |= written.tiles
        return total + sum(m.cost - m.shared for m in self._read(writer, tiles))

    def _move(self, labels: Mapping[str, Scalar]) -> None:
        """Takes note that tiles have these units, and of the cells that this changes."""
        before, self._at = self._at, {**labels}
        for name in before.keys() | labels.keys():
            if before.get(name, ONE) != labels.get(name, ONE):
                self._stale |= self._places.get(name, set())

    def _cell(self, writer: Writer, index: int) -> Written | None:
        """What a cell becomes; None where it has no such units."""
        cell, labels = self.cells[index], writer.labels
        key = index, tuple([labels.get(n, ONE) for n in cell.own])
        try:
            return self._written[key]
        except KeyError:
            pass
        try:
            found = writer(cell)
        except ValueError:
            found = None
        self._written[key] = found
        return found

    def _read(self, writer: Writer, tiles: set[tuple[str, Scalar]]) -> Iterator[Made]:
        """What defines tiles in other units, and those that they read themselves."""
        seen, stack = set[tuple[str, Scalar]](), [*tiles]
        while stack:
            name, unit = stack.pop()
            if (name, unit) in seen:
                continue
            seen.add((name, unit))
            labels = tuple([writer.labels.get(n, ONE) for n in self._sources[name]])
            key = name, unit, labels
            if key not in self._tiles:
                self._tiles[key] = writer.tile(name, unit)
            made = self._tiles[key]
            if made is not None:
                yield made
                stack += made.tiles

    # Moves

    def __call__(self) -> Labels:
        """The units that were found; no tile of the unit 1 is in it."""
        labels: Labels = {}
        least = self.cost(labels)
        for _ in range(ROUNDS):
            before = least
            wanted = self.units(labels)
            for unit in [u for u in wanted if self.nodes.positive(u)][:UNITS]:
                for group in self.groups:
                    if not any(group & {*self.cells[i].names} for i in wanted[unit]):
                        continue
                    trial = self._grown(labels, group, unit)
                    cost = self.cost(trial)
                    if cost < least * (1 - LEAST):
                        labels, least = trial, cost
            if least == before:
                break
        return {n: u for n, u in labels.items() if u != ONE}

    def _grown(self, labels: Labels, group: frozenset[str], unit: Scalar) -> Labels:
        """Units where a group has this one, and those about it, where that costs no more.

        Those of its tiles that cannot have it, and the largest ones, may have another; and if that
        costs less, the others, too.
        """
        found, cost = self._placed(labels, group, unit)
        seen, stack = {group}, [*self.beside[group]]
        while stack:
            other = stack.pop()
            if other not in seen:
                seen.add(other)
                trial, again = self._placed(found, other, unit)
                if again <= cost:
                    found, cost = trial, again
                    stack += self.beside[other]
        most = max(len(self.context.axes[n]) for n in group)
        largest = sorted(n for n in group if len(self.context.axes[n]) == most)
        found, least = self._single(found, largest, cost)
        if least < cost:
            found, _ = self._single(found, sorted(group.difference(largest)), least)
        return found

    def _placed(self, labels: Labels, group: frozenset[str], unit: Scalar) -> tuple[Labels, float]:
        """Units where a group has this one, as far as its tiles can."""
        found: Labels = {**labels, **dict.fromkeys(group, unit)}
        loose = self._impossible(found, group)
        found |= {n: labels.get(n, ONE) for n in loose}
        return self._single(found, loose, self.cost(found))

    def _impossible(self, labels: Labels, group: frozenset[str]) -> list[str]:
        """The tiles of a group that cannot have such units."""
        writer = self.writer(labels)
        if group not in self._defining:
            made = [(i, _defined(c.item) & group) for i, c in enumerate(self.cells)]
            self._defining[group] = [(i, tiles) for i, tiles in made if tiles]
        found: list[str] = []
        for index, tiles in self._defining[group]:
            if self._cell(writer, index) is None:
                found += tiles
        return sorted(found)

    def _single(self, labels: Labels, names: Sequence[str], cost: float) -> tuple[Labels, float]:
        """Units where each of some tiles has another, if that costs less."""
        for name in names:
            for unit in (u for u in self.exponents if u != labels.get(name, ONE)):
                trial: Labels = {**labels, name: unit}
                again = self.cost(trial)
                if again < cost * (1 - LEAST):
                    labels, cost = trial, again
        return labels, cost

    def units(self, labels: Labels) -> dict[Scalar, set[int]]:
        """The units that expressions have by what they are made of, and in which cells."""
        natural = Natural(self.nodes, labels)
        found: dict[Scalar, set[int]] = {}
        powers: dict[Scalar, set[int]] = {}
        for index, cell in enumerate(self.cells):
            if isinstance(cell.item, Dot):
                left, right = (labels.get(n, ONE) for n in (cell.item.left, cell.item.right))
                found.setdefault(left * right, set()).add(index)
                continue
            for node in (n for e in expressions(cell.item) for n in subexpressions(e)):
                if self.nodes(node).kind.floating and self.nodes(node).tiles:
                    for unit in natural(node):
                        found.setdefault(unit, set()).add(index)
                    power = power_unit(node)
                    if power is not None:
                        powers.setdefault(power, set()).add(index)
        for unit, places in powers.items():
            found[unit] = found.pop(unit, set()) | places
        self.exponents = (ONE, *powers)
        return found


def read(writer: Writer, tiles: set[tuple[str, Scalar]]) -> dict[tuple[str, Scalar], Made]:
    """What defines tiles in other units, and those that they read themselves."""
    found: dict[tuple[str, Scalar], Made] = {}
    stack = sorted(tiles, key=repr)
    while stack:
        key = stack.pop()
        made = None if key in found else writer.tile(*key)
        if made is not None:
            found[key] = made
            stack += sorted(made.tiles, key=repr)
    return found


def _defined(item: Statement) -> set[str]:
    """The tiles that a statement gives a value."""
    if isinstance(item, Loop | If):
        return {c.name for c in item.carries}
    return {item.target} if isinstance(item, TILES) else set()


def _groups(nodes: Nodes, parts: Sequence[Cell]) -> Iterator[frozenset[str]]:
    """Tiles that are best held in one unit, since they are added, compared or chosen between."""
    context = nodes.context
    free = {n for n, kind in context.kinds.items() if kind.floating and not _fixed(context, n)}
    free -= nodes.coordinates
    groups = {n: frozenset((n,)) for n in sorted(free)}

    def join(target: str, *values: Expr) -> None:
        for name in {n for v in values for n in _alike(v)} & free:
            if target in groups and groups[name] != groups[target]:
                whole = groups[name] | groups[target]
                groups.update(dict.fromkeys(whole, whole))

    for cell in parts:
        match cell.item:
            case Map(target=target, value=value):
                join(target, value)
            case (
                Fold(target=target, op="sum" | "max" | "min", value=value)
                | Scan(target=target, value=value)
            ):
                join(target, value)
            case Loop(carries=carries) | If(carries=carries):
                for carry in carries:
                    join(carry.name, carry.start, carry.next)
            case _:
                pass
    return iter(dict.fromkeys(groups.values()))


def _fixed(context: Context, name: str) -> bool:
    """Whether a tile holds what was loaded, or rounded: it has few bits, and must keep them."""
    match context.defined.get(name):
        case Load() | Map(value=Apply(function="rounded" | "f16" | "bf16")):
            return True
        case Map(value=Name(name=inner)):
            return _fixed(context, inner)
        case Map(value=Choice(then=Name(name=inner), other=Int() | Float())):
            return _fixed(context, inner)
        case _:
            return False


def _alike(expr: Expr) -> Iterator[str]:
    """The tiles in an expression that have its unit."""
    match expr:
        case Name(name=name):
            yield name
        case Unary(op="-", operand=operand):
            yield from _alike(operand)
        case Binary(op="+" | "-", left=a, right=b) | Choice(then=a, other=b):
            yield from _alike(a)
            yield from _alike(b)
        case Apply(function="max" | "min" | "abs" | "relu" | "clip", arguments=arguments):
            for argument in arguments:
                yield from _alike(argument)
        case _:
            pass
