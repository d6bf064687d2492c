"""Reductions and scans of estimates along axes, which stay with size 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from attnc.ir.types import Kind
from tests.acceptance import formats
from tests.acceptance.contraction import PER_TILE
from tests.acceptance.estimate import (
    Budget,
    Estimate,
    negated,
)
from tests.acceptance.formats import Array


def spread(x: Estimate, axes: Sequence[int], sizes: Sequence[int]) -> Estimate:
    """`x` with all its arrays of one shape, which spans these axes."""
    arrays = (x.value, x.error, x.size, x.present)
    shape = list(np.broadcast_shapes(*(np.shape(a) for a in arrays)))
    for axis, extent in zip(axes, sizes, strict=True):
        shape[axis] = extent
    value, error, size, present = (np.broadcast_to(a, shape) for a in arrays)
    return Estimate(value, error, size, present, x.kind)


def counted(x: Estimate, axes: tuple[int, ...]) -> Estimate:
    """How many present points are true."""
    found = x.present & (x.value != 0)
    value = np.sum(found, axis=axes, keepdims=True, dtype=np.int64)
    unsure = np.any(x.undecided, axis=axes, keepdims=True)
    error = np.where(unsure, np.inf, 0.0)
    return Estimate(value, error, np.asarray(value * 1.0), np.ones_like(unsure), Kind.I64)


def quantified(x: Estimate, axes: tuple[int, ...], deciding: bool) -> Estimate:
    """`any` (deciding: true) or `all` (false)."""
    decides = x.present & (x.value == deciding)
    sure = np.any(decides & ~x.undecided, axis=axes, keepdims=True)
    unsure = np.any(x.undecided, axis=axes, keepdims=True) & ~sure
    found = np.any(decides, axis=axes, keepdims=True)
    value = found if deciding else ~found
    error = np.where(unsure, np.inf, 0.0)
    return Estimate(value, error, value * 1.0, np.ones_like(found), Kind.BOOL)


def greatest(x: Estimate, axes: tuple[int, ...]) -> Estimate:
    """`max`: a point counts only as far as its error reaches above the greatest."""
    floor = -np.inf if x.kind.floating else np.iinfo(np.int64).min
    reached = np.where(x.present, x.value, floor)
    value = np.max(reached, axis=axes, keepdims=True, initial=floor)
    gap = np.subtract(value, reached, dtype=np.float64)
    gap = np.where(np.isnan(gap), 0.0, gap)
    error = np.where(x.present | x.undecided, x.error - np.where(x.undecided, 0.0, gap), 0.0)
    error = np.max(np.maximum(error, 0.0), axis=axes, keepdims=True, initial=0.0)
    present = np.any(x.present, axis=axes, keepdims=True)
    value = np.where(present, value, np.zeros((), value.dtype))
    error = np.where(np.isfinite(value) | np.isinf(error), error, 0.0)
    size = np.asarray(np.abs(value * 1.0) * present)
    return Estimate(value, error, size, present, x.kind)


def least(x: Estimate, axes: tuple[int, ...]) -> Estimate:
    """`min`."""
    return negated(greatest(negated(x), axes))


def totalled(x: Estimate, axes: tuple[int, ...], kind: Kind) -> Estimate:
    """A sum of integers."""
    value = np.sum(np.where(x.present, x.value, 0), axis=axes, keepdims=True, dtype=np.int64)
    value = value.astype(np.int32).astype(np.int64) if kind is Kind.I32 else value
    error = np.where(np.any(x.undecided, axis=axes, keepdims=True), np.inf, 0.0)
    present = np.any(x.present, axis=axes, keepdims=True)
    return Estimate(value * present, error, np.abs(value * 1.0), present, kind)


def folded(
    x: Estimate, axis: int, step: Callable[[Estimate, Estimate], Estimate], reverse: bool = False
) -> list[Estimate]:
    """The running combination of the present points along an axis, one estimate per point."""
    extent = x.present.shape[axis]
    order = range(extent - 1, -1, -1) if reverse else range(extent)
    found: list[Estimate] = []
    for i in order:
        point = _at(x, axis, i)
        found.append(point if not found else _joined(found[-1], point, step))
    return found[::-1] if reverse else found


def _at(x: Estimate, axis: int, i: int) -> Estimate:
    value, error, size, present = (
        np.take(a, [i], axis) for a in (x.value, x.error, x.size, x.present)
    )
    return Estimate(value, error, size, present, x.kind)


def _joined(a: Estimate, b: Estimate, step: Callable[[Estimate, Estimate], Estimate]) -> Estimate:
    """The combination of two points of which either may be absent."""
    two = step(a, b)
    neither = a.undecided & ~a.present | b.undecided & ~b.present
    value = np.where(two.present, two.value, np.where(a.present, a.value, b.value))
    error = np.where(two.present, two.error, np.where(a.present, a.error, b.error))
    size = np.where(two.present, two.size, np.where(a.present, a.size, b.size))
    error = np.where(neither, np.inf, error)
    return Estimate(value, error, size, a.present | b.present, a.kind)


def stacked(items: Sequence[Estimate], axis: int) -> Estimate:
    """Estimates along an axis."""
    value, error, size, present = (
        np.concatenate(arrays, axis)
        for arrays in zip(*((x.value, x.error, x.size, x.present) for x in items), strict=True)
    )
    return Estimate(value, error, size, present, items[0].kind)


def summed_up(x: Estimate, axis: int, reverse: bool, tiles: int, budget: Budget) -> Estimate:
    """`cumsum` of floats."""

    def along(a: Array) -> Array:
        a = np.where(x.present, a, 0.0) if a is not x.error else a
        return np.flip(np.cumsum(np.flip(a, axis), axis), axis) if reverse else np.cumsum(a, axis)

    value, size, count = along(x.value), along(x.size), along(x.present * 1.0)
    error = along(x.error)
    step = np.min(
        np.where(x.present, formats.grid(x.value), np.inf), axis, keepdims=True, initial=np.inf
    )
    whole = (size <= 2.0 ** formats.WIDTHS[budget.format(x.kind)][0] * step) & (error == 0)
    terms = np.maximum(count - 1, 0.0)
    units = np.where(terms > 0, np.sqrt(terms) + PER_TILE * tiles, 0.0) * size
    error = error + budget.lost(units, whole | (terms == 0), x.kind, "sums")
    error = np.where(np.isnan(error), np.inf, np.where(np.isfinite(value), error, 0.0))
    return Estimate(value, error, size, count > 0, x.kind)
