"""Expressions of level 2 as numbers: for many programs, tiles and lanes at once.

An array has two axes for each axis of the kernel, in its order: one for tiles, one for the lanes of
a tile. An array is 1 long along what it does not vary with, so that what is combined is aligned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from attnc.ir.cascade import Constant
from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Unary,
    Value,
    Var,
)
from attnc.ir.tiles import Find, Fold, Kernel, Let, Load, Map, Plan, Tile
from attnc.ir.tiles_walk import expressions, statements, targets
from attnc.ir.walk import children
from attnc.passes.analysis.tile_along import Along, NotCounted, Number
from attnc.passes.analysis.tile_functions import (
    BINARY,
    COMPARE,
    FOLDS,
    FUNCTIONS,
    UNARY,
    choice,
    found,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Numbers:
    """What the numbers of a kernel are made of: its definitions, and the values that are known.

    `data` are arrays of inputs.
    """

    plan: Plan
    kernel: Kernel
    values: Mapping[str, Constant]
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, Any])
    position: dict[str, int] = field(init=False)
    tiles: dict[str, Tile] = field(init=False)
    lets: dict[str, Expr] = field(init=False)
    coords: dict[str, Expr] = field(init=False)

    def __post_init__(self) -> None:
        items = list(statements(self.kernel.body))
        positions = {a.name: i for i, a in enumerate(self.kernel.axes)}
        coords = {c.name: c.value for c in self.kernel.coords}
        lets = {s.name: s.value for s in items if isinstance(s, Let)}
        tiles = {s.target: s for s in items if isinstance(s, Tile)}
        carried = {n for s in items if not isinstance(s, Tile) for n in targets(s)}
        object.__setattr__(self, "position", positions)
        object.__setattr__(self, "coords", coords)
        object.__setattr__(self, "lets", lets)
        object.__setattr__(self, "tiles", {n: t for n, t in tiles.items() if n not in carried})

    @property
    def rank(self) -> int:
        """How many axes an array has."""
        return 2 * len(self.kernel.axes)

    def along_tiles(self, axis: str, items: Number) -> NDArray[Any]:
        """Numbers, one for each tile of an axis."""
        shape = [1] * self.rank
        shape[2 * self.position[axis]] = -1
        return np.asarray(items).reshape(shape)

    def along_lanes(self, axis: str, items: Number) -> NDArray[Any]:
        """Numbers, one for each lane of an axis."""
        shape = [1] * self.rank
        shape[2 * self.position[axis] + 1] = -1
        return np.asarray(items).reshape(shape)

    def whole(self, number: Number) -> NDArray[Any]:
        """A number as an array."""
        found = np.asarray(number)
        return found if found.ndim else found.reshape([1] * self.rank)

    def is_extent(self, expr: Expr) -> bool:
        """Whether this says that lanes lie within the extent of an axis."""
        match expr:
            case Compare(ops=("<",), operands=(Var(name=name), size)) if name in self.position:
                return size == self.kernel.axis(name).size
            case _:
                return False

    def mentioned(self, *exprs: Expr) -> frozenset[str]:
        """The axes on which expressions depend, whether lane by lane or by the tile."""
        found: set[str] = set()
        for node in self._opened(exprs):
            if isinstance(node, Var) and node.name in self.position:
                found.add(node.name)
        return frozenset(found)

    def check(self, *exprs: Expr) -> None:
        """Raises `NotCounted` where expressions depend on what is not known."""
        tensors: dict[str, None] = {}
        inputs = {i.name for i in self.plan.inputs}
        for node in self._opened(exprs):
            match node:
                case Name(name=name) if name not in self.tiles:
                    raise NotCounted(f"it depends on '{name}', which a loop or an if carries")
                case Name(name=name):
                    item = self.tiles[name]
                    if isinstance(item, Load | Find) and item.tensor not in self.data:
                        tensors[item.tensor.removesuffix("?")] = None
                    elif not isinstance(item, Load | Find | Map | Fold):
                        made = type(item).__name__.lower()
                        raise NotCounted(f"it depends on '{name}', which a {made} gives")
                case Value(name=name) if name not in self.values and name not in self.lets:
                    raise NotCounted(f"the value of {name} is not known")
                case _:
                    pass
        if tensors:
            made = ", which a kernel computes" if tensors.keys() - inputs else ""
            raise NotCounted(f"it depends on the values in {', '.join(tensors)}{made}")

    def loaded(self, *exprs: Expr) -> tuple[str, ...]:
        """The tensors whose values decide on expressions."""
        names = (n.name for n in self._opened(exprs) if isinstance(n, Name))
        items = (self.tiles[n] for n in names if n in self.tiles)
        return tuple(dict.fromkeys(i.tensor for i in items if isinstance(i, Load | Find)))

    def _opened(self, exprs: tuple[Expr, ...]) -> list[Expr]:
        """The nodes of expressions, and of what tiles, coordinates and numbers in them are."""
        found: list[Expr] = []
        seen: set[str] = set()
        stack = list(exprs)
        while stack:
            node = stack.pop()
            if self.is_extent(node):
                continue
            found.append(node)
            match node:
                case Apply(function="tile"):
                    pass
                case Name(name=name) | Var(name=name) | Value(name=name):
                    if name not in seen:
                        seen.add(name)
                        stack += self._definition(node)
                case _:
                    stack += children(node)
        return found

    def _definition(self, node: Name | Var | Value) -> tuple[Expr, ...]:
        match node:
            case Name(name=name) if name in self.tiles:
                return expressions(self.tiles[name])
            case Var(name=name) if name in self.coords:
                return (self.coords[name],)
            case Value(name=name) if name in self.lets:
                return (self.lets[name],)
            case _:
                return ()


@dataclass
class Frame:
    """Tiles of some axes, and the numbers there."""

    numbers: Numbers
    along: Mapping[str, Along]
    known: dict[str, Number] = field(default_factory=dict[str, Number])
    """Numbers and tiles that were computed, by name."""

    def inside(self, axis: str, along: Along) -> Frame:
        """With tiles of one axis more; what is known stays so."""
        return Frame(self.numbers, {**self.along, axis: along}, dict(self.known))

    def number(self, expr: Expr) -> Number:
        """An expression; raises `NotCounted` where it depends on what is not known."""
        self.numbers.check(expr)
        with np.errstate(all="ignore"):
            return self._of(expr)

    def _of(self, expr: Expr) -> Number:
        if self.numbers.is_extent(expr):
            return True
        match expr:
            case Int(value=value) | Float(value=value) | Bool(value=value):
                return value
            case Value(name=name) if name in self.numbers.lets:
                if name not in self.known:
                    self.known[name] = self._of(self.numbers.lets[name])
                return self.known[name]
            case Value(name=name):
                return self.numbers.values[name]
            case Var(name=name) if name in self.numbers.coords:
                return self._of(self.numbers.coords[name])
            case Var(name=name):
                return self._lanes(name)
            case Name(name=name):
                if name not in self.known:
                    self.known[name] = self._tile(self.numbers.tiles[name])
                return self.known[name]
            case Unary(op=op, operand=operand):
                return UNARY[op](self._of(operand))
            case Binary(op=op, left=left, right=right):
                return BINARY[op](self._of(left), self._of(right))
            case Logical(op=op, left=left, right=right):
                found = self._of(left)
                if isinstance(found, bool) and found is (op == "or"):
                    return found
                join = np.logical_or if op == "or" else np.logical_and
                return join(found, self._of(right))
            case Compare(ops=ops, operands=operands):
                items = [self._of(o) for o in operands]
                pairs = zip(ops, items, items[1:], strict=False)
                return reduce(np.logical_and, [COMPARE[op](a, b) for op, a, b in pairs])
            case Choice(condition=condition, then=then, other=other):
                return choice(self._of(condition), self._of(then), self._of(other))
            case Apply(function="low" | "high" as which, arguments=(Var(name=name),)):
                return self._bound(which, name)
            case Apply(function="tile", arguments=(Var(name=name),)):
                return self.along[name].tile
            case Apply(function="within"):
                return True  # lanes beyond are copies of others
            case Apply(function=name, arguments=arguments) if name in FUNCTIONS:
                return FUNCTIONS[name](*map(self._of, arguments))
            case Apply(function=name):
                raise NotCounted(f"it depends on {name}(...)")
            case _:
                raise TypeError(f"{type(expr).__name__} is no expression over tiles")

    def _lanes(self, axis: str) -> Number:
        along = self.along[axis]
        if along.tile == 1:
            return along.start
        lanes = self.numbers.along_lanes(axis, np.arange(along.tile))
        return along.start + np.minimum(lanes, along.lanes()) * along.step

    def _bound(self, which: str, name: str) -> Number:
        if name in self.numbers.coords:
            found = self.numbers.whole(self._of(Var(name)))
            lanes = tuple(range(1, found.ndim, 2))
            return (found.min if which == "low" else found.max)(axis=lanes, keepdims=True)
        along = self.along[name]
        return along.start if which == "low" else along.start + along.lanes() * along.step

    # Tiles, from data

    def _tile(self, item: Tile) -> Number:
        match item:
            case Map(value=value):
                return self._of(value)
            case Load():
                return self._load(item)
            case Find():
                return self._find(item)
            case Fold():
                return self._fold(item)
            case _:
                raise NotCounted(f"it depends on '{item.target}'")

    def _load(self, item: Load) -> Number:
        array = self.numbers.data[item.tensor]
        places = zip(item.index, array.shape, strict=True)
        index = [np.clip(self._of(i), 0, max(n - 1, 0)) for i, n in places]
        found = array[tuple(index)] if array.size else np.zeros((), array.dtype)
        return found if item.fill is None else choice(self._of(item.where), found, item.fill)

    def _find(self, item: Find) -> Number:
        array = np.moveaxis(self.numbers.data[item.tensor], item.rank, -1)
        places = zip(item.index, array.shape[:-1], strict=True)
        index = [np.clip(self._of(i), 0, max(n - 1, 0)) for i, n in places]
        rows = array[tuple(index)] if array.size else np.zeros((0,), array.dtype)
        return choice(self._of(item.where), found(rows, item.op, self._of(item.value)), 0)

    def _fold(self, item: Fold) -> Number:
        if item.op not in FOLDS:
            raise NotCounted(f"it depends on '{item.target}', which {item.op} gives")
        fold, start = FOLDS[item.op]
        value, where = self.numbers.whole(self._of(item.value)), self._of(item.where)
        for axis in item.over:
            along = self.along[axis]
            lanes = self.numbers.along_lanes(axis, np.arange(along.tile))
            where = np.logical_and(where, lanes <= along.lanes())  # each lane once
        shape = np.broadcast_shapes(value.shape, self.numbers.whole(where).shape)
        across = tuple(2 * self.numbers.position[a] + 1 for a in item.over)
        if item.op in ("sum", "prod") and value.dtype == np.bool_:
            value = value.astype(np.int64)
        chosen = np.broadcast_to(choice(where, value, start(value.dtype)), shape)
        return fold.reduce(chosen, axis=across, keepdims=True)
