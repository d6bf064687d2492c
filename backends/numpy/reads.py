"""Reads of tensors at any index: slices, gathers, and where an index lies inside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from attnc.backends.numpy import bounds
from attnc.backends.numpy.core import Core
from attnc.backends.numpy.stored import NeedsPresence, Stored
from attnc.backends.numpy.terms import Code, Term, aligned, both, infix, union, with_presence
from attnc.grammar.scope import is_extent
from attnc.ir.expr import Binary, Expr, Int, Read, Unary, Value, Var
from attnc.ir.facts import Dimension
from attnc.ir.printer import ATOM, BIT_AND, COMPARE, SUM

SLICES: Final = {(0, 0): ":", (-1, 1): "1:", (0, 1): ":-1"}
"""The slice of coordinates 0 to range-1, by the first coordinate and how many there are more."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How one rank is indexed: a whole axis (`axis`), or by an index (`code`)."""

    axis: str | None
    text: str
    term: Term | None = None
    code: Code | None = None
    inside: Code | None = None

    @property
    def gathers(self) -> bool:
        """Whether the index is an array or may be out of range."""
        return self.code is not None and (bool(self.code.axes) or self.inside is not None)


class Reads(Core):
    """Emits reads."""

    def _read(self, expr: Read) -> Term:
        stored = self.around.tensors[expr.tensor]
        places = [
            self._place(index, dimension, position, expr, stored)
            for position, (index, dimension) in enumerate(
                zip(expr.index, stored.dimensions, strict=True)
            )
        ]
        value = self._indexed(stored.name, places)
        here: Code | None = None
        if stored.here is not None:
            here = self._indexed(stored.here, [places[p] for p in stored.positions])
            if here.text == stored.here:
                here = replace(here, whole=stored.whole, kept=stored.kept)
        inside = [p.inside for p in places if p.inside is not None]
        term = Term(value, stored.kind, here, stored.when)
        for place in places:
            if place.term is not None:
                present = both(self.order, term.here, place.term.here)
                term = with_presence(term, present, place.term.when)
        for condition in inside:
            term = self.where(term, condition)
        return term

    def _place(
        self, index: Expr, dimension: Dimension, position: int, expr: Read, stored: Stored
    ) -> _Place:
        """How one rank of a tensor is indexed."""
        running = stored.computed is not None and stored.computed[2] == position
        whole = isinstance(index, Var) and index.name not in self.scalars
        if running and stored.here is None and not self._computed(index, stored):
            raise NeedsPresence(expr.tensor)
        if whole and self._same_range(index, dimension):
            others = [i for p, i in enumerate(expr.index) if p != position]
            if not any(isinstance(i, Var) and i == index for i in others):
                assert isinstance(index, Var)
                return _Place(index.name, SLICES[dimension.low, dimension.extra])
        term = self(index)
        shown = self._offset(term.value, -dimension.low)
        if self._inside(index, dimension):
            return _Place(None, shown.text, term, shown)
        bound_term = replace(term, value=self.bind(term.value))
        shown = self._offset(bound_term.value, -dimension.low)
        least = infix(">=", bound_term.value, Code(str(dimension.low)), COMPARE, self.order)
        size = self.around.extent(dimension.range)
        end = dimension.low + dimension.extra
        limit = Code(size, (), ATOM if size.isidentifier() or size.isdigit() else SUM)
        if end:
            limit = infix("+" if end > 0 else "-", limit, Code(str(abs(end))), SUM, self.order)
        most = infix("<", bound_term.value, limit, COMPARE, self.order)
        if bound_term.python:
            below = int(term.value.text) < dimension.low
            inside = Code("np.False_") if below else most
        else:
            inside = infix("&", least, most, BIT_AND, self.order)
        return _Place(None, shown.text, bound_term, shown, inside)

    def _offset(self, code: Code, by: int) -> Code:
        if by == 0:
            return code
        if code.text.endswith(" - 1") and code.level == SUM and by == 1:
            return Code(code.text[: -len(" - 1")], code.axes, SUM)
        return infix("+", code, Code(str(by)), SUM, self.order)

    def _same_range(self, index: Expr, dimension: Dimension) -> bool:
        assert isinstance(index, Var)
        own = self.around.facts.variables[index.name]
        return self.around.facts.equalities.equal(own, dimension.range)

    def _inside(self, index: Expr, dimension: Dimension) -> bool:
        facts = self.around.facts
        low: Expr = Int(dimension.low) if dimension.low >= 0 else Unary("-", Int(1))
        end: Expr = Int(dimension.low + dimension.extra - 1)
        if dimension.low + dimension.extra - 1 < 0:
            end = Unary("-", Int(1 - dimension.low - dimension.extra))
        high = Binary("+", dimension.range, end)
        return bounds.inside(
            index,
            low,
            high,
            facts.variables,
            lambda name: is_extent(name) or Value(name) in facts.variables.values(),
            facts.equalities.representative,
        )

    def _computed(self, index: Expr, stored: Stored) -> bool:
        """Whether an index along the loop is surely computed by now."""
        assert stored.computed is not None
        variable, offset, _ = stored.computed
        latest = Binary("+" if offset >= 0 else "-", Var(variable), Int(abs(offset)))
        same = self.around.facts.equalities.representative
        gap = bounds.affine(Binary("-", latest, index), same)
        if gap is None:
            return False
        return all(v == 0 for k, v in gap.items() if k) and gap.get("", 0) >= 0

    def _indexed(self, name: str, places: list[_Place]) -> Code:
        """A stored array at some places of its ranks."""
        gathers = [i for i, p in enumerate(places) if p.axis is None and p.gathers]
        slices = {p.axis for p in places if p.axis is not None}
        if not gathers:
            texts = [p.text for p in places]
            axes = tuple(p.axis for p in places if p.axis is not None)
            if all(t == ":" for t in texts):
                return Code(name, axes)
            while texts and texts[-1] == ":":
                texts.pop()
            return Code(f"{name}[{', '.join(texts)}]", axes)
        taken: list[str] = []
        for i in gathers:
            code = places[i].code
            assert code is not None
            taken.extend(code.axes)
        if len(set(taken)) == len(taken) and not slices & set(taken):
            return self._takes(name, places)
        return self._pick(name, places)

    def _takes(self, name: str, places: list[_Place]) -> Code:
        """One `_take` per gathered rank; the axes of its index stand in its place."""
        plain = [p.text if p.axis is not None or not p.gathers else ":" for p in places]
        kept = [p for p in places if p.axis is not None or p.gathers]
        text = name
        if any(t != ":" for t in plain):
            while plain and plain[-1] == ":":
                plain.pop()
            text = f"{name}[{', '.join(plain)}]"
        axes: list[str] = []
        for place in kept:
            if place.axis is not None:
                axes.append(place.axis)
                continue
            assert place.code is not None
            text = f"_take({text}, {place.code.text}, {len(axes)})"
            axes.extend(place.code.axes)
        return Code(text, tuple(axes))

    def _pick(self, name: str, places: list[_Place]) -> Code:
        """Every rank by an index array; the arrays broadcast together."""
        codes = []
        for place in places:
            if place.axis is not None:
                code = Code(self.around.coordinate(place.axis), (place.axis,))
                if place.text == "1:":
                    code = infix("+", code, Code("1"), SUM, self.order)
            else:
                assert place.code is not None
                code = place.code
            codes.append(code)
        axes = union(self.order, *(c.axes for c in codes))
        texts = [aligned(c, axes, self.order).text for c in codes]
        return Code(f"_pick({name}, {', '.join(texts)})", axes)
