"""Sums of products become products of two tiles, both as small as can be, and keep their values."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import attnc
from attnc.compilation import tiling, verify_plan
from attnc.ir import tiles_printer
from attnc.ir.facts import Facts
from attnc.ir.tiles import Dot, Fold, Plan
from attnc.ir.tiles_walk import statements
from attnc.passes.tiling import products
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import FALSE
from attnc.passes.tiling.products import _Splitter
from attnc.planning import planned
from tests.acceptance.judge import judge
from tests.oracle.cascades import tolerance
from tests.tiled import of_plan, outputs, written

NARROW = ("i8", "u8", "bool", "f8e4m3", "f8e5m2")
DTYPES: dict[str | None, Any] = {
    None: np.float64,
    "i8": np.int8,
    "u8": np.uint8,
    "i32": np.int32,
    "bool": np.bool_,
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8e4m3": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2,
}
SIZES = {"M": 4, "N": 9, "F": 3, "G": 2, "L": 3}


def facts_of(text: str) -> Facts:
    return attnc.check(text).select()


def plan_of(text: str) -> Plan:
    return planned(facts_of(text))[1].plan


def sums(plan: Plan) -> list[str]:
    """The statements that make sums and their operands, without what they are called."""
    lines = (line.strip() for line in tiles_printer.plan(plan).splitlines())
    shown = (re.sub(r" where .*", "", line) for line in lines)
    kept = ("dot[", "reduce[sum")
    return [line.partition(" = ")[2] for line in shown if any(word in line for word in kept)]


# What becomes what

CASES = {
    # an integer of 8 bits, and a factor that goes with what is computed
    "quantised": (
        "P[M,N], V[N,F]: i8, C[N]",
        "exp(P[m,n]) * V[n,f] * C[n]",
        "dot[n](t2, v_f: float)",
    ),
    "bool": ("P[M,N], V[N,F]: bool", "P[m,n] * V[n,f]", "dot[n](p, v_f: float)"),
    "f8": ("P[M,N], V[N,F]: f8e4m3", "P[m,n] * V[n,f]", "dot[n](p, v_f: float)"),
    "f8, scaled": (
        "P[M,N], V[N,F]: f8e4m3, C[N]: f32",
        "P[m,n] * V[n,f] * C[n]",
        "dot[n](t, v_f: float)",
    ),
    # a declared type that a half type need not hold stays as it is
    "f32": ("P[M,N], V[N,F]: f32", "P[m,n] * V[n,f]", "dot[n](p, v: float)"),
    "f64": ("P[M,N], V[N,F]: f64", "P[m,n] * V[n,f]", "dot[n](p_f, v: f64)"),
    # a wide integer alone is no operand; beside a factor it is
    "wide": ("P[M,N], V[N,F]: i32", "P[m,n] * V[n,f]", "reduce[sum,n](p * v)"),
    "wide, scaled": (
        "P[M,N], V[N,F]: i32, C[N]",
        "P[m,n] * V[n,f] * C[n]",
        "dot[n](p, t: float)",
    ),
    "integers": ("P[M,N]: i8, V[N,F]: i8", "P[m,n] * V[n,f]", "reduce[sum,n](p * v)"),
    # factors in any order, signs and divisors
    "last": ("P[M,N], V[N,F], C[N,F]", "V[n,f] * P[m,n] * C[n,f]", "dot[n](t, p: float)"),
    "minus": ("P[M,N], V[N,F], C[N]", "-(V[n,f] * P[m,n]) * C[n]", "dot[n](t, p: float)"),
    "divided": ("P[M,N], V[N,F], C[N]", "P[m,n] * V[n,f] / C[n]", "dot[n](p, t: float)"),
    "divisor": ("P[M,N], V[N,F]", "P[m,n] / V[n,f]", "dot[n](p, t: float)"),
    # a condition is a factor, of which the first operand takes care
    "condition": ("P[M], V[N,F]", "only(V[n,f], P[m] > n)", "dot[n](w, v: float)"),
    "weighted": ("P[M], C[N], V[N,F]", "only(V[n,f] * C[n], P[m] > C[n])", "dot[n](c, v: float)"),
    "computed": ("P[M], V[N,F]", "only(sin(V[n,f]), n < m)", "reduce[sum,n](t)"),
    # two exponentials that may balance each other
    "balanced": (
        "P[M,N], V[N,F], C[N]",
        "exp(P[m,n]) * exp(V[n,f]) * C[n]",
        "dot[n](t3, c: float)",
    ),
    "already apart": ("P[M,N], V[N,F]", "exp(P[m,n]) * exp(V[n,f])", "dot[n](t, t2: float)"),
    # no product
    "distance": ("P[M,N], V[N,F]", "(P[m,n] - V[n,f]) ** 2", "reduce[sum,n]((p - v) ** 2)"),
}


def text_of(name: str) -> str:
    inputs, value, _ = CASES[name]
    kind = ": i64" if name == "integers" else ""
    return f"cascade c({inputs}) -> O[M,F]{kind}:\n    O[m,f] = sum[n]({value})\n"


THREE = """cascade three(P[M,N], V[N,F], W[N,G]) -> O[M,F,G]:
    O[m,f,g] = P[m,n] * V[n,f] * W[n,g]
"""


@pytest.mark.parametrize("name", CASES)
def test_what_a_sum_becomes(name: str) -> None:
    assert sums(plan_of(text_of(name))) == [CASES[name][2]]


def test_operands_of_three_groups() -> None:
    """One side has two groups; none has all axes."""
    plan = plan_of(THREE)
    (dot,) = dots(plan)
    axes = Context(plan, plan.kernels[0]).axes
    assert {len(axes[dot.left]), len(axes[dot.right])} == {2, 3}


def dots(plan: Plan) -> list[Dot]:
    return [s for k in plan.kernels for s in statements(k.body) if isinstance(s, Dot)]


# Random sums


def random_sum(rng: np.random.Generator) -> str:
    """A cascade that is one sum of a product of several tensors."""
    over = ["n"] if rng.random() < 0.8 else ["n", "l"]
    inputs, factors = [], []
    for i in range(int(rng.integers(2, 5))):
        axes = [v for v in ("m", "f", "g") if rng.random() < 0.4]
        axes = [*axes, *(v for v in over if rng.random() < 0.85)] or ["n"]
        element = [None, None, None, "i8", "u8", "bool", "f32", "f64", "i32", "bf16", "f8e4m3"][
            int(rng.integers(11))
        ]
        ranks = ",".join(v.upper() for v in axes)
        inputs.append(f"T{i}[{ranks}]" + (f": {element}" if element else ""))
        read = f"T{i}[{','.join(axes)}]"
        floating = element not in ("i8", "u8", "bool", "i32")
        form = ["{}", "{}", "{}", "exp({})", "sin({})", "(-{})", "(0 - {})"]
        factors.append(form[int(rng.integers(7 if floating else 3))].format(read))
    inputs += ["A[M]", "B[N,F]: bool", "C[N,L]", "D[G]", "keep[M,N]: bool"]
    value = factors[0]
    for factor in factors[1:]:
        value = f"({value})" if rng.random() < 0.3 else value
        if rng.random() < 0.15 and " - " not in factor:
            value = f"{value} / (abs({factor}) + 1.5)"
        else:
            value = f"{value} * ({factor})" if rng.random() < 0.2 else f"{value} * {factor}"
    conditions = ["n <= m", "keep[m,n]", "B[n,f]", "n + f > m", "n > 2"]
    some = [c for c in conditions if rng.random() < 0.25]
    for condition in some:
        value = f"only({value}, {condition})"
    free = [v for v in "mfg" if f"{v}]" in value or f"{v}," in value or f" {v}" in value]
    free = free or ["m"]
    left = ",".join(free)
    return (
        f"cascade s({', '.join(inputs)}) -> O[{left.upper()}]:\n"
        f"    O[{left}] = sum[{','.join(over)}]({value}) + 0 * A[{'m' if 'm' in free else '0'}]\n"
    )


def inputs_of(facts: Facts, rng: np.random.Generator, kind: Any = np.float64) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in facts.cascade.inputs:
        shape = tuple(SIZES[str(s)] for s in item.sizes)
        match item.element:
            case "bool":
                found[item.name] = rng.random(shape) < 0.6
            case "i8" | "u8" | "i32":
                low = 0 if item.element == "u8" else -9
                found[item.name] = rng.integers(low, 9, shape).astype(DTYPES[item.element])
            case element:
                dtype = kind if element is None else DTYPES[element]
                found[item.name] = rng.normal(size=shape).astype(dtype)
    return found


def agree(text: str, seed: int, plan: Plan | None = None) -> None:
    """A plan has the values of the cascade, as made and when predicates have become fills."""
    facts = facts_of(text)
    plan = plan or planned(facts)[1].plan
    inputs = inputs_of(facts, np.random.default_rng(seed))
    expected = outputs(written(facts, inputs, {}))
    allowed = max(tolerance(facts), 1e-9)
    for one in (plan, tiling(plan)):
        run = of_plan(facts, one, rounded=False)
        sizes = run.sizes(seed, inputs)
        for a, b in zip(outputs(run(inputs, {}, sizes, seed)), expected, strict=True):
            np.testing.assert_allclose(a, b, allowed, allowed, err_msg=text)


@pytest.mark.parametrize("part", range(4))
def test_random_sums(part: int, request: pytest.FixtureRequest) -> None:
    """Values stay, plans are sound; most sums of products are products of two tiles."""
    count = int(request.config.getoption("--cascades")) // 4
    products_, folds = 0, 0
    for seed in range(part, count, 4):
        text = random_sum(np.random.default_rng(seed))
        plan = plan_of(text)
        verify_plan(None, plan, plan)
        agree(text, seed, plan)
        products_ += len(dots(plan))
        body = (s for k in plan.kernels for s in statements(k.body))
        folds += sum(isinstance(s, Fold) and s.op == "sum" for s in body)
    assert products_ > folds > 0


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32"])
def test_random_sums_are_accepted(kind: str) -> None:
    """Operands are rounded where that is allowed: at factor 1, in each type."""
    done = 0
    for seed in range(1000, 1040):
        text = random_sum(np.random.default_rng(seed))
        facts = facts_of(text)
        plan = planned(facts)[1].plan
        run = of_plan(facts, plan)
        inputs = inputs_of(facts, np.random.default_rng(seed), DTYPES[kind])
        sizes = run.sizes(seed, inputs)
        found = run(inputs, {}, sizes, seed)
        verdict = judge(facts, inputs, {}, found, matrix_type=kind, tiles=run.streamed(sizes))
        assert verdict.ok, f"{text}{verdict}"
        done += bool(dots(plan))
    assert done > 20


# Seeded faults


def test_a_wide_integer_would_leave_a_half_type(monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of("wide")
    facts = facts_of(text)
    inputs = {"P": np.full((4, 9), 2.0**-10, np.float16), "V": np.full((9, 3), 2**17, np.int32)}

    def found() -> Any:
        run = of_plan(facts, plan_of(text))
        return run(inputs, {}, run.sizes(0, inputs))

    assert np.all(found() == 9 * 2**7)
    monkeypatch.setattr(products, "NARROW", frozenset((*NARROW, "i32")))
    assert not np.any(np.isfinite(found()))


def test_parted_exponentials_would_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of("balanced")
    facts = facts_of(text)
    inputs = {"P": np.full((4, 9), 80.0), "V": np.full((9, 3), -80.0), "C": np.full(9, 1e30)}
    inputs = {n: a.astype(np.float32) for n, a in inputs.items()}

    def found() -> Any:
        run = of_plan(facts, plan_of(text))
        return run(inputs, {}, run.sizes(0, inputs))

    np.testing.assert_allclose(found(), 9e30, 1e-4)
    monkeypatch.setattr(products, "grows", lambda tiles, expr: False)
    assert np.all(np.isinf(found()))


FAULTS: dict[str, tuple[int, str, Any]] = {
    "the sign is lost": (124, "negated", lambda e: e),
    "a divisor multiplies": (6, "divided", products.multiplied),
    "a condition never weighs": (70, "both", lambda *parts: FALSE),
}
"""The seed of a sum that shows it, and what is replaced by what."""


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, *wrong = FAULTS[fault]
    text = random_sum(np.random.default_rng(seed))
    agree(text, seed)
    monkeypatch.setattr(products, *wrong)
    with pytest.raises(AssertionError):
        agree(text, seed)


def test_a_factor_alone_that_is_rounded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing allows to round the one factor of a sum: what is computed stays a `reduce`."""
    text = text_of("computed")
    facts = facts_of(text)
    rng = np.random.default_rng(0)
    inputs = {"P": rng.normal(size=40), "V": rng.normal(size=(40, 3))}
    inputs = {n: a.astype(ml_dtypes.bfloat16) for n, a in inputs.items()}

    def accepted() -> bool:
        run = of_plan(facts, plan_of(text))
        found = run(inputs, {}, run.sizes(0, inputs))
        return judge(facts, inputs, {}, found, matrix_type="bf16").ok

    assert accepted()
    monkeypatch.setattr(_Splitter, "_exact", lambda self, value: True)
    assert not accepted()
