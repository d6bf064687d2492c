"""Passes on plans: values stay at any tiles, predicates become fills, and faults are seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnc.cli import main
from attnc.compilation import verify_plan
from attnc.errors import InternalError
from attnc.ir import tiles_printer
from attnc.ir.expr import Bool, Choice, Compare, Expr, Int, Name, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import Load, Loop, Map, Plan, Statement, Store, TopK
from attnc.ir.tiles_walk import mapped, statements, with_body
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.fills import Fills
from attnc.passes.tiling.identities import literal
from attnc.passes.tiling.known import is_filled
from attnc.passes.tiling.legalise import predicates, unfilled
from attnc.passes.tiling.pipeline import TILING
from attnc.passes.tiling.presence import both, conjuncts
from attnc.planning import for_device
from tests import examples, golden
from tests.oracle.cascades import cascade_from, tolerance
from tests.prepared import facts_of, plan_of
from tests.preserved import random_inputs
from tests.test_tiles import TIED, cases
from tests.tiled import Tiled, of_plan, outputs, written

TEXTS = {
    # a window: keys that no query of a tile looks at, rows without a key
    "window": (
        "cascade window(Q[H,M,E], K[H,N,E], V[H,N,F], w: int = 3) -> O[H,M,F], L[H,M] empty -inf:\n"
        "    S[h,m,n] = Q[h,m,e] * K[h,n,e] where n <= m + 1, m - n < w, n % 4 != 2\n"
        "    O[h,m,f] = softmax[n](S[h,m,n]) * V[h,n,f]\n"
        "    L[h,m]   = logsumexp[n](S[h,m,n])\n"
    ),
    # presence that depends on data: told by the maximum, else looked up again
    "documents": (
        "cascade documents(Q[B,M,E], K[B,N,E], V[B,N,F], a[B,M]: i32, c[B,N]: i32, Z[N]) "
        "-> O[B,M,F]:\n"
        "    S[b,m,n] = Q[b,m,e] * K[b,n,e] + Z[n] where a[b,m] == c[b,n]\n"
        "    O[b,m,f] = softmax[n](S[b,m,n]) * V[b,n,f]\n"
    ),
    # lengths of sequences that share a tile; no maximum in sight
    "lengths": (
        "cascade lengths(Q[B,M,E], K[B,N,E], V[B,N,F], length[B]: i32) -> O[B,M,F], U[B,M]:\n"
        "    S[b,m,n] = Q[b,m,e] * K[b,n,e] where n < length[b]\n"
        "    U[b,m]   = mean[n](S[b,m,n])\n"
        "    O[b,m,f] = sigmoid(S[b,m,n]) * V[b,n,f]\n"
    ),
    # a state with a transition that is no exponential, told by a count
    "moments": (
        "cascade moments(Q[M,E], K[N,E], V[N,F], keep[N]: bool) -> O[M,F]:\n"
        "    S[m,n] = Q[m,e] * K[n,e] where keep[n]\n"
        "    O[m,f] = (S[m,n] - mean[n](S[m,n])) * V[n,f]\n"
    ),
    # tropical: a minimum of sums, and a product of others
    "tropical": (
        "cascade tropical(A[M,N], C[N,F], keep[M,N]: bool) -> O[M,F] empty inf, P[M]:\n"
        "    O[m,f] = min[n](only(A[m,n] + C[n,f], keep[m,n]))\n"
        "    P[m]   = prod[n](only(A[m,n], keep[m,n]))\n"
    ),
    # functions of positions, which are the same for all heads
    "angles": (
        "cascade angles(Q[H,M,E], K[H,N,E], V[H,N,F], g: float = 0.25) -> O[H,M,F], W[M,E]: f64:\n"
        "    A[m,e]   = cos(m * (e + 2) ** g)\n"
        "    S[h,m,n] = sum[e](Q[h,m,e] * A[m,e] * K[h,n,e] * sin(n * (e + 2) ** g)) where n <= m\n"
        "    O[h,m,f] = softmax[n](S[h,m,n]) * V[h,n,f]\n"
        "    W[m,e]   = A[m,e]\n"
    ),
    # first indices, with extremes that are infinite; a sort of integers; scans
    "firsts": (
        "cascade firsts(A[M,N], I[M,N]: i32, Y[U], keep[M,N]: bool) "
        "-> G[M]: i64 empty -1, J[M,U]: i64 empty -1, C[M,N], X[M,N]:\n"
        "    G[m]   = argmax[n](only(A[m,n], keep[m,n]))\n"
        "    J[m,u] = argtopk[n -> u](only(I[m,n], keep[m,n])) where Y[u] == Y[u]\n"
        "    C[m,n] = cumsum[n](only(A[m,n], keep[m,n]))\n"
        "    X[m,n] = cummax[n](only(A[m,n], keep[m,n]))\n"
    ),
}
CALLS: dict[str, Callable[[np.random.Generator], tuple[list[Any], dict[str, Any]]]] = {
    "window": lambda r: ([_some(r, 2, 11, 3), _some(r, 2, 8, 3), _some(r, 2, 8, 5)], {"w": 3}),
    "documents": lambda r: (
        [
            *(_some(r, 2, 9, 3), _some(r, 2, 12, 3), _some(r, 2, 12, 4)),
            *(r.integers(0, 6, (2, 9), np.int32), r.integers(0, 5, (2, 12), np.int32)),
            np.where(r.random(12) < 0.5, -np.inf, 0.0),  # rows of these alone are NaN
        ],
        {},
    ),
    "lengths": lambda r: (
        [
            *(_some(r, 3, 4, 3), _some(r, 3, 9, 3), _some(r, 3, 9, 4)),
            np.array([9, 0, 4], np.int32),
        ],
        {},
    ),
    "moments": lambda r: (
        [_some(r, 4, 3), _some(r, 12, 3), _some(r, 12, 3), r.random(12) < 0.4],
        {},
    ),
    "angles": lambda r: ([_some(r, 3, 9, 4), _some(r, 3, 11, 4), _some(r, 3, 11, 3)], {"g": 0.5}),
    "tropical": lambda r: ([_some(r, 5, 9), _some(r, 9, 3), r.random((5, 9)) < 0.2], {}),
    "firsts": lambda r: (
        [
            np.where(r.random((6, 7)) < 0.5, -np.inf, _some(r, 6, 7)),
            r.integers(-3, 3, (6, 7), np.int32),
            _some(r, 5),
            r.random((6, 7)) < 0.5,
        ],
        {},
    ),
}
"""Inputs for each text; rows without a point and points that none reads are among them."""

NAMES = [*TEXTS]
STEPS = [
    "tile",
    "bounded",
    "strided",
    "affine",
    "invariant",
    "ranges",
    "tables",
    "rows",
    "extremes",
    "fills",
    "known",
    "guards",
    "again",
    "dead",
]
"""The plan as lowered, and the passes; `again` is the second run of `invariant`."""


def _some(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape)


@cache
def plans(text: str) -> dict[str, Plan]:
    """The plan of a cascade as lowered and after each pass."""
    plan = plan_of(text)
    found = {"tile": plan}
    for name, step in zip(STEPS[1:], TILING, strict=True):
        plan = found[name] = step(plan)
    return found


def legal(text: str) -> Plan:
    return plans(text)[STEPS[-1]]


def run_of(text: str, plan: Plan) -> Tiled:
    return of_plan(facts_of(text), plan, rounded=False)


def same(found: Any, expected: Any, allowed: float = 1e-9) -> bool:
    pairs = zip(outputs(found), outputs(expected), strict=True)
    return all(
        a.dtype == b.dtype and np.allclose(a, b, rtol=allowed, atol=allowed, equal_nan=True)
        for a, b in pairs
    )


def inputs_of(name: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays, parameters = CALLS[name](np.random.default_rng(seed))
    names = [i.name for i in facts_of(TEXTS[name]).cascade.inputs]
    return dict(zip(names, arrays, strict=True)), parameters


# The text


@pytest.mark.parametrize("name", NAMES)
def test_plan(name: str, renew: bool) -> None:
    golden.compare("legalise", name, tiles_printer.plan(legal(TEXTS[name])), renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("legalise", NAMES)
    assert golden.orphans("legalise", NAMES) == []


# What holds of all plans

ALL = {**{n: examples.text(n) for n in examples.NAMES}, **TEXTS}


@pytest.mark.parametrize("text", ALL)
def test_after_each_pass(text: str) -> None:
    """Plans are sound, print and parse back; a second run changes nothing; fills are proved."""
    found = plans(ALL[text])
    before = found["tile"]
    for name, step in zip(STEPS[1:], TILING, strict=True):
        after = found[name]
        if after is not before or name == STEPS[-1]:
            verify_plan(step, before, after)
            assert step(after) is after
        before = after


def wide_sorts(plan: Plan) -> list[TopK]:
    """Sorts of what may hold the least number of its kind: nothing is sorted behind that."""
    found: list[TopK] = []
    for kernel in plan.kernels:
        kind = Context(plan, kernel).kind
        sorts = (s for s in statements(kernel.body) if isinstance(s, TopK))
        found += (s for s in sorts if kind(s.value) not in (Kind.BOOL, Kind.I32))
    return found


@pytest.mark.parametrize("name", ALL)
def test_no_observer_has_a_predicate(name: str) -> None:
    """But for memory, and sorts of what is wide."""
    plan = legal(ALL[name])
    sorts = wide_sorts(plan)
    assert [s for s in predicates(plan) if s not in sorts] == []


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_keep_their_values(name: str) -> None:
    """One case of each example after each pass that changes it, all of them after the last."""
    text = examples.text(name)
    facts, found = facts_of(text), plans(text)
    names = [i.name for i in facts.cascade.inputs]
    for at, (before, step) in enumerate(pairwise(STEPS)):
        if found[step] is found[before] and step != STEPS[-1]:
            continue
        run = run_of(text, found[step])
        some = cases(name)
        chosen = some if step == STEPS[-1] else [some[at % len(some)]]
        for seed, (label, arrays, parameters) in enumerate(chosen):
            inputs = dict(zip(names, arrays, strict=True))
            sizes = run.sizes(seed + at, inputs, parameters)
            sizes = {a: n for a, n in sizes.items() if a not in TIED.get(name, ())}
            order = None if name in TIED else seed
            expected = written(facts, inputs, parameters)
            assert same(run(inputs, parameters, sizes, order), expected, 1e-7), (step, label, sizes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_texts_keep_their_values(name: str, step: str) -> None:
    text = TEXTS[name]
    run = run_of(text, plans(text)[step])
    for seed in range(6):
        inputs, parameters = inputs_of(name, seed)
        sizes = run.sizes(seed, inputs, parameters)
        expected = written(facts_of(text), inputs, parameters)
        assert same(run(inputs, parameters, sizes, seed), expected), (seed, sizes)


# What no output reads


def unread(facts: Facts, inputs: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """For each input of floats, the places whose value no output depends on."""
    expected = written(facts, inputs, parameters)
    found = {}
    for name, array in inputs.items():
        if array.dtype.kind != "f":
            continue
        free = np.zeros(array.shape[:-1], bool)
        for place in np.ndindex(free.shape):
            changed = array.copy()
            changed[place] = np.nan
            free[place] = same(written(facts, {**inputs, name: changed}, parameters), expected)
        found[name] = free
    return found


def spoilt(
    facts: Facts, inputs: dict[str, Any], parameters: dict[str, Any], value: float
) -> tuple[dict[str, Any], int]:
    """Finite inputs, but for such a value at all places that no output reads; and how many."""
    inputs = {
        n: a if a.dtype.kind != "f" else np.nan_to_num(a, neginf=0) for n, a in inputs.items()
    }
    count = 0
    for tensor, places in unread(facts, inputs, parameters).items():
        inputs[tensor][places] = value
        count += int(places.sum())
    return inputs, count


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["window", "documents", "lengths"])
def test_what_no_output_reads_reaches_none(name: str, value: float) -> None:
    text = TEXTS[name]
    facts, run = facts_of(text), run_of(text, legal(text))
    count = 0
    for seed in range(4):
        inputs, parameters = inputs_of(name, seed)
        inputs, places = spoilt(facts, inputs, parameters, value)
        count += places
        expected = written(facts, inputs, parameters)
        for turn in range(4):
            sizes = run.sizes(10 * seed + turn, inputs, parameters)
            assert same(run(inputs, parameters, sizes, turn), expected), (seed, sizes)
    assert count > 20


# Random cascades

PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    """As many as compare in a few seconds; every pass keeps what the plan computes."""
    count = int(request.config.getoption("--cascades")) // 4
    done = changed = 0
    for seed in range(part, count, PARTS):
        text = cascade_from(np.random.default_rng(seed))
        facts = facts_of(text)
        inputs, parameters = random_inputs(facts, seed)
        inputs = {n: np.nan_to_num(a, nan=0.5, posinf=2, neginf=-2) for n, a in inputs.items()}
        try:
            found = plans(text)
            expected = outputs(written(facts, inputs, parameters))
        except ValueError:
            continue
        if not all(np.all(np.isfinite(x.astype(np.float64))) for x in expected):
            continue
        plan = found[STEPS[-1]]
        done += 1
        changed += plan is not found["tile"]
        left = wide_sorts(plan)
        assert [s for s in predicates(plan) if s not in left] == [], text
        if done % 8 == 0:  # which takes longer than the rest
            for step, before, after in zip(TILING, STEPS, STEPS[1:], strict=False):
                verify_plan(step, found[before], found[after])
        run = run_of(text, plan)
        sizes = run.sizes(seed, inputs, parameters)
        allowed = tolerance(facts)
        result = outputs(run(inputs, parameters, sizes, seed))
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(
                *(x.astype(np.float64) for x in (a, b)), allowed, allowed, err_msg=f"{seed} {text}"
            )
    assert changed > done // 3 > 0


# Seeded faults


def altered(
    plan: Plan, change: Callable[[Statement], Iterator[Statement] | list[Statement]]
) -> Plan:
    return replace(plan, kernels=tuple(with_body(k, change) for k in plan.kernels))


def everywhere(plan: Plan, change: Callable[[Expr], Expr]) -> Plan:
    def walk(expr: Expr) -> Expr:
        return change(rebuild(expr, tuple(walk(c) for c in children(expr))))

    return altered(plan, lambda item: [mapped(item, walk)])


def loads(plan: Plan, tensor: str, change: Callable[[Load], Load]) -> Plan:
    def one(item: Statement) -> list[Statement]:
        return [change(item) if isinstance(item, Load) and item.tensor == tensor else item]

    return altered(plan, one)


def bare(item: Statement) -> list[Statement]:
    """What a choice guards, whatever its condition."""
    match item:
        case Map(value=Choice(then=Int(value=0), other=other)):
            return [replace(item, value=other)]
        case _:
            return [item]


def all_of_it(load: Load) -> Load:
    """A load of all that is in memory, as before it was narrowed."""
    extents = [p for p in conjuncts(load.where) if isinstance(p, Compare) and _extent(p, load.axes)]
    return replace(load, where=both(*extents))


def _extent(part: Compare, axes: tuple[str, ...]) -> bool:
    first, *_ = part.operands
    sized = part.ops == ("<",) and isinstance(part.operands[1], Value)
    return sized and isinstance(first, Var) and first.name in axes


def filled_with(wrong: Expr, right: Expr) -> Callable[[Expr], Expr]:
    """Another fill."""

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Choice) and expr.other == right:
            return replace(expr, other=wrong)
        return expr

    return change


def unguarded(expr: Expr) -> Expr:
    """A state that counts from the start."""
    match expr:
        case Choice(condition=Compare(ops=("<",), operands=(Int(value=0), Name())), then=then):
            return then
        case _:
            return expr


def presence(condition: Expr) -> Callable[[Statement], list[Statement]]:
    """Another condition for rows that have no point."""

    def change(item: Statement) -> list[Statement]:
        if isinstance(item, Store) and isinstance(item.value, Choice):
            return [replace(item, value=replace(item.value, condition=condition))]
        return [item]

    return change


def totals(plan: Plan) -> list[str]:
    """The carried sums that have an axis less than those of products."""
    loops = [s for k in plan.kernels for s in k.body if isinstance(s, Loop)]
    found = [c for loop in loops for c in loop.carries if c.start == Int(0)]
    least = min(len(c.axes) for c in found)
    return [c.name for c in found if len(c.axes) == least]


def faults() -> Iterator[tuple[str, str, Plan]]:
    """Wrong plans: what is wrong, the text, the plan."""
    infinite = literal(float("-inf"))
    for name in ("window", "documents"):
        plan = legal(TEXTS[name])
        yield "scores filled with 0", name, everywhere(plan, filled_with(Int(0), infinite))
        most = literal(float("inf"))
        yield "scores filled with inf", name, everywhere(plan, filled_with(most, infinite))
        yield "no choice for rows without a key", name, altered(plan, bare)
        yield "values of keys that none reads", name, loads(plan, "V", all_of_it)
        yield "values not filled", name, loads(plan, "V", lambda s: replace(s, fill=None))
        yield "keys not filled", name, loads(plan, "K", lambda s: replace(s, fill=None))
        yield "all rows present", name, altered(plan, presence(Bool(True)))
    plan = legal(TEXTS["documents"])
    some = Compare(("!=",), (Name(totals(plan)[0]), Int(0)))
    yield "rows told by den == 0", "documents", altered(plan, presence(some))
    only = everywhere(plan, lambda e: Name("left") if e == Name("found") else e)
    yield "rows not looked up again", "documents", only
    lengths = legal(TEXTS["lengths"])
    yield "products not filled", "lengths", loads(lengths, "V", lambda s: replace(s, fill=None))
    yield "values beyond a length", "lengths", loads(lengths, "V", all_of_it)
    yield "sums filled with 1", "lengths", everywhere(lengths, filled_with(Int(1), Int(0)))
    moments = legal(TEXTS["moments"])
    yield "a state that was never seen", "moments", everywhere(moments, unguarded)
    tropical = legal(TEXTS["tropical"])
    most = literal(float("inf"))
    yield "a minimum filled with 0", "tropical", everywhere(tropical, filled_with(Int(0), most))
    yield "a product filled with 0", "tropical", everywhere(tropical, filled_with(Int(0), Int(1)))
    firsts = legal(TEXTS["firsts"])
    low = literal(-(2**63))
    yield "a sort filled with 0", "firsts", everywhere(firsts, filled_with(Int(0), low))
    yield "a scan filled with 1", "firsts", everywhere(firsts, filled_with(Int(1), Int(0)))
    high = Int(2**63 - 1)
    yield "a first index of nothing", "firsts", everywhere(firsts, filled_with(Int(0), high))


def wrong_somewhere(name: str, plan: Plan) -> bool:
    """Whether a plan is wrong at some tiles, or for inputs that no output reads."""
    text = TEXTS[name]
    facts, run = facts_of(text), run_of(text, plan)
    for seed in range(6):
        inputs, parameters = inputs_of(name, seed)
        for value in (None, np.nan):
            if value is not None:
                inputs, _ = spoilt(facts, inputs, parameters, value)
            expected = written(facts, inputs, parameters)
            for turn in range(3):
                sizes = run.sizes(seed + turn, inputs, parameters)
                if not same(run(inputs, parameters, sizes, turn), expected):
                    return True
    return False


FAULTS = {f"{what}: {name}": (name, plan) for what, name, plan in faults()}


@pytest.mark.parametrize("label", FAULTS)
def test_faults_are_seen(label: str) -> None:
    name, plan = FAULTS[label]
    assert plan != legal(TEXTS[name])
    assert wrong_somewhere(name, plan)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_right_is_not_seen(name: str) -> None:
    assert not wrong_somewhere(name, legal(TEXTS[name]))


# What is proved, and what is not


def proved(text: str, tile: str, fill: float, keep: Callable[[Plan], Plan] = lambda p: p) -> bool:
    """Whether a tile of the filled plan is proved to be that where lanes do not count."""
    plan = keep(plans(text)["fills"])
    (kernel,) = plan.kernels
    context = Context(plan, kernel)
    return is_filled(context, Name(tile), Name("here"), fill, frozenset("n"))


def test_a_fill_is_dropped_only_where_it_is_proved() -> None:
    """The weights of filled scores are 0; without their guard, or another fill, nobody knows."""
    text = TEXTS["window"]
    assert proved(text, "x", float("-inf"))
    assert proved(text, "p", 0)
    assert not proved(text, "p", 1)
    assert not proved(text, "t4", 0)  # the maximum may be minus infinity
    assert not proved(text, "t", 0)
    assert not proved(text, "p", 0, lambda p: altered(p, bare))
    infinite = literal(float("-inf"))
    assert not proved(text, "p", 0, lambda p: everywhere(p, filled_with(Int(0), infinite)))


def test_a_fill_that_is_not_proved_is_refused() -> None:
    """What verifies passes sees that lanes beyond an extent change something."""
    plan = plans(TEXTS["window"])["guards"]
    (step,) = [p for p in TILING if p.name == "guards"]
    verify_plan(step, plan, plan)
    for tensor in ("V", "Q"):
        with pytest.raises(InternalError, match="not filled after the pass guards"):
            verify_plan(step, plan, loads(plan, tensor, lambda s: replace(s, fill=None)))


# The command line


def test_print_after(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = tmp_path / "window.attn"
    spec.write_text(TEXTS["window"], encoding="utf-8")
    command = ["compile", str(spec), "-o", str(tmp_path / "out.py")]
    assert main([*command, "--print-after", "tile", "--print-after", "dead"]) == 0
    found = capsys.readouterr().err
    first, last = (tiles_printer.plan(plans(TEXTS["window"])[s]) for s in ("tile", "dead"))
    assert found == f"# after tile\n{first}\n# after dead: no change\n{last}\n"
    assert main([*command, "--print-after", "all", "--verify-passes"]) == 0
    shown = capsys.readouterr().err
    heads = re.findall(r"^# after (\w+(?:, run . of .)?)", shown, re.MULTILINE)[-len(STEPS) :]
    first = ["tile", "bounded", "strided", "affine", "invariant, run 1 of 2"]
    assert heads == [*first, *STEPS[5:-2], "invariant, run 2 of 2", "dead"]


def test_verify_passes_sees_a_wrong_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def wrong(self: Fills, plan: Plan) -> Plan:
        return everywhere(right(self, plan), filled_with(Int(0), literal(float("-inf"))))

    right = Fills.__call__
    monkeypatch.setattr(Fills, "__call__", wrong)
    spec = tmp_path / "window.attn"
    spec.write_text(TEXTS["window"], encoding="utf-8")
    command = ["compile", str(spec), "-o", str(tmp_path / "out.py")]
    assert main(command) == 0
    assert main([*command, "--verify-passes"]) == 2
    assert "lanes that do not exist are not filled after the pass fills" in capsys.readouterr().err


def test_the_page_is_current() -> None:
    """Each line of a plan that it shows is one, after the pass that it is shown for."""
    page = (examples.ROOT / "docs" / "passes.md").read_text("utf-8")
    page = page.partition("## Passes on plans")[2].partition("## How to")[0]
    assert f"```text\n{'  '.join(p.name for p in TILING)}\n```" in page
    spec = re.findall(r"```attn\n(.*?)```", page, re.DOTALL)[0]
    shown = re.findall(r"### `(\w+)`((?:(?!###).)*?)```text\n(.*?)```", page, re.DOTALL)
    here = [(name, head, text) for name, head, text in shown if name in {p.name for p in TILING}]
    assert [name for name, *_ in here] == ["ranges", "tables", "extremes", "fills", "guards"]
    for name, head, text in here:
        own = re.findall(r"```attn\n(.*?)```", head, re.DOTALL)
        plan = tiles_printer.plan(plans(own[0] if own else spec)[name])
        lines = {x.strip() for x in plan.splitlines()}
        assert {x.strip() for x in text.splitlines()} - {"..."} <= lines


def test_a_load_is_filled_with_the_least_integer() -> None:
    text = "cascade last(A[B,N]: i32) -> L[B]: i32 empty 0:\n    L[b] = max[n](A[b,n])\n"
    plan = for_device(facts_of(text))
    assert [*unfilled(plan)] == []
    wrong = loads(plan, "A", lambda s: replace(s, fill=-1))
    assert [*unfilled(wrong)] != []
