"""Whether the emitted NumPy and the point-by-point interpreter agree on a cascade."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from attnc import api
from attnc.ir import printer
from attnc.ir.facts import Facts
from tests.oracle.cascades import inputs_for, tolerance
from tests.oracle.interpreter import run
from tests.remembered import remembered
from tests.support import load

NARROW = {
    "bf16": ml_dtypes.bfloat16,
    "f8e4m3": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2,
}


@remembered
def function(facts: Facts) -> Any:
    """The emitted function of a cascade."""
    text = api.emit(facts, backend="numpy", dtype=None, static={})
    return load(text, facts.cascade.name)


def round_trip(facts: Facts) -> None:
    """Fails unless level 1 prints as the language and parses back to an equal value."""
    text = printer.cascade(facts.cascade)
    again = api.check(text).select()
    assert again.cascade == facts.cascade, text
    assert again.types == facts.types


def agree(text: str, seed: int) -> None:
    """Fails unless a cascade is valid, survives printing, and both executions agree on it."""
    facts = api.check(text).select()
    round_trip(facts)
    inputs, parameters = inputs_for(facts, np.random.default_rng(seed))
    for item in facts.cascade.inputs:
        if item.element in NARROW:
            inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
    refused: ValueError | None = None
    try:
        expected = run(facts, inputs, parameters)
    except ValueError as error:
        refused, expected = error, ()
    try:
        found = function(facts)(*(inputs[i.name] for i in facts.cascade.inputs), **parameters)
    except ValueError:
        assert refused is not None
        return
    assert refused is None, f"not refused: {refused}"
    results = found if isinstance(found, tuple) else (found,)
    allowed = tolerance(facts)
    for output, item, want in zip(facts.cascade.outputs, results, expected, strict=True):
        kept = item.astype(np.float32) if output.element in NARROW else item
        assert kept.dtype == want.dtype, output.name
        np.testing.assert_allclose(
            kept, want, allowed, allowed, err_msg=f"{output.name} of\n{text}"
        )
