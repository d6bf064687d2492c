"""Sums of products: the value, what a legal execution may lose, and when it loses nothing.

Every partial sum loses a unit of its size. These losses have either sign, and sqrt(number of terms)
units hold them; a few more for each tile pay for the changes of a running state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final

import numpy as np

from tests.acceptance import formats
from tests.acceptance.estimate import Budget, Estimate
from tests.acceptance.formats import Array, Mask

LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PER_TILE: Final = 3
"""Units that a sum may lose for each tile: a change of the running state, and its product."""


def contracted(
    factors: Sequence[Estimate],
    operands: Sequence[bool],
    axes: Sequence[int],
    sizes: Sequence[int],
    tiles: int,
    budget: Budget,
) -> Estimate:
    """The sum over some axes, which have these sizes, of a product of one floating kind.

    The factors of which `operands` is true meet in a matrix product where there are two or more of
    them, and may be rounded to the matrix type.
    """
    kind, name = factors[0].kind, budget.format(factors[0].kind)
    if sum(operands) >= 2:
        factors = [
            _operand(x, budget) if operand else x
            for x, operand in zip(factors, operands, strict=True)
        ]

    def total(arrays: Sequence[Array]) -> Array:
        return _contract(arrays, axes, sizes)

    count = total([x.present * 1.0 for x in factors])
    value = _value(factors, total)
    size = total([np.where(x.present & np.isfinite(x.size), x.size, 0.0) for x in factors])
    carried = _carried(factors, total)
    step = reduce(np.multiply, (_least_grid(x, axes) for x in factors))
    clean = (carried == 0) & (step >= formats.least(name))
    terms = np.maximum(count - 1, 0.0)
    products = sum(1 for x in factors if np.any(x.size != 1)) - 1
    units = np.where(terms > 0, np.sqrt(terms) + PER_TILE * tiles, 0.0) + max(products, 0)
    exact = clean & (size <= 2.0 ** formats.WIDTHS[name][0] * step)
    error = carried + budget.lost(units * size, exact | (units == 0) | (count == 0), kind, "sums")
    if sum(operands) > 2 and budget.allows("operands"):  # products of some are operands themselves
        exact = clean & (size <= 2.0 ** formats.WIDTHS[budget.matrix][0] * step)
        lost = (sum(operands) - 2) * formats.unit(budget.matrix) * size
        error = error + np.where(exact, 0.0, lost)
    error = np.where(_undecided(factors, total), np.inf, error)
    over = np.isnan(error) | (np.abs(value) + error > formats.largest(name))
    error = np.where(np.isfinite(value), np.where(over, np.inf, error), 0.0)
    present = count > 0
    error = np.where(present | np.isinf(error), error, 0.0)
    return Estimate(np.where(present, value, 0.0), error, size * present, present, kind)


def _operand(x: Estimate, budget: Budget) -> Estimate:
    """A factor rounded to the matrix type."""
    if not budget.allows("operands"):
        return x
    kept = (x.exact & formats.holds(x.value, budget.matrix)) | ~x.present
    lost = formats.unit(budget.matrix) * x.size + formats.least(budget.matrix)
    over = np.isfinite(x.value) & (np.abs(x.value) > formats.largest(budget.matrix))
    error = x.error + np.where(kept, 0.0, np.where(over, np.inf, lost))
    return replace(x, error=error)


def _value(factors: Sequence[Estimate], total: Any) -> Array:
    """The sum itself; 0 * inf is no number, also where another factor is absent."""
    values = [np.where(x.present, x.value, 0.0) for x in factors]
    if all(np.isfinite(v).all() for v in values):
        return np.asarray(total(values))
    everywhere = reduce(np.logical_and, (x.present for x in factors))
    return np.asarray(total([np.where(everywhere, reduce(np.multiply, values), 0.0)]))


def _carried(factors: Sequence[Estimate], total: Any) -> Array:
    """What the errors of the factors make of the sum: one of them moved at a time, those before it
    at their values, those behind it at the most they can be."""
    sizes = [np.where(x.present & np.isfinite(x.value), np.abs(x.value), 0.0) for x in factors]
    errors = [np.where(x.present & ~x.undecided, x.error, 0.0) for x in factors]
    found: Any = 0.0
    for i, error in enumerate(errors):
        if np.any(error):
            behind = [s + e for s, e in zip(sizes[i + 1 :], errors[i + 1 :], strict=True)]
            found = found + total([*sizes[:i], error, *behind])
    return np.asarray(found)


def _undecided(factors: Sequence[Estimate], total: Any) -> Mask:
    """Where a term that may be there is not sure."""
    if not any(np.any(x.undecided) for x in factors):
        return np.zeros((), np.bool_)
    possible = total([(x.present | x.undecided) * 1.0 for x in factors])
    sure = total([(x.present & ~x.undecided) * 1.0 for x in factors])
    return np.asarray(possible > sure)


def _least_grid(x: Estimate, axes: Sequence[int]) -> Array:
    """The power of two of which all present points along some axes are multiples."""
    steps = np.where(x.present, formats.grid(x.value), np.inf)
    along = tuple(a for a in axes if steps.shape[a] != 1)
    return np.asarray(np.min(steps, axis=along, keepdims=True, initial=np.inf))


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
    found = np.einsum(text, *(a for a, _ in operands), optimize=len(operands) > 2)
    shape = [1] * rank
    for i, n in zip(kept, np.shape(found), strict=True):
        shape[i] = n
    result = np.asarray(found).reshape(shape)
    for axis, size in zip(axes, sizes, strict=True):
        if axis not in spanned:
            result = result * size  # nothing depends on it
    return result
