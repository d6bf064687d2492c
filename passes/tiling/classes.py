"""What kind of number an expression may be: an abstract evaluation that knows infinities.

A class is a set of kinds, as bits: minus infinity, negative, zero, positive, infinity, NaN; true,
false. `exp` of minus infinity is zero, minus infinity less a finite number is minus infinity, zero
times a finite number is zero: what is filled stays known through a computation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Final

from attnc.ir.cascade import Constant

NINF, NEG, ZERO, POS, PINF, NAN, YES, NO = (1 << i for i in range(8))
NUMBER: Final = NINF | NEG | ZERO | POS | PINF | NAN
WHOLE: Final = NEG | ZERO | POS
TRUTH: Final = YES | NO
EXACT: Final = (NINF, ZERO, PINF)
"""Kinds of one number alone."""
_ORDER: Final = (NINF, NEG, ZERO, POS, PINF)


def of_constant(value: Constant) -> int:
    """The class of a literal."""
    if isinstance(value, bool):
        return YES if value else NO
    if value != value:
        return NAN
    if value in (float("inf"), float("-inf")):
        return PINF if value > 0 else NINF
    return ZERO if value == 0 else POS if value > 0 else NEG


def bits(kinds: int) -> Iterator[int]:
    """The single kinds of a class."""
    return (1 << i for i in range(8) if kinds >> i & 1)


def each(kinds: int, one: Callable[[int], int]) -> int:
    """A function of a class, kind by kind."""
    found = 0
    for kind in bits(kinds):
        found |= one(kind)
    return found


def pairs(a: int, b: int, one: Callable[[int, int], int]) -> int:
    """A function of two classes, kind by kind."""
    found = 0
    for x, y in product(bits(a), bits(b)):
        found |= one(x, y)
    return found


def negative(a: int) -> int:
    """The class of `-a`."""
    swap = {NINF: PINF, NEG: POS, POS: NEG, PINF: NINF}
    return each(a, lambda k: swap.get(k, k))


def magnitude(a: int) -> int:
    """The class of `abs(a)`."""
    return each(a, lambda k: {NINF: PINF, NEG: POS}.get(k, k))


@cache
def added(a: int, b: int) -> int:
    """The class of `a + b`; a sum of finite numbers may overflow."""

    def one(x: int, y: int) -> int:
        if NAN in (x, y) or {x, y} == {NINF, PINF}:
            return NAN
        if x in (NINF, PINF, y) or y == ZERO:
            over = {NEG: NINF, POS: PINF}.get(x, 0) if x == y else 0
            return x | over
        if y in (NINF, PINF) or x == ZERO:
            return y
        return WHOLE

    return pairs(a, b, one)


@cache
def multiplied(a: int, b: int) -> int:
    """The class of `a * b`; a product of finite numbers may be too large or too small."""

    def one(x: int, y: int) -> int:
        infinite = {x, y} & {NINF, PINF}
        if NAN in (x, y) or (infinite and ZERO in (x, y)):
            return NAN
        if ZERO in (x, y):
            return ZERO
        positive = (x in (POS, PINF)) == (y in (POS, PINF))
        if infinite:
            return PINF if positive else NINF
        return ZERO | (POS | PINF if positive else NEG | NINF)

    return pairs(a, b, one)


@cache
def divided(a: int, b: int) -> int:
    """The class of `a / b`, where a zero may have either sign."""

    def one(y: int) -> int:
        if y == ZERO:
            return NINF | PINF
        if y in (NINF, PINF):
            return ZERO
        return y | ZERO | (PINF if y == POS else NINF if y == NEG else 0)

    def two(x: int, y: int) -> int:
        if x in (NINF, PINF) and y in (NINF, PINF):
            return NAN
        if x == y == ZERO:
            return NAN
        if x == ZERO:
            return NAN if y == NAN else ZERO
        return multiplied(x, one(y))

    return pairs(a, b, two)


def greatest(a: int, b: int) -> int:
    """The class of `max(a, b)`; NaN is passed on."""

    def one(x: int, y: int) -> int:
        if NAN in (x, y):
            return NAN
        return max(x, y)

    return pairs(a, b, one)


def least(a: int, b: int) -> int:
    """The class of `min(a, b)`."""
    return negative(greatest(negative(a), negative(b)))


def exponential(a: int) -> int:
    """The class of a number above 1 to that power."""
    table = {NINF: ZERO, NEG: ZERO | POS, ZERO: POS, POS: POS | PINF}
    return each(a, lambda k: table.get(k, k))


_NARROW: Final = {NEG: NINF | NEG | ZERO, POS: ZERO | POS | PINF}
_TABLES: Final[dict[str, dict[int, int]]] = {
    "exp": {NINF: ZERO, NEG: ZERO | POS, ZERO: POS, POS: POS | PINF},
    "exp2": {NINF: ZERO, NEG: ZERO | POS, ZERO: POS, POS: POS | PINF},
    "expm1": {NINF: NEG, POS: POS | PINF},
    "log": {NINF: NAN, NEG: NAN, ZERO: NINF, POS: WHOLE},
    "log2": {NINF: NAN, NEG: NAN, ZERO: NINF, POS: WHOLE},
    "sqrt": {NINF: NAN, NEG: NAN},
    "relu": {NINF: ZERO, NEG: ZERO},
    "sigmoid": {NINF: ZERO, NEG: ZERO | POS, ZERO: POS, PINF: POS},
    "tanh": {NINF: NEG, PINF: POS},
    "abs": {NINF: PINF, NEG: POS},
    "detach": {},
    "rounded": _NARROW,
    "float": _NARROW,
    "f16": _NARROW,
    "bf16": _NARROW,
    "f32": _NARROW,
    "f64": {},
}
"""Functions of one number: what is not listed stays as it is."""


def applied(function: str, a: int) -> int:
    """The class of a function of one number; anything where nothing is known of it."""
    table = _TABLES.get(function)
    return NUMBER if table is None or a & TRUTH else each(a, lambda k: table.get(k, k))


def compared(op: str, a: int, b: int) -> int:
    """Whether two numbers compare like that: yes, no, or either."""
    if (a | b) & TRUTH:
        return TRUTH

    def one(x: int, y: int) -> int:
        if NAN in (x, y):
            return YES if op == "!=" else NO
        if x == y and x not in EXACT:
            return TRUTH
        truth = {
            "==": x == y,
            "!=": x != y,
            "<": x < y,
            "<=": x <= y,
            ">": x > y,
            ">=": x >= y,
        }[op]
        return YES if truth else NO

    return pairs(a, b, one)
