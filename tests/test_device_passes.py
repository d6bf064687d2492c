"""Two passes for devices: loads that fill, and presence that is counted. Values stay.

Faults are seeded: a condition is left out, a side is taken for another, none counts as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.errors import InternalError, Source
from attnc.grammar.tiles import parse
from attnc.ir import printer, tiles_printer
from attnc.ir.expr import Compare, Expr, Name, Unary
from attnc.ir.facts import Facts
from attnc.ir.tiles import Dot, Fold, Load, Plan
from attnc.ir.tiles_verify import verify
from attnc.ir.tiles_walk import conjuncts, statements
from attnc.passes.tiling import preload, witness
from attnc.passes.tiling.context import PlanPass
from attnc.passes.tiling.pipeline import for_devices
from attnc.passes.tiling.preload import Preload
from attnc.passes.tiling.presence import TRUE
from attnc.passes.tiling.witness import Witness
from attnc.planning import planned
from tests import attentions, examples
from tests.oracle.cascades import cascade_from, tolerance
from tests.preserved import marked, random_inputs
from tests.test_tiles import TIED, cases
from tests.tiled import of_plan, outputs, written

PASSES = [Witness(), Preload()]
TEXTS = {
    "preload": (
        "cascade filled(A[M,N], C[M,N], w: int = 2) -> O[M] empty -inf, P[M]:\n"
        "    O[m] = max[n](only(A[m,n], n <= m and m - n < w))\n"
        "    P[m] = min[n](only(C[m,n], n % 3 != m % 2))\n"
    ),
    "witness": (
        "cascade linked(A[L,E], C[K,E], p[L,E]: bool, q[K,E]: bool) -> O[L,K]:\n"
        "    O[l,k] = sum[e](only(A[l,e] * C[k,e], p[l,e] and q[k,e]))\n"
    ),
}
"""A cascade for each pass, which changes its plan."""


@cache
def facts_of(text: str) -> Facts:
    """A cascade whose absent points stand out."""
    facts = attnc.check(text).select()
    marks = tuple(map(marked, facts.cascade.outputs))
    return replace(facts, cascade=replace(facts.cascade, outputs=marks))


def before(text: str, step: PlanPass) -> Plan:
    """The plan that a pass for devices is given."""
    return prefix(text, for_devices().index(step))


@cache
def prefix(text: str, count: int) -> Plan:
    """The plan after so many passes for devices."""
    if count == 0:
        return planned(facts_of(text))[1].plan
    return for_devices()[count - 1](prefix(text, count - 1))


def differs(
    facts: Facts, plans: tuple[Plan, Plan], seed: int, given: Any, allowed: float | None
) -> str | None:
    """What is wrong with the second of two plans, which the same tiles are given.

    It has all bits of the first one, and what is written within `allowed`, if that is asked.
    """
    inputs, parameters = given
    first, second = (of_plan(facts, p, rounded=False) for p in plans)
    sizes = first.sizes(seed, inputs, parameters)
    expected = outputs(written(facts, inputs, parameters))
    want, found = (outputs(run(inputs, parameters, sizes, seed)) for run in (first, second))
    for text, a, b, c in zip(facts.cascade.outputs, found, want, expected, strict=True):
        left, middle, right = (x.astype(np.float64) for x in (a, b, c))
        same = a.dtype == b.dtype and np.array_equal(left, middle, equal_nan=True)
        if allowed is not None:
            same = same and np.allclose(left, right, allowed, allowed, equal_nan=True)
        if not same:
            return f"{text.name} at {sizes}"
    return None


def sound(step: PlanPass, plan: Plan) -> Plan:
    """What a pass makes of a plan: it verifies and parses back, and nothing is left to do."""
    after = step(plan)
    if after is not plan:
        verify(after, filled=True)
        assert parse(Source("plan", tiles_printer.plan(after))) == after
        assert step(after) is after
    return after


# Values


@pytest.mark.parametrize("step", PASSES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", examples.NAMES)
def test_examples(name: str, step: PlanPass) -> None:
    text = examples.text(name)
    facts, plan = facts_of(text), before(text, step)
    after = sound(step, plan)
    if after is plan:
        return
    names = [i.name for i in facts.cascade.inputs]
    for seed, (label, arrays, parameters) in enumerate(cases(name)):
        given = dict(zip(names, arrays, strict=True)), parameters
        allowed = None if name in TIED else 1e-7
        assert differs(facts, (plan, after), seed, given, allowed) is None, label


CASCADES = 40
PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int) -> None:
    """Of both makers; few conditions part into two sides."""
    done = 0
    changed: Counter[str] = Counter()
    for seed in range(part, CASCADES, PARTS):
        make = cascade_from if seed // PARTS % 2 else attentions.attention
        text = make(np.random.default_rng(seed))
        facts = facts_of(text)
        try:
            plans = [before(text, step) for step in PASSES]
        except ValueError:
            continue
        done += 1
        for step, plan in zip(PASSES, plans, strict=True):
            after = sound(step, plan)
            if after is not plan:
                problem = random_problem(facts, (plan, after), seed)
                assert problem is None, (seed, problem, text)
                changed[step.name] += 1
    assert done > CASCADES // PARTS // 2
    assert changed["preload"] >= 1


def random_problem(facts: Facts, plans: tuple[Plan, Plan], seed: int) -> str | None:
    """What is wrong with the second plan for random inputs, if the cascade takes them."""
    inputs, parameters = random_inputs(facts, seed)
    inputs = {n: np.nan_to_num(a, nan=0.5, posinf=2, neginf=-2) for n, a in inputs.items()}
    try:
        return differs(facts, plans, seed, (inputs, parameters), tolerance(facts))
    except ValueError:
        return None


def some_inputs(name: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows without a point are among them, and points that are not finite."""
    rng = np.random.default_rng(seed)
    if name == "preload":
        a = np.where(rng.random((7, 9)) < 0.2, -np.inf, rng.normal(size=(7, 9)))
        return {"A": a, "C": rng.normal(size=(7, 9))}, {"w": 1 + seed % 4}
    tensors = {"A": rng.normal(size=(6, 5)), "C": rng.normal(size=(7, 5))}
    return {**tensors, "p": rng.random((6, 5)) < 0.3, "q": rng.random((7, 5)) < 0.3}, {}


def wrong(name: str) -> Iterator[str]:
    """What a pass spoils."""
    step = next(p for p in PASSES if p.name == name)
    text = TEXTS[name]
    plan = before(text, step)
    after = step(plan)
    assert after is not plan
    for seed in range(8):
        problem = differs(facts_of(text), (plan, after), seed, some_inputs(name, seed), 1e-9)
        if problem is not None:
            yield problem


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    sound(next(p for p in PASSES if p.name == name), before(TEXTS[name], PASSES[0]))
    assert [*wrong(name)] == []


# By hand

HEAD = (
    "plan p(X[M,N], y[N]: bool, P[M,N]: bool, Q[K,N]: bool) -> O[M,K], U[M]:\n"
    "    kernel k\n"
    "        axis m par M\n"
    "        axis k par K\n"
    "        axis n whole N\n"
)


def made(step: PlanPass, *lines: str) -> Plan | None:
    """What becomes of such a kernel; None if it stays."""
    plan = parse(Source("plan", HEAD + "".join(f"        {line}\n" for line in lines)))
    after = step(plan)
    if after is plan:
        return None
    assert parse(Source("plan", tiles_printer.plan(after))) == after
    return after


def loads(plan: Plan | None) -> list[str]:
    """The loads of a plan: what is loaded, where, and what else it is."""
    assert plan is not None
    body = chain.from_iterable(statements(k.body) for k in plan.kernels)
    return [
        f"{s.target} {printer.expression(s.where)}" + ("" if s.fill is None else f" else {s.fill}")
        for s in body
        if isinstance(s, Load)
    ]


X = "x[m,n]: float = load X[m,n] where m < M and n < N"
SUM = "t[m]: float = reduce[sum,n](w)"
END = "store U[m] = t else 0, over m < M"


def test_fill_goes_into_the_load() -> None:
    """A condition is found through its name; `not` and what is true stay what they are."""
    here = "here[m,n]: bool = map n < N and n <= m"
    fill = "w[m,n]: float = map x if here else 0"
    assert loads(made(Preload(), X, here, fill, SUM, END)) == [
        "w m < M and n < N and n <= m else 0"
    ]
    other = fill.replace("here", "not here")
    assert loads(made(Preload(), X, here, other, SUM, END)) == [
        "w m < M and n < N and not (n < N and n <= m) else 0"
    ]
    assert loads(made(Preload(), X, here, fill.replace("0", "-inf"), SUM, END)) == [
        "w m < M and n < N and n <= m else -inf"
    ]


@pytest.mark.parametrize(
    "lines",
    [
        # read without the fill, too
        (X, "w[m,n]: float = map x if n <= m else 0", "t[m]: float = reduce[sum,n](w + x)"),
        # a condition on values
        (X, "w[m,n]: float = map x if x > 0 else 0", SUM),
        # another tile instead
        (X, "w[m,n]: float = map x if n <= m else x", SUM),
        (X, "z[n]: float = map n", "w[m,n]: float = map x if n <= m else z", SUM),
        # filled already, with something else
        (f"{X} else 1", "w[m,n]: float = map x if n <= m else 0", SUM),
        # lanes that the load has not
        (
            "x[n]: float = load X[0,n] where 0 < M and n < N",
            "w[m,n]: float = map x if n <= m else 0",
            SUM,
        ),
        # another type
        (X, "w[m,n]: f64 = map x if n <= m else 0", SUM),
    ],
)
def test_what_no_load_fills(lines: tuple[str, ...]) -> None:
    assert made(Preload(), *lines, END) is None


def test_fills_of_other_blocks_stay() -> None:
    """In a branch more may be known; the load before it is for all."""
    branch = "if 3 < M", "    carry t[m]: float = 0", "    w[m,n]: float = map x if n <= m else 0"
    more = "    t2[m]: float = reduce[sum,n](w)", "    next t = t2"
    assert made(Preload(), X, *branch, *more, END) is None
    inside = branch[:2], f"    {X}", branch[2:], more
    flat = (*inside[0], inside[1], *inside[2], *inside[3])
    assert loads(made(Preload(), *flat, END)) == ["w m < M and n < N and n <= m else 0"]


PQ = (
    "p[m,n]: bool = load P[m,n] where m < M and n < N",
    "q[k,n]: bool = load Q[k,n] where k < K and n < N",
)
STORE = "store O[m,k] = 1 if some else 0 else 0, over m < M and k < K"


def counted(plan: Plan | None) -> tuple[list[str], str]:
    """What is multiplied, and what is told by the product."""
    assert plan is not None
    (kernel,) = plan.kernels
    body = list(statements(kernel.body))
    (product,) = (s for s in body if isinstance(s, Dot))
    assert not [s for s in body if isinstance(s, Fold)]
    lines = tiles_printer.plan(plan).splitlines()
    sides = [
        next(x for x in lines if x.strip().startswith(f"{side}[")).partition(" = map ")[2]
        for side in (product.left, product.right)
    ]
    told = next(x for x in lines if x.strip().startswith("some["))
    return sides, told.partition(" = map ")[2]


@pytest.mark.parametrize(
    ("condition", "sides"),
    [
        ("p and q", ["p", "q"]),
        ("n < N and q and p and k < K", ["n < N and q and k < K", "p"]),
        ("m + n < M and q", ["m + n < M", "q"]),
    ],
)
def test_presence_is_counted(condition: str, sides: list[str]) -> None:
    line = f"some[m,k]: bool = reduce[any,n]({condition})"
    found, told = counted(made(Witness(), *PQ, line, STORE))
    assert sorted(found) == sorted(f"float(1.0 if {side} else 0.0)" for side in sides)
    assert told.endswith("_n > 0")


@pytest.mark.parametrize(
    "line",
    [
        "some[m,k]: bool = reduce[any,n](p or q)",
        "some[m,k]: bool = reduce[any,n](p and (q or n < 3))",
        "some[m,k]: bool = reduce[any,n](p and q and n < m + k)",  # all three together
        "some[m,k]: bool = reduce[all,n](p and q)",
        "some[m,k]: bool = reduce[any,n](p and n < N)",  # one side has all
        "some[m,k]: bool = reduce[any,n](p and k < K)",  # the other one has no axis to sum along
    ],
)
def test_what_is_not_counted(line: str) -> None:
    assert made(Witness(), *PQ, line, STORE) is None


# Faults


def test_fault_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition is left out."""
    monkeypatch.setattr(preload, "both", lambda first, _: first)
    assert [*wrong("preload")] != []


def test_fault_of_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded and what it is filled with change places."""
    real = preload._without_tiles

    def swapped(context: Any, expr: Expr) -> Expr | None:
        found = real(context, expr)
        named = isinstance(expr, Name)  # what it names is asked for in turn
        return found if named or found is None else Unary("not", found)

    monkeypatch.setattr(preload, "_without_tiles", swapped)
    assert [*wrong("preload")] != []


def test_fault_of_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read without the fill is filled none the less: nobody defines it then."""
    lines = X, "w[m,n]: float = map x if n <= m else 0", "t[m]: float = reduce[sum,n](w + x)"
    monkeypatch.setattr(preload, "Counter", lambda _: _Once())
    with pytest.raises(attnc.SpecError, match="unknown name 'x'"):
        made(Preload(), *lines, END)


class _Once:
    """All is read once."""

    def __getitem__(self, _: str) -> int:
        return 1


SIDES: dict[str, Callable[[Expr, Expr], tuple[Expr, Expr]]] = {
    "left out": lambda one, _: (one, TRUE),
    "twice": lambda one, _: (one, one),
    "negated": lambda one, other: (one, Unary("not", other)),
}


@pytest.mark.parametrize("fault", SIDES)
def test_fault_of_a_side(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = witness._sides

    def sides(*given: Any) -> tuple[Expr, Expr] | None:
        found = real(*given)
        return None if found is None else SIDES[fault](*found)

    monkeypatch.setattr(witness, "_sides", sides)
    assert spoilt()


def test_fault_of_an_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A side that does not vary along the axis is no operand: the plan does not verify."""

    def parted(_: Any, condition: Expr, __: str) -> tuple[Expr, Expr]:
        one, other = conjuncts(condition)
        return one, other

    monkeypatch.setattr(witness, "_sides", parted)
    plan = made(Witness(), *PQ, "some[m,k]: bool = reduce[any,n](p and k < K)", STORE)
    assert plan is not None
    with pytest.raises(InternalError, match="some_of2"):
        verify(plan, filled=True)


def test_fault_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum that is 0 is taken for a point."""
    monkeypatch.setattr(witness, "Compare", lambda _, operands: Compare((">=",), operands))
    assert spoilt()


def spoilt() -> bool:
    """Whether the witness is wrong, or no plan at all."""
    try:
        return [*wrong("witness")] != []
    except (InternalError, ValueError):
        return True
