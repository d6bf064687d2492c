"""The basis of a reduction, closed under a change of the earlier results.

With `y = u(x) + v(r)`, a change from `r` to `r'` adds `d = v(r') - v(r)` to every `y`; with
`y = u(x) * v(r)` it multiplies by `v(r') / v(r)`. A basis function at the new `y` is a sum of basis
functions at the old one, with entries that hold only `r` and `r'`:
`phi_j(x; r') = sum_k T_jk(r, r') phi_k(x; r)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product as pairs
from math import comb
from typing import Final

from attnc.ir.expr import Apply, Expr, Float, Int
from attnc.passes.running.build import (
    ONE,
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
from attnc.passes.running.terms import Coordinate, Factor, Inseparable, Phi, Term

MAX_BASIS: Final = 8
"""Most functions in one basis."""

Renamed = Callable[[Expr], Expr]
"""An expression in terms of the old results."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One factor of an entry of T: a function of the change of one coordinate.

    `exp`: base ** (exponent * d). `power`: d ** exponent, of a sum's difference or a product's
    ratio. `sin`, `cos`: of d.
    """

    function: str
    coordinate: Coordinate
    exponent: Fraction
    base: Expr | None = None

    def expr(self, old: Renamed) -> Expr:
        """The factor as an expression; `old` renames results to what they were before."""
        now = self.coordinate.steady
        if self.coordinate.kind == "product":
            return power(divided(now, old(now)), self.exponent)
        change = subtracted(now, old(now))
        match self.function:
            case "exp":
                if self.exponent == -1:
                    return exponential(self.base, negated(change))
                scale = Int(int(self.exponent)) if self.exponent.denominator == 1 else None
                scaled = multiplied(scale or Float(float(self.exponent)), change)
                return exponential(self.base, scaled)
            case "power":
                return power(change, self.exponent)
            case name:
                return power(Apply(name, (change,)), self.exponent)


@dataclass(frozen=True, slots=True)
class Entry:
    """One summand of an entry of T: a number times shifts."""

    number: int
    shifts: tuple[Shift, ...]

    def expr(self, old: Renamed) -> Expr:
        """The summand as an expression."""
        found = product(s.expr(old) for s in self.shifts)
        if abs(self.number) != 1:
            found = multiplied(Int(abs(self.number)), found)
        return found if self.number > 0 else negated(found)


@dataclass(frozen=True)
class Basis:
    """Basis functions, T as rows of entries, and what the reduction is in them.

    `coefficients` maps the index of a basis function to the expression in front of it.
    """

    functions: tuple[Phi, ...]
    transition: tuple[Mapping[int, tuple[Entry, ...]], ...]
    coefficients: Mapping[int, Expr]

    @property
    def constant(self) -> bool:
        """Whether no change of the results touches the state: T is the identity."""
        return all(not f.mixed for f in self.functions)


def closed(terms: list[Term], whole: Expr) -> Basis:
    """The basis of some terms; raises `Inseparable` if it does not close."""
    functions: list[Phi] = []
    coefficients: dict[int, Expr] = {}

    def index(phi: Phi) -> int:
        for i, known in enumerate(functions):
            if _same(known, phi):
                return i
        if len(functions) == MAX_BASIS:
            raise Inseparable(whole, f"its basis has more than {MAX_BASIS} functions")
        functions.append(phi)
        return len(functions) - 1

    kept = [t for t in terms if not is_number(t.coefficient, 0)]
    for term in kept or terms[:1]:
        i = index(term.phi)
        before = coefficients.get(i)
        coefficients[i] = term.coefficient if before is None else added(before, term.coefficient)
    rows: list[dict[int, tuple[Entry, ...]]] = []
    while len(rows) < len(functions):
        row: dict[int, tuple[Entry, ...]] = {}
        for entry, phi in _changed(functions[len(rows)]):
            i = index(phi)
            row[i] = (*row.get(i, ()), entry)
        rows.append(row)
    return Basis(tuple(functions), tuple(rows), coefficients)


def _same(a: Phi, b: Phi) -> bool:
    """Equality of products, whatever the order of their factors."""
    return (
        dict(a.streamed) == dict(b.streamed)
        and dict(a.mixed) == dict(b.mixed)
        and set(a.where) == set(b.where)
    )


def _changed(phi: Phi) -> list[tuple[Entry, Phi]]:
    """A basis function at the new results, as a sum over functions at the old ones."""
    options = [factor_changed(factor, exponent) for factor, exponent in phi.mixed]
    found = []
    for choice in pairs(*options):
        number, shifts, mixed = 1, [], Phi()
        for count, more, kept in choice:
            number *= count
            shifts += more
            mixed = mixed * Phi(mixed=kept)
        rest = Phi(phi.streamed, mixed.mixed, phi.where)
        found.append((Entry(number, tuple(shifts)), rest))
    return found


Changed = tuple[int, list[Shift], tuple[tuple[Factor, Fraction], ...]]


def factor_changed(factor: Factor, exponent: Fraction) -> list[Changed]:
    """One factor at the new results: numbers, shifts, and factors at the old ones."""
    y = factor.coordinate
    if factor.function == "exp" or y.kind == "product":
        shift = Shift(factor.function, y, exponent, factor.base)
        return [(1, [shift], ((factor, exponent),))]
    count = int(exponent)
    if factor.function == "power":
        return [
            (
                comb(count, j),
                [Shift("power", y, Fraction(count - j))] if j < count else [],
                ((factor, Fraction(j)),) if j else (),
            )
            for j in range(count, -1, -1)
        ]
    return _angle_changed(factor, count)


def _angle_changed(factor: Factor, count: int) -> list[Changed]:
    """`sin(y + d)` and `cos(y + d)`, to a power, by the addition theorems."""
    y = factor.coordinate
    other = Factor("cos" if factor.function == "sin" else "sin", y)
    sign = 1 if factor.function == "sin" else -1
    one = Fraction(1)
    kept: Changed = (1, [Shift("cos", y, one)], ((factor, one),))
    crossed: Changed = (sign, [Shift("sin", y, one)], ((other, one),))
    found: list[Changed] = [(1, [], ())]
    for _ in range(count):
        found = [
            (a * b, [*s, *t], (Phi(mixed=f) * Phi(mixed=g)).mixed)
            for (a, s, f), (b, t, g) in pairs(found, [kept, crossed])
        ]
    return found


__all__ = ["MAX_BASIS", "ONE", "Basis", "Entry", "Shift", "closed", "factor_changed"]
