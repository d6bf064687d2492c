"""Conditions as alternatives: of each, the inequalities that must hold together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from attnc.ir.comparisons import TURNED, pairs
from attnc.ir.expr import Apply, Bool, Choice, Compare, CompareOp, Expr, Logical, Unary
from attnc.ir.polynomials import Sum, differences, replaced
from attnc.ir.types import Kind
from attnc.passes.conditions.forms import Forms, constant, mentioned

MOST: Final = 16
"""Most alternatives of one predicate."""


class Lanes(Protocol):
    """The lanes of a round: tiles of some axes, and one of the axis that is streamed."""

    @property
    def stream(self) -> str:
        """The axis that is streamed."""
        ...

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        ...

    def depends(self, expr: Expr) -> frozenset[str]:
        """The axes along which an expression varies in a round."""
        ...


@dataclass(frozen=True, slots=True)
class Least:
    """That a sum is not negative."""

    form: Sum


@dataclass(frozen=True, slots=True)
class Other:
    """A condition that is no inequality of integers that could be solved."""

    expr: Expr


Literal: TypeAlias = Least | Other
Case: TypeAlias = tuple[Literal, ...]
"""What must hold together."""


class Many(Exception):
    """There are more alternatives than are looked at."""


@dataclass
class Normal:
    """Brings conditions into this form."""

    lanes: Lanes
    forms: Forms

    def all(self, conditions: Iterable[Expr]) -> list[Case]:
        """The alternatives of conditions that hold together; raises `Many`."""
        found: list[Case] = [()]
        for condition in conditions:
            found = _both(found, self.cases(condition))
        return found

    def cases(self, expr: Expr, *, holds: bool = True) -> list[Case]:
        """The alternatives of a condition, or of its negation; raises `Many`."""
        match expr:
            case Bool(value=value):
                return [()] if value is holds else []
            case Unary(op="not", operand=operand):
                return self.cases(operand, holds=not holds)
            case Logical(op=op, left=left, right=right):
                parts = [self.cases(side, holds=holds) for side in (left, right)]
                return _both(*parts) if (op == "and") is holds else _either(*parts)
            case Choice(condition=condition, then=then, other=other):
                sides = [
                    _both(self.cases(condition, holds=side), self.cases(value, holds=holds))
                    for side, value in ((True, then), (False, other))
                ]
                return _either(*sides)
            case _ if not self.lanes.depends(expr):
                return [(Other(expr if holds else Unary("not", expr)),)]
            case Compare():
                parts = [self._pair(*pair, holds=holds) for pair in pairs(expr)]
                found = parts[0]
                for part in parts[1:]:
                    found = _both(found, part) if holds else _either(found, part)
                return found
            case _:
                return [(Other(expr if holds else Unary("not", expr)),)]

    def _pair(self, op: CompareOp, left: Expr, right: Expr, *, holds: bool) -> list[Case]:
        if not all(self.lanes.kind(e) in (Kind.I32, Kind.I64) for e in (left, right)):
            expr = Compare((op,), (left, right))
            return [(Other(expr if holds else Unary("not", expr)),)]
        word = op if holds else TURNED[op]
        a, b = self.forms.of(left), self.forms.of(right)
        if word == "!=":
            return _either(*(self._least(differences(o, a, b)) for o in ("<", ">")))
        return self._least(differences(word, a, b))

    def _least(self, forms: Sequence[Sum]) -> list[Case]:
        """The alternatives of sums that are all not to be negative."""
        found: list[Case] = [()]
        for form in forms:
            found = _both(found, self._pieces(form))
        return found

    def _pieces(self, form: Sum) -> list[Case]:
        """The same without functions that have several pieces, along the stream."""
        number = constant(form)
        if number is not None:
            return [()] if number >= 0 else []
        for text in mentioned(form):
            if self.lanes.stream in self.lanes.depends(self.forms.atoms[text]):
                found = self._parted(form, text)
                if found is not None:
                    return found
        return [(Least(form),)]

    def refined(self, case: Case) -> list[Case]:
        """The same without functions of several pieces whose coordinates stand elsewhere, too.

        Alone, such a function is a variable like any other; raises `Many`.
        """
        forms = [item.form for item in case if isinstance(item, Least)]
        axes = {t: self.lanes.depends(self.forms.atoms[t]) for f in forms for t in mentioned(f)}
        for text, own in axes.items():
            if not any(own & other for t, other in axes.items() if t != text):
                continue
            for i, item in enumerate(case):
                found = self._parted(item.form, text) if isinstance(item, Least) else None
                if found is not None:
                    rest: list[Case] = [(*case[:i], *case[i + 1 :])]
                    return _few([c for one in _both(rest, found) for c in self.refined(one)])
        return [case]

    def _parted(self, form: Sum, text: str) -> list[Case] | None:
        """The alternatives of a sum by the pieces of a function in it; None if it has but one."""
        factor = form.get((text,), 0)
        if not factor or any(text in m and m != (text,) for m in form):
            return None
        match self.forms.atoms[text]:
            case Apply(function="max" | "min" as function, arguments=arguments):
                return self._extreme(form, text, arguments, (function == "max") is (factor > 0))
            case Apply(function="abs", arguments=(operand,)):
                both = (operand, Unary("-", operand))
                return self._extreme(form, text, both, factor > 0)
            case Apply(function="clip", arguments=(operand, low, high)):
                inner = Apply("max", (operand, low))
                return self._extreme(form, text, (inner, high), factor < 0)
            case Choice(condition=condition, then=then, other=other):
                sides = [
                    _both(self.cases(condition, holds=side), self._with(form, text, value))
                    for side, value in ((True, then), (False, other))
                ]
                return _either(*sides)
            case _:
                return None

    def _extreme(self, form: Sum, text: str, parts: Iterable[Expr], any_: bool) -> list[Case]:
        """`x >= 0` with a maximum in `x`, just if it is for one of its parts; or for all."""
        found = [self._with(form, text, part) for part in parts]
        result = found[0]
        for other in found[1:]:
            result = _either(result, other) if any_ else _both(result, other)
        return result

    def _with(self, form: Sum, text: str, value: Expr) -> list[Case]:
        return self._pieces(replaced(form, {text: self.forms.of(value)}))


def _both(a: list[Case], b: list[Case]) -> list[Case]:
    return _few([tuple({_key(i): i for i in (*x, *y)}.values()) for x in a for y in b])


def _either(a: list[Case], b: list[Case]) -> list[Case]:
    return _few([*a, *b])


def _few(cases: list[Case]) -> list[Case]:
    """Alternatives without those that need what another one needs, and more."""
    sets = [frozenset(map(_key, case)) for case in cases]
    kept = [
        case
        for i, case in enumerate(cases)
        if not any(
            sets[j] < sets[i] or (sets[j] == sets[i] and j < i) for j in range(len(cases)) if j != i
        )
    ]
    if len(kept) > MOST:
        raise Many
    return kept


def _key(literal: Literal) -> object:
    return literal.expr if isinstance(literal, Other) else frozenset(literal.form.items())
