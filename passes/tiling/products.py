"""Sums of products as products of two tiles, which a matrix unit does.

The factors of a summand are grouped by their axes, so that both operands are as small as can be:
`p[m,n] * (c[n] * v[n,f])` over `n` is `p * c` times `v`. A condition that spans axes of its own is
a factor as well, 0 or 1. What has no axis of the sum goes along with a factor that has its axes.

Nothing that a kernel's own floating type may not hold becomes an operand: integers of 8 bits, bools
and floats of 8 bits are exact in every floating type, wider integers are not, and may lie beyond
the greatest number of a half type. Two exponentials of any size that stand together stay together:
only their product may be moderate.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from attnc.ir.expr import Apply, Binary, Bool, Choice, Expr, Int, Name, Unary
from attnc.ir.types import Kind
from attnc.passes.algebra.magnitude import EXPONENTIALS
from attnc.passes.running.build import divided, multiplied, negated
from attnc.passes.tiling.presence import both, conjuncts

NARROW: Final = frozenset(("i8", "u8", "bool", "f8e4m3", "f8e5m2"))
"""Elements that every floating type holds: bf16 has 8 bits and all exponents, f16 is no wider."""
MOST: Final = 6
"""The most groups of factors that are parted in every way."""
CASTS: Final = {Kind.F32: "f32", Kind.FLOAT: "float", Kind.F64: "f64"}

Axes = frozenset[str]


class Tiles(Protocol):
    """What is asked about tiles."""

    @property
    def elements(self) -> Mapping[str, str | None]:
        """The element types of inputs that tiles are loaded from; None is the kernel's own."""
        ...

    @property
    def exponentials(self) -> Collection[str]:
        """Tiles that are exponentials, or products with one."""
        ...

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        ...

    def axes_of(self, *exprs: Expr) -> tuple[str, ...]:
        """The axes along which expressions vary."""
        ...


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a summand, or what divides it."""

    value: Expr
    axes: Axes
    below: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """The factors of one operand, in the order in which they are written."""

    factors: tuple[Factor, ...]

    def value(self) -> Expr:
        """Their product."""
        found: Expr = Int(1)
        for factor in self.factors:
            found = (divided if factor.below else multiplied)(found, factor.value)
        return found


def sides(tiles: Tiles, value: Expr, where: Expr, over: Sequence[str]) -> tuple[Expr, Expr] | None:
    """The operands of the product that a sum of `value` is; the first one spans conditions.

    None where there is no product, or none of whose operands a matrix unit may take.
    """
    kind = tiles.kind(value)
    if not kind.floating:
        return None
    return _Splitter(tiles, kind, where, over).split(value)


def grows(tiles: Tiles, expr: Expr) -> bool:
    """Whether an expression is an exponential that may be of any size, or a product with one."""
    match expr:
        case Apply(function=name):
            return name in EXPONENTIALS or name == "pow"
        case Binary(op="**", right=exponent):
            return not isinstance(exponent, Int)
        case Binary(op="*" | "/", left=left, right=right):
            return grows(tiles, left) or grows(tiles, right)
        case Unary(op="-", operand=operand):
            return grows(tiles, operand)
        case Name(name=name):
            return name in tiles.exponentials
        case _:
            return False


@dataclass(frozen=True)
class _Splitter:
    """Parts the factors of one sum."""

    tiles: Tiles
    kind: Kind
    where: Expr
    over: Sequence[str]

    def split(self, value: Expr) -> tuple[Expr, Expr] | None:
        """The operands, as they are written where no other are smaller."""
        best = self._written(value)
        for found in self._grouped(value):
            if best is None or self._cost(*found) < self._cost(*best):
                best = found
        return best

    def _written(self, value: Expr) -> tuple[Expr, Expr] | None:
        """The two sides of a product as it stands."""
        if not isinstance(value, Binary) or value.op != "*":
            return None
        both_sides = value.left, value.right
        if not all(set(self.over) <= set(self.tiles.axes_of(side)) for side in both_sides):
            return None
        return self._operands(*both_sides)

    def _grouped(self, value: Expr) -> Iterator[tuple[Expr, Expr]]:
        """Other ways to part the factors, in which both operands lack an axis of the whole."""
        factors, minus = self._factors(value)
        whole = self._axes(value, self.where)
        spans = [span for span in map(self._axes, conjuncts(self.where)) if span & set(self.over)]
        sets = _maximal([*(f.axes for f in factors), *spans])
        if not 2 <= len(sets) <= MOST:
            return
        for first in _parts(len(sets)):
            axes = [
                frozenset[str]().union(*(s for i, s in enumerate(sets) if (i in first) is here))
                for here in (True, False)
            ]
            if any(a == whole or not set(self.over) <= a for a in axes):
                continue
            for left, right in self._dealt(factors, axes[0], axes[1]):
                found = self._paired(left, right, axes, minus)
                if found is not None:
                    yield found

    def _dealt(
        self, factors: Sequence[Factor], first: Axes, second: Axes
    ) -> Iterator[tuple[Side, Side]]:
        """Factors on the sides that have their axes; what fits both goes to what is computed."""
        fits = [(f.axes <= first, f.axes <= second) for f in factors]
        if not all(a or b for a, b in fits):
            return
        fixed = [f.value for f, (a, b) in zip(factors, fits, strict=True) if a and not b]
        loaded = all(isinstance(v, Name) and v.name in self.tiles.elements for v in fixed)
        for left_takes in (not loaded, loaded):
            left, right = (
                Side(tuple(f for f, fit in zip(factors, fits, strict=True) if _goes(fit, takes, i)))
                for i, takes in enumerate((left_takes, not left_takes))
            )
            if not self._torn(left, right):
                yield left, right

    def _torn(self, left: Side, right: Side) -> bool:
        """Whether two exponentials would be parted."""
        return all(any(grows(self.tiles, f.value) for f in s.factors) for s in (left, right))

    def _paired(
        self, left: Side, right: Side, axes: Sequence[Axes], minus: bool
    ) -> tuple[Expr, Expr] | None:
        """Operands; where one side has conditions alone, these as a number."""
        if left.factors and right.factors:
            value = left.value()
            return self._operands(negated(value) if minus else value, right.value())
        span, side = (axes[1], left) if left.factors else (axes[0], right)
        value = negated(side.value()) if minus else side.value()
        inside = both(*(p for p in conjuncts(self.where) if self._axes(p) <= span))
        if self.kind is Kind.FLOAT and not self._exact(value):
            return None  # nothing allows to round the one factor of a sum
        return self._operands(Choice(inside, Int(1), Int(0)), value)

    def _exact(self, value: Expr) -> bool:
        """Whether the inputs' type holds a value."""
        own = isinstance(value, Name) and self.tiles.elements.get(value.name, "") is None
        return own or self._narrow(value)

    def _operands(self, left: Expr, right: Expr) -> tuple[Expr, Expr] | None:
        """Two sides as operands; first the one that conditions of both make no larger."""
        found = [self._operand(side) for side in (left, right)]
        if found[0] is None or found[1] is None:
            return None
        here = found[0], found[1]
        there = found[1], found[0]
        return there if self._cost(*there) < self._cost(*here) else here

    def _operand(self, side: Expr) -> Expr | None:
        """A side in a kind which the product is made in; None where a half type cannot hold it."""
        kind = self.tiles.kind(side)
        if kind is self.kind:
            return side
        if self.kind is not Kind.FLOAT:
            return Apply(CASTS[self.kind], (side,))
        if self._narrow(side):
            return Apply("float", (side,))
        return side if kind is Kind.F32 else None

    def _narrow(self, value: Expr) -> bool:
        """Whether every floating type holds a value."""
        match value:
            case Name(name=name):
                bool_ = self.tiles.kind(value) is Kind.BOOL
                return bool_ or self.tiles.elements.get(name, "") in NARROW
            case Bool():
                return True
            case Int(value=number):
                return number <= 256
            case Unary(op="-", operand=operand):
                return self._narrow(operand)
            case Choice(then=then, other=other):
                return self._narrow(then) and self._narrow(other)
            case _:
                return self.tiles.kind(value) is Kind.BOOL

    def _cost(self, left: Expr, right: Expr) -> tuple[int, int, int]:
        """Axes of the larger operand and of both, and how many are of another kind.

        The first operand spans conditions that the second one does not.
        """
        first, second = self._axes(left), self._axes(right)
        for part in conjuncts(self.where):
            axes = self._axes(part)
            if axes & set(self.over) and not axes <= second:
                first |= axes
        others = sum(self.tiles.kind(side) is not self.kind for side in (left, right))
        return max(len(first), len(second)), len(first) + len(second), others

    def _axes(self, *exprs: Expr) -> Axes:
        return frozenset(self.tiles.axes_of(*exprs))

    def _factors(self, value: Expr) -> tuple[list[Factor], bool]:
        """The factors of a product of one kind, and whether it is negative."""
        found: list[Factor] = []
        minus = False
        stack = [(value, False)]
        while stack:
            expr, below = stack.pop()
            same = self.tiles.kind(expr) is self.kind
            match expr:
                case Binary(op="*", left=left, right=right) if same and not below:
                    stack += [(right, below), (left, below)]
                case Binary(op="/", left=left, right=right) if same and not below:
                    stack += [(right, True), (left, below)]
                case Unary(op="-", operand=operand) if same and not below:
                    minus = not minus
                    stack.append((operand, below))
                case _:
                    found.append(Factor(expr, self._axes(expr), below))
        return found, minus


def _goes(fits: tuple[bool, bool], takes: bool, side: int) -> bool:
    """Whether a factor goes to a side, which takes what fits both or does not."""
    return fits[side] and (takes or not fits[1 - side])


def _maximal(sets: Sequence[Axes]) -> list[Axes]:
    """Sets of axes that are not within others, each once."""
    once = list(dict.fromkeys(sets))
    return [s for s in once if not any(s < other for other in once)]


def _parts(count: int) -> Iterator[frozenset[int]]:
    """Ways to part so many things in two, each first the part with the first one."""
    for size in range(count - 1):
        for rest in itertools.combinations(range(1, count), size):
            yield frozenset((0, *rest))
