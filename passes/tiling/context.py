"""What passes on kernels ask of them: where tiles come from, their axes and kinds, new names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from attnc.ir.expr import Apply, Compare, Expr, Name, Var
from attnc.ir.facts import Facts
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import (
    Carry,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Scan,
    Statement,
    Store,
    Tile,
    TopK,
)
from attnc.ir.tiles_facts import facts_of
from attnc.ir.tiles_walk import statements
from attnc.ir.types import Kind, Type
from attnc.ir.walk import children
from attnc.passes.tiling.presence import TRUE, both, conjuncts
from attnc.passes.tiling.unused import unused

TILES: Final = (Load, Map, Dot, Fold, Scan, TopK, Find)


class PlanPass(Protocol):
    """A pass on plans."""

    @property
    def name(self) -> str:
        """What `--print-after` calls it."""
        ...

    def __call__(self, plan: Plan) -> Plan:
        """The plan after the pass; the same object if there was nothing to do."""
        ...


@dataclass
class Context:
    """The tiles of one kernel, those included that a pass adds."""

    plan: Plan
    kernel: Kernel
    facts: Facts = field(init=False)
    defined: dict[str, Tile] = field(default_factory=dict[str, Tile])
    carried: dict[str, tuple[Carry, Loop | If]] = field(
        default_factory=dict[str, tuple[Carry, Loop | If]]
    )
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    kinds: dict[str, Kind] = field(default_factory=dict[str, Kind])
    stored: set[str] = field(default_factory=set[str])
    """What the kernel itself stores to."""
    lets: dict[str, Expr] = field(default_factory=dict[str, Expr])
    """The kernel's own numbers."""

    def __post_init__(self) -> None:
        self.facts = facts_of(self.plan)
        self.order: tuple[str, ...] = tuple(a.name for a in self.kernel.axes)
        self.steps: frozenset[str] = frozenset(a.name for a in self.kernel.axes if a.kind == "step")
        self.along: frozenset[str] = frozenset(self.order) - self.steps
        self.coords: dict[str, Expr] = {c.name: c.value for c in self.kernel.coords}
        self.taken: set[str] = {*self.order, *self.coords, *self.facts.values}
        self.values: dict[str, Type] = dict(self.facts.values)
        self._types = TileTypes(self.values, self.facts.types, self.kinds)
        self.add(self.kernel.body)

    def add(self, body: Iterable[Statement]) -> None:
        """Takes note of what some statements define."""
        for item in statements(body):
            match item:
                case Loop(carries=carries) | If(carries=carries):
                    for carry in carries:
                        self.carried[carry.name] = carry, item
                        self._note(carry.name, carry.axes, carry.kind)
                case Store(tensor=tensor):
                    self.stored.add(tensor)
                case Let(name=name, value=value):
                    self.taken.add(name)
                    self.lets[name] = value
                    self.values[name] = self.type(value)
                case _:
                    self.defined[item.target] = item
                    self._note(item.target, item.axes, item.kind)

    def _note(self, name: str, axes: tuple[str, ...], kind: Kind) -> None:
        if self.kinds.get(name, kind) is not kind:  # what it is part of may be of another kind, too
            self._types.forget()
        self.axes[name], self.kinds[name] = axes, kind
        self.taken.add(name)

    def fresh(self, base: str) -> str:
        """A new name that begins like `base`."""
        name = unused(base, self.taken)
        self.taken.add(name)
        return name

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression over tiles."""
        return self.type(expr).kind

    def type(self, expr: Expr) -> Type:
        """The type of an expression over tiles."""
        return self._types(expr)

    def varies(self, *exprs: Expr) -> frozenset[str]:
        """The axes along which expressions vary; a step is a number."""
        return varying(exprs, self.along, self.coords, self.axes)

    def mentions(self, *exprs: Expr) -> frozenset[str]:
        """The axes whose current tile expressions need: those they vary along, and bounds of it."""
        found: set[str] = set()
        stack = list(exprs)
        while stack:
            node = stack.pop()
            match node:
                case Var(name=name) if name in self.coords:
                    stack.append(self.coords[name])
                case Var(name=name) if name in self.order:
                    found.add(name)
                case _:
                    stack += children(node)
        return frozenset(found)

    def sorted(self, axes: Iterable[str]) -> tuple[str, ...]:
        """Axes in the kernel's order."""
        wanted = set(axes)
        return tuple(a for a in self.order if a in wanted)

    def valid(self, axes: Iterable[str]) -> Expr:
        """That lanes lie within the extents of these axes."""
        sizes = ((a, self.kernel.axis(a).size) for a in self.sorted(axes) if a not in self.steps)
        return both(*(Compare(("<",), (Var(a), size)) for a, size in sizes))

    def lanes(self, predicate: Expr, over: Iterable[str]) -> Expr:
        """What a predicate says of lanes that exist along the axes beside `over`.

        Whoever looks at several lanes along an axis tests that they exist; so what is computed for
        lanes that do not is not looked at.
        """
        others = set(self.order) - set(over)
        beside = set(conjuncts(self.valid(others)))
        return both(*(p for p in conjuncts(predicate) if p not in beside))

    def map(self, base: str, value: Expr) -> Map:
        """A new tile of a value."""
        kind, axes = self.kind(value), self.sorted(self.varies(value))
        found = Map(self.fresh(base), axes, kind, value)
        self.add([found])
        return found

    def conditions(self, predicate: Expr) -> frozenset[Expr]:
        """What a predicate says, tiles that are predicates opened, and chains of comparisons."""
        found: set[Expr] = set()
        for part in conjuncts(predicate):
            definition = self.defined.get(part.name) if isinstance(part, Name) else None
            match part, definition:
                case _, Map(value=value) if part not in conjuncts(value):
                    found |= self.conditions(value)
                case Compare(ops=ops, operands=operands), _ if len(ops) > 1:
                    pairs = zip(ops, operands, operands[1:], strict=False)
                    found |= {Compare((op,), (a, b)) for op, a, b in pairs}
                case _ if part != TRUE:
                    found.add(part)
                case _:
                    pass
        return frozenset(found)


def varying(
    exprs: Iterable[Expr],
    along: Collection[str],
    coords: Mapping[str, Expr],
    axes: Mapping[str, Iterable[str]],
) -> frozenset[str]:
    """The axes among `along` on which expressions depend lane by lane.

    `coords` are coordinates that are computed, `axes` those of tiles.
    """
    found: set[str] = set()
    stack = list(exprs)
    while stack:
        node = stack.pop()
        match node:
            case Apply(function="low" | "high" | "tile"):
                pass
            case Var(name=name) if name in coords:
                stack.append(coords[name])
            case Var(name=name) if name in along:
                found.add(name)
            case Name(name=name):
                found |= set(axes[name])
            case _:
                stack += children(node)
    return frozenset(found)
