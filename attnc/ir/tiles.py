"""Level 2: tile programs.

A `Plan` is a list of kernels and the buffers between them. A kernel runs for each tile of its
parallel axes; inside, loops stream tiles of other axes and carry a state. A tile has named axes, so
that what is combined is aligned by name, and a value for every lane, those that do not exist
included: these lanes may hold anything. Only observers (`Load`, `Dot`, `Fold`, `Store`) look at
lanes, and each has the predicate that says which of them count.

Expressions are those of level 1, where `Name` is a tile, `Var` the coordinates along an axis or a
`Coord`, and `Value` an extent, a parameter or a `Let`. Six functions are of this level alone:

- `low(m)`, `high(m)`: the least and the greatest coordinate of the current tile that lies within
  its extent, for an axis or a `Coord`; bounds of ranges are made of them.
- `tile(n)`: the size of an axis' tiles.
- `within(n)`: whether a lane lies in the range that its loop goes through.
- `float(x)`: `x` in the kernel's floating type.
- `rounded(x)`: `x` in the element type of tensors that declare none, as operands of a matrix
  product are. What it rounds is so said where it happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from attnc.ir.cascade import Constant, Input, Output, Parameter
from attnc.ir.expr import Bool, CompareOp, Expr, Int
from attnc.ir.nodes import Noted
from attnc.ir.types import Kind

AxisKind: TypeAlias = Literal["par", "stream", "step", "whole"]
"""Run in parallel tile by tile; streamed tile by tile by a loop; one coordinate after the other by
a loop, since each may need those before it: a number, along which no tile varies; held as one tile.
"""

FUNCTIONS: Final = frozenset(("low", "high", "tile", "within", "rounded", "float"))
"""The functions of level 2 alone."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A rank variable of a kernel and how it is tiled; `size` is its extent.

    `tile` names a number of the plan that is the size of its tiles, where kernels have to agree.
    """

    name: str
    size: Expr
    kind: AxisKind
    tile: str = ""


@dataclass(frozen=True, slots=True)
class Coord:
    """A rank variable that is computed: `m = x // G`, of axes, values and what tables say."""

    name: str
    value: Expr
    size: Expr


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor between kernels; `presence` says how its absent points are told.

    `all`: there are none. `byte`: by a second buffer of bytes, read as `T?`; what lies there may be
    anything.
    """

    name: str
    sizes: tuple[Expr, ...]
    kind: Kind
    presence: Literal["all", "byte"] = "byte"


@dataclass(frozen=True, slots=True)
class Load:
    """`target[axes] = load tensor[index] where predicate else fill`.

    The predicate guards memory and says which lanes exist; elsewhere there is anything, unless a
    fill is stated. `T?` is the presence of a buffer `T`.
    """

    target: str
    axes: tuple[str, ...]
    kind: Kind
    tensor: str
    index: tuple[Expr, ...]
    where: Expr
    fill: Constant | None = None


@dataclass(frozen=True, slots=True)
class Map:
    """`target[axes] = map value`, lane by lane."""

    target: str
    axes: tuple[str, ...]
    kind: Kind
    value: Expr


@dataclass(frozen=True, slots=True)
class Dot:
    """`target[axes] = dot[over](left, right) where predicate`: a sum of products of two tiles."""

    target: str
    axes: tuple[str, ...]
    kind: Kind
    over: tuple[str, ...]
    left: str
    right: str
    where: Expr


@dataclass(frozen=True, slots=True)
class Fold:
    """`target[axes] = reduce[op, over](value) where predicate`; of nothing, the identity.

    `argmax` and `argmin`, over one axis, give the coordinate of the first extreme; of nothing, 0.
    """

    target: str
    axes: tuple[str, ...]
    kind: Kind
    op: str
    over: tuple[str, ...]
    value: Expr
    where: Expr


@dataclass(frozen=True, slots=True)
class Scan:
    """`target[axes] = scan[op, over](value) where predicate`: of the lanes up to each one.

    `reverse`: of the lanes from each one on. Of nothing, the identity.
    """

    target: str
    axes: tuple[str, ...]
    kind: Kind
    op: str
    over: str
    reverse: bool
    value: Expr
    where: Expr


@dataclass(frozen=True, slots=True)
class TopK:
    """`target[axes] = topk[over -> into](value) where predicate`: coordinates, largest first.

    Ties go to the lowest coordinate, NaN is largest. Beyond the lanes that count, anything.
    """

    target: str
    axes: tuple[str, ...]
    over: str
    into: str
    value: Expr
    where: Expr
    kind: Kind = Kind.I64


@dataclass(frozen=True, slots=True)
class Find:
    """`target[axes] = find tensor[index, :] op value where predicate`: a place in a sorted rank.

    The first coordinate along `rank` from which on the comparison holds, the rank's size where it
    holds nowhere. It is searched for by halves, so it must not hold before a coordinate where it
    does not: the tensor is sorted along that rank, as a requirement of the plan says. `index` are
    the coordinates along the other ranks. The predicate guards memory; where it does not hold,
    there is anything.
    """

    target: str
    axes: tuple[str, ...]
    tensor: str
    index: tuple[Expr, ...]
    rank: int
    op: CompareOp
    value: Expr
    where: Expr
    kind: Kind = Kind.I64


@dataclass(frozen=True, slots=True)
class Let:
    """`let name = value`: one number for the whole kernel."""

    name: str
    value: Expr
    kind: Kind


@dataclass(frozen=True, slots=True)
class Carry:
    """A tile that a loop or an `if` carries: its value before the first round and after each."""

    name: str
    axes: tuple[str, ...]
    kind: Kind
    start: Expr
    next: Expr


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a buffer, `tensor[*index, k]` for each `k`: a list of numbers of tiles."""

    tensor: str
    index: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Coordinates `low`, `low + step`, ... below `high`; `full` where no lane needs a test.

    The bounds are numbers of the whole tile. The last tile may reach beyond `high`: `within(n)`
    tells. A full range is a whole number of tiles, all of them within the extent of the axis.

    `of` a list: bounds are places in it, each with the number of a tile that is gone through. No
    tile is in it twice.
    """

    low: Expr
    high: Expr
    full: bool = False
    step: Expr = Int(1)
    of: Listed | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """`for axis in ranges carry ...`: the body for each tile of the ranges, one after the other.

    `given` are conditions that hold for every lane of the full ranges whose parallel coordinates
    lie within their extents: there, predicates are read without them. They may speak of tiles that
    the body defines. A condition that is such an extent itself holds for all lanes. `ordered`: the
    tiles need their order, the first one first; else they may run in any. `backward`: the last tile
    of the last range is first.

    `where` is a number of the whole tile, told anew in each round, of edges of the loop's own tile
    and of what the first statements of the body define, too: where it does not hold, the rest of
    the round is left out. It is asked in partial ranges alone.

    `present`: coordinates beside which no lane of a partial range has a point, so that it changes
    nothing; if there are none, nothing is known.
    """

    axis: str
    ranges: tuple[Range, ...]
    carries: tuple[Carry, ...]
    body: tuple[Statement, ...]
    given: tuple[Expr, ...] = ()
    backward: bool = False
    ordered: bool = False
    where: Expr = Bool(True)
    present: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class If:
    """`if condition carry ...`: the body where a number of the whole tile says so.

    It is a loop of one round or none: what it carries stays as it was where there is none.
    """

    condition: Expr
    body: tuple[Statement, ...]
    carries: tuple[Carry, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """`store tensor[index] = value where predicate else empty`.

    `combine` None sets; an operation combines with what is there, for sums over parallel axes and
    for indices that meet. `guard` says which lanes are written at all.
    """

    tensor: str
    index: tuple[Expr, ...]
    value: Expr
    where: Expr
    empty: Constant
    guard: Expr
    combine: str | None = None


Statement: TypeAlias = Load | Map | Dot | Fold | Scan | TopK | Find | Let | Loop | If | Store
Tile: TypeAlias = Load | Map | Dot | Fold | Scan | TopK | Find
"""What defines a tile."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A tile program: its axes, and what is done for each tile of the parallel ones.

    `reversed` axes run their last tile first. Loads see what the same program stored before.
    """

    name: str
    axes: tuple[Axis, ...]
    body: tuple[Statement, ...]
    coords: tuple[Coord, ...] = ()
    reversed: tuple[str, ...] = ()

    def axis(self, name: str) -> Axis:
        """The axis of that name."""
        return next(a for a in self.axes if a.name == name)


@dataclass(frozen=True, slots=True)
class Plan(Noted):
    """A compiled cascade: kernels in order, and the buffers between them.

    `lets` are the cascade's bindings, computed once; `requires` are checked before any kernel;
    `variables` are the rank variables that reductions in these bind, with their sizes. `given` are
    conditions over values: where one of them does not hold, no kernel runs, and every output is its
    empty value everywhere. So kernels take them to hold. `tiles` are sizes of tiles that kernels
    share, each chosen for the last kernel with an axis that has it, before any kernel runs; and
    sizes of pieces of a stream, which an axis has `ceildiv(N, size)` of: any size is right. Of the
    parameters in `bounded`, the nearest number of 40 bits counts: nothing tells the difference.
    """

    name: str
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    lets: tuple[Let, ...]
    requires: tuple[Expr, ...]
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    variables: tuple[tuple[str, Expr], ...] = ()
    given: tuple[Expr, ...] = ()
    tiles: tuple[str, ...] = ()
    bounded: tuple[str, ...] = ()
