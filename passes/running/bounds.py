"""What is known of results on every prefix of a stream, and what follows from it.

A maximum is at least what it was taken of, and never falls; a sum of what is not negative likewise;
so is the logarithm of a sum of exponentials, which is at least each exponent. From such facts
follows that `S[m,n] - G[m]` is at most 0 for all points seen so far, whichever those are. A final
value says nothing of that: `exp(S[m,n] - H[m])` may be small at the end and overflow on the way.

Conditions belong to a fact: a maximum over some points bounds those points only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Logical, Read, Unary
from attnc.ir.walk import children, rebuild
from attnc.passes.running.exact import Atom, Exact, Product, Reader, power
from attnc.passes.running.signs import Signs

Conditions = frozenset[Expr]

MAX_TRIES: Final = 500
"""Most combinations of facts that are tried for one proof."""


def stripped(expr: Expr) -> tuple[Expr, Conditions]:
    """An expression without `only`, and the conditions where it is present by them."""
    match expr:
        case Apply(function="only", arguments=(value, condition)):
            inner, conditions = stripped(value)
            return inner, conditions | conjuncts(condition)
        case Apply(function="default" | "present" | "plus") | Logical() | Compare():
            return expr, frozenset()
        case Unary() | Binary() | Apply():
            parts = [stripped(c) for c in children(expr)]
            inner = rebuild(expr, tuple(p for p, _ in parts))
            return inner, frozenset().union(*(c for _, c in parts))
        case _:
            return expr, frozenset()


def conjuncts(condition: Expr) -> Conditions:
    """The conditions that one is the conjunction of."""
    if isinstance(condition, Logical) and condition.op == "and":
        return conjuncts(condition.left) | conjuncts(condition.right)
    return frozenset((condition,))


@dataclass(frozen=True)
class Fact:
    """`low <= high` at every point seen so far where `where` holds; `pivot` is in one of them."""

    low: Exact
    high: Exact
    pivot: Product
    where: Conditions = frozenset()

    @property
    def gap(self) -> Exact:
        """What is at most 0."""
        return self.low - self.high


@dataclass
class Bounds:
    """Facts met so far; `moving` are names of results, `signs` what else is known."""

    signs: Signs
    varies: Callable[[Expr], bool]
    reader: Reader = field(default_factory=lambda: Reader(positive=False))
    facts: list[Fact] = field(default_factory=list)
    rising: list[tuple[Exact, Product]] = field(default_factory=list)
    _atoms: dict[Atom, Expr] = field(default_factory=dict)

    def take(self, other: Bounds) -> None:
        """Knows what another does."""
        self.facts += other.facts
        self.rising += other.rising
        self._atoms |= other._atoms

    def exact(self, expr: Expr) -> Exact:
        """An expression as an exact sum; its atoms are remembered."""
        self._remember(expr)
        return self.reader(expr)

    def _remember(self, expr: Expr) -> None:
        one = self.reader(expr).single
        if one is not None and one[1] == 1 and len(one[0][0]) == 1 and not one[0][1]:
            ((found, exponent),) = one[0][0]
            if exponent == 1 and found not in self._atoms:
                self._atoms[found] = expr
                self.facts += self._of_function(expr, one[0])
        for child in children(expr):
            if not isinstance(expr, Read):
                self._remember(child)

    def _of_function(self, expr: Expr, pivot: Product) -> Iterable[Fact]:
        """What a function is never below, or above."""
        match expr:
            case Apply(function="max", arguments=arguments):
                lows = [self.exact(stripped(a)[0]) for a in arguments]
                return [Fact(low, self.reader(expr), pivot) for low in lows]
            case Apply(function="min", arguments=arguments):
                highs = [self.exact(stripped(a)[0]) for a in arguments]
                return [Fact(self.reader(expr), high, pivot) for high in highs]
            case Apply(function="abs" | "relu", arguments=(argument,)):
                inner = self.exact(argument)
                return [Fact(inner, self.reader(expr), pivot)]
            case _:
                return []

    # What a product of atoms is

    def _sign(self, product: Product) -> int | None:
        """1 or -1 for a product of that sign, 0 for one that is not negative, else None."""
        sign = 1
        for one, exponent in product[0]:
            expr = self._atoms.get(one)
            known = None if expr is None else self.signs.sign(expr)
            even = exponent.denominator == 1 and exponent.numerator % 2 == 0
            if known is not None:
                sign *= known if exponent.denominator == 1 and not even else 1
            elif even or one[0] == "function abs" or (expr and self.signs.nonnegative(expr)):
                if exponent < 0:
                    return None
                sign = 0
            else:
                return None
        return sign

    def _positive(self, product: Product) -> bool:
        return self._sign(product) == 1

    def _still(self, product: Product) -> bool:
        """Whether a product holds nothing streamed and no result that moves."""
        return not product[1] and all(self._atom_still(one) for one, _ in product[0])

    def _atom_still(self, one: Atom) -> bool:
        sort, key = one
        if sort == "sum":
            assert isinstance(key, tuple)
            return all(self._still(product) for product, _ in key)
        expr = self._atoms.get(one)
        if expr is None:
            return sort == "number"
        return not self.varies(expr) and self.signs.direction(expr) == 0

    # Proofs

    def at_most_zero(self, expr: Exact, where: Conditions) -> bool:
        """Whether an expression is at most 0 at all points seen so far where conditions hold."""
        return any(self._nonpositive(rest) for rest in self._tried(expr, where))

    def bounded(self, expr: Exact, where: Conditions) -> bool:
        """Whether it is at most what neither a point nor a prefix changes."""
        return any(
            all(self._still(p) or self._nonpositive(Exact({p: x})) for p, x in rest.terms.items())
            for rest in self._tried(expr, where)
        )

    def _nonpositive(self, expr: Exact) -> bool:
        for product, scale in expr.terms.items():
            sign = None if product[1] else self._sign(product)
            if sign is None or (sign >= 0) != (scale < 0):
                return False
        return True

    def _tried(self, expr: Exact, where: Conditions) -> Iterable[Exact]:
        return islice(self._rests(expr, where), MAX_TRIES)

    def _rests(self, expr: Exact, where: Conditions) -> Iterable[Exact]:
        """What is left of an expression when gaps of facts are taken from it."""
        yield expr
        for fact in self.facts:
            if fact.where <= where:
                for multiplier in self._multipliers(expr, fact):
                    rest = expr - fact.gap * multiplier
                    yield rest
                    without = replace(self, facts=[f for f in self.facts if f is not fact])
                    if rest.terms and len(self.facts) > 1:
                        yield from without._rests(rest, where)

    def _multipliers(self, expr: Exact, fact: Fact) -> Iterable[Exact]:
        """Positive multiples of a fact that take away a term of an expression."""
        scale = fact.gap.terms.get(fact.pivot)
        if scale is None:
            return
        for product, found in expr.terms.items():
            ratio = _without(product, fact.pivot)
            if ratio is not None and found / scale > 0 and self._positive(ratio):
                yield Exact({ratio: found / scale})

    def falls(self, expr: Expr) -> bool:
        """Whether a steady expression never rises from one prefix to a longer one."""
        if self.signs.direction(expr) in (0, -1):
            return True
        return self._falls(self.exact(expr), tuple(self.rising), iter(range(MAX_TRIES)))

    def _falls(
        self, rest: Exact, rising: tuple[tuple[Exact, Product], ...], left: Iterator[int]
    ) -> bool:
        if next(left, None) is None:
            return False
        if all(self._still(p) for p in rest.terms):
            return True
        for i, (moving, pivot) in enumerate(rising):
            scale = moving.terms[pivot]
            for product, found in rest.terms.items():
                ratio = _without(product, pivot)
                if ratio is not None and found / scale < 0 and self._positive(ratio):
                    taken = rest - moving * Exact({ratio: found / scale})
                    if self._falls(taken, rising[:i] + rising[i + 1 :], left):
                        return True
        return False

    # Scales

    def within(self, streamed: Expr, scale: Exact, where: Conditions) -> bool:
        """Whether `abs(streamed) * scale` is at most a number at all points seen so far."""
        inverse = power(scale, Fraction(-1), positive=False)
        size = self.exact(Apply("abs", (streamed,)))
        if self.signs.nonnegative(streamed):
            size = self.exact(streamed)
        root = inverse.single
        if root is not None and len(root[0][0]) == 1 and root[0][0][0][1] == Fraction(1, 2):
            inverse, size = inverse * inverse, self.exact(streamed) * self.exact(streamed)
        for fact in self.facts:
            sign = fact.gap.terms.get(fact.pivot)
            for product, found in inverse.terms.items():
                ratio = _without(product, fact.pivot)
                if ratio is None or sign is None or found <= 0 or not self._positive(ratio):
                    continue
                unit = power(Exact({ratio: found}), Fraction(-1), positive=False)
                if self.at_most_zero(size - inverse * unit, where):
                    return True
        return False


def _without(product: Product, factor: Product) -> Product | None:
    """A product divided by another, where that is all in it."""
    if factor[1]:
        return None
    powers = dict(product[0])
    for one, exponent in factor[0]:
        if powers.get(one) != exponent:
            return None
        del powers[one]
    rest: Product = (tuple(sorted(powers.items())), product[1])
    return None if rest[1] else rest
