"""What is reduced, as a sum of terms `c(r) * phi(x; r)`.

`x` is what varies along the streamed ranks, `r` the results of earlier reductions over them. A
term's coefficient holds nothing of `x`. Its `phi` is a product of streamed factors, which hold
nothing of `r`, and of factors that mix both. Those are functions of one coordinate: a sum
`y = u(x) + v(r)` or a product `y = u(x) * v(r)`, kept whole. An exponential of a difference is so
never torn apart, which would undo what keeps it from overflowing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product as pairs
from typing import Final, Literal, TypeAlias, TypeVar

from attnc.ir.expr import Apply, Binary, Choice, Expr, Float, Int, Read, Unary
from attnc.ir.walk import FreeVariables, children
from attnc.passes.running.build import (
    ONE,
    ZERO,
    added,
    divided,
    exponential,
    is_number,
    multiplied,
    negated,
    power,
    product,
    subtracted,
)
from attnc.passes.running.exact import rational
from attnc.passes.running.signs import Signs

MAX_TERMS: Final = 16
"""Most terms that a product is multiplied out to."""

MAX_POWER: Final = 4
"""Highest power of a sum that is multiplied out."""


class Inseparable(Exception):
    """A term in which `x` and `r` cannot be told apart; holds it and says why."""

    def __init__(self, expr: Expr, reason: str) -> None:
        super().__init__(reason)
        self.expr: Expr = expr
        self.reason: str = reason


@dataclass(frozen=True, slots=True)
class Coordinate:
    """`streamed + steady` or `streamed * steady`, where `steady` holds earlier results."""

    kind: Literal["sum", "product"]
    streamed: Expr
    steady: Expr

    def expr(self) -> Expr:
        """The coordinate as an expression."""
        join = added if self.kind == "sum" else multiplied
        return join(self.streamed, self.steady)


Function: TypeAlias = Literal["exp", "power", "sin", "cos"]


@dataclass(frozen=True, slots=True)
class Factor:
    """A function of a coordinate; `base` is that of an exponential, None for e."""

    function: Function
    coordinate: Coordinate
    base: Expr | None = None

    def expr(self, exponent: Fraction) -> Expr:
        """The factor, raised to a power, as an expression."""
        y = self.coordinate.expr()
        match self.function:
            case "exp" if exponent.denominator == 1 or exponent == 1:
                scaled = multiplied(Int(abs(exponent.numerator)), y)
                return exponential(self.base, scaled if exponent > 0 else negated(scaled))
            case "exp":
                return exponential(self.base, multiplied(Float(float(exponent)), y))
            case "power":
                return power(y, exponent)
            case "sin" | "cos":
                return power(Apply(self.function, (y,)), exponent)


@dataclass(frozen=True, slots=True)
class Phi:
    """A product of streamed factors and of factors that mix, where all conditions hold."""

    streamed: tuple[tuple[Expr, Fraction], ...] = ()
    mixed: tuple[tuple[Factor, Fraction], ...] = ()
    where: tuple[Expr, ...] = ()

    def __mul__(self, other: Phi) -> Phi:
        where = (*self.where, *(c for c in other.where if c not in self.where))
        return Phi(_joined(self.streamed, other.streamed), _joined(self.mixed, other.mixed), where)

    def raised(self, exponent: Fraction) -> Phi:
        """This to a power."""
        return Phi(
            tuple((f, e * exponent) for f, e in self.streamed),
            tuple((f, e * exponent) for f, e in self.mixed),
            self.where,
        )

    def expr(self) -> Expr:
        """The product as an expression, its conditions left out."""
        above = [power(f, e) for f, e in self.streamed if e > 0]
        below = [power(f, -e) for f, e in self.streamed if e < 0]
        return divided(product([*(f.expr(e) for f, e in self.mixed), *above]), product(below))


@dataclass(frozen=True, slots=True)
class Term:
    """`coefficient * phi`."""

    coefficient: Expr
    phi: Phi


T = TypeVar("T")


def _joined(
    a: tuple[tuple[T, Fraction], ...], b: tuple[tuple[T, Fraction], ...]
) -> tuple[tuple[T, Fraction], ...]:
    """Two products as one, equal factors taken together."""
    powers = dict(a)
    for factor, exponent in b:
        powers[factor] = powers.get(factor, Fraction(0)) + exponent
    return tuple((f, e) for f, e in powers.items() if e)


UNIT: Final = Phi()


@dataclass
class Splitter:
    """Writes expressions as terms.

    `streamed` are the rank variables reduced over, `results` the tensors that hold earlier results.
    """

    streamed: frozenset[str]
    results: frozenset[str]
    signs: Signs = field(default_factory=Signs)
    free: FreeVariables = field(default_factory=FreeVariables)

    def varies(self, expr: Expr) -> bool:
        """Whether an expression varies along the streamed ranks."""
        return bool(self.free(expr) & self.streamed)

    def steady(self, expr: Expr) -> bool:
        """Whether an expression holds no earlier result; whether one is present does not count."""
        stack = [expr]
        while stack:
            node = stack.pop()
            if isinstance(node, Read) and node.tensor in self.results:
                return False
            if not (isinstance(node, Apply) and node.function == "present"):
                stack.extend(children(node))
        return True

    def mixes(self, expr: Expr) -> bool:
        """Whether an expression holds both."""
        return self.varies(expr) and not self.steady(expr)

    def terms(self, expr: Expr) -> list[Term]:
        """An expression as terms; raises `Inseparable`."""
        if not self.varies(expr):
            return [Term(expr, UNIT)]
        if self.steady(expr):
            return [self._streamed(expr)]
        match expr:
            case Unary(op="-", operand=operand):
                return [Term(negated(t.coefficient), t.phi) for t in self.terms(operand)]
            case Binary(op="+" | "-"):
                return self._sum(expr)
            case Binary(op="*", left=left, right=right):
                return self._product(expr, self.terms(left), self.terms(right))
            case Binary(op="/", left=left, right=right):
                return self._product(expr, self.terms(left), [self._inverse(right)])
            case Binary(op="**", left=base, right=exponent):
                return self._power(expr, base, exponent)
            case Apply(function="pow", arguments=(base, exponent)):
                return self._power(expr, base, exponent)
            case Apply(function="sqrt", arguments=(base,)):
                return [self._single(expr, base, Fraction(1, 2))]
            case Apply(function="rsqrt", arguments=(base,)):
                return [self._single(expr, base, Fraction(-1, 2))]
            case Apply(function="exp", arguments=(exponent,)):
                return [self._exponential(expr, None, exponent)]
            case Apply(function="exp2", arguments=(exponent,)):
                return [self._exponential(expr, Int(2), exponent)]
            case Apply(function="expm1", arguments=(exponent,)):
                return [self._exponential(expr, None, exponent), Term(Int(-1), UNIT)]
            case Apply(function="sin" | "cos" as name, arguments=(angle,)):
                return [self._function(expr, name, angle)]
            case Apply(function="abs", arguments=(value,)):
                return [self._absolute(expr, value)]
            case Apply(function="log" | "log2"):
                return self._logarithm(expr)
            case Apply(function="only", arguments=(value, condition)) if self.steady(condition):
                return self._where(self.terms(value), condition)
            case Choice(condition=condition, then=then, other=other) if self.steady(condition):
                unless = Unary("not", condition)
                return [
                    *self._where(self.terms(then), condition),
                    *self._where(self.terms(other), unless),
                ]
            case Apply(function="detach", arguments=(value,)):
                return self.terms(value)
            case _:
                raise Inseparable(expr, "it cannot be parted into what is streamed and what is not")

    def _streamed(self, expr: Expr) -> Term:
        """A streamed expression; steady factors of it go into the coefficient."""
        match expr:
            case Binary(op="*", left=left, right=right) if not self.varies(left):
                inner = self._streamed(right)
                return Term(multiplied(left, inner.coefficient), inner.phi)
            case Binary(op="*" | "/" as op, left=left, right=right) if not self.varies(right):
                inner = self._streamed(left)
                join = multiplied if op == "*" else divided
                return Term(join(inner.coefficient, right), inner.phi)
            case _:
                return Term(ONE, Phi(((expr, Fraction(1)),)))

    def _sum(self, expr: Expr) -> list[Term]:
        """A sum: one coordinate if it is of two parts that do not mix, else its terms."""
        coordinate = self.coordinate(expr)
        if coordinate is not None:
            factor = Factor("power", coordinate)
            return [Term(ONE, Phi(mixed=((factor, Fraction(1)),)))]
        found: list[Term] = []
        for sign, part in _summands(expr):
            for term in self.terms(part):
                coefficient = term.coefficient if sign > 0 else negated(term.coefficient)
                found.append(Term(coefficient, term.phi))
        return found

    def _product(self, expr: Expr, left: list[Term], right: list[Term]) -> list[Term]:
        if len(left) * len(right) > MAX_TERMS:
            raise Inseparable(expr, f"multiplied out it has more than {MAX_TERMS} terms")
        return [
            Term(multiplied(a.coefficient, b.coefficient), a.phi * b.phi)
            for a, b in pairs(left, right)
        ]

    def _inverse(self, expr: Expr) -> Term:
        """`1 / expr`."""
        return self._single(expr, expr, Fraction(-1))

    def _power(self, expr: Expr, base: Expr, exponent: Expr) -> list[Term]:
        if not self.mixes(base) and not self.varies(base) and self.steady(base):
            return [self._exponential(expr, base, exponent)]
        number = _number(exponent)
        if number is None:
            raise Inseparable(expr, "its exponent is no number")
        found = self.terms(base)
        if len(found) == 1:
            return [self._single(expr, base, number)]
        if number.denominator != 1 or not 0 < number <= MAX_POWER:
            raise Inseparable(expr, f"a power {number} of a sum is not multiplied out")
        result = found
        for _ in range(int(number) - 1):
            result = self._product(expr, result, found)
        return result

    def _single(self, expr: Expr, base: Expr, exponent: Fraction) -> Term:
        """A power of a single term."""
        found = self.terms(base)
        if len(found) != 1:
            raise Inseparable(expr, "a root or quotient of a sum is not parted")
        (term,) = found
        whole = exponent.denominator == 1
        if not term.phi.mixed and abs(exponent) != 1:
            # a scale inside a power stays there: `(x / r) ** 2` is not `x ** 2 / r ** 2`, which
            # overflows where the scale was to prevent it
            y = Coordinate("product", term.phi.expr(), term.coefficient)
            return Term(ONE, Phi(mixed=((Factor("power", y), exponent),), where=term.phi.where))
        for factor, present in term.phi.mixed:
            sum_ = factor.function == "power" and factor.coordinate.kind == "sum"
            if factor.function in ("sin", "cos") or sum_:
                final = present * exponent
                if final < 0 or final.denominator != 1:
                    raise Inseparable(expr, f"the power {final} of a sum has no closed basis")
        several = term.coefficient != ONE or len(term.phi.streamed) + len(term.phi.mixed) > 1
        if not whole and several and not positive(term):
            raise Inseparable(
                expr, "a root of a product is parted only if its factors are positive"
            )
        return Term(power(term.coefficient, exponent), term.phi.raised(exponent))

    def _exponential(self, expr: Expr, base: Expr | None, exponent: Expr) -> Term:
        coordinate = self.coordinate(exponent)
        if coordinate is None:
            reason = "its exponent is no sum of what is streamed and what is not"
            raise Inseparable(expr, reason)
        return Term(ONE, Phi(mixed=((Factor("exp", coordinate, base), Fraction(1)),)))

    def _function(self, expr: Expr, name: Literal["sin", "cos"], angle: Expr) -> Term:
        coordinate = self.coordinate(angle)
        if coordinate is None:
            raise Inseparable(expr, "its angle is no sum of what is streamed and what is not")
        return Term(ONE, Phi(mixed=((Factor(name, coordinate), Fraction(1)),)))

    def _absolute(self, expr: Expr, value: Expr) -> Term:
        """The absolute value of a single product: the product of theirs."""
        found = self.terms(value)
        if len(found) != 1:
            raise Inseparable(expr, "the absolute value of a sum is not parted")
        (term,) = found
        mixed: list[tuple[Factor, Fraction]] = []
        for factor, exponent in term.phi.mixed:
            y = factor.coordinate
            if factor.function == "power" and y.kind == "product":
                scaled = Coordinate("product", self._size(y.streamed), self._size(y.steady))
                mixed.append((Factor("power", scaled), exponent))
            elif factor.function == "exp":
                mixed.append((factor, exponent))
            else:
                raise Inseparable(expr, "the absolute value of a sum is not parted")
        streamed = tuple((self._size(f), e) for f, e in term.phi.streamed)
        return Term(self._size(term.coefficient), Phi(streamed, tuple(mixed), term.phi.where))

    def _size(self, expr: Expr) -> Expr:
        return expr if self.signs.nonnegative(expr) else Apply("abs", (expr,))

    def _logarithm(self, expr: Expr) -> list[Term]:
        """The logarithm of a product, as the sum that it is: one coordinate."""
        coordinate = self.coordinate(expr)
        if coordinate is None:
            reason = "its logarithm is parted only of a product whose steady factors are positive"
            raise Inseparable(expr, reason)
        if is_number(coordinate.steady, 0):
            return [self._streamed(coordinate.streamed)]
        return [Term(ONE, Phi(mixed=((Factor("power", coordinate), Fraction(1)),)))]

    def _logarithm_parts(self, name: str, argument: Expr) -> tuple[Expr, Expr] | None:
        """The streamed and the steady summand of the logarithm of a product."""
        try:
            found = self.terms(argument)
        except Inseparable:
            return None
        if len(found) != 1 or found[0].phi.where:
            return None
        (term,) = found
        base = {"log": None, "log2": Int(2)}[name]
        streamed: Expr = ZERO
        steady: Expr = ZERO
        for factor, exponent in term.phi.mixed:
            y = factor.coordinate
            if factor.function == "exp" and factor.base == base:
                streamed = added(streamed, _times(exponent, y.streamed))
                steady = added(steady, _times(exponent, y.steady))
            elif y.kind == "product" and self.signs.sign(y.steady) == 1:
                streamed = added(streamed, Apply(name, (power(y.streamed, exponent),)))
                steady = added(steady, _times(exponent, Apply(name, (y.steady,))))
            else:
                return None
        if term.phi.streamed:
            streamed = added(streamed, Apply(name, (Phi(term.phi.streamed).expr(),)))
        if term.coefficient != ONE:
            if self.signs.sign(term.coefficient) != 1:
                return None
            steady = added(steady, _logarithm_of(name, term.coefficient))
        return streamed, steady

    def _where(self, terms: Iterable[Term], condition: Expr) -> list[Term]:
        guard = Phi(where=(condition,))
        return [Term(t.coefficient, t.phi * guard) for t in terms]

    def coordinate(self, expr: Expr) -> Coordinate | None:
        """An expression as `u(x) + v(r)`."""
        parts = self._parts(expr)
        if parts is None:
            return None
        streamed, steady = parts
        return Coordinate("sum", streamed, steady)

    def _parts(self, expr: Expr) -> tuple[Expr, Expr] | None:
        """The streamed and the steady summand of an expression, if it is their sum."""
        if not self.varies(expr):
            return ZERO, expr
        if self.steady(expr):
            return expr, ZERO
        match expr:
            case Unary(op="-", operand=operand):
                return _both(negated, self._parts(operand))
            case Binary(op="+" | "-" as op, left=left, right=right):
                first, second = self._parts(left), self._parts(right)
                if first is None or second is None:
                    return None
                join = added if op == "+" else subtracted
                return join(first[0], second[0]), join(first[1], second[1])
            case Binary(op="*", left=left, right=right) if self._constant(right):
                return _both(lambda p: multiplied(p, right), self._parts(left))
            case Binary(op="*", left=left, right=right) if self._constant(left):
                return _both(lambda p: multiplied(left, p), self._parts(right))
            case Binary(op="/", left=left, right=right) if self._constant(right):
                return _both(lambda p: divided(p, right), self._parts(left))
            case Apply(function="log" | "log2" as name, arguments=(argument,)):
                return self._logarithm_parts(name, argument)
            case _:
                return None

    def _constant(self, expr: Expr) -> bool:
        return not self.varies(expr) and self.steady(expr)


def _times(number: Fraction, expr: Expr) -> Expr:
    """A number times an expression."""
    scale: Expr = Float(float(abs(number)))
    if number.denominator == 1:
        scale = Int(abs(number.numerator))
    return multiplied(scale, expr) if number > 0 else negated(multiplied(scale, expr))


def _logarithm_of(name: str, expr: Expr) -> Expr:
    """Its logarithm; that of a reciprocal is minus another."""
    match expr:
        case Binary(op="/", left=left, right=right):
            above = ZERO if left == ONE else _logarithm_of(name, left)
            return subtracted(above, _logarithm_of(name, right))
        case Binary(op="*", left=left, right=right):
            return added(_logarithm_of(name, left), _logarithm_of(name, right))
        case _:
            return Apply(name, (expr,))


def _both(
    change: Callable[[Expr], Expr], parts: tuple[Expr, Expr] | None
) -> tuple[Expr, Expr] | None:
    return None if parts is None else (change(parts[0]), change(parts[1]))


def _summands(expr: Expr, sign: int = 1) -> Iterable[tuple[int, Expr]]:
    """The operands of nested sums and differences with their signs."""
    match expr:
        case Binary(op="+" | "-" as op, left=left, right=right):
            yield from _summands(left, sign)
            yield from _summands(right, sign if op == "+" else -sign)
        case Unary(op="-", operand=operand):
            yield from _summands(operand, -sign)
        case _:
            yield sign, expr


def _number(expr: Expr) -> Fraction | None:
    """A literal number with its sign."""
    match expr:
        case Int(value=value):
            return Fraction(value)
        case Float(value=value) if value == value and abs(value) < 2**53:
            return rational(value)
        case Unary(op="-", operand=operand):
            found = _number(operand)
            return None if found is None else -found
        case Binary(op="/", left=left, right=right):
            above, below = _number(left), _number(right)
            return None if above is None or not below else above / below
        case _:
            return None


def positive(term: Term) -> bool:
    """Whether every factor of a term is positive whatever the values: all exponentials."""
    exponentials = all(f.function == "exp" for f, _ in term.phi.mixed)
    return term.coefficient == ONE and not term.phi.streamed and exponentials
