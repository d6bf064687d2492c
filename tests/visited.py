"""Which tiles the loops of a kernel go through, worked out with numbers for all programs at once.

Each axis has two dimensions of an array: its tiles, and the lanes of one. So an expression is
computed once for every program and every round, in integers of 64 bits as devices do it. Lanes that
do not exist hold numbers that nobody may look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Int,
    Logical,
    Name,
    Unary,
    Value,
    Var,
)
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import Find, Fold, Kernel, Let, Load, Loop, Map, Plan, Statement
from attnc.ir.tiles_facts import facts_of
from attnc.ir.tiles_walk import statements
from attnc.ir.types import Kind

Array = np.ndarray[Any, Any]
COMPARISONS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, ">>": np.right_shift}
DIVISIONS = {"//": np.floor_divide, "%": np.remainder}
FOLDS = {"min": np.minimum, "max": np.maximum, "any": np.logical_or, "all": np.logical_and}
TYPES = {Kind.BOOL: np.bool_, Kind.I32: np.int32, Kind.I64: np.int64}
GARBAGE = np.array((-(2**31), 2**31 - 1, 7, -13))
"""What lanes hold that do not exist."""


class Unsound(AssertionError):
    """A point is lost, a tile is gone to twice, or a full one lacks a point."""


@dataclass(frozen=True)
class Visits:
    """The rounds of one loop, by the tiles of all axes: those it goes to, and the full ones."""

    axes: tuple[str, ...]
    """The axes that are streamed: those of loops around this one, and its own."""
    visited: Array
    full: Array
    seen: Array
    """The lanes that may have points, by what is said to be present."""


@dataclass
class Programs:
    """All programs of a kernel, with tiles, sizes, parameters and tensors."""

    plan: Plan
    kernel: Kernel
    tiles: Mapping[str, int]
    tensors: Mapping[str, Array]
    numbers: Mapping[str, int]
    """Sizes and parameters."""
    full: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    """By the axis of a loop: which rounds of its partial ranges are run as full ones."""
    values: dict[str, Array] = field(init=False)
    _made: dict[str, Array] = field(default_factory=dict[str, Array])
    _seen: dict[Expr, Array] = field(default_factory=dict[Expr, Array])

    def __post_init__(self) -> None:
        facts = facts_of(self.plan)
        self._defined = {
            s.target: s
            for s in statements(self.kernel.body)
            if isinstance(s, Load | Find | Map | Fold)
        }
        kinds = {name: item.kind for name, item in self._defined.items()}
        lets = {s.name: s for s in statements(self.kernel.body) if isinstance(s, Let)}
        self._lets = {name: let.value for name, let in lets.items()}
        known = dict(facts.values)
        self._types = TileTypes(known, facts.types, kinds)
        for let in lets.values():
            known[let.name] = self._types(let.value)
            assert let.kind in (Kind.BOOL, Kind.I64), f"{let.name} is of {let.kind}"
        self.values = {k: np.array(v) for k, v in self.numbers.items()}
        for let in self.plan.lets:
            self.values[let.name] = self(let.value)
        self._order = [a.name for a in self.kernel.axes]
        self._sizes = {a.name: int(self(a.size)) for a in self.kernel.axes}
        self._tile = dict(self.tiles)
        for axis in self.kernel.axes:
            if axis.kind == "whole":
                self._tile[axis.name] = max(1, self._sizes[axis.name])
        self.low = {
            axis: self._spread(axis, 0, np.arange(0, size, self._tile[axis]))
            for axis, size in self._sizes.items()
        }
        self.high = {
            a: np.minimum(low + self._tile[a], self._sizes[a]) - 1 for a, low in self.low.items()
        }
        self.lanes = {
            a: low + self._spread(a, 1, np.arange(self._tile[a])) for a, low in self.low.items()
        }

    def _spread(self, axis: str, side: int, numbers: Array) -> Array:
        shape = [1] * (2 * len(self._order))
        shape[2 * self._order.index(axis) + side] = len(numbers)
        return numbers.astype(np.int64).reshape(shape)

    # Expressions

    def __call__(self, expr: Expr) -> Array:
        """The values of an expression."""
        if expr not in self._seen:
            self._seen[expr] = self._value(expr)
        return self._seen[expr]

    def _value(self, expr: Expr) -> Array:
        match expr:
            case Int(value=value) | Bool(value=value):
                return np.array(value)
            case Value(name=name):
                return self.values[name] if name in self.values else self(self._lets[name])
            case Var(name=name):
                return self.lanes[name]
            case Name(name=name):
                return self._tile_of(name)
            case Apply(function="low" | "high" | "tile" as edge, arguments=(Var(name=name),)):
                if edge == "tile":
                    return np.array(self._tile[name])
                return (self.low if edge == "low" else self.high)[name]
            case Unary(op="-", operand=operand):
                return -self(operand)
            case Unary(op="not", operand=operand):
                return ~self(operand)
            case Logical(op=op, left=left, right=right):
                return (np.logical_and if op == "and" else np.logical_or)(self(left), self(right))
            case Compare(ops=ops, operands=operands):
                found = [self(o) for o in operands]
                pairs = zip(ops, found, found[1:], strict=False)
                return reduce(np.logical_and, (COMPARISONS[op](a, b) for op, a, b in pairs))
            case Choice(condition=condition, then=then, other=other):
                return np.where(self(condition), self(then), self(other))
            case Binary(op=op, left=left, right=right) if op in ARITHMETIC:
                return self._held(expr, ARITHMETIC[op](*self._alike(expr, left, right)))
            case Binary(op=op, left=left, right=right) if op in DIVISIONS:
                a, b = self._alike(expr, left, right)
                return self._held(expr, DIVISIONS[op](a, np.where(b == 0, 1, b)))
            case Apply(function=function, arguments=arguments):
                return self._held(expr, self._applied(function, [self(a) for a in arguments]))
            case _:
                raise NotImplementedError(expr)

    def _alike(self, expr: Expr, *operands: Expr) -> list[Array]:
        found = [self(o) for o in operands]
        if any(f.dtype == np.int32 for f in found):
            kind = TYPES[self._types(expr).kind]
            return [f.astype(kind) for f in found]
        return found

    def _held(self, expr: Expr, found: Array) -> Array:
        return found.astype(np.int32) if self._narrow(expr) else found

    def _narrow(self, expr: Expr) -> bool:
        return bool(self.tensors) and self._types(expr).kind is Kind.I32

    @staticmethod
    def _applied(function: str, found: Sequence[Array]) -> Array:
        match function:
            case "min" | "max":
                extreme: Array = reduce(FOLDS[function], found)
                return extreme
            case "clip":
                return np.minimum(np.maximum(found[0], found[1]), found[2])
            case "abs":
                return np.abs(found[0])
            case "ceildiv":
                return -(-found[0] // np.where(found[1] == 0, 1, found[1]))
            case "i64" | "i32":
                return found[0].astype(function.replace("i", "int"))
            case "bool":
                return np.not_equal(found[0], 0)
            case _:
                raise NotImplementedError(function)

    # Tiles

    def _tile_of(self, name: str) -> Array:
        if name not in self._made:
            self._made[name] = self._computed(self._defined[name])
        return self._made[name]

    def _computed(self, item: Load | Find | Map | Fold) -> Array:
        match item:
            case Load(tensor=tensor, index=index, where=where):
                array = self.tensors[tensor]
                places = np.broadcast_arrays(*(self(i) for i in index))
                inside = [(p >= 0) & (p < s) for p, s in zip(places, array.shape, strict=True)]
                here = self(where)
                if np.any(here & ~reduce(np.logical_and, inside)):
                    raise Unsound(f"{item.target} is read outside of {tensor}")
                here = np.broadcast_to(here, np.broadcast_shapes(here.shape, places[0].shape))
                rest = np.resize(GARBAGE.astype(array.dtype), here.shape)
                found = rest.copy()
                found[here] = array[tuple(np.broadcast_to(p, here.shape)[here] for p in places)]
                return found
            case Find():
                return self._found(item)
            case Map(value=value):
                return self(value)
            case Fold(op=op, over=over, value=value, where=where):
                counts, lanes = self(where), self(value)
                shape = list(np.broadcast_shapes(counts.shape, lanes.shape))
                sides = tuple(2 * self._order.index(a) + 1 for a in over)
                for axis, side in zip(over, sides, strict=True):
                    shape[side] = self._tile[axis]
                none = self._identity(op)
                full = np.broadcast_to(np.where(counts, lanes, none), shape)
                return FOLDS[op].reduce(full, sides, keepdims=True)

    def _found(self, item: Find) -> Array:
        """How many elements of a row do not compare so; those that do must be the last ones."""
        rows = np.moveaxis(self.tensors[item.tensor], item.rank, -1)
        index, value, here = [self(i) for i in item.index], self(item.value), self(item.where)
        shape = np.broadcast_shapes(here.shape, value.shape, *(i.shape for i in index))
        inside = [(i >= 0) & (i < n) for i, n in zip(index, rows.shape, strict=False)]
        if np.any(here & ~reduce(np.logical_and, inside, np.array(True))):
            raise Unsound(f"{item.target} is searched outside of {item.tensor}")
        places = tuple(np.where(np.broadcast_to(here, shape), i, 0) for i in index)
        if rows.size == 0:
            return np.zeros(shape, np.int64)
        holds = COMPARISONS[item.op](rows[places], value[..., None])
        if np.any(holds[..., :-1] & ~holds[..., 1:]):
            raise Unsound(f"{item.tensor} is searched and not sorted so")
        found = np.broadcast_to(np.sum(~holds, axis=-1), shape)
        return np.where(here, found, np.resize(GARBAGE, shape))

    @staticmethod
    def _identity(op: str) -> Any:
        edges = np.iinfo(np.int64)
        return {"min": edges.max, "max": edges.min, "any": False, "all": True}[op]

    # Loops

    def visits(self) -> Iterator[Visits]:
        """The rounds of each loop, of one inside of another, too; raises `Unsound`."""
        programs = [1] * (2 * len(self._order))
        for axis in self.kernel.axes:
            if axis.kind == "par":
                programs[2 * self._order.index(axis.name)] = self.low[axis.name].size
        yield from self._body(self.kernel.body, (), np.ones(programs, bool))

    def _body(
        self, body: Iterable[Statement], around: tuple[str, ...], here: Array
    ) -> Iterator[Visits]:
        for item in body:
            match item:
                case Loop(axis=axis):
                    found = self._loop(item, (*around, axis), here)
                    yield found
                    yield from self._body(item.body, found.axes, found.visited)
                case _:
                    pass

    def _loop(self, loop: Loop, axes: tuple[str, ...], here: Array) -> Visits:
        axis, tile = loop.axis, self._tile[loop.axis]
        at = self.low[axis]
        times, full = np.array(0), np.array(False)
        for part in loop.ranges:
            low, high = self(part.low), self(part.high)
            some = here & (low < high)
            if np.any(some & ((low < 0) | (low % tile != 0))):
                raise Unsound(f"a range of {axis} begins in the middle of a tile")
            if np.any(some & (high > -(-self._sizes[axis] // tile) * tile)):
                raise Unsound(f"a range of {axis} goes beyond the extent")
            if part.full and np.any(some & ((high % tile != 0) | (high > self._sizes[axis]))):
                raise Unsound(f"a full range of {axis} ends in the middle of a tile")
            inside = here & (low <= at) & (at < high)
            times = times + inside
            full = full | (inside & part.full)
        if np.any(times > 1):
            raise Unsound(f"a tile of {axis} is gone to twice")
        where = self(loop.where) | full  # a full range leaves nothing out
        self._given(loop, full & where, axes)
        visited = (times > 0) & where
        full = (full & where) | (visited & self(self.full.get(axis, Bool(False))))
        lane, seen = self.lanes[axis], full | (not loop.present)
        for part in loop.present:
            seen = seen | ((self(part.low) <= lane) & (lane < self(part.high)))
        return Visits(axes, visited, full, seen)

    def _given(self, loop: Loop, full: Array, around: tuple[str, ...]) -> None:
        """Fails unless what is given holds in full tiles for each lane of a program that exists."""
        if not np.any(full):
            return
        par = [a.name for a in self.kernel.axes if a.kind == "par"]
        lanes = reduce(np.logical_and, (self.lanes[a] < self._sizes[a] for a in par), full)
        for condition in loop.given:
            if np.any(lanes & ~self(condition)):
                raise Unsound(f"a given condition does not hold in a full tile of {around[-1]}")
