"""Lines of text, room for tiles, and loops over their lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from attnc.backends.numpy.layout import INDENT
from attnc.backends.triton.nans import without_nan
from attnc.backends.triton.presumed import Presumed
from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.ahead import Ahead
from attnc.backends.tvm.apart import Apart
from attnc.backends.tvm.clips import Clips
from attnc.backends.tvm.matrices import Matrices
from attnc.backends.tvm.memory import Memory
from attnc.backends.tvm.pairs import Pairs
from attnc.backends.tvm.scope import LaneScope
from attnc.backends.tvm.sharing import shared
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Expr
from attnc.ir.tiles_walk import expressions, names
from attnc.ir.tiles_walk import statements as walk
from attnc.ir.types import Kind


@dataclass
class Loops(Presumed):
    """Prints loops over lanes, and keeps the lines."""

    scope: LaneScope
    lines: list[str] = field(default_factory=list[str])
    depth: int = 3
    buffers: dict[str, str] = field(default_factory=dict[str, str])
    """The lines that make room for tiles."""
    large: set[str] = field(default_factory=set[str])
    """The buffers of tiles that are no single row."""

    def __post_init__(self) -> None:
        Presumed.__post_init__(self)
        scope = self.scope
        self.memory: Memory = Memory(scope)
        self.plain: frozenset[str] = without_nan(scope.kernel)
        self.matrices: Matrices = self._matrices()
        self.pairs: Pairs = Pairs(scope, self.matrices)
        self.apart: Apart = Apart(scope)
        self.clips: Clips = Clips(scope, self.buffers)
        self.ahead: Ahead = Ahead(scope)
        for target, operand in shared(scope, self.matrices.placed).items():
            scope.buffers[target] = scope.buffer(operand)
        self.uses: Counter[str] = Counter(
            n for s in walk(scope.kernel.body) for n in names(*expressions(s))
        )

    def _matrices(self) -> Matrices:
        return Matrices(self.scope)

    def line(self, text: str) -> None:
        """Appends a line."""
        self.lines.append(INDENT * self.depth + text)

    def opens(self, head: str) -> None:
        """Appends the head of a block, in which all is that comes after it, up to a level's end."""
        self.line(head)
        self.depth += 1

    @contextmanager
    def level(self) -> Iterator[None]:
        """Ends the blocks that are opened in it."""
        before = self.depth
        yield
        self.depth = before

    def _room(self, name: str) -> str:
        """The buffer of a tile, which is made if there is none."""
        python = self.scope.buffer(name)
        if python not in self.buffers:
            dtype = room_type(self.scope.context.kinds[name])
            axes = ", ".join(self.scope.layouts[name])
            if len(self.scope.layouts[name]) > 1:
                self.large.add(python)
            note = f"  # [{axes}]" if axes else ""
            shape = self.scope.shape_of(name)
            self.buffers[python] = f"{python} = T.alloc_buffer({shape}, {dtype}){note}"
        return python

    def _typed(self, expr: Expr, kind: Kind) -> str:
        """The text of a value that has its type."""
        term = self.expression.held(self._value(expr, kind), HELD[kind])
        return self.expression.as_tensor(term)

    def _assign(self, element: str, kind: Kind, text: str) -> None:
        """A line that gives a lane its value; truths have a byte."""
        if text == element:
            return
        if kind is Kind.BOOL:
            text = f'T.Cast("int8", {text})'
        self.line(f"{element} = {text}")

    def _loops(self, axes: Sequence[str], *, vector: bool) -> None:
        """The heads of loops over lanes."""
        scope = self.scope
        part = ""
        if scope.vector in axes and scope.clipped.keys() & set(axes):
            part = self.clips.part
            self.opens(f"for {part} in range({self.clips.parts}):")
        for axis in axes:
            lane, size = scope.lane(axis), scope.size_of(axis)
            vectors = vector and axis == scope.vector and axis == axes[-1]
            head = "_each" if vectors else "range"
            if axis in scope.clipped:
                clip = scope.clipped[axis]
                first, last = clip.first, clip.last
                if part:
                    first, last = f"{clip.firsts}[{part}]", f"{clip.lasts}[{part}]"
                at = scope.names.of("at", f"{axis}_at")
                self.opens(f"for {at} in T.serial({last} - {first}):")
                self.line(f"{lane}: T.let = {first} + {at}")
            elif part and axis == scope.vector:
                at = scope.names.of("at", f"{axis}_at")
                self.opens(f"for {at} in {head}(min({size}, LANES)):")
                self.line(f"{lane} = T.meta_var({part} * LANES + {at})")
            else:
                self.opens(f"for {lane} in {head}({size}):")


def room_type(kind: Kind) -> str:
    """The type of a tile's elements in memory: truths have a byte, since TVM has no vectors of
    them there."""
    return '"int8"' if kind is Kind.BOOL else DTYPES[HELD[kind]]
