"""Which axes of a kernel are tiled, and which a program or a loop takes one coordinate at a time.

A device multiplies matrices, which have two axes, and loads rows whose elements are neighbours. Of
each kernel all choices are compared by what they cost at nominal sizes: the lanes that are
computed, the bytes that are loaded, again for each tile that needs them, and products that are no
product of matrices. Nothing is known of what an axis stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Final

from attnc.ir.expr import Value
from attnc.ir.tiles import (
    Axis,
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
    TopK,
)
from attnc.ir.tiles_walk import expressions, last_with
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.context import Context

POINTS: Final = 1024
"""Points of an axis in the comparison."""
WHOLE: Final = 64
"""Points of an axis that is held whole."""
LARGEST: Final = 64 * 64
"""Most lanes of a tile."""
SIZES: Final = (64, 16)
"""Sizes of tiles that are compared."""
MATRIX: Final = 16
"""How many times faster a multiplication in a product of matrices is."""
LEAST: Final = 16
"""Rows and columns that a product of matrices has at least."""
STATEMENT: Final = 256
"""What a statement costs at all, in lanes."""
SCATTERED: Final = 8
"""How many times more a load costs whose neighbours in memory are not loaded with it."""


def _cheapest(context: Context, points: frozenset[str] = frozenset()) -> frozenset[str]:
    """The parallel and streamed axes that are tiled at the least cost, which those are not."""
    kernel = context.kernel
    free = [a.name for a in kernel.axes if a.kind in ("par", "stream") and a.name not in points]
    best: tuple[float, tuple[int, ...], tuple[str, ...]] | None = None
    for count in range(min(len(free), 4) + 1):
        for chosen in combinations(free, count):
            for size in SIZES if chosen else SIZES[:1]:
                sizes = dict.fromkeys(chosen, size)
                sizes |= {a.name: WHOLE for a in kernel.axes if a.kind == "whole"}
                found = _Costs(context, sizes).of(kernel.body, _programs(kernel, sizes))
                inner = tuple(-free.index(a) for a in chosen)  # of equals, the innermost
                if found is not None and (best is None or (found, inner, chosen) < best):
                    best = found, inner, chosen
    return frozenset(best[2]) if best else frozenset()


def tiled(context: Context, points: frozenset[str] = frozenset()) -> frozenset[str]:
    """The parallel and streamed axes that are tiled, but for those of `points`.

    Those whose tiles have a size that kernels share are, if they are in the one it is chosen for.
    Of axes whose points are tiles of others, which are few, those that run in parallel are not.
    """
    plan, kernel = context.plan, context.kernel
    own = {a.name: a.tile for a in kernel.axes if a.tile}
    if all(a.tile or _of_tiles(plan, a) for a in kernel.axes):
        found = {a.name for a in kernel.axes if not a.tile and a.kind == "stream"}
    else:
        found = set(_cheapest(context, points))
    for name, tile in own.items():
        last, axis = last_with(plan, tile)
        if last != kernel:
            chosen = axis.name in _cheapest(Context(plan, last))
            found = found | {name} if chosen else found - {name}
    return frozenset(found)


def _of_tiles(plan: Plan, axis: Axis) -> bool:
    """Whether the points of an axis are tiles."""
    nodes = subexpressions(axis.size)
    return any(isinstance(n, Value) and n.name in plan.tiles for n in nodes)


def _programs(kernel: Kernel, sizes: Mapping[str, int]) -> float:
    return prod(POINTS / sizes.get(a.name, 1) for a in kernel.axes if a.kind == "par")


@dataclass
class _Costs:
    context: Context
    sizes: Mapping[str, int]

    def of(self, body: Iterable[Statement], times: float) -> float | None:
        """What statements cost that are run so many times; None if a tile is too large."""
        total = 0.0
        for item in body:
            match item:
                case Loop(axis=axis, body=inner):
                    found = self.of(inner, times * POINTS / self.sizes.get(axis, 1))
                    if found is None:
                        return None
                    total += found
                case If(body=inner):
                    found = self.of(inner, times / 8)
                    if found is None:
                        return None
                    total += found
                case _:
                    cost = self._statement(item)
                    if cost is None:
                        return None
                    total += times * (cost + STATEMENT)
        return total

    def _lanes(self, axes: Iterable[str]) -> int:
        return prod(self.sizes.get(a, 1) for a in axes)

    def _statement(self, item: Statement) -> float | None:
        match item:
            case Load():
                lanes = self._lanes(item.axes)
                return self._fits(lanes, lanes * 4.0 * self._scatter(item))
            case Store():
                lanes = self._lanes(self.context.varies(*expressions(item)))
                return self._fits(lanes, lanes * 4.0)
            case Map(axes=axes, value=value):
                lanes = self._lanes(axes)
                return self._fits(lanes, float(lanes * sum(1 for _ in subexpressions(value))))
            case Dot():
                return self._dot(item)
            case Find(axes=axes):
                lanes = self._lanes(axes)
                return self._fits(lanes, lanes * 64.0)
            case Let():
                return 0.0
            case Loop() | If():
                raise TypeError("a block is no single statement")
            case Fold(axes=axes, over=over, value=value):
                lanes = self._lanes({*axes, *over} & self.context.varies(value) | set(axes))
                return self._fits(lanes, lanes * 2.0)
            case TopK(axes=axes, over=over, into=into):
                lanes = self._lanes({*axes, over} - {into})
                most = lanes * max(self._lanes([over]), self._lanes([into]))
                return self._fits(most, most * 8.0)
            case Scan(axes=axes):
                return self._fits(self._lanes(axes), self._lanes(axes) * 8.0)

    def _fits(self, lanes: int, cost: float) -> float | None:
        return cost if lanes <= LARGEST else None

    def _dot(self, item: Dot) -> float | None:
        left, right = (
            set(self.context.axes[n]) & self.sizes.keys() for n in (item.left, item.right)
        )
        over = set(item.over) & self.sizes.keys()
        every = self._lanes(left | right)
        if is_matrix(left, right, over):
            parts = [left - over, right - over, over]
            return prod(max(LEAST, self._lanes(p)) for p in parts) / MATRIX
        return self._fits(every, every * 2.0)

    def _scatter(self, item: Load) -> int:
        """Whether neighbours in memory are loaded together."""
        if not item.index:
            return 1
        last = self.context.varies(item.index[-1]) & self.sizes.keys()
        return 1 if last or not self.context.varies(*item.index) else SCATTERED


def is_matrix(left: set[str], right: set[str], over: set[str]) -> bool:
    """Whether a product of two tiles with these axes is one of matrices."""
    rows, columns = left - over, right - over
    single = len(rows) == len(columns) == len(over) == 1
    return single and over <= left and over <= right and not rows & columns
