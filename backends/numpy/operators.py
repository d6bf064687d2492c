"""Operators: arithmetic, comparisons, logic with its exceptions to contagion, ternaries."""

from __future__ import annotations

from dataclasses import replace

from attnc.backends.numpy.core import Core
from attnc.backends.numpy.terms import Axes, Code, Term, aligned, both, function, infix, union
from attnc.ir import printer
from attnc.ir.expr import Binary, Choice, Compare, Expr, Int, Logical, Unary
from attnc.ir.printer import ATOM, BIT_AND, BIT_OR, COMPARE, POWER, SIGN
from attnc.ir.types import Kind


class Operators(Core):
    """Emits operators."""

    def _unary(self, expr: Unary) -> Term:
        term, kind = self(expr.operand), self._kind(expr)
        if expr.op == "-":
            term = self.convert(term, kind)
            if term.python and term.value.text.startswith("-"):
                return replace(term, value=Code(term.value.text[1:]))
            return replace(term, value=Code(f"-{term.value.at(SIGN)}", term.value.axes, SIGN))
        term = self.array(term)
        return replace(term, value=Code(f"~{term.value.at(SIGN)}", term.value.axes, SIGN))

    def _binary(self, expr: Binary) -> Term:
        op, kind = expr.op, self._kind(expr)
        left, right = self(expr.left), self(expr.right)
        if op in ("<<", ">>"):
            return self._shift(expr, left, right, kind)
        level = printer.BINARY[op]
        if op == "**":
            return self._power(left, right, isinstance(expr.right, Int), kind)
        left, right = self.convert(left, kind), self.convert(right, kind)
        term = self.combine(op, left, right, level, kind)
        return self._nonzero(term, right) if op in ("//", "%") and kind.integral else term

    def _nonzero(self, term: Term, divisor: Term) -> Term:
        """`term`, absent where the integer `divisor` is 0."""
        if divisor.python and divisor.value.text.lstrip("-") != "0":
            return term
        return self.where(term, infix("!=", divisor.value, Code("0"), COMPARE, self.order))

    def _shift(self, expr: Binary, left: Term, right: Term, kind: Kind) -> Term:
        left = self.convert(left, kind)
        known = isinstance(expr.right, Int) and expr.right.value <= 63
        if not known:
            right = replace(right, value=self.bind(right.value))
        count = self.convert(right, kind)
        term = self.combine(expr.op, left, count, printer.SHIFT, kind)
        if known:
            return term
        least = infix(">=", right.value, Code("0"), COMPARE, self.order)
        most = infix("<=", right.value, Code("63"), COMPARE, self.order)
        inside = infix("&", least, most, BIT_AND, self.order)
        return self.where(term, inside)

    def _power(self, left: Term, right: Term, literal: bool, kind: Kind) -> Term:
        left = self.convert(left, kind)
        if not (literal and right.python):
            right = self.convert(right, kind)
        if right.python and left.python:
            left = self.array(left)
        axes = union(self.order, left.value.axes, right.value.axes)
        base = aligned(left.value, axes, self.order).at(ATOM)
        exponent = aligned(right.value, axes, self.order).at(SIGN)
        return Term(Code(f"{base} ** {exponent}", axes, POWER), kind, *self.presence(left, right))

    def _compare(self, expr: Compare) -> Term:
        result: Term | None = None
        pairs = zip(expr.ops, expr.operands, expr.operands[1:], strict=False)
        for op, a, b in pairs:
            term = self._comparison(op, a, b)
            result = term if result is None else self._and(result, term)
        assert result is not None
        return result

    def _comparison(self, op: str, a: Expr, b: Expr) -> Term:
        kind = self.types.comparison(a, b).kind
        left, right = self(a), self(b)
        if kind.floating or Kind.BOOL in (left.kind, right.kind):
            left, right = self.convert(left, kind), self.convert(right, kind)
        # else both are integers, which are compared as they are: a parameter may be no i32
        return self.combine(op, left, right, COMPARE, Kind.BOOL)

    def _logical(self, expr: Logical) -> Term:
        left, right = self.array(self(expr.left)), self.array(self(expr.right))
        return self._and(left, right) if expr.op == "and" else self._or(left, right)

    def _and(self, left: Term, right: Term) -> Term:
        if left.always and right.always:
            return self.combine("&", left, right, BIT_AND, Kind.BOOL)
        axes, (a, p), (b, q) = self._pair_of(left, right)
        value = f"({a} | ~{p}) & ({b} | ~{q})"
        here = f"{p} & {q} | {p} & ~{a} | {q} & ~{b}"
        return self._decided(value, here, axes)

    def _or(self, left: Term, right: Term) -> Term:
        if left.always and right.always:
            return self.combine("|", left, right, BIT_OR, Kind.BOOL)
        axes, (a, p), (b, q) = self._pair_of(left, right)
        return self._decided(f"{a} & {p} | {b} & {q}", f"{p} & {q} | {p} & {a} | {q} & {b}", axes)

    def _pair_of(self, left: Term, right: Term) -> tuple[Axes, tuple[str, str], tuple[str, str]]:
        """The axes of two conditions, and names of each one's value and presence over them."""
        parts = [(self.array(t).value, self.whole(t) or Code("np.True_")) for t in (left, right)]
        axes = union(self.order, *(c.axes for pair in parts for c in pair))
        (a, p), (b, q) = (
            tuple(self.bind(aligned(c, axes, self.order)).text for c in pair) for pair in parts
        )
        return axes, (a, p), (b, q)

    def _decided(self, value: str, here: str, axes: Axes) -> Term:
        return Term(Code(value, axes, BIT_OR), Kind.BOOL, self.bind(Code(here, axes, BIT_OR)))

    def _choice(self, expr: Choice) -> Term:
        condition, kind = self.array(self(expr.condition)), self._kind(expr)
        then, other = (self.convert(self(e), kind) for e in (expr.then, expr.other))
        return self._select(condition, then, other, kind)

    def _select(self, condition: Term, then: Term, other: Term, kind: Kind) -> Term:
        """`then` where the condition holds, else `other`; absent where the condition is."""
        test = condition.value
        here, when = condition.here, condition.when
        if not (then.always and other.always):
            test = self.bind(test)
            branches = [self.whole(b) or Code("np.True_") for b in (then, other)]
            here = both(self.order, here, function("np.where", self.order, test, *branches))
        if then.python and other.python:
            then = self.array(then)
        value = function("np.where", self.order, test, then.value, other.value)
        return Term(value, kind, here, when)
