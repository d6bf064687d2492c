"""What sees a wrong plan: texts, and four ways to judge what a plan of one computes.

`f32` and `half`: the bound, on random inputs; in half types on large scores, and on long rows with
a mean. `hard`: the bound on scores that are large, grow, or are infinite. `exact`: no bit may
differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import numpy as np

import attnc
from attnc.errors import InternalError
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan
from tests.acceptance.exact import exact_inputs, stand_in
from tests.acceptance.judge import judge
from tests.test_acceptance import TYPES
from tests.tiled import of_plan, outputs, written

TEXTS = {
    "attend": """cascade attend(
    Q[M,E], K[N,E], V[N,F], P[M,N], w: int = 9
) -> O[M,F] empty 7, L[M] empty -inf:
    S[m,n] = Q[m,e] * K[n,e] / sqrt(E) + P[m,n] where n <= m + (N - M), m + (N - M) - n < w
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m] = logsumexp[n](S[m,n])
""",
    "vary": """cascade vary(P[M,N], V[N,F]) -> U[M,F], W[M,F]:
    U[m,f] = softmax[n](P[m,n]) * V[n,f]
    W[m,f] = softmax[n](P[m,n]) * (V[n,f] - U[m,f]) ** 2
""",
    "least": """cascade least(P[M,N], V[N,F]) -> O[M,F], G[M]:
    G[m] = min[n](P[m,n])
    D[m] = sum[n](exp(G[m] - P[m,n]))
    O[m,f] = exp(G[m] - P[m,n]) / D[m] * V[n,f]
""",
    "twice": """cascade twice(P[M,N], V[N,F]) -> O[M,F] empty 7:
    T[m,n] = P[m,n] where n < 3 * m
    U[m] = mean[n](T[m,n])
    O[m,f] = sum[n](max(P[m,n] - U[m], 0) * V[n,f])
""",
    "turns": """cascade turns(P[M,N], V[N,F]) -> O[M,F]:
    U[m] = mean[n](P[m,n])
    O[m,f] = cos(P[m,n] - U[m]) * V[n,f]
""",
    "extreme": """cascade extreme(P[M,N], V[N,F]) -> O[M,F], C[M]:
    G[m] = max[n](P[m,n])
    O[m,f] = max[n](3 - 2 * (P[m,n] + V[n,f] - G[m]))
    C[m] = f64(count[n](P[m,n] > 0.25))
""",
    "branches": """cascade branches(P[M,N], V[N,F]) -> O[M,F] empty 7, C[M,F]:
    T[m,n] = P[m,n] where n < 3 * m or n > 18
    W[n] = V[n,0] + 1
    G[m] = max[n](T[m,n])
    D[m] = sum[n](exp(T[m,n] - G[m]))
    O[m,f] = sum[n]((exp(T[m,n] - G[m]) / D[m] + 2 * exp(T[m,n] - G[m])) * V[n,f])
    C[m,f] = sum[n]((default(W[n - 1], 2) if n % 3 < 2 else T[m,n]) * V[n,f])
""",
    "scan": """cascade scan(P[M,N], V[N,F]) -> O[M,F]:
    C[m,n] = cumsum[n](P[m,n])
    O[m,f] = relu(C[m,n]) * V[n,f]
""",
}
SIZES = {"M": 6, "N": 21, "E": 5, "F": 3}
SHORT = {**SIZES, "M": 9, "N": 5}
"""With rows of which no key counts."""
FEW = {**SIZES, "M": 3, "N": 9}
TILES = ({"m": 4, "n": 4, "e": 2, "f": 2}, {"m": 1, "n": 3, "e": 8, "f": 8}, {"m": 8, "n": 64})
ORDERS = (None, 0, 1)
LONG = 1500

Planner = Callable[[Facts], Plan]


@cache
def facts(text: str, exact: bool = False) -> Facts:
    found = attnc.check(TEXTS[text]).select()
    return stand_in(found) if exact else found


def random_inputs(text: str, seed: int, sizes: dict[str, int] = SIZES) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    items = facts(text).cascade.inputs
    return {i.name: rng.standard_normal([sizes[str(s)] for s in i.sizes]) for i in items}


def hard_inputs(text: str) -> Iterator[dict[str, Any]]:
    """Scores that are large, grow or fall, or are -inf for the first keys."""
    rng = np.random.default_rng(9)
    for change in (
        lambda p: p - 1e4,
        lambda p: p + 1e4,
        lambda p: np.sort(80 * p),
        lambda p: -np.sort(80 * p),
        lambda p: np.where(np.arange(21) < 12 + 9 * rng.integers(0, 2, (6, 1)), -np.inf, p),
    ):
        inputs = random_inputs(text, 9)
        inputs["P"] = change(inputs["P"])
        yield inputs


def within(text: str, plan: Plan, kind: str, inputs: Mapping[str, Any], *, window: int = 9) -> bool:
    """Whether a plan's results are within their bounds at some tiles."""
    call = of_plan(facts(text), plan)
    narrow = {k: v.astype(TYPES[kind]) for k, v in inputs.items()}
    long = inputs["V"].shape[0] > 100
    parameters = {"w": window} if text == "attend" else {}
    ways = [({"m": 4, "n": 64}, 0)] if long else zip(TILES, ORDERS, strict=True)
    for tiles, shuffle in ways:
        found = call(narrow, parameters, tiles, shuffle)
        full = {a.name: tiles.get(a.name, 64) for k in plan.kernels for a in k.axes}
        verdict = judge(
            facts(text),
            narrow,
            parameters,
            found,
            matrix_type=kind,
            tiles=call.streamed(full),
            undecided=1.0,
        )
        if not verdict.ok:
            return False
    return True


def f32(text: str, planned: Planner) -> bool:
    plan = planned(facts(text))
    return all(
        within(text, plan, "f32", random_inputs(text, seed, sizes))
        for seed, sizes in enumerate((SIZES, SHORT))
    )


def half(text: str, planned: Planner) -> bool:
    plan = planned(facts(text))
    large, long = random_inputs(text, 3), random_inputs(text, 4, {**SIZES, "N": LONG})
    large = {k: 8 * v if k == "Q" else v for k, v in large.items()}
    long["V"] += 2.0
    return all(
        within(text, plan, kind, inputs, window=LONG)
        for kind in ("f16", "bf16")
        for inputs in (large, long)
    )


def hard(text: str, planned: Planner) -> bool:
    plan = planned(facts(text))
    return all(within(text, plan, "f32", inputs, window=LONG) for inputs in hard_inputs(text))


def exact(text: str, planned: Planner) -> bool:
    found = facts(text, exact=True)
    call = of_plan(found, planned(found))
    for kind in ("f32", "bf16"):
        inputs = exact_inputs(found, FEW if text == "vary" else SIZES, 2, kind)
        expected = outputs(written(found, inputs, {}))
        for tiles, shuffle in zip(TILES, ORDERS, strict=True):
            got = outputs(call(inputs, {}, tiles, shuffle))
            for a, b in zip(got, expected, strict=True):
                if not np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True):
                    return False
    return True


INSTRUMENTS: Final = {"f32": f32, "half": half, "hard": hard, "exact": exact}


def instruments(text: str) -> tuple[str, ...]:
    """Those that can judge a text.

    Addition theorems do not hold for what stands for a cosine, and a mean of the points so far,
    about which sums are kept, is a quotient that no number holds.
    """
    return tuple(n for n in INSTRUMENTS if n != "exact" or text not in ("turns", "vary"))


def red(text: str, planned: Planner, name: str) -> bool:
    """Whether an instrument sees that a plan of a text is wrong."""
    try:
        return not INSTRUMENTS[name](text, planned)
    except (ArithmeticError, AssertionError, IndexError, InternalError, KeyError, ValueError):
        return True


def seen(text: str, planned: Planner) -> set[str]:
    """The instruments that see that a plan of a text is wrong."""
    return {name for name in instruments(text) if red(text, planned, name)}
