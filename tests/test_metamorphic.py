"""What must not change, or change in a known way, when a call or a text is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.planning import planned
from tests import examples
from tests.acceptance.exact import exact_inputs, stand_in
from tests.acceptance.judge import judge
from tests.agreement import function
from tests.oracle import interpreter
from tests.tiled import Tiled, from_text, of_plan, outputs, tiled, written

SCORES = """cascade one(Q[M,E], K[N,E], V[N,F]{more}) -> {outputs}:
    S[m,n] = Q[m,e] * K[n,e] / sqrt(E){shift}
"""
STEPS = """    G[m] = max[n](S[m,n])
    D[m] = sum[n](exp(S[m,n] - G[m]))
"""
BODIES = {
    "macro": "    O[m,f] = softmax[n](S[m,n]) * V[n,f]\n",
    "three passes": STEPS + "    O[m,f] = exp(S[m,n] - G[m]) / D[m] * V[n,f]\n",
    "two passes": STEPS + "    O[m,f] = sum[n](exp(S[m,n] - G[m]) * V[n,f]) / D[m]\n",
    "base 3": """    G[m] = max[n](S[m,n])
    D[m] = sum[n](3 ** (S[m,n] - G[m]))
    O[m,f] = 3 ** (S[m,n] - G[m]) / D[m] * V[n,f]
""",
    "base 2": """    G[m] = max[n](S[m,n])
    D[m] = sum[n](exp2(S[m,n] - G[m]))
    O[m,f] = exp2(S[m,n] - G[m]) / D[m] * V[n,f]
""",
    "D + 1": STEPS + "    O[m,f] = exp(S[m,n] - G[m]) / (D[m] + 1) * V[n,f]\n",
    "sqrt(D)": STEPS + "    O[m,f] = exp(S[m,n] - G[m]) / sqrt(D[m]) * V[n,f]\n",
    "root of D + 1, deferred": STEPS
    + "    O[m,f] = sum[n](exp(S[m,n] - G[m]) * V[n,f]) / sqrt(D[m] + 1)\n",
    "product of two": """    T[m,n] = tanh(S[m,n])
    O[m,f] = softmax[n](S[m,n]) * softmax[n](T[m,n]) * V[n,f]
""",
    "difference of two": """    T[m,n] = tanh(S[m,n])
    O[m,f] = (softmax[n](S[m,n]) - 0.5 * softmax[n](T[m,n])) * V[n,f]
""",
    "1-norm": "    O[m,f] = abs(S[m,n]) / sum[n](abs(S[m,n])) * V[n,f]\n",
    "3-norm": """    D[m] = sum[n](abs(S[m,n]) ** 3)
    O[m,f] = S[m,n] / D[m] ** (1 / 3) * V[n,f]
""",
    "2-norm, deferred": """    D[m] = sum[n](S[m,n] ** 2)
    O[m,f] = sum[n](S[m,n] * V[n,f]) * rsqrt(D[m] + 0.1)
""",
    "sigmoid, normalised": """    D[m] = sum[n](sigmoid(S[m,n]))
    O[m,f] = sigmoid(S[m,n]) / D[m] * V[n,f]
""",
    "the opposite minimum": """    G[m] = min[n](-S[m,n])
    D[m] = sum[n](exp(G[m] - (-S[m,n])))
    O[m,f] = exp(S[m,n] + G[m]) / D[m] * V[n,f]
""",
    "variance of values": """    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    W[m,f] = softmax[n](S[m,n]) * (V[n,f] - O[m,f]) ** 2
""",
    "log-sum-exp": """    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m] = logsumexp[n](S[m,n])
""",
    "entropy": """    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m] = sum[n](-softmax[n](S[m,n]) * log_softmax[n](S[m,n]))
""",
}
"""Attentions; all but the first three are disguises: nothing in them is called softmax's."""
SHIFTS = set(BODIES) - {
    *("product of two", "difference of two", "1-norm", "3-norm", "2-norm, deferred"),
    *("sigmoid, normalised",),
}
"""Those that a constant added to all scores does not change."""


def text(name: str, shift: str = "") -> str:
    body = BODIES[name]
    found = ["O[M,F]"]
    found += ["W[M,F]"] if "W[m,f] =" in body else []
    found += ["L[M]"] if "L[m] =" in body else []
    more = f", {shift}: float = 0.0" if shift else ""
    head = SCORES.format(more=more, outputs=", ".join(found), shift=f" + {shift}" if shift else "")
    return head + body


@cache
def kernel(name: str) -> Tiled:
    return from_text(text(name))


def arrays(seed: int, keys: int = 23) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"Q": (5, 4), "K": (keys, 4), "V": (keys, 3)}
    return {k: rng.standard_normal(shape) for k, shape in shapes.items()}


def run(call: Tiled, inputs: Mapping[str, Any], seed: int, **parameters: Any) -> tuple[Any, ...]:
    sizes = call.sizes(seed, inputs, parameters)
    return outputs(call(inputs, parameters, sizes, seed))


def same(found: Sequence[Any], expected: Sequence[Any], tolerance: float = 1e-12) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, tolerance, tolerance)


# Every disguise takes the road of softmax


@pytest.mark.parametrize("name", BODIES)
def test_one_streaming_kernel(name: str) -> None:
    """One kernel, which goes over the keys once, and no buffer."""
    _, fused = planned(attnc.check(text(name)).select())
    (item,) = fused.plan.kernels
    assert [a.name for a in item.axes if a.kind == "stream"] == ["n"]
    assert fused.plan.buffers == ()
    assert fused.refusals == ()


@pytest.mark.parametrize("name", BODIES)
def test_disguises_match_the_oracle(name: str) -> None:
    """The interpreter in f64, and the bound in f32, at random tiles and orders."""
    call = kernel(name)
    for seed, keys in enumerate((0, 1, 7, 23)):
        inputs = arrays(seed, keys)
        same(run(call, inputs, seed), interpreter.run(call.facts, inputs, {}), 1e-10)
        narrow = {k: v.astype(np.float32) for k, v in inputs.items()}
        sizes = call.sizes(seed, narrow)
        found = call(narrow, {}, sizes, seed)
        tiles = call.streamed(sizes)
        verdict = judge(call.facts, narrow, {}, found, matrix_type="f32", tiles=tiles)
        assert verdict.ok, verdict


# Keys


@pytest.mark.parametrize("name", BODIES)
def test_keys_in_another_order(name: str) -> None:
    """Keys permuted together with their values change nothing."""
    for seed in range(3):
        inputs = arrays(seed)
        order = np.random.default_rng(seed).permutation(23)
        moved = {**inputs, "K": inputs["K"][order], "V": inputs["V"][order]}
        same(run(kernel(name), moved, seed), run(kernel(name), inputs, seed + 1))


@pytest.mark.parametrize("name", BODIES)
def test_keys_in_another_order_bit_for_bit(name: str) -> None:
    """The same where nothing is rounded."""
    found = stand_in(attnc.check(text(name)).select())
    call = tiled(found)
    inputs = exact_inputs(found, {"M": 3, "N": 13, "E": 4, "F": 2}, 1, "bf16")
    order = np.random.default_rng(0).permutation(13)
    moved = {**inputs, "K": inputs["K"][order], "V": inputs["V"][order]}
    expected = outputs(written(found, inputs, {}))
    for seed in range(4):
        for given in (inputs, moved):
            for a, b in zip(run(call, given, seed), expected, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", BODIES)
def test_queries_in_another_order(name: str) -> None:
    """Rows do not know of each other."""
    inputs = arrays(4)
    order = np.random.default_rng(0).permutation(5)
    expected = [x[order] for x in run(kernel(name), inputs, 0)]
    same(run(kernel(name), {**inputs, "Q": inputs["Q"][order]}, 1), expected)


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_a_constant_added_to_all_scores(name: str) -> None:
    call = from_text(text(name, "c"))
    inputs = arrays(2)
    plain = run(call, inputs, 0)
    for seed, constant in enumerate((1.0, -37.5, 1000.0)):
        expected = list(plain)
        if name == "log-sum-exp":
            expected[1] = expected[1] + constant
        same(run(call, inputs, seed, c=constant), expected, 1e-10)


@pytest.mark.parametrize("name", sorted(set(BODIES) - SHIFTS))
def test_a_constant_that_matters(name: str) -> None:
    """The test above could fail."""
    call = from_text(text(name, "c"))
    inputs = arrays(2)
    a, b = (run(call, inputs, 0, c=c)[0] for c in (0.0, 1.0))
    assert not np.allclose(a, b, 1e-3, 1e-3)


def test_parts_of_the_keys_are_merged() -> None:
    """Results of two parts, weighted by their log-sum-exp, are those of all keys."""
    call = kernel("log-sum-exp")
    for seed, cut in enumerate((0, 1, 8, 22, 23)):
        inputs = arrays(seed)
        parts = [
            run(call, {"Q": inputs["Q"], "K": inputs["K"][part], "V": inputs["V"][part]}, seed)
            for part in (slice(cut), slice(cut, None))
        ]
        weights = [
            np.exp(lse)[:, None] if n else 0.0
            for (_, lse), n in zip(parts, (cut, 23 - cut), strict=True)
        ]
        total = weights[0] + weights[1]
        merged = (weights[0] * parts[0][0] + weights[1] * parts[1][0]) / total
        whole = run(call, inputs, seed + 1)
        same([merged, np.log(total)[:, 0]], whole)


def test_keys_that_are_there_twice() -> None:
    """Weights are shared: results stay, and so does the variance; log-sum-exp gains log 2."""
    for name in ("macro", "log-sum-exp", "variance of values"):
        inputs = arrays(3)
        twice = {**inputs, **{k: np.concatenate([inputs[k]] * 2) for k in "KV"}}
        expected = list(run(kernel(name), inputs, 0))
        if name == "log-sum-exp":
            expected[1] = expected[1] + np.log(2)
        same(run(kernel(name), twice, 1), expected)


PADDED = """cascade padded(Q[M,E], K[N,E], V[N,F], length: int) -> O[M,F], L[M] empty -inf:
    S[m,n] = Q[m,e] * K[n,e] / sqrt(E) where n < length
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m] = logsumexp[n](S[m,n])
"""


@pytest.mark.parametrize("rubbish", [0.0, np.nan, np.inf, -1e300])
def test_what_is_masked_is_not_read(rubbish: float) -> None:
    """Keys and values beyond a length may hold anything, bit for bit."""
    call = from_text(PADDED)
    inputs = arrays(5)
    for length in (0, 1, 9, 23):
        sizes = call.sizes(length, inputs)
        filled = {k: inputs[k].copy() for k in inputs}
        for name in "KV":
            filled[name][length:] = rubbish
        plain = outputs(call(inputs, {"length": length}, sizes, 0))
        for a, b in zip(outputs(call(filled, {"length": length}, sizes, 0)), plain, strict=True):
            np.testing.assert_array_equal(a, b)
        short = {"Q": inputs["Q"], "K": inputs["K"][:length], "V": inputs["V"][:length]}
        same(outputs(call(short, {"length": length}, sizes, 1)), plain)


# Texts of one attention


def test_texts_in_three_and_two_passes_agree() -> None:
    """In f64 nearly, and bit for bit where nothing is rounded."""
    names = ("macro", "three passes", "two passes")
    for seed in range(3):
        results = [run(kernel(n), arrays(seed), seed) for n in names]
        same(results[1], results[0])
        same(results[2], results[0])
    stood = [stand_in(attnc.check(text(n)).select()) for n in names]
    inputs = exact_inputs(stood[0], {"M": 4, "N": 21, "E": 4, "F": 3}, 0, "f32")
    first, *rest = (run(tiled(facts), inputs, i)[0] for i, facts in enumerate(stood))
    for other in rest:
        np.testing.assert_array_equal(other, first)


def test_texts_in_one_and_three_passes_agree() -> None:
    """A text that streams by itself finds what the textbook's finds."""
    rng = np.random.default_rng(0)
    shapes = {"Q": (1, 2, 4, 3), "K": (1, 2, 11, 3), "V": (1, 2, 11, 5)}
    inputs = {k: rng.standard_normal(shape) for k, shape in shapes.items()}
    three = from_text(examples.text("fusemax_three_pass"))
    one = attnc.check(examples.text("fusemax_one_pass")).select()
    call = tiled(one)
    for seed, width in enumerate((1, 4, 11, 16)):
        expected = run(three, inputs, seed)
        same([function(one)(*inputs.values(), M0=width)], expected)
        same(run(call, inputs, seed, M0=width), expected)


def test_as_many_key_heads_as_query_heads() -> None:
    """Grouped heads of one head each are plain heads, and one key head is shared by all."""
    rng = np.random.default_rng(1)
    shapes = {"Q": (2, 4, 5, 3), "K": (2, 4, 7, 3), "V": (2, 4, 7, 2)}
    inputs = {k: rng.standard_normal(shape) for k, shape in shapes.items()}
    grouped, plain = from_text(examples.text("gqa_causal")), from_text(examples.text("causal"))
    same(run(grouped, inputs, 0), run(plain, inputs, 1))
    single = {**inputs, **{k: inputs[k][:, :1] for k in "KV"}}
    repeated = {**inputs, **{k: np.repeat(inputs[k][:, :1], 4, 1) for k in "KV"}}
    same(run(grouped, single, 2), run(plain, repeated, 3))


# Tiles


@pytest.mark.parametrize("name", BODIES)
def test_orders_of_parallel_tiles(name: str) -> None:
    """At one size of the tiles of keys, rows do not depend on how and when their tiles run."""
    call = kernel(name)
    inputs = arrays(6)
    first, *others = (
        outputs(call(inputs, {}, {"m": m, "n": 23, "e": 4, "f": 3}, shuffle))
        for m, shuffle in ((5, None), (1, 0), (2, 1), (64, 2))
    )
    for other in others:
        same(other, first, 1e-14)


def test_the_plan_is_that_of_the_facts() -> None:
    """A fault in the helper that compiles plans would be seen: the wrong plan is not the text's."""
    wrong = of_plan(kernel("macro").facts, kernel("sqrt(D)").plan)
    assert not np.allclose(run(wrong, arrays(0), 0)[0], run(kernel("macro"), arrays(0), 0)[0])
