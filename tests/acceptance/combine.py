"""Reductions, scans and rankings of estimates along axes, which stay with size 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final

import numpy as np

from attnc.ir.types import Kind
from tests.acceptance import formats
from tests.acceptance.estimate import (
    Budget,
    Estimate,
    added,
    converted,
    larger,
    multiplied,
    negated,
    smaller,
)
from tests.acceptance.formats import Array

LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PER_TILE: Final = 3
"""Units that a sum may lose for each tile: a change of the running state, and its product."""


def spread(x: Estimate, axes: Sequence[int], sizes: Sequence[int]) -> Estimate:
    """`x` with all its arrays of one shape, which spans these axes."""
    shape = list(np.broadcast_shapes(*(np.shape(a) for a in (x.value, x.error, x.size, x.present))))
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    value, error, size, present = (
        np.broadcast_to(a, shape) for a in (x.value, x.error, x.size, x.present)
    )
    return Estimate(value, error, size, present, x.kind)


def _contract(arrays: Sequence[Array], axes: Sequence[int], sizes: Sequence[int]) -> Array:
    """The sum over some axes of the product of arrays that broadcast."""
    rank = arrays[0].ndim
    operands, spanned = [], set()
    for array in arrays:
        wide = [i for i, n in enumerate(array.shape) if n != 1]
        spanned.update(wide)
        operands.append((array.reshape([array.shape[i] for i in wide]), wide))
    kept = [i for i in sorted(spanned) if i not in axes]
    text = ",".join("".join(LETTERS[i] for i in wide) for _, wide in operands)
    text += "->" + "".join(LETTERS[i] for i in kept)
    result = np.einsum(text, *(a for a, _ in operands), optimize=len(operands) > 2)
    shape = [1] * rank
    for i, n in zip(kept, np.shape(result), strict=True):
        shape[i] = n
    result = np.asarray(result).reshape(shape)
    for axis, size in zip(axes, sizes, strict=True):
        if axis not in spanned:
            result = result * size  # nothing depends on it
    return result


def contracted(
    factors: Sequence[Estimate],
    operands: Sequence[bool],
    axes: Sequence[int],
    sizes: Sequence[int],
    tiles: int,
    budget: Budget,
) -> Estimate:
    """The sum over some axes of a product.

    The factors of which `operands` is true meet in a matrix product where there are two or more of
    them, and may be rounded to the matrix type. Every partial sum loses a unit; as these losses
    have either sign, sqrt(number of terms) and a few units for each tile hold them.
    """
    kind, bits = factors[0].kind, formats.WIDTHS[budget.format(factors[0].kind)][0]
    matrix = sum(operands) >= 2
    errors, clean = [], []
    for x, operand in zip(factors, operands, strict=True):
        error = np.where(x.undecided, 0.0, x.error)
        if matrix and operand:
            kept = x.exact & formats.holds(x.value, budget.matrix)
            lost = formats.unit(budget.matrix) * x.size + formats.least(budget.matrix)
            lost = np.where(kept | ~x.present, 0.0, lost)
            error = error + (lost if budget.allows("operands") else 0.0)
            over = np.abs(x.value) > formats.largest(budget.matrix)
            error = np.where(over & np.isfinite(x.value), np.inf, error)
        errors.append(error)
        clean.append((error == 0) * 1.0)
    values = [np.where(x.present, x.value, 0.0) for x in factors]
    here = [x.present * 1.0 for x in factors]
    magnitudes = [np.abs(v) for v in values]

    def total(arrays: Sequence[Array]) -> Array:
        return _contract(arrays, axes, sizes)

    count = total(here)
    if all(np.isfinite(v).all() for v in values):
        value = total(values)
    else:  # 0 * inf is no number, where one of them is absent
        everywhere = reduce(np.logical_and, (x.present for x in factors))
        terms = np.where(everywhere, reduce(np.multiply, values), 0.0)
        value = total([terms])
        magnitudes = [np.where(np.isfinite(m), m, 0.0) for m in magnitudes]
    size = total([np.where(x.present & np.isfinite(x.size), x.size, 0.0) for x in factors])
    carried: Any = 0.0
    for i, error in enumerate(errors):
        if np.any(error):
            around = [
                m if j < i else m + np.where(np.isfinite(errors[j]), errors[j], 0.0)
                for j, m in enumerate(magnitudes)
            ]
            around[i] = np.where(factors[i].present, error, 0.0)
            carried = carried + total(around)
    least = [
        np.min(
            np.where(x.present, formats.grid(x.value), np.inf),
            axis=tuple(a for a in axes if np.shape(x.value)[a] != 1),
            keepdims=True,
            initial=np.inf,
        )
        for x in (spread(x, (), ()) for x in factors)
    ]
    step = reduce(np.multiply, least)
    whole = (size <= 2.0**bits * step) & (carried == 0) & (step >= formats.least("f32"))
    terms_ = np.maximum(count - 1, 0.0)
    real = sum(1 for x in factors if np.any(x.size != 1))
    units = np.where(terms_ > 0, np.sqrt(terms_) + PER_TILE * tiles, 0.0) + max(real - 1, 0)
    exact = whole | (count == 0) | (units == 0)
    error = carried + budget.lost(units * size, exact, kind, "sums")
    if sum(operands) > 2:
        short = whole & (size <= 2.0 ** formats.WIDTHS[budget.matrix][0] * step)
        lost = (sum(operands) - 2) * formats.unit(budget.matrix) * size
        error = error + np.where(short | (not budget.allows("operands")), 0.0, lost)
    if any(np.any(x.undecided) for x in factors):
        possible = total([(x.present | x.undecided) * 1.0 for x in factors])
        sure = total([(x.present & ~x.undecided) * 1.0 for x in factors])
        error = np.where(possible > sure, np.inf, error)
    over = np.isfinite(value) & (np.abs(value) + error > formats.largest(budget.format(kind)))
    error = np.where(np.isfinite(value), np.where(over | np.isnan(error), np.inf, error), 0.0)
    present = count > 0
    error = np.where(present | np.isinf(error), error, 0.0)
    return Estimate(np.where(present, value, 0.0), error, size * present, present, kind)


def counted(x: Estimate, axes: tuple[int, ...]) -> Estimate:
    """How many present points are true."""
    found = x.present & (x.value != 0)
    value = np.sum(found, axis=axes, keepdims=True, dtype=np.int64)
    unsure = np.any(x.undecided, axis=axes, keepdims=True)
    error = np.where(unsure, np.inf, 0.0)
    return Estimate(value, error, value * 1.0, np.ones_like(unsure), Kind.I64)


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
    return Estimate(value, error, np.abs(value * 1.0) * present, present, x.kind)


def totalled(x: Estimate, axes: tuple[int, ...], kind: Kind) -> Estimate:
    """A sum of integers."""
    value = np.sum(np.where(x.present, x.value, 0), axis=axes, keepdims=True, dtype=np.int64)
    value = value.astype(np.int32).astype(np.int64) if kind is Kind.I32 else value
    error = np.where(np.any(x.undecided, axis=axes, keepdims=True), np.inf, 0.0)
    present = np.any(x.present, axis=axes, keepdims=True)
    return Estimate(value * present, error, np.abs(value * 1.0), present, kind)


def product(a: Estimate, b: Estimate, budget: Budget) -> Estimate:
    """`a * b` of any one kind."""
    if a.kind.floating:
        return multiplied(a, b, budget)
    present = a.present & b.present
    value = np.where(present, a.value * b.value, 0)
    error = np.where(a.undecided | b.undecided, np.inf, 0.0)
    whole = Estimate(value, error, np.abs(value * 1.0), present, Kind.I64)
    return replace(converted(whole, a.kind, budget), kind=a.kind)


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


STEPS: Final[dict[str, Callable[[Estimate, Estimate, Budget], Estimate]]] = {
    "sum": added,
    "prod": product,
    "max": lambda a, b, budget: larger(a, b),
    "min": lambda a, b, budget: smaller(a, b),
}


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


def least(x: Estimate, axes: tuple[int, ...]) -> Estimate:
    """`min`."""
    return negated(greatest(negated(x), axes))
