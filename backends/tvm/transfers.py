"""Loads and stores of tiles as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from attnc.backends.elements import RANGES, constant
from attnc.backends.numpy.layout import INDENT
from attnc.backends.refused import NotPrinted
from attnc.backends.triton.terms import HELD, Held, Term
from attnc.backends.tvm.lanes import Lanes, fill_of
from attnc.backends.tvm.nests import Nest
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Bool, Compare, Expr, Var
from attnc.ir.printer import AND
from attnc.ir.tiles import Load, Map, Store
from attnc.ir.tiles_walk import conjuncts
from attnc.ir.types import Kind
from attnc.passes.tiling.presence import both

VECTORS: Final = (None, "f16", "bf16", "f32", "f64")
"""Types of elements that are widened as vectors."""


@dataclass
class Transfers(Lanes):
    """Prints loads and stores."""

    _ahead: dict[str, str] = field(default_factory=dict[str, str])
    """Of loads, the rows that the thread's next program copies in place of theirs."""

    def _nest(self, nest: Nest) -> None:
        """Prints loops over lanes; loads of several go row by row."""
        if not nest.loops or not isinstance(nest.items[0], Load):
            super()._nest(nest)
            return
        for item in nest.items:
            assert isinstance(item, Load)
            self._load(item, nest.loops)

    def _load(self, item: Load, loops: Sequence[str]) -> None:
        """The lanes of a load. What does not vary along a row is asked once for it, so that a row
        that lies in memory as it does here is copied in vectors."""
        scope, row = self.scope, loops[-1]
        room = self._room(item.target)
        parts = [p for p in conjuncts(self._masked(item.where)) if not self.expression(p).true]
        inside = [p for p in parts if row in scope.context.varies(p)]
        asked = both(*(p for p in parts if p not in inside))
        element = scope.element(item.target)
        turned = self._is_turned(item, loops) and not inside
        self._asks(item, row, inside)
        if turned:
            vector, at, part = loops[0], scope.names.of("at", f"{loops[0]}_at"), self.clips.part
            rows, size = scope.names.of("rows", f"{room}_rows"), scope.size_of(vector)
            self.buffers[rows] = f"{rows} = T.alloc_buffer((LANES, {scope.size_of(row)}), FLOAT)"
            with self.level():
                self.opens(f"if _turns({size}, {scope.size_of(row)}, LANES):")
                self.opens(f"for {part} in range({size} // LANES):")
                with self.level():
                    self.opens(f"for {at} in range(LANES):")
                    self.line(f"{scope.lane(vector)} = T.meta_var({part} * LANES + {at})")
                    self._rows_of(item, row, f"{rows}[{at}, {scope.lane(row)}]", asked, inside)
                self.line(f"_turn({room}, {rows}, {part}, LANES)")
        with self.level():
            if turned:
                self.opens("else:")
            self._loops(loops[:-1], vector=False)
            self._rows_of(item, row, element, asked, inside)

    def _asks(self, item: Load, row: str, inside: Sequence[Expr]) -> None:
        """Tells where the rows lie that the thread's next program copies in place of a load's."""
        self._ahead.pop(item.target, None)
        found = None
        if self._near(item, row, inside):
            found = self.ahead.row(item, row, self.memory)
        if found is not None:
            lines, self._ahead[item.target] = found
            for line in lines:
                self.line(line)

    def _is_turned(self, item: Load, loops: Sequence[str]) -> bool:
        """Whether rows in memory are columns of the tile: vectors go the other way."""
        scope = self.scope
        return (
            len(loops) == 2
            and loops[0] == scope.vector
            and scope.layouts[item.target] == (loops[1], loops[0])
            and HELD[item.kind] is Held.FLOAT
            and not scope.clipped.keys() & set(loops)
            and bool(self._near(item, loops[1], ()))
        )

    def _rows_of(
        self, item: Load, row: str, element: str, asked: Expr, inside: Sequence[Expr]
    ) -> None:
        """A row of a load, if what is asked of it holds, and of what is `inside` lane by lane."""
        with self.level():
            if asked != Bool(True):
                self.opens(f"if {self.expression(asked).text}:")
            self._row_of(item, row, element, inside)
        if asked != Bool(True):
            with self.level():
                self.opens("else:")
                self._along(row, item, element, fill_of(item))

    def _row_of(self, item: Load, row: str, element: str, inside: Sequence[Expr]) -> None:
        """A row of a load that is there."""
        near = self._near(item, row, inside)
        if element == self.scope.element(item.target) and self.scope.layouts[item.target][-1:] != (
            row,
        ):
            near = ""
        if near:
            with self.level():
                self.opens(f"if {near}:")
                text, ahead = self.memory.read(item, near=True), self._ahead.get(item.target)
                if ahead is not None:
                    self.line(f"_ask({ahead}, {self.scope.size_of(row)})")
                self._along(row, item, element, text, vector=True)
        dtype, mask = DTYPES[HELD[item.kind]], self.expression(both(*inside))
        text = self._masked_read(item, mask, self.memory.read(item), dtype)
        with self.level():
            if near:
                self.opens("else:")
            self._along(row, item, element, text)

    def _along(
        self, row: str, item: Load, element: str, text: str, *, vector: bool = False
    ) -> None:
        """A loop over a row of a load."""
        with self.level():
            if vector:
                self.opens(f"for {self.scope.lane(row)} in _beside({self.scope.size_of(row)}):")
            else:
                self._loops((row,), vector=False)
            self._assign(element, item.kind, text)

    def _near(self, item: Load | Store, row: str, inside: Sequence[Expr]) -> str:
        """When a row lies in memory as in the tile, all of it; never if nothing is said."""
        scope, size = self.scope, self.scope.axis(row).size
        alike = (
            item.index[-1:] == (Var(row),)
            and row not in scope.context.varies(*item.index[:-1])
            and row not in {*scope.strides, *scope.clipped}
            and not self.memory.is_between(item.tensor)
            and self.memory.declared(item.tensor) in VECTORS
        )
        if not alike or not set(inside) <= {Compare(("<",), (Var(row), size))}:
            return ""
        asked = [self.memory.near(item.tensor)]
        if inside:
            end = scope.size_of(row)
            if scope.axis(row).kind != "whole":
                end = f"{scope.start_of(row)} + {end}"
            asked.append(f"{end} <= {scope.text(size).text}")
        return " and ".join(asked)

    def _store(self, item: Store) -> None:
        with self.level():
            self._stored(item)

    def _stored(self, item: Store) -> None:
        """A store, in blocks that are left open."""
        scope = self.scope
        if item.combine is not None:
            raise NotPrinted(f"a store that combines by {item.combine}", item.value)
        kind = scope.context.facts.types[item.tensor].kind
        varying = scope.context.varies(*item.index, item.value, item.where, item.guard)
        axes = scope.natural(item, scope.dimensions(scope.context.sorted(varying)))
        conditions = [p for p in conjuncts(self._masked(item.guard)) if p != Bool(True)]
        if self._is_turned_out(item, axes, kind, conditions):
            with self.level():
                self._turn_out(item, axes, kind, conditions)
            self.opens("else:")
        bound: set[str] = set()
        for axis in (None, *axes):
            if axis is not None:
                self._loops((axis,), vector=False)
                bound.add(axis)
            now = [c for c in conditions if scope.context.varies(c) <= bound | self._points()]
            conditions = [c for c in conditions if c not in now]
            if now:
                terms = [self.expression(c) for c in now]
                text = " and ".join(t.at(AND + 1) for t in terms if not t.true)
                if text:
                    self.opens(f"if {text}:")
        where = self._truth(item.where)
        value = self._value(item.value, kind)
        buffer = next((b for b in scope.plan.buffers if b.name == item.tensor), None)
        if buffer is not None:
            text = self._typed(item.value, kind)
            kept = self.memory.kept(item.tensor, text)
            self.line(f"{self.memory.place(item.tensor, item.index)} = {kept}")
            if buffer.presence == "byte":
                place = self.memory.place(f"{item.tensor}?", item.index)
                kept = self.memory.kept(f"{item.tensor}?", self.expression.as_tensor(where))
                self.line(f"{place} = {kept}")
            return
        output = next(o for o in scope.plan.outputs if o.name == item.tensor)
        if value.held in (Held.I64, Held.INT) and output.element in RANGES:
            low, high = RANGES[output.element]
            inside = f"{value.at(AND)} >= {low} and {value.at(AND)} <= {high}"
            text = inside if where.true else f"{where.at(AND)} and {inside}"
            where = Term(text, (), Held.BOOL, AND)
        text = self._typed(item.value, kind)
        if not where.true:
            fill = f"T.Cast({DTYPES[HELD[kind]]}, {constant(item.empty, kind)})"
            text = f"_where({where.text}, {text}, {fill})"
        self.line(
            f"{self.memory.place(item.tensor, item.index)} = {self.memory.stored(item, text)}"
        )

    def _is_turned_out(
        self, item: Store, axes: Sequence[str], kind: Kind, conditions: Sequence[Expr]
    ) -> bool:
        """Whether columns of tiles become rows in memory, of each of which the same is asked."""
        scope = self.scope
        if len(axes) != 2 or axes[0] != scope.vector or HELD[kind] is not Held.FLOAT:
            return False
        varies = scope.context.varies
        inside = [c for c in conditions if axes[1] in varies(c)]
        return axes[1] not in varies(item.where) and bool(self._near(item, axes[1], inside))

    def _turn_out(
        self, item: Store, axes: Sequence[str], kind: Kind, conditions: Sequence[Expr]
    ) -> None:
        """Prints a store whose values are computed in vectors, and turned, where they can be: in
        blocks that are left open."""
        scope, (vector, row) = self.scope, axes
        size, part = scope.size_of(vector), self.clips.part
        self.opens(f"if _turns({size}, {scope.size_of(row)}, LANES):")
        new = f"{item.tensor} in vectors"
        scope.context.kinds[new] = kind
        scope.context.axes[new] = scope.context.sorted(set(axes))
        scope.layouts[new] = (row, vector)
        scope.buffers[new] = room = scope.names.of("turned", f"{item.tensor.lower()}_turned")
        self._nest_of(Map(new, scope.context.axes[new], kind, item.value))
        self._room(new)
        rows, at = f"{room}_rows", scope.names.of("at", f"{vector}_at")
        self.buffers[rows] = f"{rows} = T.alloc_buffer((LANES, {scope.size_of(row)}), FLOAT)"
        self.opens(f"for {part} in range({size} // LANES):")
        self.line(f"_turn_back({rows}, {room}, {part}, LANES)")
        self.opens(f"for {at} in range(LANES):")
        self.line(f"{scope.lane(vector)} = T.meta_var({part} * LANES + {at})")
        inside = [c for c in conditions if row in scope.context.varies(c)]
        asked = self.expression(both(*(c for c in conditions if c not in inside)))
        if not asked.true:
            self.opens(f"if {asked.text}:")
        text, where = f"{rows}[{at}, {scope.lane(row)}]", self._truth(item.where)
        if not where.true:
            fill = f"T.Cast({DTYPES[HELD[kind]]}, {constant(item.empty, kind)})"
            text = f"_where({where.text}, {text}, {fill})"
        text = self.memory.stored(item, text)
        place = self.memory.place(item.tensor, item.index)
        found = self.memory.tensor(item.tensor)
        self.line(f"if {self._near(item, row, inside)}:")
        self.line(f"{INDENT}for {scope.lane(row)} in _beside({scope.size_of(row)}):")
        self.line(f"{INDENT * 2}{found.near}{place.removeprefix(found.python)} = {text}")
        self.opens("else:")
        self._loops((row,), vector=False)
        if inside:
            self.opens(f"if {self.expression(both(*inside)).text}:")
        self.line(f"{place} = {text}")

    def _points(self) -> set[str]:
        """Axes of which a program or a round has one coordinate."""
        return {a.name for a in self.scope.kernel.axes if not self.scope.is_tile(a.name)}
