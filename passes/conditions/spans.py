"""Where along the stream any lane of a round is present: one alternative, solved.

What holds together is solved for the streamed coordinate as inequalities are: a variable of the
rows goes by Fourier and Motzkin's rule, each that bounds it from below against each from above. The
coordinates that are left may be more than there are, never fewer; they are exact where the factors
of a variable are 1, or where it is a quotient, which its numerator decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Final, Protocol

from attnc.ir.expr import Apply, Binary, Compare, CompareOp, Expr, Int, Var
from attnc.ir.polynomials import ONE, Sum, common, less, plus, shared, tight, times
from attnc.passes.conditions.forms import Forms, constant, factor, mentioned
from attnc.passes.conditions.knowledge import Knowledge
from attnc.passes.conditions.normal import Case, Lanes, Least, Other
from attnc.passes.conditions.ordered import PLACES, Order, sought

MOST: Final = 40
"""Most inequalities that are looked at together."""


class Round(Lanes, Protocol):
    """The lanes of a round, with what is known of them."""

    @property
    def known(self) -> Knowledge:
        """What is known of numbers of the whole tile."""
        ...

    def bounds(self, expr: Expr) -> tuple[Expr, Expr] | None:
        """The least and the greatest value in a round, if known."""
        ...

    def some(self, expr: Expr) -> Expr | None:
        """Whether a condition that does not vary along the stream holds anywhere, if known."""
        ...

    def order(self, expr: Expr) -> Order | None:
        """How an expression is sorted along the stream, if it is known to be."""
        ...

    def ordered(self, expr: Expr, number: Expr) -> bool:
        """Whether rows of whose values a number is the least or greatest have most between them.

        Either they are sorted by these values, or each has a row of its own in what is sorted.
        """
        ...

    def place(self, expr: Expr, op: CompareOp, number: Expr) -> Expr:
        """Where what is sorted begins to compare so with a number of the whole tile."""
        ...


@dataclass(frozen=True, slots=True)
class Beat:
    """That `low <= x % period <= high` for a sum `x`."""

    x: Sum
    period: Expr
    low: Expr
    high: Expr


@dataclass(frozen=True, slots=True)
class Span:
    """Coordinates from all of `lows` on, up to before all of `ends`.

    It is empty unless all `guards` hold. Tiles in it where one of `tests` does not hold have no
    point. `open`: what is present depends on what is streamed, and is less than this. `assumed`:
    conditions under which this is so; else nothing is known.
    """

    lows: tuple[Expr, ...] = ()
    ends: tuple[Expr, ...] = ()
    guards: tuple[Expr, ...] = ()
    tests: tuple[Expr, ...] = ()
    open: bool = False
    assumed: tuple[Expr, ...] = ()


@dataclass
class Solver:
    """Solves alternatives for one round."""

    round: Round
    forms: Forms
    _assumed: list[Expr] = field(default_factory=list[Expr])
    _open: bool = False
    _loose: set[tuple[Expr, int]] = field(default_factory=set[tuple[Expr, int]])
    """What is sorted and bounded on a side by rows that are in no order."""

    def __call__(self, case: Case) -> Span | None:
        """The span of an alternative; None where it holds nowhere."""
        self._assumed, self._open, self._loose = [], False, set()
        guards: list[Expr] = []
        forms: list[Sum] = []
        self._written: list[Sum] = forms
        for literal in case:
            match literal:
                case Least(form=form):
                    forms.append(form)
                case Other(expr=expr):
                    axes = self.round.depends(expr)
                    if not axes:
                        guards.append(expr)
                    elif self.round.stream in axes:
                        self._open = True
                    else:
                        some = self.round.some(expr)
                        guards += [] if some is None else [some]
        self.known: Knowledge = self.round.known.knowing(guards)
        beats, forms = self._beats(forms)
        left = self._without_rows(forms)
        if left is None:
            return None
        return self._along(left, beats, guards)

    # Rows

    def _kind(self, text: str) -> str:
        """What an atom is: a number of the whole tile, of rows, of the stream, or of both."""
        axes = self.round.depends(self.forms.atoms[text])
        if not axes:
            return "number"
        if self.round.stream not in axes:
            return "rows"
        alone = axes == {self.round.stream} or self.round.order(self.forms.atoms[text]) is not None
        return "stream" if alone else "both"

    def _beats(self, forms: Sequence[Sum]) -> tuple[list[Beat], list[Sum]]:
        """What says how a remainder lies between numbers, and the rest."""
        beats: list[Beat] = []
        rest: list[Sum] = []
        for form in forms:
            found = self._beat(form)
            if found is None:
                rest.append(form)
            else:
                beats.append(found)
        return beats, rest

    def _beat(self, form: Sum) -> Beat | None:
        moving = [t for t in mentioned(form) if self._kind(t) != "number"]
        match [self.forms.atoms[t] for t in moving]:
            case [Binary(op="%", left=left, right=period) as atom]:
                pass
            case _:
                return None
        number = form.get((moving[0],), 0)
        kind = self._kind(moving[0])
        if abs(number) != 1 or kind == "rows" or not self._divides(period):
            return None
        x = self.forms.of(left)
        if any(self._kind(t) not in ("number", "rows", "stream") for t in mentioned(x)):
            return None
        parted = factor(form, moving[0])
        assert parted is not None, atom
        rest = parted[1]
        if number > 0:
            return Beat(x, period, self.forms.expr(less({}, rest)), Binary("-", period, Int(1)))
        return Beat(x, period, Int(0), self.forms.expr(rest))

    def _divides(self, divisor: Expr) -> bool:
        """Whether a divisor is a positive number of the whole tile; one that may be is assumed."""
        if self.round.depends(divisor):
            return False
        positive = Compare(("<",), (Int(0), divisor))
        if not self.known.shows(positive):
            if isinstance(divisor, Int):
                return False
            self._assumed.append(positive)
            self.known = self.known.knowing([positive])
        return True

    def _without_rows(self, forms: Sequence[Sum]) -> list[Sum] | None:
        """What inequalities say of the stream alone."""
        left: list[Sum] | None = list(forms)
        for _ in range(MOST):
            assert left is not None
            atom = self._next(left)
            if atom is None:
                return left
            left = self._eliminated(left, atom)
            if left is None:
                return None
            if len(left) > MOST:
                break
        self._open = True
        return []

    def _next(self, forms: Sequence[Sum]) -> str | None:
        """The variable that goes next: what is computed of others before these."""
        kinds = {t: self._kind(t) for f in forms for t in mentioned(f)}
        both = [t for t, k in kinds.items() if k == "both"]
        rows = [t for t, k in kinds.items() if k == "rows"]
        computed = [t for t in rows if not isinstance(self.forms.atoms[t], Var)]
        return next(iter((*both, *computed, *rows)), None)

    def _streamed(self, form: Sum) -> bool:
        """Whether a sum varies along the stream."""
        return any(self._kind(t) in ("stream", "both") for t in mentioned(form))

    def _eliminated(self, forms: Sequence[Sum], atom: str) -> list[Sum] | None:
        """Inequalities without a variable; None where they contradict each other."""
        own = [f for f in forms if atom in mentioned(f)]
        found = [f for f in forms if atom not in mentioned(f)]
        lows: list[tuple[Sum, Sum]] = []
        highs: list[tuple[Sum, Sum]] = []
        limits = self._limits(atom)
        if limits is None:
            self._open = self._open or any(map(self._streamed, own))
            return found
        for form in own:
            if not self._side(form, atom, lows, highs):
                found += self._as_one(form, atom)
        first, last = (len(lows), len(highs))
        for form in limits:
            self._side(form, atom, lows, highs)
        for i, (a, low) in enumerate(lows):
            for j, (b, high) in enumerate(highs):
                if i >= first and j >= last:
                    continue  # the variable has some value
                new = self._reduced(plus(times(b, low), times(a, high)))
                number = constant(new)
                if number is not None and number < 0:
                    return None
                if number is None and new not in found:
                    found.append(new)
        return found

    def _reduced(self, form: Sum) -> Sum:
        """The same inequality without factors that all of its products have and that are positive.

        Numbers stay small, so that bounds do not overflow. What is left is a whole number, so its
        constant is rounded down.
        """
        shares = [c for m, c in form.items() if m != ONE]
        if shares:
            form = tight(form, gcd(*shares))
        for atom in common(form) if ONE not in form else ():
            while atom in common(form) and self._positive({(atom,): 1}):
                form = shared(form, atom)
        return form

    def _side(
        self,
        form: Sum,
        atom: str,
        lows: list[tuple[Sum, Sum]],
        highs: list[tuple[Sum, Sum]],
    ) -> bool:
        """Sorts `a * x + rest >= 0` by the sign of `a`; false if that is not known."""
        parted = factor(form, atom)
        if parted is None:
            return False
        by, rest = parted
        if any(self._kind(t) != "number" for t in mentioned(by)):
            return False
        if self._positive(by):
            lows.append((by, rest))
        elif self._positive(less({}, by)):
            highs.append((less({}, by), rest))
        else:
            return False
        return True

    def _as_one(self, form: Sum, atom: str) -> list[Sum]:
        """A sum with `a * x`, for a coordinate of the rows, as a variable of its own."""
        parted = factor(form, atom)
        if parted is None or self._kind(atom) != "rows" or parted[0].keys() <= {ONE}:
            return []
        by, rest = parted
        whole = self.forms.expr(times(by, {(atom,): 1}))
        return [plus(rest, self.forms.atom(whole))]

    def _positive(self, form: Sum) -> bool:
        number = constant(form)
        if number is not None:
            return number > 0
        return self.known.shows(Compare(("<",), (Int(0), self.forms.expr(form))))

    def _limits(self, atom: str) -> list[Sum] | None:
        """What a variable is always: that sums are not negative; None where nothing is known."""
        expr = self.forms.atoms[atom]
        x: Sum = {(atom,): 1}
        match expr:
            case Binary(op="//", left=left, right=divisor) if self._divides(divisor):
                d = self.forms.of(divisor)
                rest = less(self.forms.of(left), times(d, x))  # from 0 on and below d
                return [rest, plus(less(d, rest), {ONE: -1})]
            case Binary(op="%", right=divisor) if self._kind(atom) == "both":
                if not self._divides(divisor):
                    return None
                return [x, plus(less(self.forms.of(divisor), x), {ONE: -1})]
            case _ if self._kind(atom) == "both":
                return None
            case _:
                bounds = self.round.bounds(expr)
                if bounds is None:
                    return None
                low, high = map(self.forms.of, bounds)
                return [less(x, low), less(high, x)]

    # The stream

    def _along(self, forms: Sequence[Sum], beats: list[Beat], guards: list[Expr]) -> Span | None:
        lows: list[Expr] = []
        ends: list[Expr] = []
        for form in forms:
            moving = [t for t in mentioned(form) if self._kind(t) == "stream"]
            match moving:
                case []:
                    if not self._guard(form, guards):
                        return None
                case [text]:
                    beat = self._beat(form)
                    if beat is not None:
                        beats.append(beat)
                    else:
                        self._bound(form, text, lows, ends)
                case _:
                    self._open = self._open or (self._hard(form) and not self._always(form, moving))
        lows, ends = list(dict.fromkeys(lows)), list(dict.fromkeys(ends))
        tests = self._tests(beats, lows, ends)
        return Span(
            tuple(lows),
            tuple(ends),
            tuple(dict.fromkeys(guards)),
            tests,
            self._open,
            tuple(dict.fromkeys(self._assumed)),
        )

    def _hard(self, form: Sum) -> bool:
        """Whether a sum is of more than coordinates, their quotients and remainders."""
        moving = [[t for t in p if self._kind(t) != "number"] for p in form]
        atoms = (self.forms.atoms[t] for texts in moving for t in texts)
        plain = all(isinstance(a, Var) or _divides(a) for a in atoms)
        return not plain or any(len(texts) > 1 for texts in moving)

    def _always(self, form: Sum, moving: Sequence[str]) -> bool:
        """Whether a sum is never negative by what one of its quotients is."""
        for text in moving:
            if isinstance(self.forms.atoms[text], Binary):
                for limit in self._limits(text) or ():
                    rest = constant(less(form, limit))
                    if rest is not None and rest >= 0:
                        return True
        return False

    def _guard(self, form: Sum, guards: list[Expr]) -> bool:
        """Takes note that a number must not be negative; false if it always is."""
        number = constant(form)
        if number is not None:
            return number >= 0
        left, right = self.forms.sides(form)
        condition = Compare(("<=",), (left, right))
        if not self.known.shows(condition):
            guards.append(condition)
        return True

    def _bound(self, form: Sum, text: str, lows: list[Expr], ends: list[Expr]) -> None:
        """`a * x + rest >= 0`, solved for the streamed coordinate in `x`."""
        parted = factor(form, text)
        atom = self.forms.atoms[text]
        if parted is None:
            return
        by, rest = parted
        if self._positive(by):
            number = less({}, self._quotient(rest, by))  # from it on
            self._solved(atom, number, 1, lows, ends)
        elif self._positive(less({}, by)):
            self._solved(atom, self._quotient(rest, less({}, by)), -1, lows, ends)

    def _quotient(self, form: Sum, by: Sum) -> Sum:
        if by == {ONE: 1}:
            return form
        return self.forms.of(Binary("//", self.forms.expr(form), self.forms.expr(by)))

    def _solved(
        self, atom: Expr, number: Sum, side: int, lows: list[Expr], ends: list[Expr]
    ) -> None:
        """That an atom is at least a number, or at most, for the coordinate in it."""
        match atom:
            case Var():
                if side > 0:
                    lows.append(self.forms.expr(number))
                else:
                    ends.append(self.forms.expr(plus(number, {ONE: 1})))
            case Binary(op="//", left=left, right=divisor) if self._divides(divisor):
                d = self.forms.of(divisor)
                inner = self.forms.of(left)
                if side > 0:
                    form = less(inner, times(d, number))
                else:
                    form = plus(less(times(d, number), inner), plus(d, {ONE: -1}))
                moving = [t for t in mentioned(form) if self._kind(t) == "stream"]
                if len(moving) == 1:
                    self._bound(form, moving[0], lows, ends)
            case _:
                self._element(atom, number, side, lows, ends)

    def _element(
        self, atom: Expr, number: Sum, side: int, lows: list[Expr], ends: list[Expr]
    ) -> None:
        """The same of an element of what is sorted: those that hold begin or end at some place."""
        order = self.round.order(atom)
        if order is None:
            self._open = True
            return
        op, number = sought(PLACES[side, order.down], number)
        first = self.round.place(atom, op, self.forms.expr(number))
        bounds = self.round.bounds(first)  # each row of a tile has a place of its own
        if not self.round.ordered(atom, self.forms.expr(number)):
            self._loose.add((atom, side))
            # of what lies between the least and the greatest row, little may be some row's
            self._open = self._open or (atom, -side) in self._loose
        place = self.forms.of(order.place)
        moving = [t for t in mentioned(place) if self._kind(t) == "stream"]
        if bounds is None or len(moving) != 1:
            self._open = True
        elif (side > 0) is not order.down:
            self._bound(less(place, self.forms.of(bounds[0])), moving[0], lows, ends)
        else:
            end = plus(self.forms.of(bounds[1]), {ONE: -1})
            self._bound(less(end, place), moving[0], lows, ends)

    # Remainders

    def _tests(
        self, beats: Sequence[Beat], lows: Sequence[Expr], ends: Sequence[Expr]
    ) -> tuple[Expr, ...]:
        """Whether a tile has some `x` with `low <= x % period <= high`: the last `x` that is far
        enough into its period must not be too far."""
        merged: dict[tuple[frozenset[tuple[object, int]], Expr], list[Beat]] = {}
        for beat in beats:
            merged.setdefault((frozenset(beat.x.items()), beat.period), []).append(beat)
        found: list[Expr] = []
        for group in merged.values():
            first = group[0]
            bounds = self._over_tile(first.x, lows, ends)
            if bounds is None:
                continue
            least, most = bounds
            low = joined("max", [b.low for b in group if b.low != Int(0)]) or Int(0)
            last = _last(first.period)
            high = joined("min", [b.high for b in group if b.high != last]) or last
            of, expr = self.forms.of, self.forms.expr
            start = Binary(
                "*", Binary("//", expr(less(of(most), of(low))), first.period), first.period
            )
            inside = plus(of(start), of(high))
            found.append(Compare(("<=",), (least, expr(inside))))
            for end in dict.fromkeys((high, last)):
                nonempty = Compare(("<=",), (low, end))
                if not self.known.shows(nonempty):
                    found.append(nonempty)
        return tuple(found)

    def _over_tile(
        self, x: Sum, lows: Sequence[Expr], ends: Sequence[Expr]
    ) -> tuple[Expr, Expr] | None:
        """The least and the greatest value of a sum in a tile; None if that is unknown."""
        alone = all(self._kind(t) != "rows" for t in mentioned(x))
        least: Sum = {}
        most: Sum = {}
        for product, number in x.items():
            moving = [t for t in product if self._kind(t) != "number"]
            by: Sum = {tuple(t for t in product if t not in moving): number}
            match moving:
                case []:
                    low = high = by
                case [text]:
                    bounds = self._bounds(self.forms.atoms[text], lows, ends, alone=alone)
                    sign = 1 if self._positive(by) else -1 if self._positive(less({}, by)) else 0
                    if bounds is None or not sign:
                        return None
                    low, high = (times(by, b) for b in bounds[::sign])
                case _:
                    return None
            least, most = plus(least, low), plus(most, high)
        below, above = [self.forms.expr(least)], [self.forms.expr(most)]
        for form in self._written:  # what bounds the same sum
            for sign, side in ((1, below), (-1, above)):
                rest = less(form, times(x, {ONE: sign}))
                if all(self._kind(t) == "number" for t in mentioned(rest)):
                    side.append(self.forms.expr(times(rest, {ONE: -sign})))
        found = joined("max", below), joined("min", above)
        assert found[0] is not None
        assert found[1] is not None
        return found[0], found[1]

    def _bounds(
        self, atom: Expr, lows: Sequence[Expr], ends: Sequence[Expr], *, alone: bool
    ) -> tuple[Sum, Sum] | None:
        """The least and the greatest value of a coordinate in a tile.

        `alone`: it is the stream's, and nothing else moves, so that its ends are what counts.
        """
        if atom != Var(self.round.stream):
            match atom:
                case Binary(op="//", left=left, right=divisor) if self._divides(divisor):
                    edges = self.round.bounds(left)
                    if edges is not None:
                        edges = Binary("//", edges[0], divisor), Binary("//", edges[1], divisor)
                case _:
                    edges = self.round.bounds(atom)
            return None if edges is None else (self.forms.of(edges[0]), self.forms.of(edges[1]))
        low, high = Apply("low", (atom,)), Apply("high", (atom,))
        if alone and lows:
            low = Apply("max", (low, *lows))
        if alone and ends:
            before = (self.forms.expr(plus(self.forms.of(e), {ONE: -1})) for e in ends)
            high = Apply("min", (high, *before))
        return self.forms.of(low), self.forms.of(high)


def _divides(expr: Expr) -> bool:
    return isinstance(expr, Binary) and expr.op in ("//", "%")


def _last(period: Expr) -> Expr:
    return Binary("-", period, Int(1))


def joined(function: str, parts: Iterable[Expr]) -> Expr | None:
    """The maximum or the minimum of some numbers, each once; None of none."""
    found = list(dict.fromkeys(parts))
    if not found:
        return None
    return found[0] if len(found) == 1 else Apply(function, tuple(found))
