"""What is known of numbers of a whole tile: that one is at most another.

Most such questions are about edges of tiles, least and greatest numbers, and what is rounded to
whole tiles. They are answered by rules that look at each part of a number once; what is left to
sizes and parameters alone is asked of the prover of integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from attnc.ir.comparisons import pairs
from attnc.ir.expr import Apply, Binary, Bool, Choice, Compare, Expr, Int, Logical, Name, Value, Var
from attnc.ir.integers import Integers
from attnc.ir.polynomials import ONE, Sum, differences, less, plus, replaced
from attnc.ir.walk import subexpressions
from attnc.passes.conditions.forms import Forms, mentioned

KNOWN: Final = (Int, Value, Binary, Apply)
"""The nodes that the prover of integers has a meaning for."""
MOST: Final = 60
"""Comparisons that are looked at for one question."""
ASKED: Final = 60
"""Questions to the prover of integers for one loop; each may take milliseconds."""


@dataclass(frozen=True)
class Knowledge:
    """What is known in a program, where the tiles of some axes are not empty."""

    integers: Integers
    sizes: Mapping[str, Expr]
    """The axes that have a tile, with their extents."""
    lets: dict[str, Expr] = field(default_factory=dict[str, Expr])
    """Numbers that have got a name; more may be added."""
    floors: set[str] = field(default_factory=set[str])
    """Those that are not negative."""
    held: tuple[Expr, ...] = ()
    """Comparisons that hold."""
    _forms: Forms = field(default_factory=lambda: Forms(lambda _: False))
    _answers: dict[object, bool] = field(default_factory=dict[object, bool])
    _plain: dict[Expr, bool] = field(default_factory=dict[Expr, bool])
    """Answers that do not depend on what holds."""
    _values: dict[str, frozenset[str] | None] = field(
        default_factory=dict[str, "frozenset[str] | None"]
    )

    def knowing(self, conditions: Iterable[Expr]) -> Knowledge:
        """The same, and that some conditions hold."""
        new = [c for c in conditions if isinstance(c, Compare) and c not in self.held]
        return replace(self, held=(*self.held, *new), _answers={}) if new else self

    def shows(self, condition: Expr) -> bool:
        """Whether a condition is known to hold."""
        match condition:
            case Bool(value=value):
                return value
            case Logical(op="and", left=left, right=right):
                return self.shows(left) and self.shows(right)
            case Compare():
                return condition in self.held or all(self._pair(*p) for p in pairs(condition))
            case _:
                return False

    def _pair(self, op: str, left: Expr, right: Expr) -> bool:
        match op:
            case "<=":
                return self.at_most(left, right)
            case "<":
                return self.at_most(Binary("+", left, Int(1)), right)
            case ">" | ">=":
                return self._pair({">": "<", ">=": "<="}[op], right, left)
            case _:
                return False

    def at_most(self, left: Expr, right: Expr) -> bool:
        """Whether a number is known to be at most another."""
        return self._under(left, right, [MOST])

    # Rules

    def _under(self, a: Expr, b: Expr, more: list[int]) -> bool:
        """Whether `a <= b`, by what `a` is or what `b` is; so many questions `more`."""
        if a == b or (
            isinstance(b, Value) and b.name in self.floors and isinstance(a, Int) and a.value == 0
        ):
            return True
        key = a, b
        found = self._answers.get(key)
        if found is None:
            if more[0] <= 0:
                return False
            more[0] -= 1
            self._answers[key] = False  # while it is asked
            found = self._nonnegative(a, b) or self._left(a, b, more) or self._right(a, b, more)
            self._answers[key] = found
        return found

    def _left(self, a: Expr, b: Expr, more: list[int]) -> bool:
        """What is below a number because of what the lesser one is."""
        match a:
            case Value(name=name) if name in self.lets:
                return self._under(self.lets[name], b, more)
            case Apply(function="min", arguments=arguments):
                return any(self._under(x, b, more) for x in arguments)
            case Apply(function="max", arguments=arguments):
                return all(self._under(x, b, more) for x in arguments)
            case Choice(then=then, other=other):
                return self._under(then, b, more) and self._under(other, b, more)
            case Binary(op="*", left=Binary(op="//", left=x, right=t), right=u) if t == u:
                if self._under(x, b, more) and self._tile(t):
                    return True
                match b:
                    case Binary(op="*", left=Binary(op="//", left=y, right=v), right=w) if (
                        v == w == t
                    ):
                        return self._under(x, y, more)
                    case _:
                        return False
            case Binary(op="*", left=Apply(function="ceildiv", arguments=(x, t)), right=u) if (
                t == u
            ):
                match b:
                    case Binary(
                        op="*", left=Apply(function="ceildiv", arguments=(y, v)), right=w
                    ) if v == w == t:
                        return self._under(x, y, more)
                    case Binary(op="*", left=Binary(op="//", left=y, right=v), right=w) if (
                        v == w == t
                    ):
                        return self._under(x, Int(0), more) and self._under(Int(0), y, more)
                    case _:
                        return False
            case _:
                return False

    def _right(self, a: Expr, b: Expr, more: list[int]) -> bool:
        """What is below a number because of what the greater one is."""
        match b:
            case Value(name=name) if name in self.lets:
                return self._under(a, self.lets[name], more)
            case Apply(function="max", arguments=arguments):
                return any(self._under(a, x, more) for x in arguments)
            case Apply(function="min", arguments=arguments):
                return all(self._under(a, x, more) for x in arguments)
            case Choice(then=then, other=other):
                return self._under(a, then, more) and self._under(a, other, more)
            case Binary(op="*", left=Apply(function="ceildiv", arguments=(x, t)), right=u) if (
                t == u
            ):
                return self._tile(t) and self._under(a, x, more)
            case Binary(op="*", left=Binary(op="//", left=x, right=t), right=u) if t == u:
                return a == Int(0) and self._tile(t) and self._under(a, x, more)
            case _:
                return False

    def _tile(self, size: Expr) -> bool:
        return isinstance(size, Apply) and size.function == "tile"

    # Sums

    def _nonnegative(self, a: Expr, b: Expr) -> bool:
        """Whether the difference is a sum of what is never negative."""
        forms = self._forms
        difference = less(forms.of(b), forms.of(a))
        return self._never(difference) or any(
            self._never(less(difference, fact)) for fact in self._facts
        )

    @cached_property
    def _facts(self) -> Sequence[Sum]:
        """Sums that are not negative, by what holds."""
        found: list[Sum] = []
        for held in self.held:
            assert isinstance(held, Compare)
            for op, left, right in pairs(held):
                if op in ("<", "<=", "==", ">", ">="):
                    found += differences(op, self._forms.of(left), self._forms.of(right))
        return found

    @cached_property
    def _edges(self) -> Sequence[tuple[str, str, Sum]]:
        """The edges of each axis' tile, and the last coordinate."""
        return [
            (f"low({axis})", f"high({axis})", plus(self._forms.of(size), {ONE: -1}))
            for axis, size in self.sizes.items()
        ]

    def _never(self, form: Sum) -> bool:
        """Whether a sum is never negative: edges are put as far as they may be, then all counts."""
        for low, high, last in self._edges:
            up, down = form.get((high,), 0), form.get((low,), 0)
            if up >= 0 <= down:
                continue
            if up > 0 > down:  # high(m) - low(m)
                by = min(up, -down)
                form = plus(form, {(high,): -by, (low,): by})
                form = {m: c for m, c in form.items() if c}
            put = {t: last for t in (low, high) if form.get((t,), 0) < 0}
            if put and all(t not in m or m == (t,) for m in form for t in put):
                form = replaced(form, put)
        number = form.get(ONE, 0)
        rest: Sum = {m: c for m, c in form.items() if m != ONE}
        if any(c < 0 for c in rest.values()):
            return self._by_values(form)
        for product, factor in rest.items():
            if not all(self._atom(t) for t in product):
                return self._by_values(form)
            if number < 0 and all(self._positive(t) for t in product):
                number += factor
        return number >= 0 or self._by_values(form)

    def _atom(self, text: str) -> bool:
        """Whether an atom is never negative."""
        match self._forms.atoms[text]:
            case Apply(function="low" | "high" | "tile"):
                return True
            case expr:
                return self._asked(Compare(("<=",), (Int(0), expr)))

    def _positive(self, text: str) -> bool:
        match self._forms.atoms[text]:
            case Apply(function="tile"):
                return True
            case expr:
                return expr in self.sizes.values() or self._asked(Compare(("<",), (Int(0), expr)))

    def _by_values(self, form: Sum) -> bool:
        """Whether the prover of integers knows it, where there are no edges of tiles."""
        for text in mentioned(form):
            values = self._values_of(text)
            if values is None or not values.isdisjoint(self.lets):
                return False
        left, right = self._forms.sides(form)
        return self._asked(Compare(("<=",), (left, right)))

    def _values_of(self, text: str) -> frozenset[str] | None:
        """The values in an atom; None if there is anything in it that the prover does not know."""
        if text not in self._values:
            nodes = [*subexpressions(self._forms.atoms[text])]
            strange = any(not isinstance(n, KNOWN) or _edge(n) for n in nodes)
            found = None if strange else frozenset(n.name for n in nodes if isinstance(n, Value))
            self._values[text] = found
        return self._values[text]

    def _asked(self, condition: Compare) -> bool:
        if condition not in self._plain:
            if len(self._plain) >= ASKED:
                return False
            self._plain[condition] = self.integers.shows(condition)
        return self._plain[condition]


def _edge(expr: Expr) -> bool:
    return isinstance(expr, Name | Var) or (
        isinstance(expr, Apply) and expr.function in ("low", "high", "tile")
    )
