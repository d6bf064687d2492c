"""Products of bf16 by an instruction that takes pairs of neighbours along what is added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from attnc.backends.tvm.matrices import Matrices
from attnc.backends.tvm.scope import LaneScope
from attnc.ir.tiles import Dot, If, Load, Loop
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.ir.types import Kind


@dataclass(frozen=True, slots=True)
class Packed:
    """A tile as an operand of such products: two numbers of 16 bits along an axis in one of 32."""

    tile: str
    over: str
    """The axis along which there are pairs."""
    other: str
    flat: bool
    """Whether each row lies as it is, pair after pair; else every two rows are woven into one."""
    condition: str
    """The name of whether there are pairs, in the text."""
    room: str
    """The name of the buffer."""


@dataclass
class Pairs:
    """Products of one kernel whose operands are bf16 if the inputs are, and how these are packed.

    A tile is packed once, where it is made; one that a block carries, before each product. One that
    nothing else reads is packed as it is loaded.
    """

    scope: LaneScope
    matrices: Matrices
    packed: dict[str, list[Packed]] = field(default_factory=dict[str, list[Packed]])
    """By tiles."""
    products: dict[str, tuple[Packed, Packed]] = field(
        default_factory=dict[str, tuple[Packed, Packed]]
    )
    """The operands of products, those that are taken in vectors last."""

    def __post_init__(self) -> None:
        scope = self.scope
        body = list(statements(scope.kernel.body))
        taken: Counter[tuple[str, str]] = Counter()
        for item in body:
            if isinstance(item, Dot) and item.target in scope.narrow and self.matrices.has(item):
                single, vectors = self.matrices.operands(item)
                found = self._packed(item, single, True), self._packed(item, vectors, False)
                self.products[item.target] = found
                taken.update((one.tile, one.condition) for one in found)
        uses = Counter(n for s in body for e in expressions(s) for n in names(e))
        carried = {c.name for s in body if isinstance(s, Loop | If) for c in s.carries}
        self.carried: frozenset[str] = frozenset(carried & set(self.packed))
        """Operands that a block carries."""
        short = {i.name for i in scope.plan.inputs if i.element in (None, "bf16")}
        self.loaded: frozenset[str] = frozenset(
            s.target
            for s in body
            if isinstance(s, Load) and s.tensor in short and not names(*s.index, s.where)
            if s.fill in (None, 0)
            if any(taken[s.target, c] == uses[s.target] for c in scope.pairs.values())
        )
        """What is loaded for nothing but such products."""

    def _condition(self, item: Dot) -> str:
        """The name of whether a product takes pairs: if vectors go along its columns."""
        scope = self.scope
        vector, _ = self.matrices.sides(item)
        text = f"PAIRS and {scope.size_of(vector)} >= LANES"
        if item.kind is Kind.FLOAT:
            text += ' and TYPE == "bfloat16"'
        if text not in scope.pairs:
            scope.pairs[text] = scope.names.fresh("paired")
        return scope.pairs[text]

    def _packed(self, item: Dot, name: str, single: bool) -> Packed:
        (over,) = self.scope.dimensions(item.over)
        layout, condition = self.scope.layouts[name], self._condition(item)
        (other,) = (a for a in layout if a != over)
        flat = single and layout[-1] == over
        known = self.packed.setdefault(name, [])
        for one in known:
            if (one.over, one.flat, one.condition) == (over, flat, condition):
                return one
        room = self.scope.names.fresh(f"{name}_pairs")
        known.append(Packed(name, over, other, flat, condition, room))
        return known[-1]

    def taken(self, one: Packed) -> str:
        """A function that gives a pair of what is taken one by one."""
        over, other = self.scope.lane(one.over), self.scope.lane(one.other)
        pair = f"_two({one.room}, {other}, {over})" if one.flat else f"{one.room}[{over}, {other}]"
        return f"(lambda {other}, {over}: {pair})"

    def made(self, one: Packed) -> str:
        """The line that makes the buffer of pairs."""
        rows, columns = (one.other, one.over) if one.flat else (one.over, one.other)
        sizes = f"{self.scope.size_of(rows)}, {self.scope.size_of(columns)}"
        shape, element = ("_evened", "uint16") if one.flat else ("_halved", "int32")
        size = f"{shape}({one.condition}, {sizes})"
        return f'{one.room} = T.alloc_buffer({size}, "{element}")  # [{rows}, {columns}]'

    def packing(self, one: Packed) -> str:
        """The line that packs a tile."""
        scope = self.scope
        vectors = scope.layouts[one.tile][-1] != one.over and one.other == scope.vector
        if vectors:
            sizes = f"{scope.size_of(one.over)}, {scope.size_of(one.other)}"
            return f"_weave_vectors({one.room}, {scope.buffer(one.tile)}, {sizes}, LANES)"
        along = scope.layouts[one.tile][-1] == one.over
        return self.reading(one, f"_narrowed({scope.element(one.tile)})", along=along)

    def reading(self, one: Packed, lane: str, *, along: bool) -> str:
        """The line that packs what is read lane by lane; `along` if neighbours in pairs lie so."""
        scope = self.scope
        axes = (one.other, one.over) if one.flat else (one.over, one.other)
        sizes = ", ".join(map(scope.size_of, axes))
        read = f"(lambda {', '.join(map(scope.lane, axes))}: {lane})"
        if one.flat:
            return f"_lay({one.room}, {read}, {sizes})"
        return f"_weave({one.room}, {read}, {sizes}, {along})"

    def of(self, name: str) -> Iterator[tuple[str, list[Packed]]]:
        """What a tile is packed as, by the name of the condition."""
        by: dict[str, list[Packed]] = {}
        for one in self.packed.get(name, ()):
            by.setdefault(one.condition, []).append(one)
        yield from by.items()
