"""Number formats over whole arrays: units of rounding, what a format holds, the grid of numbers.

Numbers are held in float64. The widths are the interpreter's (`tests/oracle/interpreter.py`).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.oracle.interpreter import FORMATS

Array: TypeAlias = NDArray[Any]
"""Numbers in float64, and what NumPy makes of them."""
Mask: TypeAlias = NDArray[Any]
"""Bools."""

WIDTHS: Final = {**FORMATS, "f64": (53, -1022, float(np.finfo(np.float64).max))}
"""Significant bits, exponent of the least normal number, largest finite number."""
FLUSHED: Final = ("f32", "f64")
"""Formats that are computed in; a GPU may flush their subnormal results to zero."""
NAMES: Final = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}
"""Element types by the names of NumPy and ml_dtypes."""


def unit(name: str) -> float:
    """The largest relative error of one rounding to nearest.

    For f64 it is twice that, for the reference is itself computed in float64.
    """
    return 2.0 ** -WIDTHS[name][0] * (2 if name == "f64" else 1)


def least(name: str) -> float:
    """The absolute error of a rounding near zero: flushed, or half of the least subnormal."""
    bits, low, _ = WIDTHS[name]
    return 2.0**low if name in FLUSHED else 2.0 ** (low - bits)


def largest(name: str) -> float:
    """The largest finite number of a format."""
    return WIDTHS[name][2]


def _scaled(x: Array, name: str) -> tuple[Array, NDArray[np.int_]]:
    """`x` in units of its last place, and the exponent of that unit."""
    bits, low, _ = WIDTHS[name]
    _, exponent = np.frexp(x)
    last = np.maximum(exponent - 1, low) - (bits - 1)
    # In two steps, for a unit of the least subnormals has no finite inverse.
    return np.ldexp(np.ldexp(x, -(last // 2)), last // 2 - last), last


def rounded(x: Array, name: str) -> Array:
    """`x` to the nearest number of a format, ties to even."""
    if name == "f64":
        return x
    scaled, last = _scaled(x, name)
    near = np.ldexp(np.rint(scaled), last)
    beyond = np.nan if name == "f8e4m3" else np.copysign(np.inf, x)
    return np.where(np.abs(near) > largest(name), beyond, np.where(np.isfinite(x), near, x))


def holds(x: Array, name: str) -> Mask:
    """Where a format holds `x` exactly, whether or not subnormals are flushed."""
    bits, low, most = WIDTHS[name]
    size = np.abs(x)
    floor = 2.0**low if name in FLUSHED else 2.0 ** (low - bits + 1)
    fits = (size <= most) & ((size >= floor) | (size == 0))
    if name != "f64":
        scaled, _ = _scaled(np.where(fits, x, 0.0), name)
        fits &= scaled == np.rint(scaled)
    return np.asarray(fits | ~np.isfinite(x))


def grid(x: Array) -> Array:
    """The largest power of two of which `x` is a multiple; infinite for 0."""
    mantissa, exponent = np.frexp(np.where(np.isfinite(x), x, 0.0))
    whole = np.abs(np.ldexp(mantissa, 53)).astype(np.int64)
    step = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    return np.where(whole == 0, np.inf, step)


def power_of_two(x: Array) -> Mask:
    """Where multiplying and dividing by `x` only moves the exponent."""
    mantissa, _ = np.frexp(x)
    return np.asarray(np.abs(mantissa) == 0.5)
