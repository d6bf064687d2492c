"""The acceptance bound holds for the NumPy kernels, and its reference is the interpreter's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from attnc import api
from attnc.ir.facts import Facts
from tests import examples
from tests.acceptance.estimate import Budget
from tests.acceptance.evaluator import evaluate
from tests.acceptance.judge import Verdict, judge, kernel_type, ratios, stored
from tests.agreement import NARROW, function
from tests.oracle.cascades import cascade_from, inputs_for
from tests.oracle.interpreter import run
from tests.test_gallery import facts, kernel, reference

TYPES = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
}
DOUBTFUL = {
    "native_sparse": 0.5,  # blocks of equal scores: either may be chosen
    "nystrom": 1.0,  # more than two iterations: no linear bound is of use
    "slot": 0.5,  # three rounds of normalisation
    "t5_bias": 0.5,  # distances at the edge of a bucket
}
"""Examples of which some cases leave more than the usual share undecided."""
POINTS = 300
"""The largest inputs that the interpreter is asked to evaluate."""
PARTS, CASCADES = 4, 120


def cases(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Inputs and parameters of an example."""
    for _, inputs, parameters in reference(name).cases(np.random.default_rng(7)):
        yield inputs, parameters


def narrowed(found: Facts, inputs: dict[str, Any], kind: str) -> dict[str, Any]:
    """The inputs without a type of their own, rounded to the kernel's."""
    free = {i.name for i in found.cascade.inputs if i.element is None}
    return {k: v.astype(TYPES[kind]) if k in free else v for k, v in inputs.items()}


def judged(found: Facts, call: Any, inputs: Any, parameters: Any, **options: Any) -> Verdict:
    """A kernel that computes in f32, or in f64 for such inputs, judged at factor 1."""
    wide = "f64" if kernel_type(found, inputs) == "f64" else "f32"
    result = call(*(inputs[i.name] for i in found.cascade.inputs), **parameters)
    return judge(found, inputs, parameters, result, matrix_type=wide, accumulate=wide, **options)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_accepted(name: str, kind: str) -> None:
    for inputs, parameters in cases(name):
        arrays = narrowed(facts(name), inputs, kind)
        limit = {"undecided": DOUBTFUL[name]} if name in DOUBTFUL else {}
        verdict = judged(facts(name), kernel(name), arrays, parameters, **limit)
        assert verdict.ok, verdict


@pytest.mark.parametrize("kind", ["f32", "bf16"])
@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_elsewhere_are_refused(name: str, kind: str) -> None:
    """One element off by a hundredth is seen, except where the bound is said to decide nothing."""
    inputs, parameters = next(cases(name))
    arrays = narrowed(facts(name), inputs, kind)
    call = kernel(name)
    limit = DOUBTFUL.get(name, 0.02)

    def shifted(*arguments: Any, **options: Any) -> Any:
        found = call(*arguments, **options)
        first = np.array((found if isinstance(found, tuple) else (found,))[0])
        place = np.unravel_index(np.argmax(np.abs(first.astype(np.float32))), first.shape)
        first[place] *= first.dtype.type(1.03)
        return (first, *found[1:]) if isinstance(found, tuple) else first

    if name in ("nystrom", "slot"):
        parameters = {**parameters, "steps": 2}
    assert judged(facts(name), call, arrays, parameters, undecided=limit).ok
    assert not judged(facts(name), shifted, arrays, parameters, undecided=limit).ok


def same_values(found: Facts, inputs: Any, parameters: Any) -> None:
    """Fails unless the evaluator finds what the interpreter finds, both in f64."""
    try:
        expected = run(found, inputs, parameters)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            evaluate(found, inputs, parameters, Budget("f64", "f64"))
        return
    budget = Budget("f64", "f64")
    tensors = evaluate(found, inputs, parameters, budget)
    for item, want in zip(found.cascade.outputs, expected, strict=True):
        x = tensors[item.name]
        value, bound = stored(x, item.element or "f64", item, budget)
        ratio = ratios(value, want.astype(np.float64), bound, x.present, np.inf)
        assert np.nanmax(ratio, initial=0.0) <= 1, item.name


@pytest.mark.parametrize("name", examples.NAMES)
def test_values_of_examples(name: str) -> None:
    for inputs, parameters in cases(name):
        if sum(np.asarray(x).size for x in inputs.values()) <= POINTS:
            same_values(facts(name), inputs, parameters)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int) -> None:
    """Values as the interpreter's, and kernels in three types within the bound."""
    for seed in range(part, CASCADES, PARTS):
        found = api.check(cascade_from(np.random.default_rng(seed))).select()
        inputs, parameters = inputs_for(found, np.random.default_rng(seed))
        for item in found.cascade.inputs:
            if item.element in NARROW:
                inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
        same_values(found, inputs, parameters)
        call = function(found)
        for kind in ("f32", "f16", "bf16"):
            arrays = narrowed(found, inputs, kind)
            try:
                verdict = judged(found, call, arrays, parameters, undecided=1.0)
            except ValueError:
                continue
            assert verdict.ok, f"seed {seed}: {verdict}"
