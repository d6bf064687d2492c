"""The rules of the bound: no error is carried too low, nothing is called exact that is not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from attnc import api
from attnc.ir.types import Kind
from tests import examples
from tests.acceptance import formats, functions
from tests.acceptance.estimate import Budget, Estimate, added, divided, multiplied
from tests.acceptance.evaluator import evaluate
from tests.acceptance.exact import Inexact, exact_inputs, inexact, stand_in
from tests.acceptance.judge import judge
from tests.agreement import function
from tests.oracle import interpreter
from tests.oracle.cascades import cascade_from, inputs_for
from tests.test_gallery import facts, reference

SEEDS = 120
NOT_EXACT = {"latent", "native_sparse", "nystrom", "performer", "slot"}
"""Examples for which no exact inputs are found at these sizes."""


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "f8e4m3", "f8e5m2"])
def test_formats_are_the_interpreters(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000) * 2.0 ** rng.integers(-150, 130, 3000)
    x[:6] = 0, np.inf, -np.inf, 1, -1, 2.0**-149
    want = [interpreter.rounded(float(v), name) for v in x]
    np.testing.assert_array_equal(formats.rounded(x, name), want)
    kept = formats.holds(x, name)
    finite = np.isfinite(x)
    assert (kept <= (formats.rounded(x, name) == x))[finite].all()
    normal = finite & (np.abs(x) >= 2.0 ** formats.WIDTHS[name][1])
    np.testing.assert_array_equal(kept[normal], (np.array(want) == x)[normal])


def test_the_grid_of_a_number() -> None:
    for x in (1.0, 3.0, 0.375, -12.0, 2.0**-149, 1 / 3):
        step = float(formats.grid(np.array([x]))[0])
        assert (Fraction(x) / Fraction(step)).denominator == 1
        assert (Fraction(x) / Fraction(step)).numerator % 2 == 1


@pytest.mark.parametrize("name", functions.RULES)
def test_functions_carry_errors(name: str) -> None:
    """No argument within the error gives a value beyond what is carried."""
    rule, rng = functions.RULES[name], np.random.default_rng(1)
    x = rng.uniform(-12, 12, 4000)
    if name in ("log", "log2", "sqrt", "log1p"):
        x = np.abs(x) + 1e-9
    e = 10.0 ** rng.uniform(-9, 0.5, 4000)
    with np.errstate(all="ignore"):
        y = rule.value(x)
        carried = np.minimum(rule.carried(x, e, y), functions.ALWAYS.get(name, np.inf))
        for t in (-1, -0.7, -0.3, 0.2, 0.8, 1):
            moved = np.abs(rule.value(x + t * e) - y)
            moved[np.isnan(moved)] = np.inf
            assert (moved <= carried * (1 + 1e-6) + 1e-14 * np.maximum(np.abs(y), 1)).all()


@pytest.mark.parametrize("name", sorted({*functions.RULES} - {"softplus", "gelu"}))
def test_functions_in_f32_lose_no_more(name: str) -> None:
    rule, rng = functions.RULES[name], np.random.default_rng(2)
    x = rng.uniform(-20, 20, 20000).astype(np.float32)
    x = np.abs(x) if name in ("log", "log2", "sqrt", "log1p") else x
    ways: dict[str, Any] = {
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "silu": lambda v: v / (1 + np.exp(-v)),
        "erf": lambda v: functions.erf(v).astype(np.float32),
    }
    found = ways.get(name, getattr(np, name, None))(x).astype(np.float64)
    y = rule.value(x.astype(np.float64))
    lost = rule.lost(x.astype(np.float64), y) * formats.unit("f32") + formats.least("f32")
    assert (np.abs(found - y) <= lost).all()


@pytest.mark.parametrize("operation", ["added", "multiplied", "divided"])
def test_exact_is_exact(operation: str) -> None:
    """What is called exact is, by fractions, a number of the format; and something is."""
    rng = np.random.default_rng(3)
    budget = Budget("f32", "f32")
    a, b = (
        formats.rounded(rng.integers(1, 2**14, 3000) * 2.0 ** rng.integers(-20, 20, 3000), "f32")
        for _ in range(2)
    )
    b[::3] = 2.0 ** rng.integers(-9, 9, 1000)
    step = {"added": added, "multiplied": multiplied, "divided": divided}[operation]
    x, y = (
        Estimate(v, np.zeros_like(v), np.abs(v), np.ones_like(v, np.bool_), Kind.F32)
        for v in (a, b)
    )
    result = step(x, y, budget)
    assert 100 < result.exact.sum() < 3000
    for i in np.flatnonzero(result.exact):
        p, q = Fraction(a[i]), Fraction(b[i])
        truth = {"added": p + q, "multiplied": p * q, "divided": p / q}[operation]
        assert truth == Fraction(result.value[i])
        assert interpreter.rounded(float(truth), "f32") == result.value[i]


@pytest.mark.parametrize("part", range(3))
def test_errors_of_inputs_are_carried(part: int) -> None:
    """Inputs moved within their errors give outputs within theirs, in random cascades."""
    budget, decided, points = Budget("f64", "f64"), 0, 0
    for seed in range(part, SEEDS, 3):
        found = api.check(cascade_from(np.random.default_rng(seed))).select()
        rng = np.random.default_rng(seed)
        inputs, parameters = inputs_for(found, rng, nonfinite=False)
        errors = {
            item.name: 10.0 ** rng.uniform(-8, -2) * rng.random(np.shape(inputs[item.name]))
            for item in found.cascade.inputs
            if item.element in (None, "f32", "f64")
        }
        try:
            bounded = evaluate(found, inputs, parameters, budget, errors)
        except ValueError:
            continue
        for _ in range(4):
            moved = {
                name: np.asarray(inputs[name], np.float64) + rng.choice((-1, 1, 0.5), e.shape) * e
                for name, e in errors.items()
            }
            again = evaluate(found, {**inputs, **moved}, parameters, budget)
            for item in found.cascade.outputs:
                x, y = bounded[item.name], again[item.name]
                sure = ~x.undecided
                assert (x.present == y.present)[sure].all(), f"seed {seed}: {item.name}"
                with np.errstate(all="ignore"):
                    apart = np.abs(np.subtract(x.value, y.value, dtype=np.float64))
                allowed = x.error + 1e-12 * (1 + x.size)
                close = (apart <= allowed) | ~np.isfinite(x.value)
                assert close[sure].all(), f"seed {seed}: {item.name}"
                decided, points = decided + int(sure.sum()), points + sure.size
    assert decided > 0.6 * points


@pytest.mark.parametrize("name", examples.NAMES)
def test_exact_mode_of_examples(name: str) -> None:
    """Inputs of which the NumPy kernel finds the proved bits, in every type."""
    found = stand_in(facts(name))
    _, inputs, parameters = next(reference(name).cases(np.random.default_rng(7)))
    items = found.cascade.inputs
    sizes = {s: n for i in items for s, n in zip(i.sizes, inputs[i.name].shape, strict=True)}
    given = {i.name: inputs[i.name] for i in items if i.element in ("i32", "i64", "bool")}
    call = function(found)
    for kind in ("f32", "f16", "bf16"):
        if name in NOT_EXACT:
            with pytest.raises(Inexact, match="are rounded"):
                exact_inputs(found, sizes, 0, kind, given, parameters)
            break
        exact = exact_inputs(found, sizes, 0, kind, given, parameters)
        assert inexact(found, exact, parameters, kind, "f32") == ()
        result = call(*(exact[i.name] for i in items), **parameters)
        verdict = judge(found, exact, parameters, result, matrix_type=kind)
        assert verdict.exact
        assert verdict.ok, verdict
