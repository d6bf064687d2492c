"""Tiles held in units: plans stay sound, values within the bounds, and loops multiply less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from attnc.errors import Source
from attnc.grammar.tiles import parse
from attnc.ir import printer, tiles_printer
from attnc.ir.expr import Apply, Binary, Choice, Expr, Float, Int, Name, Unary, Value
from attnc.ir.tiles import Let, Loop, Map, Plan, Statement, Store
from attnc.ir.tiles_verify import verify
from attnc.ir.tiles_walk import mapped, statements, with_body
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.legalise import unfilled
from attnc.passes.tiling.scalars import LN2, ONE, Scalar, scalar
from attnc.passes.tiling.unit_nodes import Nodes
from attnc.passes.tiling.units import Units
from tests import examples
from tests.acceptance.judge import judge
from tests.attentions import attention, inputs_for, sizes_for
from tests.oracle.cascades import cascade_from, tolerance
from tests.prepared import device_of, facts_of, legal_of
from tests.preserved import random_inputs
from tests.test_acceptance import DOUBTFUL, TYPES, narrowed
from tests.test_gallery import facts as facts_of_example
from tests.test_gallery import reference
from tests.test_tiled_acceptance import KINDS, STEPS, VAGUE
from tests.tiled import of_plan, outputs, written

PARTS = 4


@cache
def held(text: str) -> Plan:
    return Units()(legal_of(text))


def sound(before: Plan, after: Plan) -> None:
    """A plan verifies, parses back and is around its kernels what it was."""
    verify(after, filled=True)
    text = tiles_printer.plan(after)
    assert parse(Source("plan", text)) == after, text
    assert replace(before, kernels=()) == replace(after, kernels=())
    assert next(unfilled(after), None) is None, text


# Values


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_sound(name: str) -> None:
    text = examples.text(name)
    sound(legal_of(text), held(text))


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_accepted(name: str, request: pytest.FixtureRequest) -> None:
    """Every case at factor 1: the first in every type, the others in one in turn, unless all are
    wanted."""
    every = request.config.getoption("--cases") == "all"
    facts = facts_of_example(name)
    run = of_plan(facts, held(examples.text(name)))
    for number, (label, given, parameters) in enumerate(
        reference(name).cases(np.random.default_rng(7))
    ):
        if "steps" in parameters:
            parameters = {**parameters, "steps": min(parameters["steps"], STEPS)}
        for kind in KINDS if every or number == 0 else (KINDS[number % len(KINDS)],):
            inputs = narrowed(facts, given, kind)
            limit = DOUBTFUL.get(name, 0.02)
            if kind != "f32":
                limit = max(limit, VAGUE.get((name, label), 0))
            seed = 10 * number + KINDS.index(kind)
            sizes = run.sizes(seed, inputs, parameters)
            verdict = judge(
                facts,
                inputs,
                parameters,
                run(inputs, parameters, sizes, seed),
                matrix_type=kind,
                tiles=run.streamed(sizes),
                undecided=limit,
            )
            assert verdict.ok, f"{label} {kind} {sizes}: {verdict}"


@pytest.mark.parametrize("part", range(PARTS))
def test_random_attentions(part: int, request: pytest.FixtureRequest) -> None:
    """In f64, and in a type drawn by chance, within the bounds; most are changed."""
    count = int(request.config.getoption("--cascades")) // 12
    found: Counter[str] = Counter()
    for seed in range(part, count, PARTS):
        rng = np.random.default_rng(seed)
        text = attention(rng)
        facts, plan = facts_of(text), held(text)
        sound(legal_of(text), plan)
        found["all"] += 1
        found["changed"] += plan is not legal_of(text)
        drawn = str(rng.choice(["f32", "f16", "bf16"]))
        for kind in ("f64", drawn):
            inputs = inputs_for(facts.cascade.inputs, rng, sizes_for(rng), TYPES[kind])
            run = of_plan(facts, plan)
            sizes = run.sizes(seed, inputs)
            verdict = judge(
                facts,
                inputs,
                {},
                run(inputs, {}, sizes, seed),
                matrix_type=kind,
                accumulate="f64" if kind == "f64" else "f32",
                tiles=run.streamed(sizes),
                undecided=1.0,
            )
            assert verdict.ok, f"seed {seed} {kind} {sizes}: {verdict}\n{text}"
    assert found["changed"] > found["all"] // 2


@pytest.mark.parametrize("part", range(2))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--cascades")) // 4
    done = changed = 0
    for seed in range(part, count, 2):
        text = cascade_from(np.random.default_rng(seed))
        facts = facts_of(text)
        inputs, parameters = random_inputs(facts, seed)
        inputs = {n: np.nan_to_num(a, nan=0.5, posinf=2, neginf=-2) for n, a in inputs.items()}
        try:
            plan = held(text)
            expected = outputs(written(facts, inputs, parameters))
        except ValueError:
            continue
        sound(legal_of(text), plan)
        if not all(np.all(np.isfinite(x.astype(np.float64))) for x in expected):
            continue
        done += 1
        changed += plan is not legal_of(text)
        run = of_plan(facts, plan, rounded=False)
        sizes = run.sizes(seed, inputs, parameters)
        allowed = tolerance(facts)
        result = outputs(run(inputs, parameters, sizes, seed))
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(
                *(x.astype(np.float64) for x in (a, b)), allowed, allowed, err_msg=f"{seed} {text}"
            )
    assert changed > done // 20 > 0


PRODUCTS = """cascade products(X[M,N]) -> O[M], Y[M,N]:
    O[m]   = exp(prod[n](1 + X[m,n]))
    Y[m,n] = exp(cumprod[n](1 + X[m,n]))
"""


def test_products_of_lanes() -> None:
    """A product of lanes in a unit would be as many times that unit as there are lanes."""
    facts, plan = facts_of(PRODUCTS), held(PRODUCTS)
    sound(legal_of(PRODUCTS), plan)
    inputs = {"X": np.random.default_rng(0).uniform(-0.5, 0.5, (5, 7))}
    run = of_plan(facts, plan)
    found = outputs(run(inputs, {}, run.sizes(0, inputs, {}), 0))
    for a, b in zip(found, outputs(written(facts, inputs, {})), strict=True):
        np.testing.assert_allclose(a, b, 1e-12)


# Hostile scores

SOFTMAX = """cascade softmax(Q[M,E], K[N,E], V[N,F]) -> O[M,F], L[M] empty -inf:
    S[m,n] = Q[m,e] * K[n,e] / sqrt(E) where n <= m + 3
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m]   = logsumexp[n](S[m,n])
"""
SCORES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "normal": lambda r, n: r.normal(size=n),
    "large": lambda r, n: 1e4 * r.normal(size=n),
    "offset": lambda r, n: 1e4 + r.normal(size=n),
    "far below": lambda r, n: -1e4 + r.normal(size=n),
    "near the end of f32": lambda r, n: r.choice([-1e38, 1e38, 0], n),
    "minus infinity": lambda r, n: np.where(r.random(n) < 0.5, -np.inf, r.normal(size=n)),
    "minus infinity alone": lambda r, n: np.full(n, -np.inf),
    "infinity": lambda r, n: np.where(r.random(n) < 0.1, np.inf, r.normal(size=n)),
    "equal": lambda r, n: np.full(n, 12345.678),
}


@pytest.mark.parametrize("label", SCORES)
@pytest.mark.parametrize("features", [1, 3, 64])
def test_hostile_scores(label: str, features: int) -> None:
    """As near to the values of f64 as the plan with no units is, and finite where that is."""
    facts = facts_of(SOFTMAX)
    worst = [0.0, 0.0]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        q, k = np.zeros((9, features)), np.zeros((40, features))
        q[:, 0] = rng.uniform(0.5, 1, 9)
        k[:, 0] = SCORES[label](rng, 40) * np.sqrt(features)
        arrays = {"Q": q, "K": k, "V": rng.normal(size=(40, 5))}
        with np.errstate(over="ignore"):
            inputs = {n: a.astype(np.float32) for n, a in arrays.items()}
        wide = {n: a.astype(np.float64) for n, a in inputs.items()}
        expected = outputs(written(facts, wide, {}))
        for at, plan in enumerate((legal_of(SOFTMAX), held(SOFTMAX))):
            run = of_plan(facts, plan, rounded=False)
            sizes = run.sizes(seed, inputs, {})
            for found, right in zip(outputs(run(inputs, {}, sizes, seed)), expected, strict=True):
                same = np.isfinite(right)
                assert np.all(np.isfinite(found[same])), (label, seed, at)
                assert not np.any(np.isfinite(found[~same])), (label, seed, at)
                error = np.abs(found[same] - right[same])
                worst[at] = max(worst[at], float(np.max(error, initial=0.0)))
    assert worst[1] <= 2.5 * worst[0] + 1e-6, worst


# What loops multiply


def scores(plan: Plan, axes: str = "mn") -> list[Map]:
    """What is computed in loops for each score."""
    loops = [s for k in plan.kernels for s in statements(k.body) if isinstance(s, Loop)]
    maps = [s for loop in loops for s in statements(loop.body) if isinstance(s, Map)]
    return [s for s in maps if set(axes) <= set(s.axes) and s.kind.floating]


def operations(items: list[Map]) -> Counter[str]:
    """How often each operation is in some tiles; a product that is added to is `fma`."""
    found: Counter[str] = Counter()
    for node in (n for s in items for n in subexpressions(s.value)):
        match node:
            case (
                Binary(op="+" | "-", left=Binary(op="*"))
                | Binary(op="+" | "-", right=Binary(op="*"))
            ):
                found["fma"] += 1
                found["*"] -= 1
            case Binary(op=op):
                found[op] += 1
            case Apply(function=name):
                found[name] += 1
            case _:
                pass
    return +found


@pytest.mark.parametrize(
    "name", ["causal", "dense", "gqa", "gqa_causal", "mqa", "sliding_window_sinks"]
)
def test_a_score_is_multiplied_and_added_once(name: str) -> None:
    """One fused multiply-add and one exponential for each; no other product, no quotient."""
    found = operations(scores(held(examples.text(name))))
    assert found == {"fma": 1, "exp2": 1}
    before = operations(scores(legal_of(examples.text(name))))
    assert before == {"/": 1, "sqrt": 1, "-": 1, "exp": 1}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alibi", {"fma": 2, "exp2": 1}),  # one of them to make the score
        ("quantised", {"*": 2, "-": 1, "exp2": 1}),  # one of them with a scale of the values
        ("softcap", {"*": 2, "tanh": 1, "-": 1, "exp2": 1}),
        ("differential", {"fma": 2, "exp2": 2}),
        ("cog", {"fma": 1, "exp2": 1, "abs": 1, "sign": 1, "*": 1}),
        ("entropy", {"*": 1, "-": 1, "+": 2, "exp2": 1}),
        ("sink_logits", {"fma": 1, "exp2": 1}),
        ("sigmoid", {"fma": 1, "sigmoid": 1}),
        ("latent", {"+": 1, "fma": 1, "exp2": 1}),
    ],
)
def test_what_is_done_for_each_score(name: str, expected: dict[str, int]) -> None:
    items = [
        replace(s, value=without_coordinates(s.value)) for s in scores(held(examples.text(name)))
    ]
    assert operations(items) == expected


def without_coordinates(expr: Expr) -> Expr:
    """An expression without what is computed of coordinates alone, and without conditions."""
    if isinstance(expr, Choice):
        return without_coordinates(expr.then)
    if not any(isinstance(n, Name) for n in subexpressions(expr)):
        return Int(1)
    return rebuild(expr, tuple(map(without_coordinates, children(expr))))


def test_numbers_are_computed_once() -> None:
    """Before all else, one for each factor, called by the first name that is free."""
    for name in examples.NAMES:
        plan = legal_of(examples.text(name))
        for before, kernel in zip(plan.kernels, held(examples.text(name)).kernels, strict=True):
            lets = [s for s in statements(kernel.body) if isinstance(s, Let) and s.kind.floating]
            assert kernel.body[: len(lets)] == tuple(lets)
            assert len({s.value for s in lets}) == len(lets)
            context = Context(plan, before)
            assert [s.name for s in lets] == [context.fresh("c") for _ in lets], name


NOTHING = (
    "cascade n(A[M,N]) -> O[M], L[M]:\n    O[m] = max[n](A[m,n])\n    L[m] = sum[n](tanh(A[m,n]))\n"
)


def test_nothing_to_gain() -> None:
    assert held(NOTHING) is legal_of(NOTHING)


def test_what_steps_are_taken_by_stays() -> None:
    """Floats of coordinates alone, which become indices."""
    before, after = legal_of(examples.text("t5_bias")), held(examples.text("t5_bias"))
    kinds = [[s for s in all_maps(p) if s.kind is Kind.F64] for p in (before, after)]
    assert kinds[0] == kinds[1] != []


def all_maps(plan: Plan) -> list[Map]:
    return [s for k in plan.kernels for s in statements(k.body) if isinstance(s, Map)]


# What is no unit

SCALED = """cascade scaled(A[M,N], g: float) -> O[M], L[M]:
    O[m] = max[n](A[m,n] * g)
    L[m] = logsumexp[n](A[m,n] * g)
"""
FLOOR = """cascade floor_of(A[M,N,E], B[N,E]) -> O[M]:
    S[m,n] = A[m,n,e] * B[n,e] / sqrt(E)
    O[m]   = max[n](max(S[m,n], 0.25))
"""
MASKED = """cascade masked(Q[M,E], K[N,E], X[N]) -> O[M]:
    S[m,n] = default(only(sum[e](Q[m,e] * K[n,e]) / sqrt(E), n <= m), 0)
    O[m]   = sum[n](S[m,n] + X[n])
"""


def wrong(text: str, plan: Plan, parameters: dict[str, Any], shapes: dict[str, Any]) -> bool:
    """Whether a plan computes something else."""
    facts = facts_of(text)
    rng = np.random.default_rng(0)
    inputs = {n: rng.normal(size=shape) for n, shape in shapes.items()}
    expected = outputs(written(facts, inputs, parameters))
    found = outputs(of_plan(facts, plan, rounded=False)(inputs, parameters, {"n": 3, "m": 2}, 0))
    pairs = zip(found, expected, strict=True)
    return not all(np.allclose(a, b, 1e-9, 1e-9, equal_nan=True) for a, b in pairs)


def test_a_number_without_a_sign_is_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a maximum takes is multiplied before; put off, it is wrong."""
    shapes = {"A": (4, 9)}
    for g in (0.7, -0.7, 0.0):
        assert not wrong(SCALED, held(SCALED), {"g": g}, shapes)
    monkeypatch.setattr(Scalar, "positive", lambda self, extents: True)
    monkeypatch.setattr(Nodes, "finite", lambda self, unit: True)
    plan = Units()(legal_of(SCALED))
    assert not wrong(SCALED, plan, {"g": 0.7}, shapes)
    assert wrong(SCALED, plan, {"g": -0.7}, shapes)


def test_a_constant_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"A": (4, 9, 3), "B": (9, 3)}
    assert "0.25 * sqrt(E)" in tiles_printer.plan(held(FLOOR))
    assert not wrong(FLOOR, held(FLOOR), {}, shapes)
    divide = Scalar.__truediv__

    def kept(self: Scalar, other: Scalar) -> Scalar:
        return self if not self.powers and other.powers else divide(self, other)

    monkeypatch.setattr(Scalar, "__truediv__", kept)
    assert wrong(FLOOR, Units()(legal_of(FLOOR)), {}, shapes)


def test_a_unit_that_may_be_infinite_has_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without features nothing is scored, and what counts as 0 instead stays so."""
    shapes = {"Q": (4, 0), "K": (6, 0), "X": (6,)}
    assert not wrong(MASKED, held(MASKED), {}, shapes)
    assert not wrong(MASKED, held(MASKED), {}, {**shapes, "Q": (4, 3), "K": (6, 3)})
    monkeypatch.setattr(Nodes, "finite", lambda self, unit: True)
    plan = Units()(legal_of(MASKED))
    assert plan != held(MASKED)
    assert not wrong(MASKED, plan, {}, {**shapes, "Q": (4, 3), "K": (6, 3)})
    assert wrong(MASKED, plan, {}, shapes)


def altered(
    plan: Plan, change: Callable[[Statement], Iterator[Statement] | list[Statement]]
) -> Plan:
    return replace(plan, kernels=tuple(with_body(k, change) for k in plan.kernels))


def test_a_unit_that_is_dropped_is_seen() -> None:
    """At a store, and for a state."""
    shapes = {"Q": (5, 4), "K": (9, 4), "V": (9, 3)}

    def bare(expr: Expr) -> Expr:
        match expr:
            case Binary(op="*", left=Name(name=name), right=right) if not isinstance(right, Name):
                return Name(name)
            case _:
                return rebuild(expr, tuple(map(bare, children(expr))))

    def stored(item: Statement) -> list[Statement]:
        return [mapped(item, bare) if isinstance(item, Store) and item.tensor == "L" else item]

    def state(item: Statement) -> list[Statement]:
        own = isinstance(item, Map) and item.axes == ("m",)
        return [mapped(item, bare) if own else item]

    assert not wrong(SOFTMAX, held(SOFTMAX), {}, shapes)
    for change in (stored, state):
        plan = altered(held(SOFTMAX), change)
        assert plan != held(SOFTMAX)
        assert wrong(SOFTMAX, plan, {}, shapes)


# Numbers


E, G, M = Value("E"), Value("g"), Value("M")
OF_E, OF_M = Apply("sqrt", (E,)), Apply("sqrt", (M,))


def of(expr: Expr) -> Scalar:
    found = scalar(expr)
    assert found is not None
    return found


def test_scalars() -> None:
    """Powers cancel, constants are one number; what is not known stays a factor."""
    assert of(Binary("*", OF_E, OF_E)) == of(E)
    four = Apply("sqrt", (Binary("*", Int(4), E),))
    quarter = Binary("/", Binary("*", Float(0.5), G), four)
    assert of(quarter) == of(Binary("/", G, Binary("*", Int(4), OF_E)))
    assert of(Apply("log", (Int(2),))) == LN2
    assert of(Binary("/", OF_E, OF_E)) == ONE
    assert scalar(Int(0)) is None
    assert scalar(Float(float("inf"))) is None
    text = printer.expression((LN2.inverse / of(OF_E)).expression)
    assert text == "1.4426950408889634 / sqrt(E)"


def test_what_is_proved_to_be_positive() -> None:
    """An extent as a divisor, and as a factor where the kernel runs for it."""
    known = {"E": False, "M": True}
    right = [Binary("/", Int(1), OF_E), OF_M, Float(0.25), Apply("log", (Int(3),))]
    no = [OF_E, Unary("-", Int(2)), G, Float(1e-30), Unary("-", Binary("/", Int(1), OF_E))]
    assert all(of(e).positive(known) for e in right)
    assert not any(of(e).positive(known) for e in no)


FILLED = """cascade filled(Q[M,E], K[N,E]) -> L[M] empty 7:
    R[m,e] = l2norm[e](Q[m,e], 0.1)
    S[m,n] = R[m,e] * K[n,e] where n < m
    L[m] = logsumexp[n](S[m,n])
"""


def test_what_fills_is_exact() -> None:
    """A number in place of what is absent is not multiplied from one unit to another."""
    lines = tiles_printer.plan(device_of(FILLED)).splitlines()
    (store,) = [line for line in lines if "store L" in line]
    assert store.endswith("if 0 < m else 7")
    assert "0.6931471805599453" in store
