"""What one kernel's text knows: its names, coordinates, and how its tiles lie in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from attnc.backends.names import TAKEN, Names
from attnc.backends.triton.products import Products
from attnc.backends.triton.schedule import tiled
from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import HELD, Held, Term
from attnc.backends.tvm.c_words import KEYWORDS
from attnc.backends.tvm.expressions import LaneExpressions
from attnc.ir.expr import Binary, Compare, Expr, Int, Value, Var
from attnc.ir.printer import COMPARE, SUM
from attnc.ir.tiles import (
    Carry,
    Coord,
    Dot,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Statement,
    Store,
)
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.context import Context

RESERVED: Final = TAKEN | {
    "T",
    "tvm",
    "torch",
    "INDEX",
    "FLOAT",
    "TYPE",
    "LANES",
    "PAIRS",
    "DENSE",
    "program",
    "worker",
    *KEYWORDS,
}


@dataclass(frozen=True)
class Clip:
    """Lanes of a tile that are computed: the first, and the one behind the last.

    They are told for all rows of a program, and in buffers for each vector of rows.
    """

    first: str
    last: str
    firsts: str
    lasts: str
    ahead: str = ""
    """How far they move up to the thread's next program, if that is known."""


@dataclass
class LaneScope(KernelScope):
    """Names and terms of one kernel, lane by lane.

    A tile lies in a buffer of its own, with the axis last along which vectors go, if it has that;
    else as its neighbours in memory lie. The coordinate of a lane along an axis is where the tile
    begins and a counter, called as the axis is.
    """

    SMALLER: ClassVar[str] = "T.min"

    layouts: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    buffers: dict[str, str] = field(default_factory=dict[str, str])
    """The Python names of the buffers of tiles."""
    numbers: dict[str, Term] = field(default_factory=dict[str, Term])
    """Tiles that are no more than a number in the loops that are printed."""
    strides: dict[str, str] = field(default_factory=dict[str, str])
    """How far the coordinates of neighbouring lanes of an axis are apart, where not by 1."""
    narrow: frozenset[str] = frozenset()
    """Products whose operands are bf16, if the inputs are."""
    pairs: dict[str, str] = field(default_factory=dict[str, str])
    """What the text asks for whether such products take pairs, and the name of that."""
    clipped: dict[str, Clip] = field(default_factory=dict[str, Clip])
    """Axes of whose tiles a part alone is computed."""
    part: str = ""
    """The first coordinate of a vector of rows, where it stands for a tile of them."""
    workers: str = ""
    """The number of threads, each of which takes programs."""
    moved: str = ""
    """Where the tile of vectors begins, if coordinates are told of another program."""
    rows: dict[str, str] = field(default_factory=dict[str, str])
    """Buffers of coordinates that a program computes once, and the text of a lane of each."""

    def __post_init__(self) -> None:
        KernelScope.__post_init__(self)
        self.text: LaneExpressions = LaneExpressions(self)
        self.products: Products = Products(self)
        self.vector: str | None = self._vector()
        for item in statements(self.kernel.body):
            match item:
                case Loop(carries=carries) | If(carries=carries):
                    for carry in carries:
                        self.layouts[carry.name] = self._layout(carry)
                case Let() | Store():
                    pass
                case _:
                    self.layouts[item.target] = self._layout(item)

    @property
    def whole(self) -> Kernel:
        """The kernel with the axes by which it is told how much it computes."""
        return self.kernel

    @property
    def beside(self) -> list[Expr]:
        """The sizes of how many programs there are at each tile."""
        points = (a for a in self.kernel.axes if a.kind == "par")
        return [a.size for a in points if not self.is_tile(a.name)]

    def least(self, axis: str) -> int:
        """The least tile along an axis that is no vector."""
        return 1

    def repeats(self, axis: str) -> bool:
        """Whether each tile along an axis computes products anew that are the same for all."""
        dots = [s for s in statements(self.kernel.body) if isinstance(s, Dot)]
        return self.axis(axis).kind == "par" and any(axis not in (*d.axes, *d.over) for d in dots)

    def _vector(self) -> str | None:
        """The axis along which vectors go: that of most products, else of most tiles."""
        places: Counter[str] = Counter()
        for matrix in self.products.matrices.values():
            places[matrix.rows] += 10001
            places[matrix.columns] += 10000
            places[matrix.over] -= 10000
        for item in statements(self.kernel.body):
            if not isinstance(item, Loop | If | Let | Store):
                places.update(self.dimensions(item.axes))
        parallel = [
            a.name for a in self.kernel.axes if a.kind == "par" and self.is_tile(a.name)
        ] or [a for a in places if self.axis(a).kind == "whole"]
        return max(parallel, key=lambda a: places[a], default=None)

    def _layout(self, item: Statement | Carry) -> tuple[str, ...]:
        assert not isinstance(item, Loop | If | Let | Store)
        axes = self.dimensions(item.axes)
        if isinstance(item, Load):
            axes = self.natural(item, axes)
        elif isinstance(item, Map) and self.vector not in axes:
            for name in sorted(names(*expressions(item))):
                if set(self.layouts.get(name, ())) == set(axes):
                    axes = self.layouts[name]
        return (*(a for a in axes if a != self.vector), *(a for a in axes if a == self.vector))

    def loops_of(self, item: Map | Fold) -> tuple[str, ...]:
        """The axes of a statement's loops, outermost first."""
        axes, vector = self.layouts[item.target], self.vector
        if isinstance(item, Fold):
            axes = (*(a for a in axes if a != vector), *self.dimensions(item.over), *axes)
        last = (vector,) if vector is not None and vector in axes else ()
        return (*dict.fromkeys(a for a in axes if a != vector), *last)

    def natural(self, item: Load | Store, axes: Sequence[str]) -> tuple[str, ...]:
        """Axes in the order in which memory has them."""
        found: dict[str, None] = {}
        for expr in item.index:
            found |= dict.fromkeys(a for a in axes if a in self.context.varies(expr))
        return (*(a for a in axes if a not in found), *found)

    # What expressions ask

    def bound(self, which: str, variable: str) -> Term:
        """The least or greatest coordinate of the current tile, or of a vector of its rows."""
        if not self.part or variable != self.vector:
            return KernelScope.bound(self, which, variable)
        if which == "low":
            return Term(self.part, (), Held.INT)
        end = self.text(self.axis(variable).size).text
        rows = f"T.min({self.size_of(variable)}, LANES)"
        return Term(f"T.min({self.part} + {rows}, {end}) - 1", (), Held.INT, SUM)

    def variable(self, name: str) -> Term:
        """The coordinate of a lane."""
        for coord in self.kernel.coords:
            if coord.name == name:
                term = self.text.held(self.text(coord.value), Held.INT)
                return self._row(coord, term) if self._is_row(coord) and not self.moved else term
        if name == self.vector and self.moved:
            return Term(self.moved, (), Held.INT)
        lane = self.lane(name)
        if not self.is_tile(name):
            return Term(lane, (), Held.INT)
        if self.axis(name).kind == "whole":
            return Term(f"T.Cast(INDEX, {lane})", (), Held.INT)
        if name in self.strides:
            return Term(f"{self.start_of(name)} + {lane} * {self.strides[name]}", (), Held.INT, SUM)
        return Term(f"{self.start_of(name)} + {lane}", (), Held.INT, SUM)

    def _is_row(self, coord: Coord) -> bool:
        """Whether a coordinate of a program's vectors is made by division, of which there are no
        vectors: it is computed once, and read."""
        varies = self.context.varies(Var(coord.name)) - {self.vector}
        own = {s.name for s in statements(self.kernel.body) if isinstance(s, Let)}
        return (
            self.vector in self.context.varies(Var(coord.name))
            and not any(self.is_tile(a) or self.axis(a).kind != "par" for a in varies)
            and not names(coord.value)
            and not any(isinstance(n, Value) and n.name in own for n in subexpressions(coord.value))
            and any(map(is_divided, subexpressions(coord.value)))
        )

    def _row(self, coord: Coord, term: Term) -> Term:
        """A lane of such a coordinate, where it is kept."""
        assert self.vector is not None
        python = self.names.of("row", f"{coord.name}_row")
        self.rows[python] = term.text
        return Term(f"{python}[{self.lane(self.vector)}]", (), Held.INT)

    def lane(self, axis: str) -> str:
        """The name of the counter of lanes along an axis; of an axis without tiles, of points."""
        return self.names.of("coordinates", axis)

    def tile(self, name: str) -> Term:
        """A lane of a tile."""
        held = HELD[self.context.kinds[name]]
        if name in self.numbers:
            return self.numbers[name]
        if held is Held.BOOL:
            return Term(f"{self.element(name)} != 0", (), held, COMPARE)
        return Term(self.element(name), (), held)

    def element(self, name: str) -> str:
        """A lane of a tile's buffer."""
        lanes = ", ".join(self.lane(a) for a in self.layouts[name]) or "0"
        return f"{self.buffer(name)}[{lanes}]"

    def buffer(self, name: str) -> str:
        """The Python name of a tile's buffer."""
        return self.buffers.get(name) or self.names.of("tile", name)

    def within(self, variable: str) -> Term:
        """Which lanes lie in the range that is gone through."""
        if not self.is_tile(variable):
            return Term("True", (), Held.BOOL, literal=True)
        text = f"{self.variable(variable).text} < {self.ends[variable]}"
        return Term(text, (), Held.BOOL, COMPARE)

    def _holds(self, expr: Expr) -> bool:
        match expr:
            case Compare(ops=("<",), operands=(Var(name=name), size)) if any(
                a.name == name and a.kind == "whole" and a.size == size for a in self.kernel.axes
            ):
                return name != self.vector  # else a tile is a whole number of vectors
            case _:
                return KernelScope._holds(self, expr)

    def shape_of(self, name: str) -> str:
        """The shape of a tile's buffer."""
        sizes = [self.size_of(a) for a in self.layouts[name]] or ["1"]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def is_divided(expr: Expr) -> bool:
    """Whether integers are divided by what is not known when the text is written."""
    match expr:
        case Binary(op="//" | "%", right=right):
            return not isinstance(right, Int)
        case _:
            return False


def scope_of(plan: Plan, kernel: Kernel, narrow: frozenset[str]) -> LaneScope:
    """What is known of a kernel before it is printed; `narrow` are products of bf16."""
    context, names_ = Context(plan, kernel), Names(set(RESERVED))
    return LaneScope(plan, kernel, context, tiled(context), names=names_, narrow=narrow)
