"""Sorting estimates: which index is at which place, and where that is not decided."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnc.ir.types import Kind
from tests.acceptance.estimate import Estimate
from tests.acceptance.formats import Array


def ranked(x: Estimate, axis: int, sign: int) -> Estimate:
    """The present indices along an axis: NaN first, then the largest `sign * x`, the rest absent.

    A place is undecided where a legal execution may find another index there.
    """
    value = sign * np.asarray(x.value, np.float64)
    error = x.error
    key = np.where(np.isnan(value), np.inf, value)
    nan = np.isnan(value)
    order = np.lexsort((-key, ~nan, ~x.present), axis=axis)
    key, error, present, doubtful, nan = (
        np.take_along_axis(a, order, axis)
        for a in (key, error, x.present, x.undecided & ~x.present, nan)
    )
    high, low = np.where(present, key + error, -np.inf), np.where(present, key - error, np.inf)
    after = np.flip(np.maximum.accumulate(np.flip(high, axis), axis), axis)
    before = np.minimum.accumulate(low, axis)
    after, before = _shifted(after, axis, 1, -np.inf), _shifted(before, axis, -1, np.inf)
    blurred = np.flip(np.maximum.accumulate(np.flip(error * present, axis), axis), axis)
    blurred = np.maximum(_shifted(blurred, axis, 1, 0.0), error)
    earlier = _shifted(np.maximum.accumulate(error * present, axis), axis, -1, 0.0)
    close = (after >= low) & (blurred > 0) | (before <= high) & (np.maximum(earlier, error) > 0)
    unsure = (close & present & ~nan) | np.any(doubtful, axis, keepdims=True)
    index = np.where(present, order, 0).astype(np.int64)
    return Estimate(index, np.where(unsure, np.inf, 0.0), index * 1.0, present, Kind.I64)


def _shifted(x: Array, axis: int, by: int, edge: float) -> Array:
    """`x` moved against an axis by one place, with `edge` where nothing comes in."""
    if x.shape[axis] == 0:
        return x
    moved = np.roll(x, -by, axis)
    place: list[Any] = [slice(None)] * x.ndim
    place[axis] = -1 if by > 0 else 0
    moved[tuple(place)] = edge
    return moved
