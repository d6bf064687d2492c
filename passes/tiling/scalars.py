"""Uniform numbers as products of powers, so that what cancels is seen, and their sign is proved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from threading import Lock
from typing import Final
from weakref import WeakValueDictionary

from attnc.ir.expr import Apply, Binary, Expr, Float, Int, Name, Unary, Value, Var
from attnc.ir.tiles import Kernel, Plan
from attnc.ir.walk import subexpressions
from attnc.passes.running.build import power, product

LN2_ATOM: Final[Expr] = Apply("log", (Int(2),))
MOST: Final = 60.0
"""The largest magnitude of a unit's logarithm in base 2: no finite number leaves its type by more
than what was near the end of it already."""
EXTENT: Final = 63
"""The bits of an extent."""

_SCALARS: Final = WeakValueDictionary["tuple[object, ...]", "Scalar"]()
_LOCK: Final = Lock()


@dataclass(frozen=True, slots=True, eq=False, init=False, weakref_slot=True)
class Scalar:
    """`number * atom ** exponent * ...`, a number of the whole call; the number is not 0.

    What is equal is one object, as long as there is any: a search looks units up all the time.
    """

    number: Fraction
    powers: tuple[tuple[Expr, Fraction], ...]

    def __new__(  # noqa: PYI034 - nothing is derived from it
        cls, number: Fraction = Fraction(1), powers: tuple[tuple[Expr, Fraction], ...] = ()
    ) -> Scalar:
        with _LOCK:
            found = _SCALARS.get((number, powers))
            if found is None:
                found = _SCALARS[number, powers] = object.__new__(cls)
                object.__setattr__(found, "number", number)
                object.__setattr__(found, "powers", powers)
        return found

    def __reduce__(self) -> tuple[type[Scalar], tuple[object, ...]]:
        return Scalar, (self.number, self.powers)

    def __mul__(self, other: Scalar) -> Scalar:
        return _product(self, other)

    def __truediv__(self, other: Scalar) -> Scalar:
        return _product(self, other.inverse)

    @property
    def inverse(self) -> Scalar:
        """`1 / self`."""
        return _inverse(self)

    @property
    def whole(self) -> bool:
        """Whether it is a product of integers: then a quotient by it is rounded once."""
        exact = all(isinstance(a, Value) and e > 0 and e.denominator == 1 for a, e in self.powers)
        return exact and self.number.denominator == 1 and self.number > 0

    @property
    def exact(self) -> bool:
        """Whether it is a power of two: nothing is rounded when it multiplies."""
        a, b = abs(self.number.numerator), self.number.denominator
        return not self.powers and a & (a - 1) == 0 and b & (b - 1) == 0

    def bits(self, extents: Mapping[str, bool]) -> tuple[float, float] | None:
        """Bounds of the logarithm in base 2, if the scalar is proved to be positive.

        `extents` tells of each whether it is known not to be 0. One that may be is no factor; as a
        divisor it makes what it divides no number, in whatever unit that is held.
        """
        if self.number <= 0:
            return None
        low = high = math.log2(self.number)
        for atom, exponent in self.powers:
            match atom:
                case Value(name=name) if exponent > 0 and extents.get(name):
                    ends = (0.0, float(exponent) * EXTENT)
                case _ if exponent < 0 and _natural(atom, extents):
                    ends = (0.0, float(exponent) * EXTENT)
                case _:
                    fixed = _constant(atom)
                    if fixed is None:
                        return None
                    ends = (float(exponent) * math.log2(fixed),) * 2
            low, high = low + min(ends), high + max(ends)
        return low, high

    def positive(self, extents: Mapping[str, bool]) -> bool:
        """Whether it is proved to be positive, and neither very small nor very large."""
        found = self.bits(extents)
        return found is not None and found[0] >= -MOST and found[1] <= MOST

    @property
    def expression(self) -> Expr:
        """As an expression, the constants in it as one number."""
        return _expression(self)


@lru_cache(maxsize=4096)
def _product(a: Scalar, b: Scalar) -> Scalar:
    found = dict(a.powers)
    for atom, exponent in b.powers:
        found[atom] = found.get(atom, Fraction(0)) + exponent
    return Scalar(a.number * b.number, _powers(found))


@lru_cache(maxsize=1024)
def _inverse(a: Scalar) -> Scalar:
    return Scalar(1 / a.number, tuple((x, -e) for x, e in a.powers))


@lru_cache(maxsize=4096)
def _expression(scalar: Scalar) -> Expr:
    number = float(scalar.number)
    above: list[Expr] = []
    below: list[Expr] = []
    constants = False
    for atom, exponent in scalar.powers:
        fixed = _constant(atom)
        if fixed is None:
            (above if exponent > 0 else below).append(power(atom, abs(exponent)))
        else:
            number *= fixed ** float(exponent)
            constants = True
    integral = scalar.number.denominator == 1 and not constants and abs(number) < 2**31
    first: Expr = Int(int(abs(number))) if integral else Float(abs(number))
    found = product((first, *above))
    if below:
        found = Binary("/", found, product(below))
    return Unary("-", found) if number < 0 else found


ONE: Final = Scalar()
LN2: Final = Scalar(powers=((LN2_ATOM, Fraction(1)),))


NOTHING: Final[Mapping[str, Expr]] = {}


def _constant(atom: Expr) -> float | None:
    """The value of a factor that is a positive constant: a literal, or the logarithm of one."""
    match atom:
        case Int(value=value) | Float(value=value) if value > 0:
            return float(value)
        case Apply(function="log", arguments=(Int(value=value) | Float(value=value),)) if value > 1:
            return math.log(value)
        case _:
            return None


def _natural(atom: Expr, extents: Mapping[str, bool]) -> bool:
    """Whether a number is an integer that is not negative: 0, or 1 or more."""
    match atom:
        case Value(name=name):
            return name in extents
        case Int():
            return True
        case Binary(op="+" | "*" | "//", left=left, right=right):
            return _natural(left, extents) and _natural(right, extents)
        case Apply(function="max" | "min" | "ceildiv", arguments=arguments):
            return all(_natural(a, extents) for a in arguments)
        case _:
            return False


def scalar(expr: Expr, lets: Mapping[str, Expr] = NOTHING) -> Scalar | None:
    """A uniform expression as a product; None for 0 and for what is no finite number.

    `lets` are numbers that stand for what they are defined as.
    """
    match expr:
        case Value(name=name) if name in lets:
            return scalar(lets[name], lets)
        case Int(value=value) | Float(value=value):
            return Scalar(Fraction(value)) if value and math.isfinite(value) else None
        case Unary(op="-", operand=operand):
            found = scalar(operand, lets)
            return None if found is None else Scalar(-found.number, found.powers)
        case Binary(op="*" | "/" as op, left=left, right=right):
            a, b = scalar(left, lets), scalar(right, lets)
            if a is None or b is None:
                return None
            return a * b if op == "*" else a / b
        case Binary(op="**", left=left, right=Int(value=exponent)) if exponent > 0:
            found = scalar(left, lets)
            return None if found is None else _raised(found, Fraction(exponent))
        case Apply(function="sqrt" | "rsqrt" as name, arguments=(operand,)):
            found = scalar(operand, lets)
            half = Fraction(1, 2) if name == "sqrt" else Fraction(-1, 2)
            root = None if found is None else _raised(found, half)
            return root or Scalar(powers=((expr, Fraction(1)),))
        case Apply(function="float" | "f32" | "f64", arguments=(operand,)) if lets:
            return scalar(operand, lets)
        case _:
            return Scalar(powers=((expr, Fraction(1)),))


def _raised(base: Scalar, exponent: Fraction) -> Scalar | None:
    """A power of a product, if it is one of its factors' powers."""
    if exponent.denominator == 1:
        number = base.number**exponent.numerator
        return Scalar(number, tuple((a, e * exponent) for a, e in base.powers))
    if base.number <= 0 or any(not isinstance(a, Value | Binary) or e != 1 for a, e in base.powers):
        return None
    powers = {a: e * exponent for a, e in base.powers}
    number = Fraction(1)
    for part, sign in ((base.number.numerator, 1), (base.number.denominator, -1)):
        root = math.isqrt(part)
        if root * root == part:
            number *= Fraction(root) ** (sign if exponent > 0 else -sign)
        else:
            powers[Int(part)] = sign * exponent
    return Scalar(number, _powers(powers))


def _powers(found: Mapping[Expr, Fraction]) -> tuple[tuple[Expr, Fraction], ...]:
    return tuple(sorted(((a, e) for a, e in found.items() if e), key=repr))


def uniform(expr: Expr, values: Iterable[str]) -> bool:
    """Whether an expression holds nothing but numbers of the whole call."""
    known = set(values)
    for node in subexpressions(expr):
        match node:
            case Name() | Var() | Apply(function="low" | "high" | "tile" | "within"):
                return False
            case Value(name=name) if name not in known:
                return False
            case _:
                pass
    return True


def extents(plan: Plan, kernel: Kernel) -> dict[str, bool]:
    """The extents, and of each whether it is not 0 where the kernel runs at all."""
    names = {s for i in plan.inputs for s in i.sizes if isinstance(s, str)}
    names |= {p.name for p in plan.parameters if p.type == "int" and p.name.isupper()}
    runs = {a.size for a in kernel.axes if a.kind == "par"}
    found = {name: Value(name) in runs for name in sorted(names)}
    for let in plan.lets:
        if _natural(let.value, found):
            found[let.name] = Value(let.name) in runs
    return found
