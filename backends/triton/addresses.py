"""Where elements of tensors lie: a base of 64 bits for the program, and offsets of its lanes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import Held, Term, spread
from attnc.ir.expr import Expr, Int, Name, Value
from attnc.ir.printer import ATOM, PRODUCT, SUM
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.walk import subexpressions


@dataclass
class Tensor:
    """How a kernel takes a tensor: its pointer, the strides of its ranks, their common factor.

    All strides but that of the last rank are divided by a number that is known when the kernel is
    compiled, so that the alignment of rows is known without the strides.
    """

    name: str
    pointer: str
    strides: tuple[str, ...]
    factor: str
    lanes: set[int] = field(default_factory=set[int])
    """The ranks along which lanes of a tile vary."""
    axes: set[str] = field(default_factory=set[str])
    """The axes along which they do."""
    even: bool = False
    """Whether the last rank is one whose size is known when the kernel is compiled."""

    @property
    def factored(self) -> bool:
        """Whether the strides are divided: where rows are loaded, whose alignment counts."""
        return len(self.strides) > 1 and len(self.axes) > 1


@dataclass
class Addresses:
    """Makes pointers to tiles; `prologue` gets what is the same for all tiles of a program."""

    scope: KernelScope
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    prologue: list[str] = field(default_factory=list[str])
    neighbours: set[str] = field(default_factory=set[str])
    """The axes along which rows of tiles lie in memory."""
    _bases: dict[str, str] = field(default_factory=dict[str, str])

    def tensor(self, name: str) -> Tensor:
        """The arguments by which a kernel takes a tensor, `T?` being the presence of `T`."""
        if name not in self.tensors:
            names, plan = self.scope.names, self.scope.plan
            base = name.removesuffix("?")
            pointer = names.of("tensor", base)
            if name != base:
                pointer = names.of("presence", f"{base}_here")
            sizes = tensor_sizes(plan)[base]
            strides = tuple(names.fresh(f"{pointer}_{letter(s, i)}") for i, s in enumerate(sizes))
            factor = names.fresh(f"{pointer}_by")
            self.tensors[name] = Tensor(name, pointer, strides, factor)
            self.tensors[name].even = bool(sizes) and self._is_even(sizes[-1])
        return self.tensors[name]

    def _is_even(self, size: Expr) -> bool:
        """Whether strides of rows of this size have the same factor in every call."""
        scope = self.scope
        return any(a.size == size and a.kind == "whole" for a in scope.kernel.axes) or isinstance(
            size, Int
        )

    def factors(self) -> list[str]:
        """Lines that bring the divided strides back."""
        lines = []
        for tensor in self.tensors.values():
            if tensor.factored:
                outer = tensor.strides[:-1]
                left = ", ".join(outer)
                right = ", ".join(f"{s} * {tensor.factor}" for s in outer)
                lines.append(f"{left} = {right}")
        return lines

    def of(self, tensor: str, index: tuple[Expr, ...], axes: tuple[str, ...]) -> Term:
        """A pointer to each element, with its dimensions in the order of `axes`."""
        known = self.tensor(tensor)
        fixed: list[str] = []
        moving: list[str] = []
        lanes: list[Term] = []
        for place, expr in enumerate(index):
            stride = known.strides[place]
            term = self.scope.text(expr)
            if term.axes:
                known.lanes.add(place)
                known.axes |= set(term.axes)
                if term.held is Held.I32:
                    term = self.scope.text.held(term, Held.INT)
                text = f"{term.at(PRODUCT)} * {stride}"
                lanes.append(replace(term, text=text, level=PRODUCT))
            elif term.text != "0":
                term = self.scope.text.held(term, Held.I64)
                part = f"{term.at(PRODUCT)} * {stride}"
                (moving if self.moves(expr) else fixed).append(part)
        base = " + ".join([self._base(known.pointer, fixed), *moving])
        if not lanes:
            return Term(base, (), Held.I64, SUM if moving else ATOM)
        if len(lanes) > 1 and self.scope.text(index[-1]).axes:
            self.neighbours |= set(lanes[-1].axes)
        found = tuple(a for a in axes if any(a in t.axes for t in lanes))
        texts = [spread(t, found).at(PRODUCT) for t in lanes]
        joined = " + ".join(texts)
        text = f"{base} + ({joined})" if len(lanes) > 1 else f"{base} + {joined}"
        return Term(text, found, Held.I64, SUM)

    def natural(self, index: tuple[Expr, ...], axes: tuple[str, ...]) -> tuple[str, ...]:
        """Axes in the order in which memory has them."""
        found: dict[str, None] = {}
        context = self.scope.context
        for expr in index:
            found |= dict.fromkeys(a for a in axes if a in context.varies(expr))
        rest = [a for a in axes if a not in found]
        return (*rest, *found)

    def _base(self, pointer: str, outer: list[str]) -> str:
        if not outer:
            return pointer
        text = f"{pointer} + {' + '.join(outer)}"
        if text not in self._bases:
            name = self.scope.names.fresh(f"{pointer}_at")
            self._bases[text] = name
            self.prologue.append(f"{name} = {text}")
        return self._bases[text]

    def moves(self, expr: Expr) -> bool:
        """Whether a number is known within the kernel's body only."""
        context = self.scope.context
        streamed = {a.name for a in self.scope.kernel.axes if a.kind in ("stream", "step")}
        if context.mentions(expr) & streamed:
            return True
        for node in subexpressions(expr):
            if isinstance(node, Name):
                return True
            if isinstance(node, Value) and node.name in self.scope.locals:
                return True
        return False


def letter(size: Expr, place: int) -> str:
    """What a rank is called by."""
    return size.name.lower() if isinstance(size, Value) else str(place)
