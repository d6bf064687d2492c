"""Products of matrices as lines of text, and their operands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from attnc.backends.numpy.layout import INDENT
from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.nests import Nest, as_fold
from attnc.backends.tvm.terms import DTYPES
from attnc.backends.tvm.transfers import Transfers
from attnc.ir.expr import Binary, Name
from attnc.ir.tiles import Dot, Fold, Load, Map, Statement


@dataclass
class Products(Transfers):
    """Prints products, and loads of what they read in memory."""

    _placed: dict[str, str] = field(default_factory=dict[str, str])
    """Operands that are read in memory here, and how."""
    _taken: list[str] = field(default_factory=list[str])
    """What the next product is taken into, and how."""

    def _is_placed(self, item: Load) -> bool:
        """Whether a load is of an operand whose elements can be read in memory here."""
        self._placed.pop(item.target, None)
        return item.target in self.matrices.placed and self._mask(item.where).true

    def _place(self, item: Load, word: str = "if") -> None:
        """Prints the load of such an operand, for where they lie there in another type."""
        self._placed[item.target] = self.memory.read(item)
        with self.level():
            self.opens(f"{word} not {self.matrices.placed[item.target]}:")
            self._nest_of(item)

    def _load_pairs(self, item: Load) -> None:
        """Prints the load of what only products read that may take pairs, for these and else."""
        scope = self.scope
        along = scope.natural(item, scope.layouts[item.target])[-1]
        for condition, packed in self.pairs.of(item.target):
            self.line(f"if {condition}:")
            for one in packed:
                self.buffers.setdefault(one.room, self.pairs.made(one))
                with scope.text.calling():
                    lane = self.memory.place(item.tensor, item.index)
                    lane = self._masked_read(item, self._mask(item.where), lane)
                line = self.pairs.reading(one, lane, along=along == one.over)
                self.line(INDENT + line)
        if self._is_placed(item):
            self._place(item, "elif")
            return
        with self.level():
            self.opens("else:")
            self._nest_of(item)

    def _pack(self, name: str) -> None:
        """Prints how a tile is packed in pairs, for products that take these."""
        for condition, packed in self.pairs.of(name):
            self.line(f"if {condition}:")
            for one in packed:
                self.buffers.setdefault(one.room, self.pairs.made(one))
                self.line(INDENT + self.pairs.packing(one))

    def _with_extremes(
        self, found: Iterable[Nest | Statement]
    ) -> Iterator[Nest | Statement | tuple[Dot, Nest]]:
        """Statements and nests in order; a product, and what is no more than its extremes along
        what makes no vector, as one: they are taken while it is in registers."""
        last: Dot | None = None
        for item in found:
            if last is not None and isinstance(item, Nest) and self._has_extremes(last, item):
                yield last, item
                last = None
                continue
            if last is not None:
                yield last
            last = item if isinstance(item, Dot) else None
            if last is None:
                yield item
        if last is not None:
            yield last

    def _has_extremes(self, dot: Dot, nest: Nest) -> bool:
        """Whether a nest is made of extremes of a product alone."""
        scope, (vector, other) = self.scope, self.matrices.sides(dot)
        same = {dot.target}  # its names, in the same room
        for item in nest.items:
            match item:
                case Map() if scope.buffer(item.target) == scope.buffer(dot.target):
                    if self._typed(item.value, item.kind) != scope.element(item.target):
                        return False
                    same.add(item.target)
                case Fold(op="max" | "min", value=Name(name=name), over=over) if (
                    name in same
                    and over == (other,)
                    and item.target in self.plain
                    and HELD[item.kind] is HELD[dot.kind]
                    and scope.layouts[item.target] == (vector,)
                    and self._truth(item.where).true
                ):
                    pass
                case _:
                    return False
        axes = {vector, other, scope.products.matrices[dot.target].over}
        return bool(nest.folded) and not scope.clipped.keys() & axes

    def _product_with(self, item: Dot, nest: Nest) -> None:
        """A product and its extremes."""
        for fold in nest.items:
            if not isinstance(fold, Fold):
                continue
            self._begin(fold)
            combined = self._combined(fold.op, fold.kind, "a", "b", fold.target)
            self._taken.append(f"({self._room(fold.target)}, {combined.partition('(')[0]})")
        self._product(item, item.target, "None")
        self._taken.clear()

    def _product(self, item: Dot, target: str, begin: str) -> None:
        """A product, onto what a function gives for a row and a vector."""
        scope = self.scope
        found = scope.products.matrices[item.target]
        vector, other = self.matrices.sides(item)
        single, vectors = self.matrices.operands(item)
        sizes = ", ".join(map(scope.size_of, (other, vector, found.over)))
        dtype = DTYPES[HELD[item.kind]]
        room, right = self._room(target), self._room(vectors)
        lanes = f"lambda {scope.lane(other)}, {scope.lane(found.over)}: "
        taken = lanes
        self._room(single)
        if single in self._placed:
            taken += self._placed[single]
            condition = self.matrices.placed[single]
            taken = f"_either({condition}, ({taken}), ({lanes}{scope.element(single)}))"
        else:
            taken = f"({taken}{scope.element(single)})"
        turned = scope.layouts[single] == (found.over, other)
        follows = scope.axis(found.over if turned else other).kind == "stream"
        if item.target in self.pairs.products:
            one, several = self.pairs.products[item.target]
            for name in dict.fromkeys((single, vectors)):
                if name in self.pairs.carried:
                    self._pack(name)
            taken = f"_either({one.condition}, {self.pairs.taken(one)}, {taken})"
            right = f"_either({one.condition}, {several.room}, {right})"
        part = ""
        for axis, which in ((other, "rows"), (found.over, "inner")):
            if axis in scope.clipped:
                clip = scope.clipped[axis]
                part = f", some_{which}=({clip.firsts}, {clip.lasts})"
        if single in self._placed and follows and not part:
            part = f", ahead={self.matrices.placed[single]}"
        if self._taken:
            part += f", extremes=({', '.join(self._taken)},)"
        sizes = f"{sizes}, LANES, {dtype}"
        self.line(f"_dot({room}, {taken}, {right}, {sizes}, {begin}, {turned}{part})")

    def _sum(self, item: Map) -> None:
        """A product that is added onto something."""
        dot, addend = self.scope.products.sums[item.target]
        carried = self._aliases.get(item.target)
        if self.matrices.has(dot) and self.matrices.begun(dot, addend):
            vector, other = self.matrices.sides(dot)
            lanes = ", ".join(map(self.scope.lane, (other, vector)))
            text = self._typed(addend, item.kind)
            self._product(dot, item.target, f"(lambda {lanes}: {text})")
            return
        if addend != Name(carried or ""):
            self._nest_of(Map(item.target, item.axes, item.kind, addend))
        if self.matrices.has(dot):
            vector, other = self.matrices.sides(dot)
            lanes = ", ".join(map(self.scope.lane, (other, vector)))
            self._room(item.target)
            self._product(dot, item.target, f"(lambda {lanes}: {self.scope.element(item.target)})")
            return
        self._nest_of(as_fold(dot))
        onto = Binary("+", Name(item.target), Name(dot.target))
        self._nest_of(Map(item.target, item.axes, item.kind, onto))
