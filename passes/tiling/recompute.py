"""What is computed where it is read, and what once, to be stored.

A map is always computed where it is read. Anything else may be if it goes along short ranks alone,
or is a scan along the rank that its reader streams. Whether it should be is a matter of cost: a
kernel computes what it holds once for each of its tiles, so that what lacks some of the kernel's
axes is computed, and its operands are read, again and again; but what is stored has to be written,
and read again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Binary, Expr, Read, Reduce, Scan, TopK, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.walk import (
    FreeVariables,
    bound,
    children,
    in_order,
    subexpressions,
    substitute,
    unreachable,
)
from attnc.passes.algebra.sizes import Nominal
from attnc.passes.tiling.inline import Variables
from attnc.passes.tiling.observers import combined, index_variables, observers, observes, scans

SHORT: Final = 512
"""Up to this size a rank of features is held whole."""

TILE: Final = 64
"""Points of one axis that a program computes; up to this any rank is held whole."""

BYTE: Final = 10.0
"""What it costs to read or write a byte, in scalar operations; a few for processors and more for
their matrix units, on all that we know of."""

PRODUCT: Final = 0.125
"""A multiplication or addition in a sum of products, which matrix units compute."""

SORT: Final = 16.0
"""A point that is sorted."""

WORD: Final = 4
"""Bytes of an element."""

LEAST: Final = 16
"""Least points of an axis in a product of matrices."""

LIVE: Final = 2**16
"""Points of a tile that is computed where it is read; a larger one is stored."""

MANY: Final = 64
"""A tensor that is read at more places is stored."""

DEPTH, NODES = 40, 2000
"""Where an expression with all that is put into it is deeper or larger, a tensor is stored."""

NONE: Final[Mapping[str, str]] = {}


@dataclass
class Sizes:
    """Nominal sizes of rank variables."""

    nominal: Nominal
    variables: Variables

    def __call__(self, variable: str) -> int:
        return self.nominal.size(self.variables.sizes[variable])

    def short(self, variable: str) -> bool:
        """Whether an axis is held whole."""
        feature = self.nominal.is_feature(self.variables.sizes[variable])
        return self(variable) <= (SHORT if feature else TILE)

    def long(self, variables: Iterable[str]) -> tuple[str, ...]:
        """Those that are streamed."""
        return tuple(v for v in variables if not self.short(v))

    def points(self, variables: Iterable[str]) -> float:
        """The number of points of some axes."""
        return math.prod(float(self(v)) for v in variables)

    def tiles(self, variables: Iterable[str]) -> float:
        """The number of tiles of some axes."""
        return math.prod(float(-(-self(v) // TILE)) for v in variables)


@dataclass(frozen=True)
class Use:
    """A kernel that needs a tensor: what it computes, its axes, and those that it reduces."""

    tensor: str
    axes: frozenset[str]
    reduced: frozenset[str]


@dataclass
class Recompute:
    """Decides for each tensor that is no map."""

    facts: Facts
    sizes: Sizes
    definitions: Mapping[str, Einsum]
    """What stands alone, in order, and what recurrences define."""
    outputs: frozenset[str]
    scans_apart: bool = False
    """Whether every scan along a long rank is stored."""
    kept: set[str] = field(default_factory=set[str])
    stored: set[str] = field(default_factory=set[str])
    """Maps that are stored, since what they are put into would become too large."""
    _free: FreeVariables = field(default_factory=FreeVariables)
    _ends: dict[str, list[tuple[Read, Use]]] = field(
        default_factory=dict[str, list[tuple[Read, Use]]]
    )
    """By tensor, its reads and the kernels that they end up in."""
    _scans: dict[str, set[tuple[str, bool]]] = field(
        default_factory=dict[str, set[tuple[str, bool]]]
    )
    """By tensor, the scans that its kernel follows: along what, and whether from the end."""

    def run(self) -> frozenset[str]:
        """The tensors that are computed once."""
        self.kept |= self.outputs
        for stage in self.facts.stages:
            if isinstance(stage, Loop):
                self.kept |= {s.tensor for s in stage.steps}
        self._bounded()
        self.readers: dict[str, list[tuple[Einsum, Read]]] = {}
        for einsum in self._all():
            for read in tensor_reads(einsum):
                self.readers.setdefault(read.tensor, []).append((einsum, read))
        for einsum in reversed(list(self.definitions.values())):
            reads = self.readers.get(einsum.tensor, [])
            uses = (u for reader, read in reads for u in self._uses(reader, read))
            found = list(dict.fromkeys(uses))
            if einsum.tensor in self.kept:
                pass
            elif len(found) > MANY or not self._inside(einsum, found):
                self.kept.add(einsum.tensor)
            else:
                for read, use in found:
                    along = zip(einsum.variables, read.index, strict=True)
                    names = {v: i.name for v, i in along if isinstance(i, Var)}
                    self._follow(use.tensor, scans(einsum.value), names)
            self._ends[einsum.tensor] = found
        return frozenset(self.kept)

    def _bounded(self) -> None:
        """Stores what would make expressions too deep or too large."""
        depths: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for einsum in self.definitions.values():
            depth, size = self._measured((einsum.value, *einsum.where), depths, sizes)
            if depth > DEPTH or size > NODES:
                self.kept.add(einsum.tensor)
                self.stored.add(einsum.tensor)
            elif einsum.tensor not in self.outputs or not observes(einsum):
                depths[einsum.tensor], sizes[einsum.tensor] = depth, size

    def _measured(
        self, parts: Iterable[Expr], depths: Mapping[str, int], sizes: Mapping[str, int]
    ) -> tuple[int, int]:
        """Depth and number of nodes of some expressions with what is put into them."""
        depth = size = 0
        for part in parts:
            known: dict[int, int] = {}
            for node in subexpressions(part):
                below = max((known[id(c)] for c in children(node)), default=0)
                more = depths.get(node.tensor, 0) if isinstance(node, Read) else 0
                known[id(node)] = below + 1 + more
                size += 1 + (sizes.get(node.tensor, 0) if isinstance(node, Read) else 0)
            depth = max(depth, known[id(part)])
        return depth, size

    def _all(self) -> Iterable[Einsum]:
        for stage in self.facts.stages:
            yield from (
                (*stage.initial, *stage.steps) if isinstance(stage, Loop) else (stage.einsum,)
            )

    def _inside(self, einsum: Einsum, found: list[tuple[Read, Use]]) -> bool:
        """Whether a tensor is computed where it is read."""
        if not observes(einsum):
            return True
        if not all(self._may(einsum, read, use) for read, use in found):
            return False
        if any(self._live(read, use) > LIVE for read, use in found):
            return False
        return self._costs_less(einsum, found)

    def _may(self, einsum: Einsum, read: Read, use: Use) -> bool:
        """Whether a kernel can compute it: short ranks alone, or a scan along its stream."""
        along = dict(zip(einsum.variables, read.index, strict=True))
        for part in (einsum.value, *einsum.where):
            mentioned = in_order(part)
            moved = {
                v: e
                for v, e in along.items()
                if not (isinstance(e, Var) and (e.name == v or e.name not in mentioned))
            }
            if unreachable(part, moved):
                return False
        for node in observers(einsum.value):
            if isinstance(node, TopK) and not self._whole(along[node.into]):
                return False
            if isinstance(node, Scan) and not self.sizes.short(node.variable):
                at = along[node.variable]
                if self.scans_apart or not isinstance(at, Var):
                    return False
                streams = frozenset(self.sizes.long(use.reduced)) or frozenset((at.name,))
                reader = self.definitions.get(use.tensor)
                if reader is None or any(
                    isinstance(n, TopK) and n.variable == at.name for n in observers(reader.value)
                ):
                    return False  # recurrences go step by step, and what is sorted is held whole
                turned = (at.name, not node.reverse) in self._scans.get(use.tensor, ())
                if streams != {at.name} or turned or at.name not in use.axes | use.reduced:
                    return False
            elif any(not self.sizes.short(v) for v in bound(node)):
                return False
        return True

    def _live(self, read: Read, use: Use) -> float:
        """The points of the least tile that a kernel computes for a read.

        Of the axes that it goes along tile by tile two have more than one point, a row and a
        column; others are whole.
        """
        axes = index_variables(read)
        tiled = {v for v in axes if v in use.axes or not self.sizes.short(v)}
        return float(LEAST ** min(len(tiled), 2)) * self.sizes.points(axes - tiled)

    def _whole(self, index: Expr) -> bool:
        """Whether an index is a variable that a kernel may hold whole."""
        return isinstance(index, Var) and self.sizes.short(index.name)

    def _uses(self, reader: Einsum, read: Read) -> Iterator[tuple[Read, Use]]:
        """The kernels that a read ends up in, and the index that it has there."""
        if reader.tensor in self.kept or reader.tensor not in self._ends:
            self._follow(reader.tensor, scans(reader.value))
            yield read, Use(reader.tensor, frozenset(reader.variables), combined(reader.value))
            if observes(reader) or reader.tensor in self.stored:
                return  # an output that is a map is put where it is read, too
        for outer, use in self._ends.get(reader.tensor, ()):
            index = dict(zip(reader.variables, outer.index, strict=True))
            at = (substitute(i, index, self.sizes.variables.fresh) for i in read.index)
            yield replace(read, index=tuple(at)), use

    def _follow(self, tensor: str, found: Iterable[Scan], names: Mapping[str, str] = NONE) -> None:
        """Notes scans that the kernel of a tensor has to follow."""
        known = self._scans.setdefault(tensor, set())
        for scan in found:
            if not self.sizes.short(scan.variable):
                known.add((names.get(scan.variable, scan.variable), scan.reverse))

    # Cost

    def _costs_less(self, einsum: Einsum, uses: list[tuple[Read, Use]]) -> bool:
        """Whether computing a tensor in the kernels that read it is cheaper than storing it."""
        own = frozenset(einsum.variables)
        body = Work(self.sizes, self._free, own)
        for part in (einsum.value, *einsum.where):
            body.add(part)
        points = self.sizes.points(own)
        apart = body.total + points * WORD * BYTE
        inside = 0.0
        seen: set[tuple[Read, frozenset[str], frozenset[str]]] = set()
        for read, use in uses:
            grid = frozenset(self.sizes.long(use.axes))
            key = read, grid, frozenset(self.sizes.long(use.reduced))
            if key in seen:
                continue  # the same kernel, in all likelihood
            seen.add(key)
            work = Work(self.sizes, self._free, use.axes)
            index = dict(zip(einsum.variables, read.index, strict=True))
            for part in (einsum.value, *einsum.where):
                work.add(substitute(part, index, self.sizes.variables.fresh))
            inside += work.total
            again = Work(self.sizes, self._free, use.axes)
            again.add(read)
            apart += again.total
        return inside <= apart


@dataclass
class Work:
    """What an expression costs in a kernel of some parallel axes, each part of it once a tile."""

    sizes: Sizes
    free: FreeVariables
    axes: frozenset[str]
    total: float = 0.0
    _seen: set[Expr] = field(default_factory=set[Expr])

    def add(self, expr: Expr) -> None:
        """Adds what an expression costs beyond what was added before."""
        if expr in self._seen:
            return
        self._seen.add(expr)
        operands = children(expr)
        if isinstance(expr, Reduce) and expr.op == "sum" and _is_product(expr.body):
            operands = children(expr.body)
        for operand in operands:
            self.add(operand)
        variables = self.free(expr)
        match expr:
            case Read():
                self._count(index_variables(expr), WORD * BYTE)
            case Reduce(op="sum", variables=over):
                self._count(variables | {*over}, 2 * PRODUCT)
            case Reduce(variables=over):
                self._count(variables | {*over}, 1.0)
            case TopK(variable=over):
                self._count(variables | {over}, SORT)
            case _ if children(expr):
                self._count(variables, 1.0)
            case _:
                pass

    def _count(self, variables: frozenset[str], each: float) -> None:
        self.total += each * self.sizes.points(variables) * self.sizes.tiles(self.axes - variables)


def _is_product(expr: Expr) -> bool:
    return isinstance(expr, Binary) and expr.op == "*"
