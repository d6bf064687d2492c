"""How large tiles are: what fits into registers and shared memory, counted for each kernel.

Live tiles are counted where most of them live, those that a loop carries included, as formulas
over the sizes of tiles; so are operands of products of matrices, which lie in shared memory once
for each stage of the pipeline. The module tries sizes, the largest first, and takes the first that
fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final, TypeAlias

from attnc.backends.triton.products import Products
from attnc.backends.triton.scope import KernelScope
from attnc.ir.expr import Apply
from attnc.ir.tiles import Dot, Fold, If, Load, Loop, Map, Statement, TopK
from attnc.ir.tiles_walk import expressions, reads
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions

Shape: TypeAlias = tuple[str, ...]

NOMINAL: Final = {"rows": 128, "columns": 128, "others": 64, "whole": 64}
"""Sizes at which shapes are compared."""

COLUMNS: Final = 128
"""Most columns of a tile along an axis that programs share out."""

LONG: Final = frozenset("tanh erf gelu expm1 log1p softplus pow random".split())
"""Functions that are many operations."""


@dataclass
class Model:
    """What tiles of a kernel there are."""

    scope: KernelScope
    products: Products
    roles: dict[str, str] = field(default_factory=dict[str, str])
    """Of each axis of tiles: rows, columns, others or whole."""

    def __post_init__(self) -> None:
        axes = [a for a in self.scope.kernel.axes if self.scope.is_tile(a.name)]
        columns = {m.columns for m in self.products.matrices.values()}
        rows = {m.rows for m in self.products.matrices.values()}
        for axis in axes:
            if axis.kind == "whole":
                self.roles[axis.name] = "whole"
            elif axis.kind == "par" and axis.name in columns - rows:
                self.roles[axis.name] = "columns"
            elif axis.kind == "par" and "rows" not in self.roles.values():
                self.roles[axis.name] = "rows"
            else:
                self.roles[axis.name] = "others"

    def in_products(self) -> frozenset[str]:
        """The axes along which matrices are multiplied: a device takes so many at least."""
        found = self.products.matrices.values()
        return frozenset(a for m in found for a in (m.rows, m.over, m.columns))

    def live(self) -> Counter[Shape]:
        """The shapes of the tiles that live at once where most do."""
        return max(self._moments(self.scope.kernel.body, Counter()), key=self._weight)

    def operands(self) -> tuple[Counter[Shape], Counter[Shape]]:
        """The shapes of operands of products that are loaded: once, and in each round."""
        once: Counter[Shape] = Counter()
        rounds: Counter[Shape] = Counter()
        for item, depth in _deep(self.scope.kernel.body, 0):
            if isinstance(item, Load) and item.target in self.products.operands:
                (rounds if depth else once)[self._shape(item.axes)] += 1
        return once, rounds

    def _shape(self, axes: Shape) -> Shape:
        return self.scope.dimensions(axes)

    def _weight(self, shapes: Mapping[Shape, int]) -> int:
        return sum(n * prod(NOMINAL[self.roles[a]] for a in s) for s, n in shapes.items())

    def _moments(
        self, body: tuple[Statement, ...], around: Counter[Shape]
    ) -> Iterator[Counter[Shape]]:
        """The tiles that live after each statement of a block and of those in it."""
        yield around
        made: dict[str, tuple[Shape, int]] = {}
        read = [reads(s) for s in body]
        later = [set[str]()]  # what is read behind each statement
        for names in reversed(read):
            later.append(later[-1] | names)
        later.reverse()
        for place, item in enumerate(body):
            after = later[place + 1]
            needed = after | read[place]
            alive = around + _counted(s for t, s in made.items() if t in needed)
            match item:
                case Loop(carries=carries, body=inner) | If(carries=carries, body=inner):
                    kept = around + _counted(s for t, s in made.items() if t in after)
                    inside = kept + Counter(self._shape(c.axes) for c in carries)
                    inside += _counted(
                        s for t, s in made.items() if t in read[place] and t not in after
                    )
                    yield from self._moments(inner, inside)
                    made |= {c.name: (self._shape(c.axes), 1) for c in carries}
                case Map() | Dot() | Fold() | Load() | TopK():
                    wide = 2 if item.kind is Kind.F64 else 1
                    yield alive + Counter({self._inner(item): wide * _own(item)})
                    if self._is_kept(item):
                        made[item.target] = self._shape(item.axes), wide
                case _:
                    pass

    def _inner(self, item: Map | Dot | Fold | Load | TopK) -> Shape:
        """The shape of what a statement computes before it reduces."""
        context = self.scope.context
        match item:
            case Fold(value=value, over=over, axes=axes):
                return self._shape(context.sorted({*context.varies(value), *over, *axes}))
            case Dot(target=target, left=left, right=right) if target not in self.products.matrices:
                return self._shape(context.sorted({*context.axes[left], *context.axes[right]}))
            case TopK(axes=axes, over=over):
                return self._shape((*(a for a in axes if a != item.into), over, over))
            case _:
                return self._shape(item.axes) if self._is_kept(item) else ()

    def _is_kept(self, item: Statement) -> bool:
        """Whether a tile has registers of its own: neither an operand nor part of a sum."""
        match item:
            case Map(kind=Kind.BOOL) | Load(kind=Kind.BOOL):
                return False  # a bit for each lane
            case Load(target=target):
                return target not in self.products.only
            case Map(target=target):
                return target not in self.products.only and target not in self.products.sums
            case Dot(target=target):
                return target not in self.products.added
            case _:
                return True


def _deep(body: tuple[Statement, ...], depth: int) -> Iterator[tuple[Statement, int]]:
    for item in body:
        yield item, depth
        if isinstance(item, Loop | If):
            yield from _deep(item.body, depth + 1)


def _own(item: Statement) -> int:
    """How many tiles it takes to compute one: long functions need one for themselves."""
    nodes = (n for e in expressions(item) for n in subexpressions(e))
    return 2 if any(isinstance(n, Apply) and n.function in LONG for n in nodes) else 1


def _counted(shapes: Iterable[tuple[Shape, int]]) -> Counter[Shape]:
    """How many tiles there are of each shape; one of 64 bits counts as two."""
    found: Counter[Shape] = Counter()
    for shape, count in shapes:
        found[shape] += count
    return found
