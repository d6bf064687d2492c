"""Expressions as exact sums of products: what shows two of them to be equal, without a guess.

A sum is a table from products to rational numbers. A product holds powers of atoms, and for each
base one exponential, whose exponent is a sum itself: `exp(a) * exp(b)` is `exp(a + b)` by adding
exponents, and no exponential is ever computed. Angles are exponentials of the base `i`, the
imaginary unit. What is no arithmetic is an atom: reads, conditions, other functions of a sum. A
root or a reciprocal of a sum with several terms is an atom, too, with its sum known, so that
`is_zero` can multiply by what stands below.

Two expressions are equal wherever both are defined if their difference `is_zero`; the other way
round this holds as long as atoms are independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, TypeAlias

from attnc.ir import printer
from attnc.ir.expr import Apply, Binary, Expr, Float, Int, Unary

# A key is nested tuples of strings and numbers: it can be hashed, compared and sorted.
Atom: TypeAlias = tuple[str, object]
"""What is not taken apart: its sort, and a name or the key of a sum."""

Product: TypeAlias = tuple[tuple[tuple[Atom, Fraction], ...], tuple[tuple[str, "Key"], ...]]
"""Atoms with their powers, and bases with their exponents."""

Key: TypeAlias = tuple[tuple[Product, Fraction], ...]
"""A sum as a sorted tuple."""

UNIT: Final[Product] = ((), ())
IMAGINARY: Final[Atom] = ("imaginary", "")
E: Final = "e"
ANGLE: Final = "i"
MAX_POWER: Final = 16
"""Highest power of a sum that is multiplied out."""

MAX_PRODUCTS: Final = 4096
"""Most products that multiplying two sums may take."""

MAX_BITS: Final = 4096
"""Most bits of a number that is raised to a power."""


class TooLarge(Exception):
    """Multiplied out, a sum would have too many terms."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A sum of products."""

    terms: Mapping[Product, Fraction] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The same for equal sums."""
        return tuple(sorted(self.terms.items()))

    @property
    def single(self) -> tuple[Product, Fraction] | None:
        """The product and its number, if there is one term."""
        return next(iter(self.terms.items())) if len(self.terms) == 1 else None

    @property
    def number(self) -> Fraction | None:
        """The number that this is, if it is one."""
        if not self.terms:
            return Fraction(0)
        one = self.single
        return one[1] if one is not None and one[0] == UNIT else None

    def __add__(self, other: Exact) -> Exact:
        found = dict(self.terms)
        for product, number in other.terms.items():
            _add(found, product, number)
        return Exact(found)

    def __neg__(self) -> Exact:
        return Exact({p: -x for p, x in self.terms.items()})

    def __sub__(self, other: Exact) -> Exact:
        return self + -other

    def __mul__(self, other: Exact) -> Exact:
        if len(self.terms) * len(other.terms) > MAX_PRODUCTS:
            raise TooLarge
        found: dict[Product, Fraction] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                for product, number in _multiplied(a, b).items():
                    _add(found, product, x * y * number)
        return Exact(found)

    def scaled(self, number: Fraction) -> Exact:
        """This times a number."""
        return Exact({p: x * number for p, x in self.terms.items()} if number else {})

    def is_zero(self) -> bool:
        """Whether this is 0 wherever it is defined."""
        found = self
        for _ in range(MAX_POWER):
            below = {
                atom: power
                for (atoms, _) in found.terms
                for atom, power in atoms
                if atom[0] == "sum" and power < 0
            }
            if not below:
                break
            atom = min(below)
            least = min(dict(atoms).get(atom, Fraction(0)) for atoms, _ in found.terms)
            up: Product = (((atom, Fraction(-(least.__floor__()))),), ())
            found = found * Exact({up: Fraction(1)})
        return not found.terms


def _add(terms: dict[Product, Fraction], product: Product, number: Fraction) -> None:
    new = terms.get(product, Fraction(0)) + number
    if new:
        terms[product] = new
    else:
        terms.pop(product, None)


def number(value: Fraction | int) -> Exact:
    """A number."""
    return Exact({UNIT: Fraction(value)} if value else {})


def atom(sort: str, name: object) -> Exact:
    """An atom alone."""
    return Exact({((((sort, name), Fraction(1)),), ()): Fraction(1)})


def exponential(base: str, exponent: Exact) -> Exact:
    """`base ** exponent`."""
    if not exponent.terms:
        return number(1)
    return Exact({((), ((base, exponent.key),)): Fraction(1)})


def _multiplied(a: Product, b: Product) -> Mapping[Product, Fraction]:
    """Two products as a sum: powers of sums that become whole are multiplied out."""
    powers = dict(a[0])
    for one, power in b[0]:
        powers[one] = powers.get(one, Fraction(0)) + power
    exponents = {base: Exact(dict(key)) for base, key in a[1]}
    for base, key in b[1]:
        exponents[base] = exponents.get(base, Exact()) + Exact(dict(key))
    sign = Fraction(1)
    whole: list[tuple[Atom, int]] = []
    numbers = Fraction(1)
    outside = [o for o, x in powers.items() if x >= 1 or not x or (x < 0 and o[0] == "number")]
    for one in outside:
        sort, power = one[0], powers[one]
        if sort == "imaginary":
            sign = -sign if power % 4 in (2, 3) else sign
            powers[one] = power % 2
        elif sort == "number":
            assert isinstance(one[1], Fraction)
            numbers *= one[1] ** power.__floor__()
            powers[one] = power - power.__floor__()
        elif sort == "sum" and power >= 1:
            whole.append((one, power.__floor__()))
            powers[one] = power - power.__floor__()
        if not powers[one]:
            del powers[one]
    if powers.get(IMAGINARY, Fraction(0)) < 0:
        sign, powers[IMAGINARY] = -sign, Fraction(1)  # 1 / i is -i
    rest: Product = (
        tuple(sorted(powers.items())),
        tuple(sorted((base, x.key) for base, x in exponents.items() if x.terms)),
    )
    found = Exact({rest: sign * numbers})
    for one, count in whole:
        found = found * _raised(_inside(one), count)
    return found.terms


def _inside(one: Atom) -> Exact:
    """The sum that an atom is a power of."""
    sort, key = one
    if sort == "number":
        assert isinstance(key, Fraction)
        return number(key)
    assert isinstance(key, tuple)
    return Exact(dict(key))


def _raised(base: Exact, count: int) -> Exact:
    if count > MAX_POWER:
        raise TooLarge
    found = number(1)
    for _ in range(count):
        found = found * base
    return found


def power(base: Exact, exponent: Fraction, *, positive: bool = True) -> Exact:
    """`base ** exponent`; a root of a product is that of its factors if they are `positive`."""
    if not exponent:
        return number(1)
    one = base.single
    scale = base.key[0][1] if base.terms else Fraction(0)
    bits = scale.numerator.bit_length() + scale.denominator.bit_length()
    if bits * abs(exponent) > MAX_BITS and scale != 1:
        raise TooLarge
    if one is not None and (exponent.denominator == 1 or positive or not one[0][0]):
        (atoms, exponents), scale = one
        powers = tuple((a, p * exponent) for a, p in atoms)
        bases = tuple((b, Exact(dict(k)).scaled(exponent).key) for b, k in exponents)
        raised = Exact(_multiplied((powers, bases), UNIT))  # multiplies out what became whole
        return raised * _number_raised(scale, exponent)
    if exponent.denominator == 1 and 0 < exponent <= MAX_POWER:
        return _raised(base, int(exponent))
    if not base.terms:
        return Exact({(((("zero", ""), exponent),), ()): Fraction(1)})
    scale = abs(base.key[0][1])
    if exponent.denominator == 1:
        scale = base.key[0][1]  # of any sign
    inner = base.scaled(1 / scale)
    found = Exact({(((("sum", inner.key), exponent),), ()): Fraction(1)})
    if exponent > 1:
        up = exponent.__floor__()
        rest: Product = (((("sum", inner.key), exponent - up),), ())
        found = Exact({rest: Fraction(1)}) * _raised(inner, up)
    return found * _number_raised(scale, exponent)


def _number_raised(scale: Fraction, exponent: Fraction) -> Exact:
    if exponent.denominator == 1:
        return number(scale ** int(exponent))
    if scale == 1:
        return number(1)
    up = exponent.__floor__()
    rest: Product = (((("number", scale), exponent - up),), ())
    return Exact({rest: scale**up})


@dataclass
class Reader:
    """Writes expressions as exact sums, remembering what it has read.

    What would be too large is an atom; `opaque` says that something was.

    With `positive` every atom counts as a positive number, so that roots are parted: enough for
    an identity, which holds everywhere if it holds there. Without it they are not.
    """

    positive: bool = True
    opaque: bool = False
    _known: dict[int, tuple[Expr, Exact]] = field(default_factory=dict)

    def __call__(self, expr: Expr) -> Exact:
        """An expression as an exact sum."""
        known = self._known.get(id(expr))
        if known is None:
            try:
                known = (expr, self._read(expr))
            except TooLarge:
                self.opaque = True
                known = (expr, atom("read", printer.expression(expr)))
            self._known[id(expr)] = known
        return known[1]

    def equal(self, left: Expr, right: Expr) -> bool | None:
        """Whether two expressions are equal wherever both are defined; None if that is not told."""
        try:
            if (self(left) - self(right)).is_zero():
                return True
        except TooLarge:
            return None
        return None if self.opaque else False

    def _read(self, expr: Expr) -> Exact:
        match expr:
            case Int(value=value):
                return number(value)
            case Float(value=value) if abs(value) < float("inf"):
                return number(rational(value))
            case Unary(op="-", operand=operand):
                return -self(operand)
            case Binary(op="+", left=left, right=right):
                return self(left) + self(right)
            case Binary(op="-", left=left, right=right):
                return self(left) - self(right)
            case Binary(op="*", left=left, right=right):
                return self(left) * self(right)
            case Binary(op="/", left=left, right=right):
                return self(left) * self._power(self(right), Fraction(-1))
            case (
                Binary(op="**", left=left, right=right)
                | Apply(function="pow", arguments=(left, right))
            ):
                exponent = self(right)
                if exponent.number is not None:
                    return self._power(self(left), exponent.number)
                return self._exponential(left, exponent)
            case Apply(function=name, arguments=(argument,)):
                return self._function(name, argument)
            case _:
                return atom("read", printer.expression(expr))

    def _function(self, name: str, argument: Expr) -> Exact:
        inner = self(argument)
        match name:
            case "exp":
                return exponential(E, inner)
            case "exp2":
                return exponential("2", inner)
            case "expm1":
                return exponential(E, inner) - number(1)
            case "sqrt":
                return self._power(inner, Fraction(1, 2))
            case "rsqrt":
                return self._power(inner, Fraction(-1, 2))
            case "sin" | "cos":
                return _angle(name, inner)
            case "abs":
                return _absolute(inner, positive=self.positive)
            case "detach":
                return inner
            case "log" | "log2" if self.positive and inner.single is not None:
                return _logarithm(name, inner)
            case _:
                return atom(f"function {name}", inner.key)

    def _exponential(self, base: Expr, exponent: Exact) -> Exact:
        known = self(base)
        if known.number is not None and known.number == 1:
            return number(1)
        text = str(known.number) if known.number is not None else printer.expression(base)
        return exponential(text, exponent)

    def _power(self, base: Exact, exponent: Fraction) -> Exact:
        return power(base, exponent, positive=self.positive)


def rational(value: float) -> Fraction:
    """A float as the simple fraction that it was written for, if that is the same float."""
    simple = Fraction(value).limit_denominator(1024)
    return simple if float(simple) == value else Fraction(value)


def _angle(name: str, inner: Exact) -> Exact:
    """By Euler's formula."""
    ahead, behind = exponential(ANGLE, inner), exponential(ANGLE, -inner)
    half = Fraction(1, 2)
    if name == "cos":
        return (ahead + behind).scaled(half)
    unit: Product = (((IMAGINARY, Fraction(1)),), ())
    return (behind - ahead).scaled(half) * Exact({unit: Fraction(1)})


def _logarithm(name: str, inner: Exact) -> Exact:
    """The logarithm of a product of positive factors."""
    assert inner.single is not None
    (atoms, exponents), scale = inner.single
    found = Exact()
    own = E if name == "log" else "2"
    for base, key in exponents:
        inside = Exact(dict(key))
        if base != own:
            inside = inside * atom(f"function {name}", base)
        found = found + inside
    for one, exponent in atoms:
        alone = Exact({(((one, Fraction(1)),), ()): Fraction(1)})
        found = found + atom(f"function {name}", alone.key).scaled(exponent)
    if scale != 1:
        found = found + atom(f"function {name}", number(scale).key)
    return found


def _absolute(inner: Exact, *, positive: bool) -> Exact:
    """`abs(inner)`, without a sign or a number inside; of a product of `positive` atoms itself."""
    if inner.number is not None:
        return number(abs(inner.number))
    scale = inner.key[0][1]
    unsigned = inner.scaled(1 / scale)
    one = unsigned.single
    if one is not None and (positive or all(a[0] == "function abs" for a, _ in one[0][0])):
        return unsigned.scaled(abs(scale))  # exponentials are positive, and so are these
    return atom("function abs", unsigned.key).scaled(abs(scale))


def equal(left: Expr, right: Expr) -> bool:
    """Whether two expressions are equal wherever both are defined, all atoms being positive."""
    return bool(Reader().equal(left, right))
