"""Parameters far beyond all coordinates: whatever a call gives, nothing wraps around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from attnc.ir.facts import Facts
from attnc.passes.tiling.bounded import Bounded, _Uses
from attnc.planning import ranged
from tests.interpreted import interpreted
from tests.prepared import facts_of, plan_of
from tests.tiled import Tiled, of_plan, outputs

TEXT = """cascade soft(Q[M,E], K[N,E], V[N,F], doc[N]: i32, w: int = 6, v: int = 3) -> O[M,F]:
    S[m,n] = Q[m,e] * K[n,e] where CONDITION
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
"""
WINDOW = "n <= m + N - M, m + N - M - n < w or doc[n] < v"
EXTREME = (0, -1, 4, 2**31, -(2**31) - 1, 2**62, -(2**62), 2**63 - 1, -(2**63))
M, N = 21, 37


def inputs() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    made = {"Q": (M, 4), "K": (N, 4), "V": (N, 3)}
    found = {n: draw.normal(size=size).astype(np.float32) for n, size in made.items()}
    return found | {"doc": draw.integers(-3, 9, N).astype(np.int32)}


def wanted(tensors: Mapping[str, np.ndarray], w: int, v: int) -> np.ndarray:
    """What the window gives, by integers that have no end."""
    q, k, values, doc = (tensors[n].tolist() for n in ("Q", "K", "V", "doc"))
    found = np.zeros((M, 3))
    for m in range(M):
        seen = [n for n in range(N) if n <= m + N - M and (m + N - M - n < w or doc[n] < v)]
        if seen:
            weights = np.exp(np.array(k)[seen] @ np.array(q[m]))
            found[m] = weights @ np.array(values)[seen] / weights.sum()
    return found


def wrong(facts: Facts, *, interpret: bool = False, bounded: bool = True) -> list[tuple[int, int]]:
    """Those parameters with which a window is not what it should be."""
    plan = ranged(plan_of(TEXT.replace("CONDITION", WINDOW)))
    run = interpreted(facts) if interpret else of_plan(facts, plan)
    if not bounded:
        run = of_plan(facts, replace(plan, bounded=()))
    tensors = inputs()
    calls = [(w, v) for w in EXTREME for v in EXTREME if EXTREME.index(w) in (4, EXTREME.index(v))]
    found: list[tuple[int, int]] = []
    for w, v in [*calls, (0, 2**32 + 1), (2**63 - 1, 0), (-(2**63), 2**31)]:
        given = {"w": w, "v": v}
        try:
            made = run(tensors, given, {}) if isinstance(run, Tiled) else run(tensors, given)
            (result,) = outputs(made)
        except AssertionError:  # what ranges claim is asserted in each round
            found.append((w, v))
            continue
        if not np.allclose(result, wanted(tensors, w, v), 1e-4, 1e-4):
            found.append((w, v))
    return found


def test_a_window_however_long() -> None:
    facts = facts_of(TEXT.replace("CONDITION", WINDOW))
    assert wrong(facts) == []
    assert wrong(facts, bounded=False) != []


def test_a_window_however_long_on_triton() -> None:
    assert wrong(facts_of(TEXT.replace("CONDITION", WINDOW)), interpret=True) == []


CONDITIONS = {
    "m - n < w": "w",
    "not (m - n < w or doc[n] >= v)": "wv",
    "abs(m - n) <= w, 2 * n < M + v": "wv",
    "n // 4 >= m // 4 - w, n - v <= m": "wv",
    "min(n, w) <= m, clip(m - v, 0, N - 1) <= n": "wv",
    "(m - n if doc[n] > 0 else n) < w": "w",
    "m - n < w - v": "",  # both may be far, and near to each other
    "m - n < w // 2, n % v == 0": "",
    "m * n < w, n < m * v": "",  # products may be as far
    "M * M * M < w": "",
    "n < w, doc[n] + v < 3": "w",  # in 32 bits, which wrap around
    "n < m + 2**40 + w, n < v": "v",
    "Q[m,0] < w, n < v": "v",  # a float has no end
    "70 * v > n": "",
}
"""Conditions, with the parameters that may be taken for nearer ones."""


def bounded(condition: str) -> str:
    return "".join(Bounded()(plan_of(TEXT.replace("CONDITION", condition))).bounded)


def test_which_parameters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    unused = {c: "".join(p for p in "wv" if p not in c.replace("if", "")) for c in CONDITIONS}
    shown = {c: "".join(p for p in "wv" if p in w + unused[c]) for c, w in CONDITIONS.items()}
    assert {c: bounded(c) for c in CONDITIONS} == shown
    # each way to know less than that is seen
    for name, fault in (("_most", 0), ("fine", True)):
        with monkeypatch.context() as patch:
            patch.setattr(_Uses, name, Mock(return_value=fault))
            assert {c: bounded(c) for c in CONDITIONS} != shown, name
