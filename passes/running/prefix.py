"""What is known of results while they run, and whether an expression of them stays a number.

A running form needs its results on every prefix, where the written text needs them at the end
alone. A divisor that is 0 on a prefix makes a NaN that no later point takes away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Read,
    Reduce,
    Unary,
)
from attnc.ir.walk import children, subexpressions
from attnc.passes.running.bounds import Bounds, Conditions, Fact, conjuncts, stripped
from attnc.passes.running.build import multiplied, total
from attnc.passes.running.exact import Exact, Product
from attnc.passes.running.forms import Extreme, Plain, Running, Sum
from attnc.passes.running.known import limits
from attnc.passes.running.signs import Signs
from attnc.passes.running.terms import Inseparable, Phi, Splitter

ZERO_ON_THE_WAY = "it divides by a result that can be 0 while it runs"
LOGARITHM = "it takes a root or logarithm of a result that can be 0 or less while it runs"
OVERFLOWS = "an exponential of a result can overflow while it runs"


@dataclass(frozen=True)
class Combined:
    """What a result combines: the operation, the value without `only`, and its conditions."""

    op: str
    value: Expr
    where: Conditions
    read: Expr


@dataclass
class Prefix:
    """Facts of the results met so far, over some streamed variables."""

    streamed: frozenset[str]
    extents: frozenset[str] = frozenset()
    requires: tuple[Expr, ...] = ()
    definitions: Mapping[str, Expr] = field(default_factory=dict)
    unsafe: dict[str, str] = field(default_factory=dict)
    combined: dict[str, Combined] = field(default_factory=dict)
    moderate: set[str] = field(default_factory=set)
    signed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.directions: dict[str, int | None] = {}
        self.known: dict[str, int | None] = {}
        self.least: dict[str, float] = {}
        low, most = limits(self.requires)
        self.most: dict[str, float] = most
        self.signs: Signs = Signs(
            self.directions, self.known, self.extents, self.least, low, self.definitions
        )
        self.split: Splitter = Splitter(self.streamed, frozenset(), self.signs)
        self.bounds: Bounds = Bounds(self.signs, self.split.varies)

    def copy(self) -> Prefix:
        """The same, to go back to."""
        new = Prefix(self.streamed, self.extents, self.requires, self.definitions)
        for name in ("unsafe", "combined", "moderate", "signed", "directions", "known", "least"):
            getattr(new, name).update(getattr(self, name))
        new.split.results = self.split.results
        new.bounds.take(self.bounds)
        return new

    @property
    def results(self) -> frozenset[str]:
        """The results met so far."""
        return frozenset(self.directions)

    def moves(self, expr: Expr) -> bool:
        """Whether an expression may change from one prefix to the next."""
        return self.signs.direction(expr) != 0

    # Learning

    def learn(self, form: Running, read: Expr, written: Reduce) -> None:
        """Notes what is known of a result, and of those after it, from its form."""
        tensor = form.tensor
        value, where = stripped(written.body)
        self.combined[tensor] = Combined(written.op, value, where, read)
        bounds, least = self.bounds, self.signs.least(value)
        fact = bounds.exact(value), bounds.exact(read)
        (pivot,) = fact[1].terms
        facts: list[Fact] = []
        rises: list[tuple[Exact, Product]] = []
        direction: int | None = None
        sign: int | None = None
        lowest = float("-inf")
        match form:
            case Plain(op="max"):
                direction, sign, lowest = 1, 1 if self.signs.sign(value) == 1 else None, least
                facts, rises = [Fact(*fact, pivot, where)], [(fact[1], pivot)]
            case Plain(op="min"):
                direction, sign, lowest = -1, 1 if self.signs.sign(value) == 1 else None, least
                facts = [Fact(fact[1], fact[0], pivot, where)]
                rises = [(-fact[1], pivot)]
            case Plain(op="count"):
                always = isinstance(value, Bool) and value.value and not where
                direction, sign, lowest = 1, 1 if always else None, 1.0 if always else 0.0
                rises = [(fact[1], pivot)]
            case Plain(op="sum") if self.signs.nonnegative(value):
                direction, sign, lowest = 1, self.signs.sign(value), max(least, 0.0)
                facts, rises = [Fact(*fact, pivot, where)], [(fact[1], pivot)]
            case Plain(op="sum"):
                sign = self.signs.sign(value)
                self.signed.add(tensor)
            case Plain():
                pass
            case Extreme(op=op, result=result):
                self._note(tensor, [result])
                low, high = fact if written.op == "max" else (fact[1], fact[0])
                facts = [Fact(low, high, pivot, where)]
                steady = bounds.exact(result) - fact[1]
                if op == written.op and pivot not in steady.terms:  # a maximum, and what is added
                    state = fact[1] - steady
                    rises = [(state if op == "max" else -state, pivot)]
            case Sum(basis=basis):
                self._note(tensor, basis.coefficients.values())
                terms = [multiplied(c, basis.functions[i].expr()) for i, c in form.result]
                sign = self.signs.sign(total(terms))
                if self.signs.nonnegative(value):
                    lowest = 0.0  # and no more: all scores may be -inf at first
                facts, rises = self._logarithm(form, read)
                if facts:
                    self.moderate.add(tensor)  # at most as many as there are points
        self.directions[tensor], self.known[tensor] = direction, sign
        if lowest > float("-inf"):
            self.least[tensor] = lowest
        self.split.results = self.results
        self.bounds.facts += facts
        self.bounds.rising += rises

    def _note(self, tensor: str, exprs: Iterable[Expr]) -> None:
        reasons = (self.unsafe_reason(e) for e in exprs)
        found = next((r for r in reasons if r is not None), None)
        if found is not None:
            self.unsafe[tensor] = found

    def _logarithm(self, form: Sum, read: Expr) -> tuple[list[Fact], list[tuple[Exact, Product]]]:
        """Of a sum of exponentials `D`: `log(D) - v` is at least each exponent, and rises."""
        basis = form.basis
        if len(basis.functions) != 1 or list(basis.coefficients.values()) != [Int(1)]:
            return [], []
        (phi,) = basis.functions
        if phi.streamed or len(phi.mixed) != 1:
            return [], []
        ((factor, exponent),) = phi.mixed
        base = "log" if factor.base is None else "log2" if factor.base == Int(2) else None
        if factor.function != "exp" or base is None:
            return [], []
        streamed, where = stripped(factor.coordinate.streamed)
        logarithm = self.bounds.exact(Apply(base, (read,)))
        (pivot,) = logarithm.terms
        steady = self.bounds.exact(factor.coordinate.steady).scaled(exponent)
        low = self.bounds.exact(streamed).scaled(exponent)
        high = logarithm - steady
        return [Fact(low, high, pivot, where | conditions(phi))], [(high, pivot)]

    # Whether a value is a number on every prefix

    def unsafe_reason(self, expr: Expr, *, logarithms: bool = False) -> str | None:
        """Why an expression of results may be no number on a prefix, or None.

        With `logarithms`, that of 0 may be what it is.
        """
        if _guarded(expr):
            return None
        for child in () if isinstance(expr, Read) else children(expr):
            reason = self.unsafe_reason(child, logarithms=logarithms)
            if reason is not None:
                return reason
        match expr:
            case Read(tensor=tensor):
                return self.unsafe.get(tensor)
            case Binary(op="/", left=left, right=below):
                unsafe = self._may_be_zero(below) and not self._counts(left, below)
                return ZERO_ON_THE_WAY if unsafe else None
            case Binary(op="**", left=base, right=exponent):
                return self._power_reason(base, exponent)
            case Apply(function="pow", arguments=(base, exponent)):
                return self._power_reason(base, exponent)
            case Apply(function="rsqrt", arguments=(below,)) if self._may_be_zero(below):
                return ZERO_ON_THE_WAY
            case Apply(function="log" | "log2" | "log1p", arguments=(inner,)):
                fine = self.signs.solid(inner) or (logarithms and self.signs.nonnegative(inner))
                return LOGARITHM if self.moves(inner) and not fine else None
            case Apply(function="sqrt", arguments=(inner,)):
                unsafe = self.moves(inner) and not self.signs.nonnegative(inner)
                return LOGARITHM if unsafe else None
            case Apply(function="exp" | "exp2" | "expm1", arguments=(inner,)):
                return OVERFLOWS if self._may_overflow(inner) else None
            case _:
                return None

    def _power_reason(self, base: Expr, exponent: Expr) -> str | None:
        number = literal(exponent)
        if number is not None and number.denominator == 1:
            return ZERO_ON_THE_WAY if number < 0 and self._may_be_zero(base) else None
        if self.moves(base) and not self.signs.solid(base):
            return LOGARITHM
        return OVERFLOWS if number is None and self._may_overflow(exponent) else None

    def may_cancel_infinities(self, expr: Expr) -> bool:
        """Whether an extreme, infinite at first, may meet a sum that overflows."""
        reads = {e.tensor for e in subexpressions(expr) if isinstance(e, Read)}
        found = [(t, self.combined[t].op) for t in reads if t in self.combined]
        # one of any sign stays infinite, and what is written is no number then
        sums = [t for t, op in found if op == "sum" and t not in self.moderate | self.signed]
        return bool(sums) and any(op in ("max", "min") for _, op in found)

    def _may_be_zero(self, expr: Expr) -> bool:
        return self.moves(expr) and not self.signs.solid(expr)

    def _may_overflow(self, exponent: Expr) -> bool:
        """Whether an exponential may be larger on a prefix than at the end, without bound."""
        if not self.moves(exponent) or self.bounds.falls(Unary("-", exponent)):
            return False
        return not self.bounds.bounded(self.bounds.exact(exponent), frozenset())

    def _counts(self, above: Expr, below: Expr) -> bool:
        """Whether a quotient is absent while its divisor, a count of what is above, is 0."""
        count = self.combined.get(below.tensor) if isinstance(below, Read) else None
        if count is None or count.op != "count" or not isinstance(count.value, Apply):
            return False
        if count.value.function != "present":
            return False
        (what,) = count.value.arguments
        value, where = stripped(what)
        for node in subexpressions(above):
            if isinstance(node, Read) and node.tensor in self.combined:
                found = self.combined[node.tensor]
                if where == found.where and self._alike(found.value, value):
                    return True
        return False

    def _alike(self, a: Expr, b: Expr) -> bool:
        """Whether two values differ at most by a factor that is not streamed."""
        try:
            first, second = self.split.terms(a), self.split.terms(b)
        except Inseparable:
            return a == b
        return len(first) == len(second) == 1 and first[0].phi == second[0].phi


def guarded(expr: Expr) -> Expr:
    """An expression where it is a finite number, else 0."""
    size = Apply("abs", (expr,))
    return Choice(Compare(("<",), (size, Float(float("inf")))), expr, Int(0))


def _guarded(expr: Expr) -> bool:
    return isinstance(expr, Choice) and guarded(expr.then) == expr


def conditions(phi: Phi) -> Conditions:
    """The conditions where a product counts."""
    found: Conditions = frozenset()
    for condition in phi.where:
        found |= conjuncts(condition)
    for expr, _ in phi.streamed:
        found |= stripped(expr)[1]
    for factor, _ in phi.mixed:
        found |= stripped(factor.coordinate.expr())[1]
    return found


def literal(expr: Expr) -> Fraction | None:
    """A literal number with its sign."""
    match expr:
        case Int(value=value):
            return Fraction(value)
        case Float(value=value) if abs(value) < float("inf"):
            return Fraction(value)
        case Unary(op="-", operand=operand):
            found = literal(operand)
            return None if found is None else -found
        case _:
            return None
