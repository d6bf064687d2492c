"""Ranges of loops as they are printed: a loop for each class, and full ranges without a test."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnc.backends.numpy.tiled import emit_tiled
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.errors import Source
from attnc.grammar.tiles import parse
from attnc.ir.expr import Bool, Compare, Name, Value, Var
from attnc.ir.tiles import Load, Plan, Store
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_verify import verify
from attnc.ir.tiles_walk import conjuncts, statements
from attnc.modules import function_of
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.proofs import Proofs
from attnc.passes.tiling.settled import settled
from tests import interpreted, test_plans
from tests.interpreted import INTERPRETER, Failed, Forced
from tests.kernel_text import loops, parsed

FOLDER = Path(__file__).parent / "plans" / "devices"
TURNS = 30


@cache
def written(name: str) -> str:
    return (FOLDER / f"{name}.plan").read_text("utf-8")


def read(text: str) -> Plan:
    plan = parse(Source("a plan", text))
    verify(plan, filled=True)
    return plan


def on_device(plan: Plan, inputs: Any, parameters: Any, tile: int, change: Any = None) -> Any:
    """What a plan's kernels compute, interpreted."""
    text = emit_plan(plan, Options())
    text = change(text) if change else text
    arrays = [inputs[i.name].astype(np.float32) for i in plan.inputs]
    return INTERPRETER.ask(
        interpreted.__name__, "call", text, arrays, parameters, Forced(tile=tile)
    )


def near(found: Any, expected: Any) -> bool:
    return all(
        np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(found, expected, strict=True)
    )


# A window with sinks


def sample(seed: int, most: int = 40) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    rng = np.random.default_rng(seed)
    b, j, g, e, f = (int(x) for x in rng.integers(1, 3, size=5))
    m, n = int(rng.integers(1, most)), int(rng.integers(1, most))
    shapes = {"Q": (b, j * g, m, e), "K": (b, j, n, e), "V": (b, j, n, f)}
    inputs = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return inputs, {"window": int(rng.integers(-1, 30)), "sinks": int(rng.integers(-1, 14))}


def formula(
    inputs: dict[str, np.ndarray], window: int, sinks: int
) -> tuple[np.ndarray, np.ndarray]:
    Q, K, V = inputs.values()
    heads, (m, n) = Q.shape[1] // K.shape[1], (Q.shape[2], K.shape[2])
    K, V = (np.repeat(x, heads, axis=1) for x in (K, V))
    scores = Q @ np.swapaxes(K, 2, 3) / np.sqrt(Q.shape[3])
    behind = np.arange(m)[:, None] + (n - m) - np.arange(n)
    seen = (behind >= 0) & ((behind < window) | (np.arange(n) < sinks))
    weights = np.where(seen, np.exp(scores), 0)
    total = weights.sum(3, keepdims=True)
    with np.errstate(divide="ignore"):
        return weights @ V / np.where(total > 0, total, 1), np.log(total[..., 0])


def wrong(plan: Plan, seeds: range) -> list[int]:
    """The samples at which a plan is wrong, or asserts that it is, as NumPy."""
    found = []
    for seed in seeds:
        inputs, parameters = sample(seed)
        expected = formula(inputs, **parameters)
        try:
            if not test_plans.close(test_plans.run(plan, inputs, parameters, seed), expected):
                found.append(seed)
        except AssertionError:
            found.append(seed)
    return found


def test_a_window_with_sinks_in_five_ranges() -> None:
    assert wrong(read(written("window_ranges")), range(TURNS)) == []


FAULTS = {
    "a full range too long": ("full0, first // tile(n)", "full0, ceildiv(first, tile(n))"),
    "a full range that is no whole tiles": ("[full0, full1) full", "[full0, first) full"),
    "a partial range too short": ("[w0, min(full0, hi))", "[w0, min(full0 - tile(n), hi))"),
    "a range twice": ("[z0, z1) partial", "[0, z1) partial"),
    "what is given does not hold": ("given n < N\n", "given n < N\n            given n < 9\n"),
}


@pytest.mark.parametrize("label", FAULTS)
def test_wrong_ranges_show(label: str) -> None:
    old, new = FAULTS[label]
    assert written("window_ranges").count(old) == 1
    assert wrong(read(written("window_ranges").replace(old, new)), range(12))


def wrong_on_device(plan: Plan, change: Any = None) -> list[int]:
    """The samples at which interpreted kernels are wrong, or reach beside their tensors."""
    found = []
    for seed, tile in ((3, 2), (5, 4), (8, 4)):
        inputs, parameters = sample(seed, 16)
        expected = formula(inputs, **parameters)
        try:
            if not near(on_device(plan, inputs, parameters, tile, change), expected):
                found.append(seed)
        except Failed:
            found.append(seed)
    return found


def test_it_is_the_same_on_a_device() -> None:
    plan = read(written("window_ranges"))
    assert wrong_on_device(plan) == []
    assert wrong_on_device(plan, lambda t: t.replace("n_now < n_rounds_,", "n_now <= n_rounds_,"))


# Texts


def kernel(plan: Plan) -> ast.FunctionDef:
    (found,) = parsed(emit_plan(plan, Options())).kernels
    return found


def asked(loop: ast.AST, coordinate: str = "n") -> list[str]:
    """The comparisons of a coordinate in a loop."""
    compared = (n for n in ast.walk(loop) if isinstance(n, ast.Compare))
    return [
        ast.unparse(c)
        for c in compared
        if any(isinstance(n, ast.Name) and n.id == coordinate for n in ast.walk(c))
    ]


def test_a_body_is_printed_twice_and_full_tiles_are_not_tested() -> None:
    plan = read(written("window_ranges"))
    partial, full = (n for n in ast.walk(kernel(plan)) if isinstance(n, ast.For))
    assert len(asked(partial)) > 5
    assert asked(full) == []
    shown = ast.unparse(full)
    assert "\n    x = " not in shown  # scores as they are
    # masks of two loads, where heads exist; no exponent of nothing; where the tile begins
    assert shown.count("tl.where(") == 4
    numpy = emit_tiled(plan, Options())
    before, _, after = numpy.partition("True, (0, ")
    assert "_starts(_t_n, " in before
    assert "here" in before.partition("# k0")[2]
    assert "here" not in after.replace("O_here", "").replace("L_here", "")


NEEDED = {
    "the diagonal": "            given n <= m + (N - M)\n",
    "the window": "            given m + (N - M) - n < window or n < sinks\n",
}


@pytest.mark.parametrize("label", NEEDED)
def test_what_is_not_given_is_tested(label: str) -> None:
    text = written("window_ranges")
    assert NEEDED[label] in text
    plan = read(text.replace(NEEDED[label], ""))
    _, full = (n for n in ast.walk(kernel(plan)) if isinstance(n, ast.For))
    assert asked(full)
    assert wrong(plan, range(6)) == []


APART = {
    "the order is stated": ("for n in", "for n ordered in"),
    "the last is first": ("for n in", "for n backward in"),
    "a lane asks for the end": ("map n < N and", "map within(n) and n < N and"),
}


@pytest.mark.parametrize("label", APART)
def test_ranges_stay_apart(label: str) -> None:
    old, new = APART[label]
    plan = read(written("window_ranges").replace(old, new))
    assert len(loops(kernel(plan))) == 5
    assert wrong(plan, range(8)) == []


def test_rows_are_tested_where_memory_needs_it() -> None:
    """What is given holds of rows that exist: it does not say which do."""
    plan = read(written("rows"))
    partial, full = (ast.unparse(n) for n in ast.walk(kernel(plan)) if isinstance(n, ast.For))
    mask = "mask=(m < M)[:, None]"
    assert mask not in partial  # the rest of the mask says so
    assert mask in full
    X = np.random.default_rng(0).normal(size=(5, 10))
    assert near(on_device(plan, {"X": X}, {}, 4), [X.sum(1)])
    with pytest.raises(Failed):  # the seeded fault: it does not
        on_device(plan, {"X": X}, {}, 4, lambda t: t.replace(f"{mask},", "mask=(0 <= m)[:, None],"))


# Rounds that are left out


def stretch(seed: int) -> tuple[dict[str, np.ndarray], dict[str, int], tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=rng.integers(1, 30, size=2))
    start, count = (int(x) for x in rng.integers(-3, 20, size=2))
    expected = X[:, max(start, 0) : max(start + count, 0)].sum(1)
    return {"X": X}, {"start": start, "count": count}, (expected, np.zeros(len(X)))


def counted(plan: Plan, seed: int) -> bool:
    inputs, parameters, expected = stretch(seed)
    return test_plans.close(test_plans.run(plan, inputs, parameters, seed), expected)


def test_rounds_are_left_out() -> None:
    plan = read(written("rounds"))
    assert all(counted(plan, seed) for seed in range(TURNS))
    assert len(loops(kernel(plan))) == 1
    for seed, tile in ((0, 2), (1, 4), (2, 8)):
        inputs, parameters, expected = stretch(seed)
        assert near(on_device(plan, inputs, parameters, tile), expected), seed
    # nothing is read in rounds that are left out
    inputs, parameters, expected = stretch(3)
    inputs["X"][:, :] = np.nan
    zero = {"start": 40, "count": 2}
    found = function_of(emit_tiled(plan, Options()), plan.name)(inputs["X"], **zero)
    assert not np.isnan(found).any()
    assert not np.isnan(on_device(plan, inputs, zero, 4)).any()


def test_a_round_too_many_left_out_shows() -> None:
    text = written("rounds").replace("start <= high(n)", "start < low(n)")
    assert not all(counted(read(text), seed) for seed in range(TURNS))


SEEN = """
plan seen(X[M,N]) -> S[M] empty 1:
    given 0 < N

    kernel k0
        axis m par M
        axis n stream N
        for n in [0, N) partial where 3 <= high(n)
            carry s[m]: float = 0
            carry any[]: bool = false
            x[m,n]: float = load X[m,n] where m < M and n < N
            s1[m]: float = reduce[sum,n](x) where n < N
            next s = s + s1
            next any = true
        store S[m] = s where any
            else 1, over m < M
"""


@pytest.mark.parametrize("chosen", [True, False])
def test_a_loop_may_have_no_round(chosen: bool) -> None:
    """That a range has a tile says nothing where rounds are left out."""
    plan = read(SEEN if chosen else SEEN.replace(" where 3 <= high(n)", ""))
    (kernel_,) = plan.kernels
    known = Proofs(known_of(plan, Context(plan, kernel_).facts.values))
    (store,) = (s for s in settled(plan, kernel_, known, frozenset()).body if isinstance(s, Store))
    assert store.where == (Name("any") if chosen else Bool(True))


def test_lanes_are_tested_whatever_the_ranges_are() -> None:
    """What says that a lane exists is not settled by itself, even where 0 may not be the least."""
    text = test_plans.written("window_sinks").replace("let z: i64 = min(", "let z: i64 = -N + min(")
    plan = parse(Source("a plan", text))
    (kernel_,) = plan.kernels
    known = Proofs(known_of(plan, Context(plan, kernel_).facts.values))
    found = statements(settled(plan, kernel_, known, frozenset()).body)
    streamed = [s for s in found if isinstance(s, Load) and "n" in s.axes]
    test = Compare(("<",), (Var("n"), Value("N")))
    assert len(streamed) == 2
    assert all(test in conjuncts(s.where) for s in streamed)
