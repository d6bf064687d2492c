"""What is known of the expressions of a kernel, whatever the units of its tiles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Choice, Expr, Float, Int, Unary, Value
from attnc.ir.nodes import quick
from attnc.ir.tiles import Dot, If, Loop, Map, Statement
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.ir.types import Kind, Origin
from attnc.ir.walk import rebuild
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.scalars import LN2, ONE, Scalar, extents, scalar, uniform

LANES: Final = 64
"""Lanes of a tile along an axis, and rounds of a loop: what costs are compared at."""
DIVISION, POWER, FUSED = 4.0, 8.0, 1.05
"""What a quotient, a power, and a product with a sum cost, where a product or a sum costs 1."""
NATURAL: Final = 4
"""The most units in which an expression is tried."""


@quick
@dataclass(frozen=True, slots=True)
class Made:
    """An expression, what it costs, and the tiles that it reads in another unit than theirs."""

    cost: float
    expr: Expr
    tiles: frozenset[tuple[str, Scalar]] = frozenset()
    shared: float = 0
    """What of the cost is that of these tiles, which others may read, too."""


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of an expression, whatever the units."""

    expr: Expr
    kind: Kind
    origin: Origin
    axes: tuple[str, ...]
    uniform: bool
    factor: Scalar | None
    tiles: bool
    """Whether it holds a tile of floats."""

    @property
    def zero(self) -> bool:
        """Whether it is 0, and so in any unit that is finite."""
        return isinstance(self.expr, Int | Float) and self.expr.value == 0

    @property
    def infinite(self) -> bool:
        """Whether it is infinite, and so in any positive unit."""
        inner = self.expr.operand if isinstance(self.expr, Unary) else self.expr
        return isinstance(inner, Float) and inner.value == float("inf")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands: how deep in loops, and of what kind the whole of it is."""

    depth: int
    kind: Kind


class Nodes:
    """Expressions of a kernel, remembered by object."""

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self.extents: Mapping[str, bool] = extents(context.plan, context.kernel)
        self.readers: Counter[str] = Counter(
            n for item in statements(context.kernel.body) for n in names(*expressions(item))
        )
        """How many statements read a tile."""
        self.coordinates: frozenset[str] = frozenset(_coordinates(context))
        self.lanes: Mapping[str, int] = _lanes(context)
        self.values: set[str] = {*context.facts.values}
        for name, value in context.lets.items():
            if uniform(value, self.values):
                self.values.add(name)
        self._known: dict[int, Node] = {}
        self._weights: dict[tuple[int, int], float] = {}
        self._positive: dict[Scalar, bool] = {}
        self._moves: dict[int, tuple[Statement, bool]] = {}

    def __call__(self, expr: Expr) -> Node:
        """What is known of an expression."""
        found = self._known.get(id(expr))
        if found is None:
            found = self._known[id(expr)] = self._node(expr)
        return found

    def _node(self, expr: Expr) -> Node:
        context = self.context
        found = context.type(expr)
        number = found.kind is not Kind.BOOL and found.origin is not Origin.TENSOR
        fixed = (number or _is_let(context, expr)) and uniform(expr, self.values)
        read = () if fixed else names(expr)
        return Node(
            expr,
            found.kind,
            found.origin,
            context.sorted(context.varies(expr)),
            fixed,
            scalar(expr, context.lets) if fixed else None,
            any(context.kinds[n].floating and n not in self.coordinates for n in read),
        )

    def moves(self, item: Statement) -> bool:
        """Whether a statement, what it carries aside, holds a tile of floats beside operands of a
        product."""
        found = self._moves.get(id(item))
        if found is None:
            bare = replace(item, carries=()) if isinstance(item, Loop | If) else item
            parts = (bare.where,) if isinstance(bare, Dot) else expressions(bare)
            found = self._moves[id(item)] = item, any(self(e).tiles for e in parts)
        return found[1]

    def weight(self, expr: Expr, depth: int) -> float:
        """How often an expression is computed."""
        key = id(expr), depth
        if key not in self._weights:
            lanes = math.prod(self.lanes[a] for a in self(expr).axes)
            self._weights[key] = float(lanes * LANES**depth)
        return self._weights[key]

    def positive(self, unit: Scalar) -> bool:
        """Whether a number is proved to be positive, so that it may be a unit."""
        if unit not in self._positive:
            self._positive[unit] = unit.positive(self.extents)
        return self._positive[unit]

    def finite(self, unit: Scalar) -> bool:
        """Whether a positive number is so even where an extent is 0 that divides by it."""
        known = {name: True for name, runs in self.extents.items() if runs}
        return unit.positive(known)


def _coordinates(context: Context) -> Iterator[str]:
    """Tiles that are computed of coordinates alone: steps are taken by them, to the last bit."""
    found: set[str] = set()
    for name, item in context.defined.items():
        if isinstance(item, Map) and names(item.value) <= found:
            found.add(name)
            yield name


def _lanes(context: Context) -> dict[str, int]:
    """How many lanes tiles have along axes: one where all products are taken for each alone."""
    dots = [s for s in context.defined.values() if isinstance(s, Dot)]
    alone: set[str] = set()
    if dots:
        sides = [{*context.axes[d.left]} & {*context.axes[d.right]} - {*d.over} for d in dots]
        beside = {a for d, both in zip(dots, sides, strict=True) for a in {*d.axes, *d.over} - both}
        alone = set().union(*sides) - beside
    par = {a.name for a in context.kernel.axes if a.kind == "par"}
    return {a: 1 if a in alone & par else LANES for a in context.order}


def _is_let(context: Context, expr: Expr) -> bool:
    """Whether it is one of the kernel's own numbers, which has the kind of what it meets."""
    return isinstance(expr, Value) and expr.name in context.lets


def power_unit(expr: Expr) -> Scalar | None:
    """The unit in which an exponential wants its exponent, so that its base is 2; of a logarithm,
    that of what it gives."""
    match expr:
        case Apply(function="exp" | "log"):
            return LN2
        case Apply(function="exp2" | "log2"):
            return ONE
        case Binary(op="**", left=Int() | Float() as base) if base.value > 1:
            return LN2 / Scalar(powers=((Apply("log", (base,)), ONE.number),))
        case _:
            return None


def keeps_unit(expr: Expr) -> bool:
    """Whether an expression has the unit of its operands."""
    match expr:
        case Unary(op="-") | Binary(op="+" | "-") | Choice():
            return True
        case Apply(function=name):
            return name in ("max", "min", "abs", "relu", "clip", "detach")
        case _:
            return False


def is_product(expr: Expr) -> bool:
    return isinstance(expr, Binary) and expr.op == "*"


def joined(expr: Expr, parts: Iterable[Made | None], cost: float = 0) -> Made | None:
    """A node of operands that were made; None if one could not be."""
    found: list[Made] = []
    for part in parts:
        if part is None:
            return None
        found.append(part)
    total = cost + sum(p.cost for p in found)
    new = rebuild(expr, tuple(p.expr for p in found))
    tiles = frozenset[tuple[str, Scalar]]().union(*(p.tiles for p in found))
    return Made(total, new, tiles, sum(p.shared for p in found))


def cheapest(ways: Iterable[Made | None]) -> Made | None:
    """The first of those that cost least."""
    found: Made | None = None
    for way in ways:
        if way is not None and (found is None or way.cost < found.cost * (1 - 1e-9)):
            found = way
    return found
