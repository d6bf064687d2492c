"""Inputs that are hard in f32: what tiles compute is no worse than the written text, by the bound.

What is right is said by float64 on the same inputs. Where the written text itself, run by the NumPy
backend in the same type, is off, tiles may be off as far and by a bound more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.acceptance.judge import Judged, judge
from tests.test_acceptance import TYPES
from tests.test_metamorphic import text as attention
from tests.tiled import Tiled, from_text, outputs, written

SOFTMAX = """    O[m,f] = softmax[n](T[m,n]) * V[n,f]
    L[m] = logsumexp[n](T[m,n])
"""
STEPS = """    G[m] = max[n](T[m,n])
    D[m] = sum[n](exp(T[m,n] - G[m]))
"""
BODIES = {
    "softmax": SOFTMAX,
    "base 3": """    G[m] = max[n](T[m,n])
    D[m] = sum[n](3 ** (T[m,n] - G[m]))
    O[m,f] = sum[n](3 ** (T[m,n] - G[m]) * V[n,f]) / D[m]
    L[m] = G[m] + log(D[m]) / log(3)
""",
    "sqrt(D)": STEPS
    + """    O[m,f] = exp(T[m,n] - G[m]) / sqrt(D[m]) * V[n,f]
    L[m] = sqrt(D[m])
""",
    "D + 1": STEPS
    + """    O[m,f] = exp(T[m,n] - G[m]) / (D[m] + 1) * V[n,f]
    L[m] = D[m]
""",
    "variance of values": """    U[m,f] = softmax[n](T[m,n]) * V[n,f]
    O[m,f] = softmax[n](T[m,n]) * (V[n,f] - U[m,f]) ** 2
    L[m] = logsumexp[n](T[m,n])
""",
    "a product of two": """    O[m,f] = softmax[n](T[m,n]) * softmax[n](tanh(T[m,n])) * V[n,f]
    L[m] = max[n](T[m,n])
""",
    "the least": """    G[m] = min[n](-T[m,n])
    D[m] = sum[n](exp(G[m] + T[m,n]))
    O[m,f] = sum[n](exp(G[m] + T[m,n]) * V[n,f]) / D[m]
    L[m] = D[m]
""",
}
GIVEN = "cascade given(S[M,N], V[N,F]) -> O[M,F], L[M]:\n    T[m,n] = S[m,n]\n"
MASKED = """cascade masked(S[M,N], V[N,F], length[M]: i32) -> O[M,F] empty 7, L[M] empty -inf:
    T[m,n] = S[m,n] where n < length[m]
"""

Inputs = dict[str, Any]


def rows(scores: Any, rng: np.random.Generator, mean: float = 0.0) -> Inputs:
    """Given scores with random values."""
    return {"S": scores, "V": mean + rng.standard_normal((scores.shape[1], 2))}


def _short(x: Any) -> Any:
    """Numbers of few bits, whose differences are exact."""
    return x.astype(TYPES["bf16"]).astype(np.float64)


def _infinite(rng: np.random.Generator) -> Inputs:
    """Scores of -inf: single ones, all keys of the first tiles, all but one, all but the last."""
    scores = rng.standard_normal((5, 90))
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[1, :64] = -np.inf
    scores[2] = -np.inf
    scores[2, 41] = 3.0
    scores[3, :89] = -np.inf
    scores[:, 89] = -1.0
    return rows(scores, rng)


FAMILIES: dict[str, Callable[[np.random.Generator], Inputs]] = {
    "scores up to 1e4": lambda rng: rows(rng.uniform(-1e4, 1e4, (4, 130)), rng),
    "scores of 1e4 and near": lambda rng: rows(1e4 + rng.standard_normal((4, 130)), rng),
    "scores of -1e4 and near": lambda rng: rows(-1e4 + rng.standard_normal((4, 130)), rng),
    "near the range of f32": lambda rng: rows(_short(rng.uniform(-1.6e38, 1.6e38, (4, 130))), rng),
    "all of them at its end": lambda rng: rows(np.full((2, 70), -3.4e38), rng),
    "growing maxima": lambda rng: rows(np.sort(60 * rng.standard_normal((3, 200))), rng),
    "growing by a thousand": lambda rng: rows(1e3 * np.arange(130.0) * np.ones((2, 1)), rng),
    "falling maxima": lambda rng: rows(-np.sort(60 * rng.standard_normal((3, 200))), rng),
    "a late peak": lambda rng: rows(np.eye(1, 200, 199) * 500.0, rng),
    "an early peak": lambda rng: rows(np.eye(1, 200, 0) * 80.0, rng),
    "all equal": lambda rng: rows(np.full((3, 300), 0.7), rng),
    "all equal and large": lambda rng: rows(np.full((3, 300), 1e30), rng),
    "all 0": lambda rng: rows(np.zeros((3, 300)), rng),
    "values far from 0": lambda rng: rows(3 * rng.standard_normal((3, 200)), rng, 1000.0),
    "some of -inf": _infinite,
    "one key": lambda rng: rows(1e5 * rng.standard_normal((3, 1)), rng),
    "10,000 keys": lambda rng: rows(2 * rng.standard_normal((2, 10_000)), rng, 2.0),
}


@cache
def kernel(text: str) -> Tiled:
    return from_text(text)


def no_worse(call: Tiled, inputs: Mapping[str, Any], sizes: dict[str, int], kind: str) -> float:
    """Fails where tiles are worse than the written text; the share of elements that is decided."""
    found, plain = call(inputs, {}, sizes, 0), written(call.facts, inputs, {})

    def judged(result: Any) -> tuple[Judged, ...]:
        tiles = call.streamed(sizes)
        return judge(call.facts, inputs, {}, result, matrix_type=kind, tiles=tiles).outputs

    decided = []
    for a, b in zip(judged(found), judged(plain), strict=True):
        with np.errstate(all="ignore"):
            error, before = np.abs(a.found - a.expected), np.abs(b.found - b.expected)
            good = (
                (a.ratio <= 1) | (error <= before + a.bound) | (np.isnan(before) & np.isnan(error))
            )
        bad = ~(good | a.undecided)
        assert not bad.any(), (
            f"{a.name}: {a.found[bad]} for {a.expected[bad]}, {b.found[bad]} written"
        )
        decided.append(1 - np.mean(a.undecided))
    return float(min(decided))


def narrow(inputs: Mapping[str, Any], kind: str) -> Inputs:
    return {k: v.astype(TYPES[kind]) if v.dtype.kind == "f" else v for k, v in inputs.items()}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_given_scores(family: str, name: str) -> None:
    """Every attention on every family; the bound decides all but a few elements."""
    inputs = narrow(FAMILIES[family](np.random.default_rng(0)), "f32")
    call = kernel(GIVEN + BODIES[name])
    assert len(call.plan.kernels) == 1
    for n in (64,) if inputs["S"].shape[1] > 1000 else (1, 8, 64):
        assert no_worse(call, inputs, {"n": n, "m": 2, "f": 2}, "f32") > 0.9


@pytest.mark.parametrize("name", BODIES)
def test_rows_with_nothing(name: str) -> None:
    """They are filled, whatever the scores are that do not count."""
    rng = np.random.default_rng(1)
    call = kernel(MASKED + BODIES[name])
    for scores in (rng.standard_normal((6, 40)), np.full((6, 40), -np.inf)):
        inputs = narrow(rows(scores, rng), "f32")
        inputs["length"] = np.array([0, 1, 8, 40, -3, 0], np.int32)
        for n in (1, 8, 64):
            sizes = {"n": n, "m": 4, "f": 2}
            no_worse(call, inputs, sizes, "f32")
            first, second = outputs(call(inputs, {}, sizes, n))
            for row in (0, 4, 5):
                assert (first[row] == 7).all()
                assert second[row] == -np.inf


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("name", ["macro", "log-sum-exp", "variance of values", "sqrt(D)"])
def test_long_rows(name: str, kind: str) -> None:
    """Values with a mean, so that a narrow accumulator or a lost tile would show."""
    call = kernel(attention(name))
    rng = np.random.default_rng(2)
    keys = 30_000 if kind == "f32" else 5_000
    shapes = {"Q": (2, 8), "K": (keys, 8), "V": (keys, 2)}
    inputs = {k: rng.standard_normal(shape) for k, shape in shapes.items()}
    inputs["V"] += 2.0
    sizes = {"n": 128, "m": 2, "f": 2, "e": 8}
    assert no_worse(call, narrow(inputs, kind), sizes, kind) > 0.9


def test_a_hundred_thousand_keys() -> None:
    rng = np.random.default_rng(3)
    inputs = narrow(rows(rng.standard_normal((1, 100_000)), rng, 2.0), "f32")
    sizes = {"n": 256, "m": 1, "f": 2}
    assert no_worse(kernel(GIVEN + SOFTMAX), inputs, sizes, "f32") == 1


@pytest.mark.parametrize("scale", [30.0, 1e4, 1e18, 1e37])
@pytest.mark.parametrize("name", ["macro", "two passes", "base 3", "D + 1", "sqrt(D)", "entropy"])
def test_large_scores_of_products(name: str, scale: float) -> None:
    """Scores that are computed: never worse, and the weights are decided while it can be known."""
    call = kernel(attention(name))
    rng = np.random.default_rng(4)
    shapes = {"Q": (4, 8), "K": (60, 8), "V": (60, 2)}
    inputs = {k: rng.standard_normal(shape) for k, shape in shapes.items()}
    inputs["Q"] *= scale / 8
    for n in (1, 8, 64):
        sizes = {"n": n, "m": 4, "f": 2, "e": 8}
        decided = no_worse(call, narrow(inputs, "f32"), sizes, "f32")
        assert decided == 1 or scale > 1e4


# What a state is kept about

VARIANCE = """cascade variance(S[M,N], V[N,F]) -> O[M,F], W[M]:
    U[m] = {mean}
    O[m,f] = sum[n]((S[m,n] - U[m]) * V[n,f])
    W[m] = sum[n]((S[m,n] - U[m]) ** 2) / N
"""
MEANS = {
    "a mean": "mean[n](S[m,n])",
    "a sum over N": "sum[n](S[m,n]) / N",
    "a sum of parts": "sum[n](S[m,n] / N)",
}


@pytest.mark.parametrize("mean", MEANS)
def test_far_from_zero(mean: str) -> None:
    """A variance of scores around 1000: the mean of the points so far is near, their part of the
    whole mean is not."""
    rng = np.random.default_rng(5)
    inputs = narrow(rows(1000 + rng.standard_normal((3, 400)), rng), "f32")
    call = kernel(VARIANCE.format(mean=MEANS[mean]))
    for n in (1, 16, 64):
        no_worse(call, inputs, {"n": n, "m": 2, "f": 2}, "f32")
        found, plain = (
            outputs(x)[1] for x in (call(inputs, {}, {"n": n}), written(call.facts, inputs, {}))
        )
        np.testing.assert_allclose(found, plain, 1e-4)


NOTHING_AT_FIRST = {
    "variance": """    U[m,f] = softmax[n](S[m,n]) * V[n,f]
    O[m,f] = softmax[n](S[m,n]) * (V[n,f] - U[m,f]) ** 2
""",
    "angles": """    U[m,f] = softmax[n](S[m,n]) * V[n,f]
    O[m,f] = softmax[n](S[m,n]) * cos(V[n,f] - U[m,f])
""",
    "a scale": """    D[m] = sum[n](exp(S[m,n]))
    O[m,f] = (exp(S[m,n]) / D[m]) ** 2 * V[n,f]
""",
    "sigmoids": """    D[m] = sum[n](sigmoid(S[m,n]))
    U[m,f] = sum[n](sigmoid(S[m,n]) * V[n,f]) / D[m]
    O[m,f] = sum[n](sigmoid(S[m,n]) * (V[n,f] - U[m,f]) ** 2) / D[m]
""",
}


@pytest.mark.parametrize("low", [-np.inf, -1000.0])
@pytest.mark.parametrize("name", NOTHING_AT_FIRST)
def test_weights_that_are_nothing_at_first(name: str, low: float) -> None:
    """Weights of the first tiles are 0: what is divided by their sum must do no harm later."""
    rng = np.random.default_rng(6)
    scores = rng.standard_normal((3, 40))
    scores[:, :16] = low
    call = kernel("cascade c(S[M,N], V[N,F]) -> O[M,F]:\n" + NOTHING_AT_FIRST[name])
    inputs = narrow(rows(scores, rng), "f32")
    for n in (1, 8, 64):
        no_worse(call, inputs, {"n": n, "m": 2, "f": 2}, "f32")
        found = call(inputs, {}, {"n": n, "m": 2, "f": 2})
        np.testing.assert_allclose(found, written(call.facts, inputs, {}), 1e-3, 1e-5)
