"""Streams that go by a stride, with rows that share a remainder: values, tiles, and what is left.

Values are those of the unoptimised function, at random tiles, sizes that no stride divides, and
strides that are negative, 0, 1, and longer than any rank.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from attnc.ir import printer
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Binary, Expr, Int
from attnc.ir.facts import Facts
from attnc.ir.polynomials import ONE, Sum, plus
from attnc.ir.tiles import Axis, Coord, Fold, Loop, Plan
from attnc.ir.tiles_walk import conjuncts, statements
from attnc.passes.analysis.tile_counts import tile_counts
from attnc.passes.conditions.forms import Forms
from attnc.passes.tiling.affine import _Rewriter
from attnc.passes.tiling.presence import TRUE
from attnc.passes.tiling.remainders import Remainder
from attnc.passes.tiling.strided import Strided, _Finder
from attnc.passes.tiling.strides import Axes, Strides
from attnc.planning import ranged
from tests.interpreted import interpreted
from tests.prepared import facts_of, plan_of
from tests.tiled import Tiled, of_plan, outputs, written

TEXT = """cascade soft(
    Q[H,M,E], K[H,N,E], V[H,N,F], w: int = 6, r: int = 3, s: int = 0
) -> O[H,M,F], L[H,M] empty -inf, C[H,M]: i64 empty -1:
REQUIRE    S[h,m,n] = Q[h,m,e] * K[h,n,e] where CONDITION
    O[h,m,f] = softmax[n](S[h,m,n]) * V[h,n,f]
    L[h,m]   = logsumexp[n](S[h,m,n])
    C[h,m]   = count[n](S[h,m,n] > 0)
"""
GATHERED = ("h", "m_r", "m_q", "f", "n_q", "e")
"""The axes where rows of one remainder are taken together."""
ALONE = ("h", "m", "f", "n_q", "e")
"""Those where what is streamed alone goes by a stride."""
CONDITIONS = {
    "(m - n) % r == 0": GATHERED,
    "abs(m - n) <= w * r, (m - n) % r == 0": GATHERED,
    "n <= m, (n - m) % r == s, m - n < w": GATHERED,
    "(m + n) % r == s, n <= m": GATHERED,
    "(m - n + N - M) % r == 0, n <= m + N - M": GATHERED,
    "m % r == n % r, n <= m": GATHERED,
    "(m - n + h) % 3 == s, m - n < w": GATHERED,
    "(m - n) % r == 0, (m - n) % 2 == 0, n <= m": GATHERED,
    "n % r == s": ALONE,
    "n % 3 == 0, n <= m": ALONE,
    "n % r == r - 1, n <= m": ALONE,
    "(n - h) % r == 0": ALONE,
    "n <= m, s == (2 * h - n) % r": ALONE,
}
"""Conditions with the axes of their kernels."""
STRIDES = (-3, -1, 0, 1, 2, 3, 7, 23, 2**40)


PLAIN = re.sub(r", C.*empty -1|\n    C.*", "", TEXT)
"""What looks at nothing but where points are."""


def text(condition: str, head: str = TEXT, *, positive: bool = False) -> str:
    require = "    require r > 0\n" if positive else ""
    return head.replace("REQUIRE", require).replace("CONDITION", condition)


def axes(plan: Plan) -> tuple[str, ...]:
    (kernel,) = plan.kernels
    return tuple(a.name for a in kernel.axes)


def made(facts: Facts, plan: Plan) -> Tiled:
    return of_plan(facts, ranged(plan))


@cache
def run_of(source: str) -> Tiled:
    return made(facts_of(source), plan_of(source))


def trial(run: Tiled, rng: random.Random, *, positive: bool) -> None:
    """Compares the values of one random call."""
    sizes = {"H": rng.randint(1, 3), "M": rng.choice((0, 1, 5, 7, 13, 19))}
    sizes |= {"N": rng.choice((0, 1, 3, 8, 13, 17)), "E": rng.choice((0, 2, 3)), "F": 2}
    strides = [r for r in STRIDES if r > 0 or not positive]
    given = {"w": rng.choice((-1, 0, 1, 3, 6, 40)), "r": rng.choice(strides)}
    given["s"] = rng.choice((-1, 0, 0, 0, 1, 2, 5))
    draw = np.random.default_rng(rng.getrandbits(32))
    inputs = {
        i.name: draw.normal(size=[sizes[str(s)] for s in i.sizes]) for i in run.facts.cascade.inputs
    }
    tiles = run.sizes(rng.getrandbits(30), inputs, given)
    found = outputs(run(inputs, given, tiles, rng.getrandbits(30)))
    for a, b in zip(found, outputs(written(run.facts, inputs, given)), strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-9, err_msg=f"{sizes} {given} {tiles}")


def trials(run: Tiled, count: int) -> None:
    rng = random.Random(1)
    for _ in range(count):
        trial(run, rng, positive=False)


@pytest.mark.parametrize("positive", [False, True], ids=["any", "positive"])
def test_values(positive: bool) -> None:
    rng = random.Random(4)
    for condition, wanted in CONDITIONS.items():
        source = text(condition, positive=positive)
        assert axes(Strided()(plan_of(source))) == wanted, condition
        for _ in range(12):
            trial(run_of(source), rng, positive=positive)


def test_devices_take_any_stride() -> None:
    """The Triton kernels of some of them, interpreted."""
    draw = np.random.default_rng(2)
    for condition in ("abs(m - n) <= w * r, (m - n) % r == 0", "(n - h) % r == 0"):
        facts = facts_of(text(condition))
        run = interpreted(facts)
        shapes = {"Q": (2, 19, 3), "K": (2, 37, 3), "V": (2, 37, 2)}
        inputs = {k: draw.normal(size=s).astype(np.float32) for k, s in shapes.items()}
        for stride in (0, 3, 40):
            given = {"w": 4, "r": stride}
            expected = outputs(written(facts, inputs, given))
            for a, b in zip(outputs(run(inputs, given)), expected, strict=True):
                np.testing.assert_allclose(a, b, 2e-5, 2e-6, err_msg=f"{condition} {given}")


# What stays

KEPT = {
    "not in all alternatives": ("n <= m", "m - n < w or (m - n) % r == 0"),
    "no one remainder": ("(m - n) % r <= 1",),
    "not with the factor 1": ("(m - 2 * n) % r == 0",),
    "the period differs from row to row": ("n % (m + 1) == 0",),
    "a period of 1": ("(m - n) % 1 == 0",),
}


def test_what_stays() -> None:
    for why, conditions in KEPT.items():
        plan = plan_of(text(", ".join(conditions)))
        assert Strided()(plan) is plan, why
    for line in (
        "O[h,m] = argmax[n](S[h,m,n])",  # coordinates are counted
        "O[h,m] = sum[n](cumsum[n](S[h,m,n]))",  # in order
    ):
        element = ": i64 empty -1" if "arg" in line else ""
        head = f"cascade kept(Q[H,M], K[H,N], r: int = 2) -> O[H,M]{element}:\n"
        body = "    S[h,m,n] = Q[h,m] * K[h,n] where (m - n) % r == 0\n"
        plan = plan_of(f"{head}{body}    {line}\n")
        assert Strided()(plan) is plan, line


# Tiles

COUNTED = "abs(m - n) <= w * r, (m - n) % r == 0"


def counted(plan: Plan, stride: int, rows: int, keys: int) -> tuple[int, int, int, int, int]:
    """Tiles: of everything, visited, needed, full, and that could be."""
    values: dict[str, Any] = {"H": 1, "M": rows, "N": keys, "E": 4, "F": 4}
    values |= {"w": 24, "r": stride, "s": 0}
    for let in plan.lets:
        values[let.name] = evaluate(let.value, values)
    (kernel,) = plan.kernels
    sizes = {a.name: 8 for a in kernel.axes if a.name in ("m", "n", "m_q", "n_q")}
    found = tile_counts(plan, kernel, values, sizes)
    assert found is not None
    assert not found.why
    every = (found.all, found.visited, found.minimum, found.full, found.full_possible)
    assert None not in every
    return every  # type: ignore[return-value]


def test_tiles() -> None:
    """As many tiles are gone through as have a point, and as many full as there are."""
    plan = ranged(plan_of(text(COUNTED, PLAIN)))
    for stride in (1, 2, 3, 7, 50):
        for rows, keys in ((40, 40), (37, 61), (61, 37)):
            every, visited, minimum, full, possible = counted(plan, stride, rows, keys)
            assert visited == minimum, (stride, rows, keys)
            assert full <= possible
            # lanes without a row, of the last tile, are no reason for others to be tested
            assert full >= possible - (stride > 1) * min(stride, rows) * 6, (stride, rows, keys)
            if stride == 1:
                assert every == -(-rows // 8) * -(-keys // 8)


def test_it_is_what_a_dense_loop_would_visit_by_the_stride() -> None:
    plain = ranged(plan_of(text("abs(m - n) <= w * r", PLAIN)))
    strided = ranged(plan_of(text(COUNTED, PLAIN)))
    for stride in (2, 4):
        lanes = counted(plain, stride, 128, 128)[1]
        assert counted(strided, stride, 128, 128)[1] <= lanes / stride * 1.2


# Inequalities


def test_windows_are_inequalities() -> None:
    """In full tiles nothing is tested of a distance."""
    plan = ranged(plan_of(text("abs(m - n) <= w", PLAIN)))
    (loop,) = (s for s in statements(plan.kernels[0].body) if isinstance(s, Loop))
    assert any(part.full for part in loop.ranges)
    (near,) = (s for s in loop.body if isinstance(s, Fold) and s.op == "max")
    parts = set(conjuncts(near.where))
    assert {printer.expression(p) for p in parts} >= {"m - n <= w", "n - m <= w"}
    assert parts <= set(loop.given)


def test_a_wrong_quotient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeded fault: what is left of a sum that is divided is one more."""

    def fault(own: _Rewriter, forms: Forms, form: Sum) -> Sum | None:
        found = real(own, forms, form)
        return found and plus(found, {ONE: 1})

    real = _Rewriter._divided
    monkeypatch.setattr(_Rewriter, "_divided", fault)
    source = text("n <= m, (m - n) % r == 0")
    run = made(facts_of(source), plan_of(source))
    with pytest.raises(AssertionError):
        trials(run, 60)


# Seeded faults


def _shifted(axes: Axes) -> Coord:
    found = REAL["coord"](axes)
    return replace(found, value=Binary("+", found.value, Int(1)))


def _shorter(axes: Axes) -> Axis:
    size = Binary("//", axes.old.size, axes.stride)
    return Axis(axes.turn, size, axes.old.kind)


def _further(axes: Axes) -> Expr:
    found = REAL["within"](axes)
    return replace(found, operands=(found.operands[0], Binary("+", found.operands[1], Int(1))))


def _nearer(axes: Axes) -> Expr:
    found = REAL["within"](axes)
    return replace(found, operands=(found.operands[0], Binary("-", found.operands[1], Int(1))))


def _fewer(strides: Strides) -> Axis | None:
    found = REAL["classes"](strides)
    return None if found is None else replace(found, size=Binary("-", found.size, Int(1)))


def _unguarded(finder: _Finder, loop: Loop, remainder: Remainder) -> Any:
    return REAL["_strided"](finder, loop, replace(remainder, rest=TRUE))


def _other_way(finder: _Finder, loop: Loop, remainder: Remainder) -> Any:
    rows = tuple(replace(r, sign=-r.sign) for r in remainder.rows)
    return REAL["_strided"](finder, loop, replace(remainder, rows=rows))


REAL: dict[str, Callable[..., Any]] = {
    "coord": Axes.coord,
    "turns": Axes.turns,
    "within": Axes.within,
    "classes": Strides.classes,
    "_strided": _Finder._strided,
}
FAULTS: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "a coordinate is one further": (Axes, "coord", _shifted),
    "the last turn is lost": (Axes, "turns", _shorter),
    "lanes beyond the end count": (Axes, "within", _further),
    "the last lane does not count": (Axes, "within", _nearer),
    "the last remainder is lost": (Strides, "classes", _fewer),
    "what is on the other side may be no remainder": (_Finder, "_strided", _unguarded),
    "the remainder is that of the negative row": (_Finder, "_strided", _other_way),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, wrong = FAULTS[fault]
    condition = "n <= m, (m - n) % r == s"
    source = text(condition)
    monkeypatch.setattr(owner, name, wrong)
    run = made(facts_of(source), plan_of(source))
    with pytest.raises((AssertionError, IndexError)):
        trials(run, 60)
