"""What the parts of the emitter of expressions share: names, kinds, presence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.backends.numpy.stored import Surroundings
from attnc.backends.numpy.terms import Axes, Code, Term, both, infix, merge, with_presence
from attnc.ir.expr import Expr, Logical
from attnc.ir.printer import BIT_AND, BIT_OR, COMPARE
from attnc.ir.types import Kind
from attnc.ir.typing import Types
from attnc.ir.walk import children

LONG: Final = 72
"""Longest text kept inside another expression; what is longer gets a name."""

CONSTRUCTORS: Final = {
    Kind.BOOL: "np.bool_",
    Kind.I32: "np.int32",
    Kind.I64: "np.int64",
    Kind.F32: "np.float32",
    Kind.FLOAT: "_float",
    Kind.F64: "np.float64",
}


@dataclass
class Core(ABC):
    """What every part of the emitter of expressions shares.

    Appends lines for what needs a name.
    """

    around: Surroundings
    types: Types
    axes: Axes
    scalars: Mapping[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _uses: Counter[Expr] = field(default_factory=Counter)
    _memo: dict[Expr, Term] = field(default_factory=dict)

    def order(self, axis: str) -> int:
        """The canonical position of an axis: the left side first."""
        return self.axes.index(axis)

    def count_uses(self, *exprs: Expr) -> None:
        """Notes how often each subexpression occurs, so that what recurs gets a name."""
        stack = list(exprs)
        while stack:
            node = stack.pop()
            self._uses[node] += 1
            if self._uses[node] == 1:
                stack.extend(children(node))

    def __call__(self, expr: Expr) -> Term:
        """The term of an expression."""
        known = self._memo.get(expr)
        if known is not None:
            return known
        term = self.top(expr)
        recurs = self._uses[expr] > 1
        long = len(term.value.text) > LONG
        if (recurs or long) and not term.value.simple and not term.python:
            term = replace(term, value=self.bind(term.value))
        if (
            term.here is not None
            and not term.here.simple
            and (recurs or len(term.here.text) > LONG)
        ):
            term = replace(term, here=self.bind(term.here))
        if recurs:
            self._memo[expr] = term
        return term

    def bind(self, code: Code) -> Code:
        """`code` under a new name."""
        if code.simple:
            return code
        name = self.around.temporary()
        self.lines.append(f"{name} = {code.text}")
        return Code(name, code.axes, whole=code.whole, kept=code.kept)

    def convert(self, term: Term, kind: Kind) -> Term:
        """`term` held in another kind."""
        if term.kind == kind:
            return term
        if term.python:
            text = term.value.text
            if kind is Kind.BOOL:
                text = "False"  # `absent` alone is a literal of no kind
            elif text in ("True", "False"):
                text = "1" if text == "True" else "0"
            if kind.floating and not term.kind.floating:
                text = repr(float(int(text)))
            return replace(term, value=replace(term.value, text=text), kind=kind)
        text = f"{CONSTRUCTORS[kind]}({term.value.text})"
        return replace(term, value=Code(text, term.value.axes), kind=kind)

    def array(self, term: Term) -> Term:
        """`term` as NumPy's own, not a Python literal."""
        if not term.python:
            return term
        text = f"{CONSTRUCTORS[term.kind]}({term.value.text})"
        return replace(term, value=Code(text), python=False)

    def combine(self, sign: str, left: Term, right: Term, level: int, kind: Kind) -> Term:
        """`left sign right`, present where both are."""
        if left.python and right.python:
            left = self.array(left)
        value = infix(sign, left.value, right.value, level, self.order)
        return Term(value, kind, *self.presence(left, right))

    def presence(self, *terms: Term) -> tuple[Code | None, tuple[str, ...]]:
        """Where all of the terms are present."""
        here = both(self.order, *(t.here for t in terms))
        return here, merge(*(t.when for t in terms))

    def whole(self, term: Term) -> Code | None:
        """The presence of a term as one array, its scalar conditions included."""
        return both(self.order, term.here, *(Code(w, (), COMPARE) for w in term.when))

    def holds(self, expr: Expr) -> Code:
        """Where a condition is present and true."""
        match expr:
            case Logical(op=word, left=left, right=right):
                a, b = self.holds(left), self.holds(right)
                sign, level = ("&", BIT_AND) if word == "and" else ("|", BIT_OR)
                return self._short(infix(sign, a, b, level, self.order))
            case _:
                term = self.array(self(expr))
                found = both(self.order, term.value, self.whole(term))
                assert found is not None
                return self._short(found)

    def _short(self, code: Code) -> Code:
        return self.bind(code) if len(code.text) > LONG else code

    def _kind(self, expr: Expr) -> Kind:
        return self.types(expr).kind

    def where(self, term: Term, condition: Code) -> Term:
        """`term`, absent where a condition does not hold."""
        if condition.axes:
            return with_presence(term, both(self.order, term.here, condition))
        return with_presence(term, term.here, (_numpys(condition.text),))

    @abstractmethod
    def top(self, expr: Expr) -> Term:
        """The term of an expression that is about to get a name."""


def _numpys(condition: str) -> str:
    """A condition as NumPy's bool; one of literals alone would be Python's, with another `~`."""
    known = any(c.isalpha() for c in condition)
    return condition if known else f"np.bool_({condition})"
