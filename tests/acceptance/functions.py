"""How errors pass through the built-in functions, and what each loses of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

import numpy as np

from tests.acceptance import formats
from tests.acceptance.estimate import (
    Budget,
    Estimate,
    contagious,
    divided,
    floored,
    known,
    larger,
    nearest,
    negated,
    smaller,
)
from tests.acceptance.formats import Array, Mask

FUNCTION: Final = 4
"""Units that an elementary function may lose: two ulps, as the fast ones of GPUs do."""
ERF: Final = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function."""
    return np.asarray(ERF(x), np.float64)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


@dataclass(frozen=True)
class Rule:
    """A function of floats.

    `carried(x, e, y)` bounds how far `y = value(x)` moves when `x` moves by `e`; `lost(x, y)` are
    the units of rounding that an execution may lose; `exact(x)` are the points that none misses.
    """

    value: Callable[[Array], Array]
    carried: Callable[[Array, Array, Array], Array]
    lost: Callable[[Array, Array], Array]
    exact: Callable[[Array], Mask] = lambda x: x == 0


def _curved(slope: Callable[[Array, Array], Array], bend: float) -> Any:
    """Propagation by the slope at `x`, where the second derivative is at most `2 * bend`."""
    return lambda x, e, y: e * np.abs(slope(x, y)) + bend * e**2


def _relative(x: Array, y: Array) -> Array:
    return FUNCTION * np.abs(y)


def _absolute(x: Array, y: Array) -> Array:
    """Units of 1 where the result is small: it may be the difference of larger numbers."""
    return FUNCTION * np.maximum(np.abs(y), 1.0)


def _exponential(x: Array, y: Array) -> Array:
    """The base is changed by a product with the argument, which is rounded."""
    return np.where(y == 0, 0.0, (FUNCTION + np.abs(x)) * np.abs(y))


def _logarithm(of: Callable[[Array], Array], scale: float = 1.0) -> Any:
    def carried(x: Array, e: Array, y: Array) -> Array:
        share = np.where(of(x) > e, e / of(x), 1.0)
        return -scale * np.log1p(-share)  # infinite where the argument may be 0

    return carried


def _grown(x: Array, e: Array, y: Array) -> Array:
    """exp(x + e) - exp(x), which is nothing where x is far below 0, however large the error is."""
    return np.exp(x + e) * -np.expm1(-e)


def _sigmoid(x: Array, e: Array, y: Array) -> Array:
    return np.minimum(y, sigmoid(-x)) * np.expm1(e)


def _gauss(x: Array) -> Array:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _cumulative(x: Array) -> Array:
    return (1 + erf(x / math.sqrt(2))) / 2


def _sine_units(x: Array, y: Array) -> Array:
    return FUNCTION + np.abs(x)


RULES: Final = {
    "exp": Rule(np.exp, _grown, _exponential),
    "exp2": Rule(
        np.exp2,
        lambda x, e, y: _grown(x * math.log(2), e * math.log(2), y),
        _relative,
        lambda x: x == np.rint(x),
    ),
    "expm1": Rule(
        np.expm1,
        _grown,
        lambda x, y: FUNCTION * np.abs(y) + np.abs(x) * np.exp(x),
    ),
    "log": Rule(np.log, _logarithm(lambda x: x), _absolute, lambda x: x == 1),
    "log2": Rule(
        np.log2, _logarithm(lambda x: x, 1 / math.log(2)), _absolute, formats.power_of_two
    ),
    "log1p": Rule(np.log1p, _logarithm(lambda x: 1 + x), _relative),
    "sqrt": Rule(
        np.sqrt,
        lambda x, e, y: np.where(x >= e, e / (y + np.sqrt(np.maximum(x - e, 0.0))), np.inf),
        _relative,
        lambda x: (x == 0) | (formats.power_of_two(x) & (np.frexp(x)[1] % 2 == 1)),
    ),
    "tanh": Rule(np.tanh, _curved(lambda x, y: 1 - y**2, 0.39), _absolute),
    "sigmoid": Rule(sigmoid, _sigmoid, _exponential),
    "silu": Rule(
        lambda x: x * sigmoid(x),
        _curved(lambda x, y: sigmoid(x) + y * sigmoid(-x), 0.25),
        _exponential,
    ),
    "gelu": Rule(
        lambda x: x * _cumulative(x),
        _curved(lambda x, y: _cumulative(x) + x * _gauss(x), 0.4),
        lambda x, y: FUNCTION * np.abs(x),
    ),
    "softplus": Rule(
        lambda x: np.logaddexp(x, 0.0),
        lambda x, e, y: e * np.minimum(1.0, sigmoid(x) * np.exp(e)),
        _absolute,
        lambda x: np.zeros(np.shape(x), np.bool_),
    ),
    "erf": Rule(
        erf, _curved(lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-(x**2)), 0.49), _absolute
    ),
    "sin": Rule(np.sin, _curved(lambda x, y: np.cos(x), 0.5), _sine_units),
    "cos": Rule(np.cos, _curved(lambda x, y: np.sin(x), 0.5), _sine_units),
}
ALWAYS: Final = {"erf": 2.0, "tanh": 2.0, "sigmoid": 1.0, "sin": 2.0, "cos": 2.0}
"""No two results are farther apart than this."""


def applied(name: str, x: Estimate, budget: Budget) -> Estimate:
    """A built-in function of one float."""
    if name == "rsqrt":
        one = known(np.ones_like(x.value), x.kind, x.present)
        return divided(one, applied("sqrt", x, budget), budget)
    rule = RULES[name]
    value = rule.value(x.value)
    carried = np.minimum(rule.carried(x.value, x.error, value), ALWAYS.get(name, np.inf))
    carried = np.where(x.exact, 0.0, carried)
    carried = np.where(x.undecided, np.inf, carried)
    settled = x.exact & rule.exact(x.value) & formats.holds(value, budget.format(x.kind))
    error = carried + budget.lost(rule.lost(x.value, value), settled, x.kind, "functions")
    limit = budget.format(x.kind)
    return contagious(value, error, np.abs(value), x.kind, x, limit=limit)


def power(a: Estimate, b: Estimate, literal: int | None, budget: Budget) -> Estimate:
    """`a ** b` of floats; `literal` is an exponent written as an integer."""
    name = budget.format(a.kind)
    value = np.power(a.value, b.value)
    size = np.abs(value)
    if literal is not None:
        high = np.power(np.abs(a.value) + a.error, literal)
        slope = np.abs(literal * np.power(np.abs(a.value) + a.error, literal - 1)) * a.error
        carried = np.maximum(np.abs(high - size), slope)
        if literal < 0:
            room = np.abs(a.value) - a.error
            slope = np.abs(literal * np.power(np.where(room > 0, room, 1), literal - 1)) * a.error
            carried = np.where(room > 0, slope, np.inf)
        units = max(abs(literal), 1) * size + (FUNCTION * size if literal < 0 else 0.0)
        step = np.power(formats.grid(a.value), max(literal, 0))
        short = size <= 2.0 ** formats.WIDTHS[name][0] * step
        exact = a.exact & short & formats.holds(value, name) & (literal >= 0)
    else:
        logarithm = np.log(np.abs(a.value))
        share = np.where(np.abs(a.value) > a.error, a.error / np.abs(a.value), 1.0)
        moved = -np.abs(b.value) * np.log1p(-share) + np.abs(logarithm) * b.error * (1 + share)
        grown = _grown(b.value * logarithm, moved, size)
        carried = np.where(a.value > 0, grown, size * np.expm1(moved))
        units = np.where(size == 0, 0.0, (FUNCTION + 3 * np.abs(b.value * logarithm)) * size)
        exact = (b.value == 0) | (a.exact & ((a.value == 0) | (a.value == 1) | (b.value == 1)))
        exact &= b.exact
    carried = np.where(a.exact & b.exact, 0.0, carried)
    error = carried + budget.lost(units, exact, a.kind, "functions")
    return contagious(value, error, size, a.kind, a, b, limit=name)


def function(name: str, xs: list[Estimate], budget: Budget) -> Estimate:
    """A built-in function of floats of one kind."""
    x = xs[0]
    match name:
        case "max" | "min":
            return reduce(larger if name == "max" else smaller, xs)
        case "clip":
            return smaller(larger(x, xs[1]), xs[2])
        case "relu":
            zero = known(np.zeros_like(x.value), x.kind, np.ones_like(x.present))
            return larger(x, zero)
        case "abs":
            return replace(x, value=np.abs(x.value))
        case "sign":
            return sign(x)
        case "floor":
            return floored(x)
        case "ceil":
            return negated(floored(negated(x)))
        case "round":
            return nearest(x)
        case "pow":
            return power(x, xs[1], None, budget)
        case _:
            return applied(name, x, budget)


def sign(x: Estimate) -> Estimate:
    """-1, 0 or 1."""
    error = np.where(~x.exact & (np.abs(x.value) <= x.error), np.inf, 0.0)
    return contagious(np.sign(x.value), error, np.abs(np.sign(x.value)), x.kind, x)


def remainder(a: Estimate, b: Estimate, budget: Budget) -> tuple[Estimate, Estimate]:
    """`a // b` and `a % b` of floats."""
    quotient, rest = np.floor_divide(a.value, b.value), np.remainder(a.value, b.value)
    span = np.abs(b.value)
    reach = a.error + np.abs(quotient) * b.error
    steps = (np.abs(rest) <= reach) | (span - np.abs(rest) <= reach)
    certain = a.exact & b.exact
    error = np.where(~certain & steps, np.inf, 0.0)
    whole = contagious(quotient, error, np.abs(quotient), a.kind, a, b)
    lost = budget.lost(np.abs(a.value), certain, a.kind, "operations")
    carried = np.where(certain, 0.0, np.where(steps, np.inf, reach))
    return whole, contagious(rest, carried + lost, np.abs(rest), a.kind, a, b)
