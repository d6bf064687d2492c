"""Plans written by hand: the shapes that later work needs in level 2 from the first day.

Each is run as tiled NumPy at random tile sizes and in random orders, and compared with a formula
or with the cascade as it is written. The sentences are those of the design.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnc.backends.numpy.tiled import emit_tiled
from attnc.backends.options import Options
from attnc.errors import Source
from attnc.grammar.tiles import parse
from attnc.ir.tiles import Plan
from attnc.ir.tiles_verify import verify
from attnc.modules import function_of
from tests import support
from tests.oracle import interpreter

FOLDER = Path(__file__).parent / "plans"
SIZES = (1, 2, 3, 5, 8, 64)
TURNS = 40

Arrays = dict[str, np.ndarray]


@cache
def written(name: str) -> str:
    return (FOLDER / f"{name}.plan").read_text("utf-8")


def read(text: str) -> Plan:
    plan = parse(Source("a plan", text))
    verify(plan)
    return plan


def run(plan: Plan, inputs: Mapping[str, Any], parameters: Mapping[str, Any], seed: int) -> Any:
    """What a plan computes, at tile sizes and in an order that a seed chooses."""
    generator = random.Random(seed)
    tiles = {a.name: generator.choice(SIZES) for k in plan.kernels for a in k.axes}
    function = function_of(emit_tiled(plan, Options()), plan.name)
    arrays = (inputs[i.name] for i in plan.inputs)
    return function(*arrays, **parameters, _tiles=tiles, _shuffle=generator.choice((None, seed)))


def close(found: Any, expected: Any) -> bool:
    found = found if isinstance(found, tuple) else (found,)
    return all(
        np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
        for a, b in zip(found, expected, strict=True)
    )


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape)


@dataclass(frozen=True)
class Case:
    """What a plan is for, and inputs with the results that are expected of it."""

    sentences: tuple[str, ...]
    sample: Callable[[np.random.Generator], tuple[Arrays, dict[str, Any]]]
    formula: Callable[..., tuple[Any, ...]]


# Sliding window

WINDOW = """
cascade window_sinks(Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], window: int, sinks: int)
        -> O[B,H,M,F], L[B,H,M] empty -inf:
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h // G,n,e] / sqrt(E)
        where n <= m + (N - M), m + (N - M) - n < window or n < sinks
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h // G,n,f]
    L[b,h,m] = log(sum[n](exp(S[b,h,m,n])))
"""


def window_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    b, j, g, m, e, f = rng.integers(1, 4, size=6)
    m, n = rng.integers(1, 12), rng.integers(1, 40)
    inputs = {"Q": normal(rng, b, j * g, m, e), "K": normal(rng, b, j, n, e)}
    inputs["V"] = normal(rng, b, j, n, f)
    return inputs, {"window": int(rng.integers(-1, 30)), "sinks": int(rng.integers(-1, 6))}


@cache
def oracle(text: str) -> Callable[..., Any]:
    return support.only(text)


def window_formula(inputs: Arrays, **parameters: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = oracle(WINDOW)(*inputs.values(), **parameters)
    return found


# Split keys


def state(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, ...]:
    scores = Q @ K.T
    most = np.max(scores, axis=1, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isinf(most), 0, most)[:, None])
    return most, weights.sum(1), weights @ V


def split_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    m, e, f = rng.integers(1, 6, size=3)
    n, before = rng.integers(0, 30), rng.integers(0, 4)
    inputs = {"Q": normal(rng, m, e), "K": normal(rng, n, e), "V": normal(rng, n, f)}
    parts = state(inputs["Q"], normal(rng, before, e), normal(rng, before, f))
    inputs |= dict(zip(("R0", "D0", "A0"), parts, strict=True))
    return inputs, {"pieces": int(rng.integers(1, 9))}


def split_formula(inputs: Arrays, pieces: int) -> tuple[Any, ...]:
    r, d, a = state(inputs["Q"], inputs["K"], inputs["V"])
    most = np.maximum(r, inputs["R0"])
    steady = np.where(np.isinf(most), 0, most)
    own, old = np.exp(r - steady), np.exp(inputs["R0"] - steady)
    total = own * d + old * inputs["D0"]
    sums = own[:, None] * a + old[:, None] * inputs["A0"]
    with np.errstate(all="ignore"):
        return np.where(np.isinf(most)[:, None], 0, sums / total[:, None]), most, total, sums


# Gradients


def gather_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    m, e, p = rng.integers(1, 12, size=3)
    index = rng.integers(-1, p + 1, size=m).astype(np.int32)
    return {"index": index, "dY": normal(rng, m, e)}, {"P": int(p)}


def gather_formula(inputs: Arrays, P: int) -> tuple[Any, ...]:
    picked = inputs["index"][:, None] == np.arange(P)
    return (picked.T @ inputs["dY"],)


def bias_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    return {"dS": normal(rng, *rng.integers(0, 9, size=3))}, {}


def bias_formula(inputs: Arrays) -> tuple[Any, ...]:
    return inputs["dS"].sum((0, 1)), inputs["dS"].max((0, 1), initial=-np.inf)


# Recurrences


def chunked_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    return {"X": normal(rng, *rng.integers(0, 40, size=1), 3)}, {"g": float(rng.uniform(0.3, 1.5))}


def chunked_formula(inputs: Arrays, g: float) -> tuple[Any, ...]:
    rows, row = [], np.zeros(3)
    for x in inputs["X"]:
        row = g * row + x
        rows.append(row)
    return np.array(rows).reshape(-1, 3), row


def rows_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    t, f = rng.integers(0, 12), rng.integers(1, 5)
    return {"A": normal(rng, t, t), "X": normal(rng, t, f)}, {}


def rows_formula(inputs: Arrays) -> tuple[Any, ...]:
    a = np.tril(inputs["A"], -1)
    return (np.linalg.solve(np.eye(len(a)) - a, inputs["X"]),)


# Neighbourhoods


def near_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    h, w, e, f = (int(x) for x in rng.integers(1, 7, size=4))
    inputs = {"Q": normal(rng, h * w, e), "K": normal(rng, h * w, e), "V": normal(rng, h * w, f)}
    return inputs, {"H": h, "W": w, "r": int(rng.integers(0, 4))}


def near_formula(inputs: Arrays, H: int, W: int, r: int) -> tuple[Any, ...]:
    y, x = np.divmod(np.arange(H * W), W)
    seen = (abs(y[:, None] - y) <= r) & (abs(x[:, None] - x) <= r) & (y % 2 == 0)
    weights = np.where(seen, np.exp(inputs["Q"] @ inputs["K"].T), 0)
    with np.errstate(all="ignore"):
        found = weights @ inputs["V"] / weights.sum(1)[:, None]
    return (np.where(seen.any(1)[:, None], found, 0),)


# Tables


def block_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    b, m, n, f, size = (int(x) for x in rng.integers(1, 9, size=5))
    blocks = (b, -(-m // size), -(-n // size))
    inputs = {"S": normal(rng, b, m, n), "V": normal(rng, b, n, f)}
    inputs["length"] = rng.integers(0, n + 1, size=b).astype(np.int32)
    inputs["block"] = rng.random(blocks) < 0.5
    return inputs, {"size": size, "seed": int(rng.integers(9)), "rate": 0.3}


def block_formula(inputs: Arrays, size: int, seed: int, rate: float) -> tuple[Any, ...]:
    S, V, length, block = inputs.values()
    where = np.indices(S.shape)
    drawn = np.array([interpreter.random(seed, *map(int, i)) for i in where.reshape(3, -1).T])
    on = block[where[0], where[1] // size, where[2] // size] & (where[2] < length[where[0]])
    weights = np.where(on & (drawn.reshape(S.shape) >= rate), np.exp(S), 0)
    total = weights.sum(2)[:, :, None]
    return (np.where(total > 0, weights @ V / np.where(total > 0, total, 1), 0),)


def paged_sample(rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    b, e, f, p, x = (int(i) for i in rng.integers(1, 6, size=5))
    r = int(rng.integers(1, 5))
    inputs = {"Q": normal(rng, b, e), "KP": normal(rng, p, r, e), "VP": normal(rng, p, r, f)}
    inputs["page"] = rng.integers(-1, p + 1, size=(b, x)).astype(np.int32)
    inputs["length"] = rng.integers(0, x * r + 1, size=b).astype(np.int32)
    return inputs, {"top": int(rng.integers(1, 7))}


def paged_formula(inputs: Arrays, top: int) -> tuple[Any, ...]:
    Q, KP, VP, page, length = inputs.values()
    out, picks = np.zeros((len(Q), VP.shape[2])), np.full((len(Q), top), -1)
    for b, q in enumerate(Q):
        spots = [(n, page[b, n // KP.shape[1]], n % KP.shape[1]) for n in range(length[b])]
        scores = [(KP[p, i] @ q, n, VP[p, i]) for n, p, i in spots if 0 <= p < len(KP)]
        best = sorted(scores, key=lambda s: -s[0])[:top]
        picks[b, : len(best)] = [n for _, n, _ in best]
        if best:
            weights = np.exp([s for s, _, _ in best])
            out[b] = weights @ np.array([v for _, _, v in best]) / weights.sum()
    return out, picks


CASES = {
    "window_sinks": Case(
        (
            "head packing and 2-D tiles (Coord)",
            "Range lo, hi, step over coordinate intervals (m.lo, m.hi); full | partial",
        ),
        window_sample,
        window_formula,
    ),
    "split_keys": Case(
        (
            "split-KV, prefix and ring (carry from and to buffers, `partial`, a second kernel)",
            "carry from and to buffers (merges)",
        ),
        split_sample,
        split_formula,
    ),
    "gather_gradient": Case(
        ("index expressions with a combining operator on the left side (gradients of gathers)",),
        gather_sample,
        gather_formula,
    ),
    "bias_gradient": Case(
        ("reductions over grid ranks (gradients of biases)",), bias_sample, bias_formula
    ),
    "chunked_recurrence": Case(
        ("recurrences and chunks (`next`, `scan`)",), chunked_sample, chunked_formula
    ),
    "stored_rows": Case(
        ("recurrences whose steps read any row before",), rows_sample, rows_formula
    ),
    "neighbourhood": Case(
        ("2-D tiles (Coord)", "tropical and additive scores (nested `for`)", "Range ... step"),
        near_sample,
        near_formula,
    ),
    "block_table": Case(
        (
            "if uniform {...}",
            "ranges over tables",
            "randomness as a pure function of coordinates",
        ),
        block_sample,
        block_formula,
    ),
    "paged": Case(
        ("paging (tables): p = page[b, n//R]", "t = topk[k->u](a) where p"),
        paged_sample,
        paged_formula,
    ),
}


def test_every_plan_is_run() -> None:
    assert {p.stem for p in FOLDER.glob("*.plan")} == set(CASES)


def wrong(name: str, plan: Plan, turns: int = TURNS) -> str:
    """The first seed at which a plan does not compute its formula, or is caught; else nothing."""
    for seed in range(turns):
        inputs, parameters = CASES[name].sample(np.random.default_rng(seed))
        with np.errstate(all="ignore"):
            expected = CASES[name].formula(inputs, **parameters)
            try:
                found = run(plan, inputs, parameters, seed)
            except AssertionError:
                return f"{seed}: a full range is not"
        if not close(found, expected):
            return f"{seed}: {parameters} {found} {expected}"
    return ""


@pytest.mark.parametrize("name", CASES)
def test_plans_compute_their_formulas(name: str) -> None:
    assert wrong(name, read(written(name))) == ""


FAULTS = [
    (
        "window_sinks",
        "reduce[sum,n](p) where n < N and n <= m + off",
        "reduce[sum,n](p) where n < N",
    ),
    ("window_sinks", "dot[n](p, v: float) where n < N", "dot[n](p, v: float) where n <= N - 1 - 1"),
    ("window_sinks", "[w0, min(full0, hi))", "[w0 + 1, min(full0, hi))"),
    ("window_sinks", "[full1, hi)", "[full1, hi - 1)"),
    ("window_sinks", "j * G + x % G of H", "j + x % G * J of H"),
    ("window_sinks", "next d = c * d + d1", "next d = d + d1"),
    ("split_keys", "n < (s + 1) * C", "n <= (s + 1) * C"),
    ("split_keys", "carry d[m]: float = d0", "carry d[m]: float = 0"),
    (
        "split_keys",
        "reduce[sum,s](w * dp) where s < pieces and here",
        "reduce[sum,s](w * dp) where s < pieces",
    ),
    ("split_keys", "and s * C <= n and", "and"),
    ("gather_gradient", "store sum dX", "store max dX"),
    (
        "bias_gradient",
        "reduce[sum,b,m](ds) where b < B and m < M",
        "reduce[sum,b,m](ds) where b < B and m < M and m < M - 1",
    ),
    ("bias_gradient", "store max top", "store sum top"),
    ("chunked_recurrence", "n == high(n)", "n == low(n)"),
    ("chunked_recurrence", "map n - low(n)", "map n"),
    ("chunked_recurrence", "(g * state + sums)", "(state + sums)"),
    ("stored_rows", "and s < t", "and s <= t"),
    ("neighbourhood", "step 1 + odd partial", "partial"),
    ("neighbourhood", "// 2 * 2", ""),
    ("neighbourhood", "high(x) + r + 1", "high(x) + r"),
    ("neighbourhood", "near[p,v]: bool = map within(v)", "near[p,v]: bool = map v < W - 1"),
    ("block_table", "random(seed, b, m, n)", "random(seed, b, m, n - low(n))"),
    ("block_table", "reduce[max,b](len)", "reduce[min,b](len)"),
    ("block_table", "if busy", "if not busy"),
    ("block_table", "next d1 = d1 + d2", "next d1 = d2"),
    ("paged", "where u < count", "where u <= count"),
    ("paged", "= s where ok", "= s where n < len and 0 <= found"),
    ("paged", "reduce[sum,u](w) where u < U and picked", "reduce[sum,u](w) where u < U"),
    ("paged", "topk[n -> u](s)", "topk[n -> u](-s)"),
]


@pytest.mark.parametrize(("name", "old", "new"), FAULTS)
def test_faults_are_seen(name: str, old: str, new: str) -> None:
    """Plans that are sound in form and wrong give a wrong result at some tiles."""
    assert old in written(name)
    assert wrong(name, read(written(name).replace(old, new)))


# Full ranges

FULL = [
    ("min(N, low(m) + off + 1) // tile(n)", "min(N, high(m) + off + 1) // tile(n)"),
    ("max(w0, ceildiv(high(m) + off - window + 1, tile(n)) * tile(n))", "w0"),
    (
        "max(full0, min(N, low(m) + off + 1) // tile(n) * tile(n))",
        "max(full0, min(N, low(m) + off + 1))",
    ),
]


@pytest.mark.parametrize(("old", "new"), FULL)
def test_full_ranges_that_are_not_are_caught(old: str, new: str) -> None:
    """A claim about lanes is checked where it is made, whatever it does to results."""
    text = written("window_sinks")
    assert old in text
    assert "a full range is not" in wrong("window_sinks", read(text.replace(old, new)))


def test_full_ranges_are_gone_through() -> None:
    """Without its full range, the plan leaves keys out: they are there, and no test hides them."""
    text = written("window_sinks").replace("[full0, full1) full, ", "")
    assert wrong("window_sinks", read(text))


def test_full_ranges_are_not_tested_for_rows_beyond() -> None:
    """Rows of a parallel tile beyond its extent need not meet what is claimed; but a claim that
    they lie within it must hold for them."""
    text = """plan rows(X[M,N]) -> O[N], R[M]:
    kernel k0
        axis m par M
        axis n stream N
        for n in [0, N // tile(n) * tile(n)) full, [N // tile(n) * tile(n), N) partial
            given n < N
            given m < 3
            carry r[m]: float = 0
            x[m,n]: float = load X[m,n] where m < M and n < N
            s[m]: float = reduce[sum,n](x) where n < N and m < 3
            next r = r + s
        store R[m] = r
            else 0, over m < M
    kernel k1
        axis n par N
        store O[n] = 0
            else 0, over n < N
"""
    x = normal(np.random.default_rng(0), 3, 8)
    function = function_of(emit_tiled(read(text), Options()), "rows")
    for size in (1, 2, 3, 8):
        assert close(function(x, _tiles={"m": size, "n": 2}), (np.zeros(8), x.sum(1)))
    claimed = read(text.replace("given m < 3", "given m < M").replace("and m < 3", "and m < M"))
    function = function_of(emit_tiled(claimed, Options()), "rows")
    assert close(function(x, _tiles={"m": 3, "n": 2}), (np.zeros(8), x.sum(1)))
    with pytest.raises(AssertionError):
        function(x, _tiles={"m": 2, "n": 2})


# States that go on


def test_a_state_goes_on_from_a_buffer() -> None:
    """The keys of a prefix first, the others later: the same as all at once (prefix caching)."""
    plan = read(written("split_keys"))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        inputs, parameters = split_sample(rng)
        at = int(rng.integers(0, len(inputs["K"]) + 1))
        whole = run(plan, inputs, parameters, seed)
        first = {**inputs, "K": inputs["K"][:at], "V": inputs["V"][:at]}
        _, *kept = run(plan, first, parameters, seed + 1)
        later = {**inputs, "K": inputs["K"][at:], "V": inputs["V"][at:]}
        later |= dict(zip(("R0", "D0", "A0"), kept, strict=True))
        assert close(run(plan, later, parameters, seed + 2), whole)


def test_order_is_kept_where_it_is_stated() -> None:
    """Tiles run in any order unless the loop says that they need theirs."""
    text = """plan last(X[N]) -> O[]:
    kernel k0
        axis n stream N
        for n ordered in [0, N) partial
            carry s[]: float = 0
            x[n]: float = load X[n] where n < N
            t[]: float = reduce[sum,n](x) where n < N
            next s = 0.5 * s + t
        store O[] = s
            else 0, over true
"""
    x = normal(np.random.default_rng(0), 12)
    ordered, any_order, backward = (
        function_of(emit_tiled(read(text.replace(" ordered", word)), Options()), "last")
        for word in (" ordered", "", " backward")
    )
    powers = 0.5 ** np.arange(12)[::-1]
    assert all(close(ordered(x, _tiles={"n": 1}, _shuffle=s), [x @ powers]) for s in range(9))
    assert not all(close(any_order(x, _tiles={"n": 1}, _shuffle=s), [x @ powers]) for s in range(9))
    assert all(
        close(backward(x, _tiles={"n": 1}, _shuffle=s), [x[::-1] @ powers]) for s in range(9)
    )


# The module's parts


@pytest.mark.parametrize("name", CASES)
def test_a_module_tells_shapes_without_data(name: str) -> None:
    plan = read(written(name))
    function = function_of(emit_tiled(plan, Options()), name)
    for seed in range(5):
        inputs, parameters = CASES[name].sample(np.random.default_rng(seed))
        arrays = [inputs[i.name] for i in plan.inputs]
        shapes = function.__globals__["_shapes"](*(a.shape for a in arrays), **parameters)
        found = run(plan, inputs, parameters, seed)
        found = found if isinstance(found, tuple) else (found,)
        assert shapes == tuple(a.shape for a in found)


def test_a_launch_takes_what_a_check_gives() -> None:
    plan = read(written("split_keys"))
    function = function_of(emit_tiled(plan, Options()), "split_keys")
    inputs, parameters = split_sample(np.random.default_rng(0))
    check, launch = (function.__globals__[n] for n in ("_check", "_launch"))
    given = check(*inputs.values(), **parameters)
    for seed in range(2):
        assert close(launch(*given, None, seed), function(*inputs.values(), **parameters))
    with pytest.raises(ValueError, match="rank N of V"):
        check(*{**inputs, "V": inputs["V"][1:]}.values(), **parameters)
    with pytest.raises(ValueError, match="require pieces > 0"):
        check(*inputs.values(), pieces=-1)
