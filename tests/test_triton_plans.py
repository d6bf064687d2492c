"""Plans for devices: bf16 by the tiled NumPy printing, and exact mode for what is not finite.

The interpreter of Triton is wrong in bf16, so that a device's plan is judged there as NumPy.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests import examples
from tests.acceptance.judge import judge
from tests.interpreted import Interpreted, interpreted
from tests.prepared import device_of
from tests.test_acceptance import DOUBTFUL, narrowed
from tests.test_confine import finite, readers
from tests.test_gallery import facts
from tests.test_tiled_acceptance import VAGUE
from tests.test_triton import cases
from tests.tiled import Tiled, of_plan, outputs, written


@cache
def device(name: str) -> Tiled:
    """The plan that is printed for devices, as NumPy."""
    return of_plan(facts(name), device_of(examples.text(name)), rounded=False)


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_in_bf16(name: str, request: pytest.FixtureRequest) -> None:
    wanted = None if request.config.getoption("--cases") == "all" else 1
    for number, (label, given, parameters) in enumerate(cases(name, wanted)):
        run = device(name)
        inputs = narrowed(facts(name), given, "bf16")
        sizes = run.sizes(number, inputs, parameters)
        verdict = judge(
            facts(name),
            inputs,
            parameters,
            run(inputs, parameters, sizes, number),
            matrix_type="bf16",
            tiles=run.streamed(sizes),
            undecided=max(DOUBTFUL.get(name, 0.02), VAGUE.get((name, label), 0)),
        )
        assert verdict.ok, f"{label} {sizes}: {verdict}"


# What is not finite


@cache
def exact(name: str) -> Interpreted:
    return interpreted(facts(name), exact=True)


def leaked(run: Interpreted, name: str, seed: int) -> tuple[int, int]:
    """How many results NaN at a random point reached without reading it, and where it was lost."""
    _, given, parameters = next(cases(name))
    inputs = narrowed(facts(name), given, "f32")
    rng = np.random.default_rng(seed)
    names = [n for n, a in inputs.items() if a.dtype.kind == "f" and a.size]
    chosen = names[int(rng.integers(len(names)))]
    place = tuple(int(rng.integers(s)) for s in inputs[chosen].shape)
    before = outputs(written(facts(name), inputs, parameters))
    spoilt = {n: a.copy() for n, a in inputs.items()}
    spoilt[chosen][place] = np.nan
    expected = outputs(written(facts(name), spoilt, parameters))
    beside = lost = 0
    found: Any = run(spoilt, parameters, tile=4)
    for got, a, b in zip(found, expected, before, strict=True):
        beside += int((~readers(b, a) & finite(b) & ~finite(got)).sum())
        lost += int((~finite(a) & finite(got)).sum())
    return beside, lost


@pytest.mark.parametrize(
    ("name", "points"),
    [("causal", 6), ("alibi", 6), ("packed_documents", 2), ("sliding_window_sinks", 2)],
)
def test_nan_reaches_its_readers_alone(name: str, points: int) -> None:
    """At fewer points where a call takes seconds."""
    for seed in range(points):
        assert leaked(exact(name), name, seed) == (0, 0), seed


def test_without_exact_mode_it_spreads() -> None:
    """The seeded fault: the other mode."""
    run = interpreted(facts("causal"))
    assert any(leaked(run, "causal", seed)[0] for seed in range(12))


@pytest.mark.parametrize("name", ["causal", "gqa", "paged_decode", "cope"])
def test_values_stay(name: str) -> None:
    _, given, parameters = next(cases(name))
    inputs = narrowed(facts(name), given, "f32")
    found = exact(name)(inputs, parameters)
    verdict = judge(
        facts(name), inputs, parameters, found if len(found) > 1 else found[0], matrix_type="f32"
    )
    assert verdict.ok, str(verdict)
