"""Whether a rewritten cascade has the values of the one it was made from.

Both are run by the NumPy backend, on the same inputs. Every output's fill is one that hardly
occurs, so that a point that is absent in one of them alone is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attnc.ir import printer
from attnc.ir.cascade import Output
from attnc.ir.facts import Facts
from tests.agreement import NARROW, function
from tests.oracle.cascades import inputs_for
from tests.remembered import remembered

REFUSED = "refused"


def marked(output: Output) -> Output:
    """An output whose absent points stand out."""
    match output.element:
        case "bool":
            return replace(output, empty=not output.empty)
        case "i8" | "u8" | "i32" | "i64":
            return replace(output, empty=77)
        case _:
            return replace(output, empty=-208.0)  # which all floating types hold


@remembered
def _marked(facts: Facts) -> Facts:
    """A cascade whose absent points stand out."""
    marks = tuple(map(marked, facts.cascade.outputs))
    return replace(facts, cascade=replace(facts.cascade, outputs=marks))


def outputs(facts: Facts, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """What a cascade gives, absent points marked; `REFUSED` if the call is."""
    kernel = function(_marked(facts))
    try:
        found = kernel(*(inputs[i.name] for i in facts.cascade.inputs), **parameters)
    except ValueError:
        return REFUSED
    return found if isinstance(found, tuple) else (found,)


def preserved(
    before: Facts,
    after: Facts,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    allowed: float,
    finite: bool = False,
) -> None:
    """Fails unless both give the same: integers and absence exactly, floats within `allowed`.

    With `finite`, only where what is wanted is finite.
    """
    want, found = outputs(before, inputs, parameters), outputs(after, inputs, parameters)
    if want is REFUSED or found is REFUSED:
        assert want is found
        return
    for output, a, b in zip(before.cascade.outputs, found, want, strict=True):
        text = f"{output.name} of\n{printer.cascade(after.cascade)}"
        assert a.dtype == b.dtype, text
        if b.dtype.kind in "iub":
            np.testing.assert_array_equal(a, b, err_msg=text)
            continue
        a, b = (x.astype(np.float64) for x in (a, b))
        np.testing.assert_array_equal(a == -208.0, b == -208.0, err_msg=text)
        if finite:
            a = np.where(np.isfinite(b), a, b)
        np.testing.assert_allclose(a, b, allowed, allowed, err_msg=text)


def random_inputs(facts: Facts, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Small tensors and parameters for a random cascade."""
    inputs, parameters = inputs_for(facts, np.random.default_rng(seed))
    for item in facts.cascade.inputs:
        if item.element in NARROW:
            inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
    return inputs, parameters
