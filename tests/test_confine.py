"""Exact mode for what is not finite: it reaches those alone who read it, and values stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from attnc.compilation import tiling, verify_plan
from attnc.ir import tiles_printer
from attnc.ir.expr import Binary
from attnc.ir.tiles import Dot, If, Plan, Statement
from attnc.ir.tiles_walk import statements, with_body
from attnc.passes.tiling import confine
from attnc.passes.tiling.confine import Confine
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.matrix import MatrixOperands
from attnc.passes.tiling.pipeline import TILING
from tests import examples
from tests.attentions import attention, inputs_for, sizes_for
from tests.oracle.cascades import cascade_from, tolerance
from tests.prepared import facts_of, plan_of
from tests.preserved import random_inputs
from tests.test_tiles import cases
from tests.tiled import Tiled, of_plan, outputs, written

VALUES = (np.nan, np.inf, -np.inf)
LEAKING = ("alibi", "causal", "gqa_causal", "moba", "packed_documents", "sliding_window_sinks")
"""Examples in which rows of a tile leave out keys that others read."""
TIED = {"native_sparse"}
"""Where the order of equal numbers decides, so that what changes one may change all."""

CHOICE = """cascade choice(P[M,N], V[N,F], keep[N,F]: bool) -> O[M,F]:
    O[m,f] = P[m,n] * V[n,f] where keep[n,f]
"""
BOTH = """cascade both(P[M,N], V[N,F], keep[N,F]: bool) -> O[M,F]:
    O[m,f] = P[m,n] * V[n,f] where keep[n,f], n <= m
"""


def run_of(text: str, plan: Plan) -> Tiled:
    """A plan when its predicates have become fills, as a device has it."""
    return of_plan(facts_of(text), tiling(plan), rounded=False)


@cache
def confined(text: str) -> Tiled:
    return run_of(text, Confine()(plan_of(text)))


@cache
def loose(text: str) -> Tiled:
    return run_of(text, plan_of(text))


@dataclass
class Reached:
    """How often something that is not finite got where nothing reads it, and where it was lost."""

    leaked: int = 0
    lost: int = 0


def finite(x: Any) -> Any:
    return np.isfinite(np.asarray(x, np.float64))


def readers(expected: Any, spoilt: Any) -> Any:
    """Where an output depends on a point: there NaN makes a difference."""
    return ~finite(spoilt) | (finite(expected) & (np.asarray(expected) != np.asarray(spoilt)))


def reached(
    text: str, run: Tiled, inputs: Mapping[str, Any], parameters: Mapping[str, Any], seed: int
) -> Reached:
    """NaN and infinity at one random point, at random tiles: compared with the written text.

    NaN has to be where that says so. What does not read the point keeps its value.
    """
    facts, rng, found = facts_of(text), np.random.default_rng(seed), Reached()
    floats = [n for n, a in inputs.items() if a.dtype.kind == "f" and a.size]
    if not floats:
        return found
    name = floats[rng.integers(len(floats))]
    place = tuple(int(rng.integers(s)) for s in inputs[name].shape)
    before = outputs(written(facts, inputs, parameters))
    nan: Any = None
    for value in VALUES:
        array = inputs[name].copy()
        array[place] = value
        given = {**inputs, name: array}
        expected = outputs(written(facts, given, parameters))
        nan = nan or expected
        sizes = run.sizes(seed, given, parameters)
        for got, a, b, n in zip(
            outputs(run(given, parameters, sizes, seed)), expected, before, nan, strict=True
        ):
            beside = ~readers(b, n)
            found.leaked += int((beside & finite(b) & ~finite(got)).sum())
            if value != value:
                found.leaked += int((finite(a) & ~finite(got)).sum())
                found.lost += int((~finite(a) & finite(got)).sum())
    return found


# Examples


def in_turn(name: str) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Cases of an example, each with its number."""
    names = [i.name for i in facts_of(examples.text(name)).cascade.inputs]
    for number, (_, arrays, parameters) in enumerate(cases(name)):
        yield number, dict(zip(names, arrays, strict=True)), parameters


@pytest.mark.parametrize("name", [n for n in examples.NAMES if n not in TIED])
def test_examples_are_confined(name: str) -> None:
    text = examples.text(name)
    for number, inputs, parameters in in_turn(name):
        for turn in range(2):
            found = reached(text, confined(text), inputs, parameters, 10 * number + turn)
            assert found == Reached(), (number, turn)


@pytest.mark.parametrize("name", LEAKING)
def test_without_it_other_rows_are_spoilt(name: str) -> None:
    """The seeded fault: the pass is left out."""
    text = examples.text(name)
    found = (
        reached(text, loose(text), inputs, parameters, 10 * number + turn)
        for turn in range(8)
        for number, inputs, parameters in in_turn(name)
    )
    assert any(f.leaked for f in found)


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_keep_their_values(name: str) -> None:
    text = examples.text(name)
    plan = Confine()(plan_of(text))
    verify_plan(None, plan, plan)
    assert Confine()(plan) is plan
    verify_plan(TILING[-1], plan, tiling(plan))
    for number, inputs, parameters in in_turn(name):
        run = confined(text)
        expected = outputs(written(facts_of(text), inputs, parameters))
        sizes = run.sizes(number, inputs, parameters)
        for a, b in zip(outputs(run(inputs, parameters, sizes, number)), expected, strict=True):
            np.testing.assert_allclose(a, b, 1e-7, 1e-7)


@pytest.mark.parametrize("name", ["dense", "gqa", "entropy", "paged_decode", "quantised"])
def test_nothing_to_confine(name: str) -> None:
    """Where all rows read the same keys, or fills take care of them."""
    plan = plan_of(examples.text(name))
    assert name == "quantised" or Confine()(plan) is plan
    assert any(isinstance(s, Dot) for k in plan.kernels for s in statements(k.body))


# Random cascades


def random_cases(part: int, parts: int, count: int) -> Iterator[tuple[str, int, Any, Any]]:
    """Attentions and cascades, with inputs."""
    for seed in range(part, count // 2, parts):
        rng = np.random.default_rng(seed)
        text = attention(rng)
        found = inputs_for(facts_of(text).cascade.inputs, rng, sizes_for(rng), np.float64)
        yield text, seed, found, {}
        text = cascade_from(np.random.default_rng(seed))
        found, parameters = random_inputs(facts_of(text), seed)
        found = {n: np.nan_to_num(a, nan=0.5, posinf=2, neginf=-2) for n, a in found.items()}
        yield text, seed, found, parameters


@pytest.mark.parametrize("part", range(2))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    """Values stay, and what is not finite reaches no more than its readers."""
    count = int(request.config.getoption("--cascades"))
    changed = 0
    for text, seed, inputs, parameters in random_cases(part, 2, count // 4):
        try:
            plan = plan_of(text)
            expected = outputs(written(facts_of(text), inputs, parameters))
        except (NotLowered, ValueError):
            continue
        new = Confine()(plan)
        verify_plan(None, new, new)
        if new is plan:
            continue
        changed += 1
        if changed % 4 == 0:  # which takes longer than the rest
            verify_plan(TILING[-1], new, tiling(new))
        run = confined(text)
        sizes, allowed = run.sizes(seed, inputs, parameters), tolerance(facts_of(text))
        for a, b in zip(outputs(run(inputs, parameters, sizes, seed)), expected, strict=True):
            there = finite(b)
            x, y = (np.where(there, v.astype(np.float64), 0) for v in (a, b))
            np.testing.assert_allclose(x, y, allowed, allowed, err_msg=text)
        for turn in range(3):
            found = reached(text, run, inputs, parameters, 10 * seed + turn)
            assert found == Reached(), (seed, turn, text)
    assert changed > 2


# What is infinite stays so


def arrays(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "P": rng.normal(size=(7, 9)),
        "V": rng.normal(size=(9, 5)),
        "keep": rng.random((9, 5)) < 0.6,
    }


def same(text: str, run: Tiled, inputs: Mapping[str, Any], seed: int) -> bool:
    expected = written(facts_of(text), inputs, {})
    return np.allclose(run(inputs, {}, run.sizes(seed, inputs), seed), expected, equal_nan=True)


@pytest.mark.parametrize("text", [CHOICE, BOTH], ids=["choice", "both"])
def test_signs_of_infinities(text: str) -> None:
    """Several points on one side are as in the written text: infinite, or NaN."""
    kinds: set[str] = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        inputs = arrays(rng)
        side = inputs["PV"[seed % 2]]
        for _ in range(3):
            side[tuple(int(rng.integers(s)) for s in side.shape)] = VALUES[int(rng.integers(3))]
        assert same(text, confined(text), inputs, seed), seed
        kinds |= {str(x) for x in np.ravel(written(facts_of(text), inputs, {})) if not finite(x)}
    assert kinds == {"inf", "-inf", "nan"}


@pytest.mark.parametrize("first", [False, True])
def test_what_is_rounded_to_infinity(first: bool) -> None:
    """An operand that a half type cannot hold spoils no other row, whatever is done first."""
    text = (
        "cascade scaled(P[M,N], V[N,F]) -> O[M,F]:\n"
        "    O[m,f] = P[m,n] * (V[n,f] + 65500) where n <= m\n"
    )
    inputs = {"P": np.full((6, 6), 2.0**-8, np.float16), "V": np.zeros((6, 3), np.float16)}
    inputs["V"][4, 1] = 60000
    expected = written(facts_of(text), inputs, {})
    assert np.all(np.isfinite(expected))
    for confines in (False, True):
        plan = MatrixOperands()(plan_of(text)) if first else plan_of(text)
        plan = tiling(Confine()(plan) if confines else plan)
        run = of_plan(facts_of(text), plan)
        found = run(inputs, {}, {"m": 8, "n": 8})
        spoilt = ~finite(found)
        assert spoilt[4:, 1].all()
        assert spoilt.sum() == (2 if confines else 6)
        np.testing.assert_allclose(found[~spoilt], expected[~spoilt], 1e-2)


# Seeded faults


def changed(plan: Plan, change: Callable[[Statement], Statement]) -> Plan:
    kernels = tuple(with_body(k, lambda item: [change(item)]) for k in plan.kernels)
    return replace(plan, kernels=kernels)


def forgotten(item: Statement) -> Statement:
    """What is not finite is left out, and not added again."""
    if isinstance(item, If):
        return replace(item, carries=tuple(replace(c, next=c.start) for c in item.carries))
    return item


def everywhere(item: Statement) -> Statement:
    """It is added to all that the tile computes."""
    if isinstance(item, If):
        nan = Binary("-", confine.INFINITY, confine.INFINITY)
        return replace(item, carries=tuple(replace(c, next=nan) for c in item.carries))
    return item


FAULTS: dict[str, Callable[[Statement], Statement]] = {
    "forgotten": forgotten,
    "everywhere": everywhere,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault: str) -> None:
    plan = changed(Confine()(plan_of(BOTH)), FAULTS[fault])
    run = run_of(BOTH, plan)
    found = [reached(BOTH, run, arrays(np.random.default_rng(s)), {}, s) for s in range(20)]
    assert sum(f.lost for f in found) > 0 or sum(f.leaked for f in found) > 0


@pytest.mark.parametrize("side", [0, 1])
def test_either_side_is_confined(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that knows of one side alone leaks through the other one."""
    whole = confine._Confiner._loose
    monkeypatch.setattr(
        confine._Confiner, "_loose", lambda self, item, s: s == side and whole(self, item, s)
    )
    run = run_of(BOTH, Confine()(plan_of(BOTH)))
    found = [reached(BOTH, run, arrays(np.random.default_rng(s)), {}, s) for s in range(30)]
    assert sum(f.leaked for f in found) > 0


def test_wrong_signs_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = confine._sign
    monkeypatch.setattr(confine, "_sign", lambda value, bound, op: whole(value, bound, "<="))
    run = run_of(CHOICE, Confine()(plan_of(CHOICE)))
    seen = 0
    for seed in range(20):
        inputs = arrays(np.random.default_rng(seed))
        inputs["P"][seed % 7, seed % 9] = np.inf
        seen += not same(CHOICE, run, inputs, seed)
    assert seen


def test_the_page_shows_a_plan() -> None:
    page = (examples.ROOT / "docs" / "numerics.md").read_text()
    block = next(b for b in page.split("```text\n") if b.startswith("v_f[")).partition("```")[0]
    plan = tiles_printer.plan(Confine()(plan_of(examples.text("causal"))))
    lines = {line.strip() for line in plan.splitlines()}
    assert {line.strip() for line in block.splitlines()} - {"..."} <= lines
