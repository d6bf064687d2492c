"""Random cascades and attentions through the Triton backend, interpreted: one more execution."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import attnc
from attnc.errors import SpecError
from tests.acceptance.judge import judge
from tests.agreement import NARROW
from tests.attentions import attention, inputs_for, sizes_for
from tests.interpreted import interpreted
from tests.oracle.cascades import cascade_from, tolerance
from tests.oracle.cascades import inputs_for as small_inputs
from tests.test_acceptance import TYPES
from tests.tiled import outputs, written

PARTS = 2
TILES = (None, 2, 4)
"""Points of a tile: what a kernel chooses, or fewer, so that loops go round."""


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    """A random cascade computes what the text says; few are refused.

    Inputs are finite. Where a result is not, it may differ in kind, and so may its neighbours.
    Nothing is said of bf16, in which the interpreter is wrong.
    """
    found: Counter[str] = Counter()
    for seed in range(part, int(request.config.getoption("--kernels")), PARTS):
        text = cascade_from(np.random.default_rng(seed))
        facts = attnc.check(text).select()
        if "bf16" in text:
            continue
        found["all"] += 1
        try:
            run = interpreted(facts)
        except SpecError as error:
            found["refused" if "cannot do this yet" in str(error) else "wrong"] += 1
            continue
        inputs, parameters = small_inputs(facts, np.random.default_rng(seed), nonfinite=False)
        for item in facts.cascade.inputs:
            if item.element in NARROW:
                inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
        try:
            expected = outputs(written(facts, inputs, parameters))
        except ValueError:
            continue
        if not all(np.all(np.isfinite(x.astype(np.float64))) for x in expected):
            continue
        allowed = tolerance(facts)
        got = run(inputs, parameters, tile=TILES[seed % 3])
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(
                a.astype(np.float64),
                b.astype(np.float64),
                allowed,
                allowed,
                err_msg=f"{seed}\n{text}",
            )
        found["same"] += 1
    assert found["wrong"] == 0
    assert found["same"] > 0.5 * found["all"]
    assert found["refused"] < 0.1 * found["all"] + 2


@pytest.mark.parametrize("part", range(PARTS))
def test_random_attentions(part: int, request: pytest.FixtureRequest) -> None:
    """In f64, f32 or f16, by the bound."""
    for seed in range(part, int(request.config.getoption("--kernels")) // 5, PARTS):
        rng = np.random.default_rng(seed)
        text = attention(rng)
        facts = attnc.check(text).select()
        kind = ("f64", "f32", "f16")[seed // 2 % 3]
        inputs = inputs_for(facts.cascade.inputs, rng, sizes_for(rng), TYPES[kind])
        found = interpreted(facts)(inputs, tile=TILES[seed % 3])
        verdict = judge(
            facts,
            inputs,
            {},
            found if len(found) > 1 else found[0],
            matrix_type=kind,
            accumulate="f64" if kind == "f64" else "f32",
            tiles=None,
            undecided=1.0,
        )
        assert verdict.ok, f"{seed} {kind}: {verdict}\n{text}"
