"""The acceptance bound: is what an execution found within what its arithmetic may lose?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np

from attnc.ir.cascade import Output
from attnc.ir.facts import Facts
from tests.acceptance import formats
from tests.acceptance.estimate import Budget, Cause, Estimate
from tests.acceptance.evaluator import evaluate
from tests.acceptance.formats import Array, Mask
from tests.oracle.interpreter import INTEGERS

UNDECIDED: Final = 0.02
"""The share of an output that may be undecided, unless the caller allows more."""
VAGUE: Final = 0.25
"""A bound above this share of the largest element of all outputs decides nothing."""
SHOWN: Final = 3


@dataclass(frozen=True)
class Part:
    """A share of a bound: the tensor and the cause of the errors that make it up."""

    tensor: str
    cause: Cause
    bound: float


@dataclass(frozen=True)
class Judged:
    """One output: arrays of the output's shape.

    `ratio` is error / bound, 0 where both are, and NaN where the element is undecided.
    """

    name: str
    expected: Array
    found: Array
    bound: Array
    ratio: Array
    problem: str = ""

    @property
    def undecided(self) -> Mask:
        """Elements for which a legal execution may decide otherwise."""
        return np.isnan(self.ratio)

    @property
    def worst(self) -> float:
        """The largest ratio of those that are decided."""
        return float(np.nanmax(self.ratio, initial=0.0)) if not self.problem else math.inf

    @property
    def exact(self) -> bool:
        """Whether every element is proved to be the same in every legal execution."""
        return not self.problem and bool(np.all(self.bound == 0))


@dataclass(frozen=True)
class Verdict:
    """Whether all outputs are within `factor` times their bounds, and what is not."""

    outputs: tuple[Judged, ...]
    factor: float
    limit: float
    blame: Callable[[Verdict], tuple[Part, ...]]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The shares of the bound at the worst element of what is refused, largest first."""
        return self.blame(self)

    @property
    def ratio(self) -> float:
        """The largest error / bound of all outputs."""
        return max((o.worst for o in self.outputs), default=0.0)

    @property
    def undecided(self) -> float:
        """The largest share of an output that is undecided."""
        return max((float(np.mean(o.undecided)) for o in self.outputs if o.ratio.size), default=0.0)

    @property
    def exact(self) -> bool:
        """Whether nothing at all may differ: exact mode."""
        return all(o.exact for o in self.outputs)

    @property
    def ok(self) -> bool:
        """Accepted."""
        return self.ratio <= self.factor and self.undecided <= self.limit

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = "accepted" if self.ok else "refused"
        lines = [f"{head}: error / bound is at most {self.ratio:.3g}, {self.factor:g} is allowed"]
        for item in self.outputs:
            if item.problem:
                lines.append(f"  {item.name}: {item.problem}")
                continue
            doubtful = int(item.undecided.sum())
            if doubtful:
                lines.append(
                    f"  {item.name}: {doubtful} of {item.ratio.size} elements are undecided"
                    f" ({self.limit:.1%} allowed)"
                )
            over = int((item.ratio > self.factor).sum())
            if over:
                lines.append(f"  {item.name}: {over} of {item.ratio.size} elements are over")
                lines += [f"    {line}" for line in _worst(item)]
        if self.parts:
            total = sum(p.bound for p in self.parts) or 1.0
            shares = ", ".join(
                f"{p.bound / total:.0%} {p.cause} of {p.tensor}" for p in self.parts[:SHOWN]
            )
            lines.append(f"  the bound of the worst element: {shares}")
        return "\n".join(lines)


def judge(
    facts: Facts,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    found: Any,
    *,
    matrix_type: str,
    accumulate: str = "f32",
    factor: float = 1.0,
    tiles: Mapping[str, int] | None = None,
    undecided: float = UNDECIDED,
) -> Verdict:
    """Judges what an execution of a cascade found.

    `inputs` are the arrays that it was given, in the types that it was given; `found` is one array
    or a tuple of them. `matrix_type` is what operands of matrix products are rounded to,
    `accumulate` what everything else is computed in, `tiles` the tile sizes of streamed ranks by
    the names of their extents, `undecided` the share of an output that may be undecided. Raises
    `ValueError` where a kernel would refuse the call.
    """
    budget = Budget(accumulate, matrix_type, tiles or {})
    tensors = evaluate(facts, inputs, parameters, budget)
    results = found if isinstance(found, tuple) else (found,)
    outputs = facts.cascade.outputs
    if len(results) != len(outputs):
        raise ValueError(f"{len(results)} results for {len(outputs)} outputs")
    kernel = kernel_type(facts, inputs)
    scale = max(largest(tensors[item.name]) for item in outputs)
    judged = tuple(
        _judged(item, tensors[item.name], result, kernel, budget, scale)
        for item, result in zip(outputs, results, strict=True)
    )
    return Verdict(judged, factor, undecided, partial(_parts, facts, inputs, parameters, budget))


def kernel_type(facts: Facts, inputs: Mapping[str, Any]) -> str:
    """The floating type of a call: that of the inputs without a type of their own, else f32."""
    for item in facts.cascade.inputs:
        if item.element is None:
            return formats.NAMES[np.asarray(inputs[item.name]).dtype.name]
    return "f32"


def largest(x: Estimate) -> float:
    """The largest finite element of a tensor, 0 if it has none."""
    values = np.abs(np.asarray(x.value, np.float64))
    return float(np.max(values[np.isfinite(values)], initial=0.0))


def _judged(
    item: Output, x: Estimate, found: Any, kernel: str, budget: Budget, scale: float
) -> Judged:
    element = item.element or kernel
    expected, bound = stored(x, element, item, budget)
    array = np.asarray(found)
    problem = ""
    if array.shape != expected.shape:
        problem = f"its shape is {array.shape}, expected {expected.shape}"
    elif formats.NAMES.get(array.dtype.name, element) != element:
        problem = f"its type is {array.dtype.name}, expected {element}"
    if problem:
        return Judged(item.name, expected, array, bound, np.full(expected.shape, np.inf), problem)
    got = array.astype(np.float64)
    return Judged(item.name, expected, got, bound, ratios(expected, got, bound, x.present, scale))


def ratios(expected: Array, found: Array, bound: Array, present: Mask, scale: float) -> Array:
    """error / bound for each element; NaN where the bound decides nothing.

    A present element that is not finite may be any number that is not: kinds are not compared.
    `scale` is the size of the largest elements that there are.
    """
    with np.errstate(all="ignore"):
        error = np.abs(found - expected)
        ratio = np.where(error == 0, 0.0, error / bound)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    wild = present & ~np.isfinite(expected)
    ratio = np.where(same | (wild & ~np.isfinite(found)), 0.0, ratio)
    ratio = np.where(np.isnan(ratio) | (wild & np.isfinite(found)), np.inf, ratio)
    return np.where(np.isinf(bound) | (bound > VAGUE * scale), np.nan, ratio)


def stored(x: Estimate, element: str, item: Output, budget: Budget) -> tuple[Array, Array]:
    """What an output is expected to hold, and the bound on each element.

    What every legal execution knows exactly is rounded in one way only, so that its bound is 0.
    """
    fill = float(item.empty or 0)
    value = np.asarray(x.value, np.float64)
    bound = np.where(x.present | x.undecided, x.error, 0.0)
    if element == "bool" or element in INTEGERS:
        if x.kind.floating and element != "bool":
            value = np.trunc(value)
            bound = np.where(x.exact | x.gone, bound, np.inf)
        elif element == "bool":
            value = (value != 0) * 1.0
            near = ~x.exact & (np.abs(value) <= x.error)
            bound = np.where(near | x.undecided, np.inf, 0.0)
        low, high = INTEGERS.get(element, (0, 1))
        absent = ~x.present | ~((value >= low) & (value <= high))
        return np.where(absent, fill, value), np.where(x.gone, 0.0, bound)
    near = formats.rounded(value, element)
    wide = not x.kind.floating or formats.WIDTHS[budget.format(x.kind)] > formats.WIDTHS[element]
    if wide:
        budget.tensor = item.name
        with np.errstate(all="ignore"):
            lost = formats.unit(element) * (np.abs(value) + x.error) + formats.least(element)
            edge = np.abs(value) + bound > formats.largest(element)
        lost = lost if budget.allows("output") else 0.0 * lost
        lost = np.where(np.isfinite(value), lost, 0.0)
        bound = np.where(x.exact | x.gone, bound, bound + lost)
        bound = np.where(edge & ~x.exact & np.isfinite(value), np.inf, bound)
    expected = np.where(x.exact, near, value)
    filling = formats.rounded(np.full((), fill), element)
    return np.where(x.present, expected, filling), bound


def _parts(
    facts: Facts,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    budget: Budget,
    verdict: Verdict,
) -> tuple[Part, ...]:
    """The shares of the bound at the worst element: each cause alone."""
    worst = max(verdict.outputs, key=lambda o: o.worst)
    if worst.problem or not np.any(worst.ratio > verdict.factor):
        return ()
    place = np.unravel_index(np.nanargmax(worst.ratio), worst.ratio.shape)
    item = next(o for o in facts.cascade.outputs if o.name == worst.name)
    kernel = kernel_type(facts, inputs)
    found = []
    for tensor, cause in tuple(budget.causes):
        alone = replace(budget, only=(tensor, cause), causes={})
        x = evaluate(facts, inputs, parameters, alone)[item.name]
        bound = stored(x, item.element or kernel, item, alone)[1][place]
        found.append(Part(tensor, cause, float(bound)))
    return tuple(sorted(found, key=lambda p: -p.bound))


def _worst(item: Judged) -> Sequence[str]:
    """The worst elements of an output, for people to read."""
    order = np.argsort(-np.nan_to_num(item.ratio, nan=0.0, posinf=np.inf), axis=None)[:SHOWN]
    lines = []
    for flat in order:
        at = np.unravel_index(flat, item.ratio.shape)
        index = ",".join(str(int(i)) for i in at)
        error = abs(item.found[at] - item.expected[at])
        lines.append(
            f"{item.name}[{index}] = {item.found[at]:.9g}, expected {item.expected[at]:.9g}:"
            f" error {error:.3g}, bound {item.bound[at]:.3g}, ratio {item.ratio[at]:.3g}"
        )
    return lines
