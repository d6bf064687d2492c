"""Anchors: what polynomial terms are kept about, so that they do not cancel.

`(x - r) ** 2` is derived from `x ** 2`, `x` and 1, or from those of `x - a` for any `a` at all.
Over the real numbers all are equal. In floats a state kept about an `a` that is far from the points
is large, and what is left when it is brought to `r` is lost: with `r = sum[n](x / N)` the `r` of
half of the points is half of the mean. So the anchor is chosen here.

**About the mean.** Let `a` be the mean of the points seen so far, weighted with `abs(w)`. Then
for every prefix and any `r`, by the inequalities of Jensen and Minkowski,

    sum abs(w) * abs(x - a) ** k  <=  2 ** k * sum abs(w) * abs(x - r) ** k

and what `T(a, r)` adds up to `r` is at most `3 ** k` times that sum, which is that of the
absolute terms of the written text. So no more than that factor of precision is lost.
No anchor is needed where `r` is that mean itself, or where `x - r` keeps its sign and moves away
from 0, so that all terms of T have one sign.

**Free of an axis.** In `w[m,n] * (V[n,f] - O[m,f]) ** 2` the terms span three axes. With an anchor
that holds no `m` each is a matrix product. It is the mean of the finite points of
`V[n,f]`, with no weights of `m`, so that the inequality above does not hold: where the weights of a
row lie on a few equal points, the result is small and its terms are not. Such a form is
`measured`: `loss` is what its terms amount to, and a row in which the result is less than
`1 / MOST_LOST` of it has to be computed again, in another pass, as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import product as pairs
from typing import Final

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Binary, Compare, Expr, Float, Int, Read, Reduce, Value
from attnc.ir.walk import subexpressions
from attnc.passes.running.bounds import stripped
from attnc.passes.running.build import (
    ZERO,
    divided,
    multiplied,
    negated,
    power,
    product,
)
from attnc.passes.running.closure import factor_changed
from attnc.passes.running.exact import Exact, number
from attnc.passes.running.forms import Sum
from attnc.passes.running.prefix import Prefix, conditions, guarded
from attnc.passes.running.terms import Coordinate, Factor, Inseparable, Phi, Splitter, Term

MOST_LOST: Final = 16
"""How many times its result the terms of a measured sum may amount to: four bits are lost."""

Powers = tuple[tuple[Factor, Fraction], ...]


class Anchors:
    """Writes terms about anchors, which `add` takes as reductions of their own.

    `grid` are axes of which a kernel holds one point; without `free` no anchor is made free of
    an axis. `measured` says whether one was.
    """

    def __init__(
        self,
        prefix: Prefix,
        einsum: Einsum,
        add: Callable[[str, Reduce, tuple[str, ...]], Read] | None,
        grid: frozenset[str],
        *,
        free: bool,
    ) -> None:
        assert isinstance(einsum.value, Reduce)
        self.prefix: Prefix = prefix
        self.split: Splitter = prefix.split
        self.einsum = einsum
        self.reduce: Reduce = einsum.value
        self.add = add
        self.grid = grid
        self.free = free
        self.measured: bool = False

    def __call__(self, terms: Iterable[Term]) -> list[Term]:
        """Equal terms that are stable while they run; raises `Inseparable`."""
        return [new for term in terms for new in self._term(term)]

    def _term(self, term: Term) -> list[Term]:
        degree = sum((e for f, e in term.phi.mixed if _polynomial(f)), Fraction(0))
        angles = all(f.function in ("sin", "cos") for f, _ in term.phi.mixed if _polynomial(f))
        if not degree or (angles and degree == 1):
            return [term]
        self._one_mean(term)
        found = [(term.coefficient, Phi(term.phi.streamed, (), term.phi.where))]
        for factor, exponent in term.phi.mixed:
            anchor = self._anchor(factor, exponent, term.phi) if _polynomial(factor) else None
            moved = _moved(factor, exponent, anchor)
            found = [
                (multiplied(c, scale), phi * Phi(mixed=kept))
                for (c, phi), (scale, kept) in pairs(found, moved)
            ]
        return [Term(c, phi) for c, phi in found]

    def _one_mean(self, term: Term) -> None:
        """Raises `Inseparable` where the terms of several coordinates could cancel.

        A product of two differences is as good as its means are, which is as good as what is
        written: an error of a mean is multiplied with the other difference there, too.
        """
        powers = [(f, e) for f, e in term.phi.mixed if _polynomial(f)]
        degree = sum((e for _, e in powers), Fraction(0))
        if len(powers) < 2:
            return
        coordinates = [f.coordinate for f, _ in powers]
        if all(f.function == "power" for f, _ in powers) and all(
            self._one_sided(y, term.phi) for y in coordinates
        ):
            return
        if degree > 2 or not all(self._about_mean(y, term.phi) for y in coordinates):
            reason = "powers of several differences cancel while it runs: they have no common mean"
            raise Inseparable(term.phi.expr(), reason)

    def _anchor(self, factor: Factor, exponent: Fraction, phi: Phi) -> Expr | None:
        """What a coordinate's steady part is replaced by, or None to keep it."""
        y = factor.coordinate
        if self.free and self._spans_three(y):
            self.measured = True
            return self._without_axes(y, phi)
        if factor.function == "power" and self._one_sided(y, phi):
            return self._kept(y)
        weights, others = self._weights(y, phi, self._axes(y.expr()))
        mean = self._is_mean(y, weights, phi)
        if others and not (exponent == 1 and (mean or self._ends_as_mean(y, weights))):
            reason = "its terms cancel while it runs: weights with other axes have no common mean"
            raise Inseparable(phi.expr(), reason)
        if mean:
            return self._kept(y)
        if self.add is None:
            reason = "its terms cancel while it runs, unless they are kept about a mean"
            raise Inseparable(factor.expr(Fraction(1)), reason)
        return self._mean(y, weights, phi)

    def _kept(self, y: Coordinate) -> Expr | None:
        """The steady part itself, if it is a number as long as it matters.

        A mean is not, as long as all its weights are 0; any number does for it then.
        """
        return None if self.prefix.unsafe_reason(y.steady) is None else guarded(y.steady)

    def _axes(self, expr: Expr) -> frozenset[str]:
        return self.split.free(expr) - self.split.streamed

    def _spans_three(self, y: Coordinate) -> bool:
        streamed = self._axes(stripped(y.streamed)[0])
        steady = self._axes(y.steady)
        return not steady <= streamed and len((streamed | steady) - self.grid) > 1

    def _about_mean(self, y: Coordinate, phi: Phi) -> bool:
        """Whether the steady part is minus the mean of the streamed one, at the end at least."""
        weights, _ = self._weights(y, phi, self._axes(y.expr()))
        return self._is_mean(y, weights, phi) or self._ends_as_mean(y, weights)

    # What needs no anchor

    def _one_sided(self, y: Coordinate, phi: Phi) -> bool:
        """Whether a coordinate keeps its sign, and only moves away from 0."""
        bounds = self.prefix.bounds
        value, where = stripped(y.expr())
        exact, where = bounds.exact(value), where | conditions(phi)
        below = bounds.at_most_zero(exact, where) and bounds.falls(y.steady)
        return below or (bounds.at_most_zero(-exact, where) and bounds.falls(negated(y.steady)))

    def _is_mean(self, y: Coordinate, weights: list[Expr], phi: Phi) -> bool:
        """Whether the steady part is minus the mean of the streamed one, with these weights."""
        exact = self.prefix.bounds.exact
        one = exact(negated(y.steady)).single
        where = stripped(y.streamed)[1] | conditions(phi)
        whole = exact(stripped(product([*weights, y.streamed]))[0])
        weight = exact(stripped(product(weights))[0])
        if one is None or one[0][1]:
            return False
        for node in subexpressions(y.steady):
            if not isinstance(node, Read) or node.tensor not in self.prefix.combined:
                continue
            above = self.prefix.combined[node.tensor]
            if above.op != "sum" or not above.where <= where:
                continue
            scale = _divided(exact(negated(y.steady)), exact(node))
            if scale is None:
                continue
            body = exact(above.value) * scale
            for below in self.prefix.combined.values():
                divisor = exact(below.read)
                if below.op == "count":
                    what = below.value
                    present = isinstance(what, Apply) and what.function == "present"
                    same = present and weight.number == 1
                elif below.op == "sum":
                    same = below.where == above.where and exact(below.value) == weight
                else:
                    continue
                if same and (body * divisor - whole).is_zero():
                    return True
        return False

    def _ends_as_mean(self, y: Coordinate, weights: list[Expr]) -> bool:
        """Whether the steady part is minus the sum of `weights * streamed / N`."""
        exact = self.prefix.bounds.exact
        whole = exact(stripped(product([*weights, y.streamed]))[0])
        for node in subexpressions(y.steady):
            if not isinstance(node, Read) or node.tensor not in self.prefix.combined:
                continue
            summed = self.prefix.combined[node.tensor]
            scale = _divided(exact(negated(y.steady)), exact(node))
            if summed.op != "sum" or scale is None:
                continue
            body = exact(summed.value) * scale
            for extent in sorted(self.prefix.extents):
                if (body * exact(Value(extent)) - whole).is_zero():
                    return True
        return False

    # What is made

    def _weights(
        self, y: Coordinate, phi: Phi, axes: frozenset[str]
    ) -> tuple[list[Expr], list[Expr]]:
        """The absolute factors beside polynomials that have some axes alone, and the others."""
        found: list[Expr] = []
        others: list[Expr] = []
        factors = [f.expr(e) for f, e in phi.mixed if not _polynomial(f)]
        for expr in (*factors, *(power(e, x) for e, x in phi.streamed)):
            (found if self._axes(expr) <= axes else others).append(self._absolute(expr))
        return found, others

    def _absolute(self, expr: Expr) -> Expr:
        return expr if self.prefix.signs.nonnegative(expr) else Apply("abs", (expr,))

    def _mean(self, y: Coordinate, weights: list[Expr], phi: Phi) -> Expr:
        """Minus the mean of a coordinate's streamed part."""
        where = phi.where
        above = self._reduced("sum", multiplied(product(weights), y.streamed), where, "mean")
        if not weights:
            what = Apply("present", (_only(y.streamed, where),))
            return negated(divided(above, self._reduced("count", what, (), "count")))
        weight = product(weights)
        if stripped(y.streamed)[1]:
            weight = _only(weight, (Apply("present", (y.streamed,)),))
        below = self._reduced("sum", weight, where, "weight")
        mean = negated(divided(above, below))
        return mean if self.prefix.signs.solid(below) else guarded(mean)

    def _without_axes(self, y: Coordinate, phi: Phi) -> Expr:
        """Minus the mean of the finite points of a streamed part, free of all other axes."""
        value, inside = stripped(y.streamed)
        axes = self._axes(value)
        where = [c for c in (*phi.where, *sorted(inside, key=repr)) if self._axes(c) <= axes]
        size = Apply("abs", (value,))
        finite = Compare(("<",), (size, Float(float("inf"))))
        here = _only(value, (*where, finite))
        above = self._reduced("sum", here, (), "mean")
        below = self._reduced("count", Apply("present", (here,)), (), "count")
        some: Expr = Apply("max", (below, Int(1)))
        return negated(divided(Apply("default", (above, ZERO)), some))

    def _reduced(self, op: str, value: Expr, where: tuple[Expr, ...], base: str) -> Expr:
        """A read of a reduction, that of one there is already if it combines the same."""
        body = _only(value, where)
        known = self._known(op, body)
        if known is not None:
            return known
        if self.add is None:
            reason = "its terms cancel while it runs, unless they are kept about a mean"
            raise Inseparable(value, reason)
        free = self._axes(body)
        axes = tuple(v for v in self.einsum.variables if v in free)
        assert op in ("sum", "count")
        reduce = Reduce("sum" if op == "sum" else "count", self.reduce.variables, body)
        return self.add(f"{self.einsum.tensor}_{base}", reduce, axes)

    def _known(self, op: str, body: Expr) -> Expr | None:
        value, where = stripped(body)
        for tensor, one in self.prefix.combined.items():
            if one.op != op or one.where != where:
                continue
            if one.value == value:
                return one.read
            if op == "count":
                continue
            try:
                mine, theirs = self.split.terms(value), self.split.terms(one.value)
            except Inseparable:
                continue
            if len(mine) == len(theirs) == 1 and mine[0].phi == theirs[0].phi:
                if tensor in self.prefix.unsafe or not _still(theirs[0], self.prefix):
                    continue
                return multiplied(one.read, _quotient(mine[0].coefficient, theirs[0].coefficient))
        return None


def _still(term: Term, prefix: Prefix) -> bool:
    return not prefix.moves(term.coefficient)


def _quotient(above: Expr, below: Expr) -> Expr:
    match below:
        case Binary(op="/", left=Int(value=1), right=right):
            return multiplied(above, right)
        case _:
            return divided(above, below)


def _polynomial(factor: Factor) -> bool:
    """Whether a factor's T is a polynomial, or one of angles: what may cancel."""
    if factor.function in ("sin", "cos"):
        return True
    return factor.function == "power" and factor.coordinate.kind == "sum"


def _moved(factor: Factor, exponent: Fraction, anchor: Expr | None) -> list[tuple[Expr, Powers]]:
    """A factor's power as a sum over those at an anchor, with what stands before each."""
    if anchor is None:
        return [(Int(1), ((factor, exponent),))]
    y = Coordinate("sum", factor.coordinate.streamed, anchor)
    found = []
    for count, shifts, kept in factor_changed(factor, exponent):
        scale = product([s.expr(lambda _: anchor) for s in shifts])
        scale = multiplied(Int(abs(count)), scale)
        new = tuple((Factor(f.function, y, f.base), e) for f, e in kept)
        found.append((scale if count > 0 else negated(scale), new))
    return found


def _only(value: Expr, where: Iterable[Expr]) -> Expr:
    for condition in where:
        value = Apply("only", (value, condition))
    return value


def _divided(whole: Exact, factor: Exact) -> Exact | None:
    """A single term without one of its atoms."""
    one, two = whole.single, factor.single
    if one is None or two is None or two[1] != 1 or len(two[0][0]) != 1:
        return None
    ((atom, exponent),) = two[0][0]
    powers = dict(one[0][0])
    if powers.get(atom) != exponent:
        return None
    del powers[atom]
    return Exact({(tuple(sorted(powers.items())), one[0][1]): Fraction(1)}) * number(one[1])


def loss(form: Sum) -> tuple[tuple[int, Expr], ...]:
    """Indices of basis functions with the size of what stands before each.

    Of a measured sum, the sum of these times the absolute states is what its terms amount to.
    """
    return tuple((i, Apply("abs", (c,))) for i, c in form.result)
