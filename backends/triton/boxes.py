"""Tiles that a device loads by itself: through a descriptor of the tensor, not lane by lane.

What a descriptor can give is told by the form of a load alone. Whether a call has one is told by
its tensors and its device; where it has none, the argument is None, of which Triton makes a
constant, and the tile is loaded through pointers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from attnc.backends.triton.addresses import Addresses, letter
from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import Held, Term
from attnc.ir.expr import Bool, Compare, Expr, Var
from attnc.ir.tiles import Load
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.tiles_walk import conjuncts
from attnc.ir.types import Kind

ELEMENTS: Final = (None, "f16", "bf16", "f32", "i32")
"""Element types of inputs of 2 or 4 bytes; None are those that a call decides."""
KINDS: Final = (Kind.FLOAT, Kind.F32, Kind.I32)
"""The same of buffers."""
MOST_RANKS: Final = 5


@dataclass(frozen=True, slots=True)
class Box:
    """An argument: the descriptor of a tensor in tiles along axes, by its ranks."""

    name: str
    tensor: str
    axes: tuple[str | None, ...]


@dataclass
class Boxes:
    """Makes the text of tiles that come through descriptors."""

    scope: KernelScope
    addresses: Addresses
    spaced: set[str] = field(default_factory=set[str])
    """Axes whose lanes are not neighbours in the ranges around."""
    found: dict[tuple[str, tuple[str | None, ...]], Box] = field(
        default_factory=dict[tuple[str, tuple[str | None, ...]], Box]
    )
    _fixed: dict[str, str] = field(default_factory=dict[str, str])

    def load(self, item: Load, where: Expr, axes: tuple[str, ...]) -> tuple[str, Term] | None:
        """The name of a descriptor, and a tile loaded through it, if the load has that form.

        Two ranks are gone along by neighbouring lanes, the last one among them; in others there
        is one position. Beyond the tensor a descriptor gives 0.
        """
        ranks = tuple(map(self._along, item.index))
        if not self._is_open(item) or len(ranks) > MOST_RANKS or ranks[-1:] == (None,):
            return None
        if tuple(a for a in ranks if a is not None) != axes or len(axes) != 2:
            return None
        if not self._is_bounded(item, where, ranks):
            return None
        box = self._box(item.tensor, ranks)
        sizes = tensor_sizes(self.scope.plan)[item.tensor]
        called = [letter(s, i) for i, s in enumerate(sizes)]
        places = ", ".join(
            self._start(axis) if axis else self._position(expr, rank)
            for axis, expr, rank in zip(ranks, item.index, called, strict=True)
        )
        shape = ", ".join(map(self.scope.size_of, axes))
        text = f"{box.name}.load([{places}]).reshape({shape})"
        return box.name, Term(text, axes, Held.TYPE)

    def used(self, text: str) -> tuple[Box, ...]:
        """The descriptors that a text loads through."""
        return tuple(b for b in self.found.values() if f"{b.name}.load(" in text)

    def _along(self, expr: Expr) -> str | None:
        """The axis of tiles whose neighbouring positions an index is."""
        if isinstance(expr, Var) and expr.name not in self.spaced:
            tiled = {a.name for a in self.scope.kernel.axes if self.scope.is_tile(a.name)}
            return expr.name if expr.name in tiled else None
        return None

    def _is_open(self, item: Load) -> bool:
        """Whether it is of a tensor of the call of such elements, which the kernel only reads."""
        plan = self.scope.plan
        if item.tensor in self.scope.context.stored:
            return False
        if any(b.name == item.tensor and b.kind in KINDS for b in plan.buffers):
            return True
        return any(i.name == item.tensor and i.element in ELEMENTS for i in plan.inputs)

    def _is_bounded(self, item: Load, where: Expr, ranks: Collection[str | None]) -> bool:
        """Whether a load needs no test but of ranks that are held whole, and no fill but 0.

        So tiles at the ends of ranges come through pointers: a loop for few tiles, of which some
        have no descriptor, would take barriers and room beside those of the loop for full tiles,
        which just fill a multiprocessor.
        """
        sizes = tensor_sizes(self.scope.plan)[item.tensor]
        own: set[Expr] = {
            Compare(("<",), (Var(a), s))
            for a, s in zip(ranks, sizes, strict=True)
            if a is not None and self.scope.axis(a).kind == "whole"
        }
        own.add(Bool(True))
        return item.fill in (None, 0) and own.issuperset(conjuncts(where))

    def _box(self, tensor: str, ranks: tuple[str | None, ...]) -> Box:
        if (tensor, ranks) not in self.found:
            pointer = self.addresses.tensor(tensor).pointer
            name = self.scope.names.fresh(f"{pointer}_box")
            self.found[tensor, ranks] = Box(name, tensor, ranks)
        return self.found[tensor, ranks]

    def _position(self, expr: Expr, rank: str) -> str:
        """A single position, in the 32 bits that descriptors take; told once if it stays."""
        term = self.scope.text(expr)
        if term.literal:
            return term.text
        text = f"tl.cast({term.text}, tl.int32)"
        if self.addresses.moves(expr):
            return text
        if text not in self._fixed:
            self._fixed[text] = self.scope.names.fresh(f"{rank}_at")
            self.addresses.prologue.append(f"{self._fixed[text]} = {text}")
        return self._fixed[text]

    def _start(self, axis: str) -> str:
        """Where a tile begins."""
        if self.scope.axis(axis).kind == "whole":
            return "0"
        return f"tl.cast({self.scope.start_of(axis)}, tl.int32)"
