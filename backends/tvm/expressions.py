"""Expressions as the text of one lane of a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final

from attnc.backends.triton.expressions import INTEGERS, Expressions, joined
from attnc.backends.triton.intervals import fits
from attnc.backends.triton.terms import HELD, Held, Term
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Logical, Unary
from attnc.ir.printer import AND, ATOM, COMPARE, NOT, OR, SIGN
from attnc.ir.types import Kind
from attnc.passes.tiling.linear import linear

NAMES: Final = {
    "tl.where": "_where",
    "tl.maximum": "T.max",
    "tl.minimum": "T.min",
    "tl.abs": "_abs",
    "tl.cdiv": "T.ceildiv",
}
"""What functions of several operands are called here."""

LONG: Final = (Held.INT, Held.I64)
FLOATS: Final = (Held.FLOAT, Held.F32, Held.F64)


@dataclass
class LaneExpressions(Expressions):
    """Prints expressions of which every lane is a number."""

    called: bool = field(default=False, kw_only=True)
    """Whether `and`, `or` and `not` are calls: in functions, which the script does not read."""

    @contextmanager
    def calling(self) -> Iterator[None]:
        """While what is printed stands in a function."""
        self.called = True
        yield
        self.called = False

    def __call__(self, expr: Expr) -> Term:
        """The term of an expression."""
        if isinstance(expr, Int) and not fits((expr.value, expr.value)):
            return Term(f"T.int64({expr.value})", (), Held.I64)
        if isinstance(expr, Binary) and expr.op == "-" and self.kind(expr).integral:
            found = linear(expr, lambda e: not isinstance(e, Binary | Unary))
            if not found.factors:  # `n - n`, by which TVM's arithmetic would divide
                return super().__call__(Int(found.number))
        return super().__call__(expr)

    def held(self, term: Term, target: Held) -> Term:
        """A term in another type; coordinates of any width go as they are."""
        if term.held is target or (target in LONG and term.held in LONG):
            return replace(term, held=target)
        if term.literal:
            if term.held is Held.BOOL and target is not Held.BOOL:
                return replace(term, text=str(int(term.text == "True")), held=target)
            return replace(term, held=target)
        text = f"T.Cast({DTYPES[target]}, {term.text})"
        if term.held in INTEGERS and target in FLOATS:
            text = f"_as_float({term.text}, {DTYPES[target]})"
        if term.held is Held.BOOL:  # on casts, and on vectors of them, TVM's arithmetic fails
            text = f"_where({term.text}, T.Cast({DTYPES[target]}, 1), 0)"
        return replace(term, text=text, held=target, level=ATOM)

    def convert(self, term: Term, kind: Kind) -> Term:
        """A term in what values of a kind are held in."""
        return self.held(term, HELD[kind])

    def in_kind(self, expr: Expr, kind: Kind) -> Term:
        """The term of an expression in a kind; to floats by way of 32 bits, where these hold it:
        there are twice as many lanes of them in a vector."""
        if kind.floating and self.kind(expr).integral and fits(self.interval(expr)):
            term = self(expr)
            if term.held in LONG and not term.literal:
                return self.convert(self.held(term, Held.I32), kind)
        return super().in_kind(expr, kind)

    def _solid(self, term: Term) -> Term:
        return self.typed(term)

    def typed(self, term: Term) -> Term:
        """A term that has its type, also where it is a number of the text."""
        if not term.literal:
            return term
        text = f"T.Cast({DTYPES[term.held]}, {term.text})"
        return replace(term, text=text, level=ATOM, literal=False)

    def as_tensor(self, term: Term) -> str:
        """The text of what has its type."""
        return self.typed(term).text

    def call(self, function: str, held: Held, *terms: Term) -> Term:
        """A function of several terms; of numbers of the text alone, one of them is typed."""
        if all(t.literal for t in terms if t.held is not Held.BOOL) and held is not Held.BOOL:
            place = next((i for i, t in enumerate(terms) if t.held is not Held.BOOL), None)
            if place is not None:
                changed = self.typed(replace(terms[place], held=held))
                terms = (*terms[:place], changed, *terms[place + 1 :])
        texts = ", ".join(t.text for t in terms)
        return Term(f"{NAMES.get(function, function)}({texts})", (), held)

    def _logical(self, expr: Logical) -> Term:
        word, level = ("and", AND) if expr.op == "and" else ("or", OR)
        decides = "False" if expr.op == "and" else "True"
        parts = [self.truth(e) for e in joined(expr, expr.op)]
        if any(p.literal and p.text == decides for p in parts):
            return Term(decides, (), Held.BOOL, literal=True)
        parts = [p for p in parts if not p.literal]
        return self.all_of(parts, word, level)

    def all_of(self, parts: list[Term], word: str = "and", level: int = AND) -> Term:
        """Conditions joined by a word."""
        if not parts:
            return Term(str(word == "and"), (), Held.BOOL, literal=True)
        if len(parts) == 1:
            return parts[0]
        if self.called:
            function = "T.And" if word == "and" else "T.Or"
            text = reduce(lambda a, b: f"{function}({a}, {b})", (p.text for p in parts))
            return Term(text, (), Held.BOOL)
        text = f" {word} ".join(p.at(level + 1) for p in parts)
        return Term(text, (), Held.BOOL, level)

    def _unary(self, expr: Unary) -> Term:
        if expr.op == "not" or (expr.op == "~" and self.kind(expr) is Kind.BOOL):
            term = self.truth(expr.operand)
            if term.literal:
                return replace(term, text=str(term.text != "True"))
            return self._not(term)
        term = self.number(expr.operand)
        if expr.op == "-" and not term.literal and term.held not in INTEGERS:
            return Term(f"_negative({term.text})", (), term.held)
        return Term(f"{expr.op}{term.at(SIGN)}", (), term.held, SIGN, term.literal)

    def _not(self, term: Term) -> Term:
        if self.called:
            return Term(f"T.Not({term.text})", (), Held.BOOL)
        return Term(f"not {term.at(NOT)}", (), Held.BOOL, NOT)

    def _compare(self, expr: Compare) -> Term:
        parts: list[Term] = []
        for op, a, b in zip(expr.ops, expr.operands, expr.operands[1:], strict=False):
            kind = self.scope.types().comparison(a, b).kind
            if kind.floating:
                left, right = self.in_kind(a, kind), self.in_kind(b, kind)
            else:
                left, right = self._alike(self(a), self(b))
            if op == "==" and left.text == right.text and not kind.floating:
                continue
            if left.literal and right.literal:
                left = self.typed(left)
            if left.held is Held.BOOL and right.held is Held.BOOL and op not in ("==", "!="):
                left, right = (self.held(self.typed(t), Held.I32) for t in (left, right))
            elif left.held is Held.BOOL and right.held is Held.BOOL:
                differ = Term(f"_differ({left.text}, {right.text})", (), Held.BOOL)
                parts.append(self._not(differ) if op == "==" else differ)
                continue
            parts.append(self._compared(op, left, right, floating=kind.floating))
        return self.all_of(parts)

    def _compared(self, op: str, left: Term, right: Term, *, floating: bool) -> Term:
        """How two numbers compare. Floats that differ are such as are not equal, so that NaN is one
        of them: TVM has another comparison for these, by which NaN does not differ."""
        text = f"{left.at(COMPARE + 1)} {'==' if floating and op == '!=' else op}"
        found = Term(f"{text} {right.at(COMPARE + 1)}", (), Held.BOOL, COMPARE)
        return self._not(found) if floating and op == "!=" else found

    def _cast(self, name: str, operand: Expr) -> Term:
        term = self(operand)
        if name == "bool" and term.held in FLOATS:
            zero = Term("0", (), term.held, literal=True)
            return self._compared("!=", self.typed(term), zero, floating=True)
        return super()._cast(name, operand)

    def _alike(self, left: Term, right: Term) -> tuple[Term, Term]:
        """Two integers in one type."""

        def wide(term: Term) -> Term:
            return self.held(term, Held.INT) if term.held is Held.I32 else term

        return (wide(left), wide(right)) if {left.held, right.held} & set(LONG) else (left, right)

    def infix(self, sign: str, level: int, left: Term, right: Term, held: Held) -> Term:
        """Two terms with an operator between them.

        What is not negative is divided as a processor does: TVM writes out what rounds down, with
        each operand several times.
        """
        if sign in ("//", "%") and held in INTEGERS and not right.text.endswith("_TILE"):
            return self.call("T.truncdiv" if sign == "//" else "T.truncmod", held, left, right)
        return super().infix(sign, level, left, right, held)

    def _bits(self, expr: Binary, kind: Kind) -> Term:
        if kind is not Kind.BOOL:
            return super()._bits(expr, kind)
        left, right = self.truth(expr.left), self.truth(expr.right)
        if expr.op == "^":
            return Term(f"_differ({left.text}, {right.text})", (), Held.BOOL)
        word, level = ("and", AND) if expr.op == "&" else ("or", OR)
        return self.all_of([self.typed(left), self.typed(right)], word, level)

    def _choice(self, expr: Choice) -> Term:
        kind = self.kind(expr)
        test = self.truth(expr.condition)
        if test.literal:
            return self.in_kind(expr.then if test.text == "True" else expr.other, kind)
        then, other = (self.in_kind(e, kind) for e in (expr.then, expr.other))
        if then.literal and other.literal:
            then = self.typed(replace(then, held=HELD[kind]))
        return self.call("_where", HELD[kind], test, then, other)

    def _apply(self, expr: Apply) -> Term:
        match expr:
            case Apply(function="f16" | "bf16" as name, arguments=(operand,)):
                text = self.typed(self.in_kind(operand, Kind.F32)).text
                element = "float16" if name == "f16" else "bfloat16"
                return Term(f'_rounded({text}, "{element}")', (), Held.F32)
            case _:
                return super()._apply(expr)

    def _function(self, name: str, expr: Apply) -> Term:
        kind = self.kind(expr)
        terms = [self.typed(self.in_kind(a, kind)) for a in expr.arguments]
        if kind.integral and name in ("floor", "ceil", "round"):
            return terms[0]
        return self.call(f"_{name}", HELD[kind], *terms)
