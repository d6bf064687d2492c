"""Level 2: plans derived from cascades, run at any tile sizes on lanes full of rubbish."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.backends.numpy.tiled import emit_tiled
from attnc.backends.options import Options
from attnc.compilation import tiling
from attnc.ir import tiles_printer
from attnc.ir.expr import Binary, Bool, Compare, Expr, Int, Logical, Name, Value
from attnc.ir.tiles import Dot, Fold, Loop, Map, Plan, Statement, Store
from attnc.ir.walk import children, rebuild
from attnc.modules import function_of
from tests import agreement, examples, golden
from tests.agreement import NARROW
from tests.oracle.cascades import cascade_from, inputs_for, tolerance
from tests.prepared import facts_of, lowered

FOLDER = Path(__file__).parent / "tiles"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.attn"))]
SIZES = (1, 2, 3, 5, 8, 64)

SEVERAL = {
    "additive": 3,
    "block_rag": 2,
    "cope": 2,
    "efficient": 2,
    "lightning": 3,
    "moba": 3,
    "multi_token": 3,
    "native_sparse": 6,
    "nystrom": 10,
    "performer": 3,
    "rela": 3,
    "tree": 2,
}
"""Examples that take more than one kernel, with their number."""


TIED = {"native_sparse": frozenset("lexgyz")}
"""Axes whose sums an example compares: the order in which they are added decides between equals."""


def function(plan: Plan) -> Callable[..., Any]:
    return function_of(emit_tiled(plan, Options()), "tiled")


def oracle(text: str) -> Callable[..., Any]:
    """What a text says, as it is written."""
    return agreement.function(facts_of(text))


def outputs(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def tiles(plan: Plan, seed: int) -> dict[str, int]:
    """A random tile size for each axis."""
    generator = random.Random(seed)
    return {a.name: generator.choice(SIZES) for k in plan.kernels for a in k.axes}


def differs(found: Any, expected: Any) -> bool:
    pairs = zip(outputs(found), outputs(expected), strict=True)
    return any(
        a.dtype != b.dtype or not np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
        for a, b in pairs
    )


# The text


@pytest.mark.parametrize("name", NAMES)
def test_plan(name: str, renew: bool) -> None:
    _, fused = lowered((FOLDER / f"{name}.attn").read_text("utf-8"))
    golden.compare("tiles", name, tiles_printer.plan(fused.plan), renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("tiles", NAMES)
    assert golden.orphans("tiles", NAMES) == []


# Examples


@cache
def cases(name: str) -> list[tuple[str, list[Any], dict[str, Any]]]:
    reference = examples.load(examples.ROOT / "tests" / "references" / f"{name}.py")
    order = [i.name for i in attnc.check(examples.text(name)).select().cascade.inputs]
    return [
        (label, [inputs[n] for n in order], parameters)
        for label, inputs, parameters in reference.cases(np.random.default_rng(7))
    ]


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_at_any_tiles(name: str, request: pytest.FixtureRequest) -> None:
    """Every case of every example agrees with the unoptimised text, whatever the tiles: the first
    at two tilings, in order and not, the others at one in turn, unless all are wanted."""
    every = request.config.getoption("--cases") == "all"
    text = examples.text(name)
    _, fused = lowered(text)
    run, plain = function(fused.plan), oracle(text)
    for number, (label, arrays, parameters) in enumerate(cases(name)):
        expected = plain(*arrays, **parameters)
        for seed in range(2) if every or number == 0 else (number % 2,):
            sizes = tiles(fused.plan, 100 * number + seed)
            sizes = {a: n for a, n in sizes.items() if a not in TIED.get(name, ())}
            order = None if name in TIED else seed or None
            found = run(*arrays, **parameters, _tiles=sizes, _shuffle=order)
            assert not differs(found, expected), (label, sizes)


@pytest.mark.parametrize("name", examples.NAMES)
def test_one_kernel_where_one_is_enough(name: str) -> None:
    _, fused = lowered(examples.text(name))
    assert len(fused.plan.kernels) == SEVERAL.get(name, 1)
    assert fused.refusals == ()


# Random cascades


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    """A random cascade computes what the text says at any tiles, in any order of them.

    Inputs are finite. Where a result is not, it may differ in kind, and so may its neighbours.
    """
    count = int(request.config.getoption("--cascades")) // 2
    done = 0
    for seed in range(part, count, PARTS):
        text = cascade_from(np.random.default_rng(seed))
        before = attnc.check(text).select()
        inputs, parameters = inputs_for(before, np.random.default_rng(seed), nonfinite=False)
        for item in before.cascade.inputs:
            if item.element in NARROW:
                inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
        arrays = [inputs[i.name] for i in before.cascade.inputs]
        _, fused = lowered(text)
        try:
            expected = outputs(oracle(text)(*arrays, **parameters))
        except ValueError:
            continue
        if not all(np.all(np.isfinite(x.astype(np.float64))) for x in expected):
            continue
        run = function(fused.plan)
        done += 1
        allowed = tolerance(before)
        for turn in range(2):
            sizes = tiles(fused.plan, seed + turn)
            found = outputs(run(*arrays, **parameters, _tiles=sizes, _shuffle=turn or None))
            for a, b in zip(found, expected, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(
                    a.astype(np.float64),
                    b.astype(np.float64),
                    allowed,
                    allowed,
                    err_msg=f"{seed} {sizes}\n{text}",
                )
    assert done > 0


LEAST = """cascade least(X[M,N]: i32, Y[M,N]: i64) -> O[M]: i32, P[M]: i64, C[M,N]: i64:
    O[m]   = max[n](X[m,n])
    P[m]   = max[n](only(Y[m,n], n > 0)) + argmax[n](Y[m,n])
    C[m,n] = cummax[n](Y[m,n])
"""


def test_the_least_integers_count() -> None:
    """A maximum of nothing but the least number of its type is that number."""
    arrays = np.full((3, 5), -(2**31), np.int32), np.full((3, 5), -(2**63), np.int64)
    expected = oracle(LEAST)(*arrays)
    _, fused = lowered(LEAST)
    for plan in (fused.plan, tiling(fused.plan)):
        for seed in range(4):
            found = function(plan)(*arrays, _tiles=tiles(plan, seed))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


# Two passes where one is refused

TWO_PASSES = (FOLDER / "two_passes.attn").read_text("utf-8")


def test_a_refusal_becomes_another_kernel() -> None:
    _, fused = lowered(TWO_PASSES)
    assert [r.tensor for r in fused.refusals] == ["D", "O_sum"]
    assert "cannot be parted" in fused.refusals[0].reason
    assert len(fused.plan.kernels) == 2
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(5, 9)), rng.normal(size=(9, 4))
    expected = oracle(TWO_PASSES)(*arrays)
    for seed in range(4):
        assert not differs(function(fused.plan)(*arrays, _tiles=tiles(fused.plan, seed)), expected)


# Faults that must be seen

WINDOW = (FOLDER / "window.attn").read_text("utf-8")


def mutated(plan: Plan, change: Callable[[Statement], list[Statement]]) -> Plan:
    """A plan with each statement replaced, loops' bodies included."""

    def walk(items: tuple[Statement, ...]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for item in items:
            inner = replace(item, body=walk(item.body)) if isinstance(item, Loop) else item
            found += change(inner)
        return tuple(found)

    kernels = tuple(replace(k, body=walk(k.body)) for k in plan.kernels)
    return replace(plan, kernels=kernels)


def weaker(expr: Expr) -> Expr:
    """`<=` for every `<` of a predicate."""
    match expr:
        case Compare(ops=ops, operands=operands):
            return Compare(tuple("<=" if o == "<" else o for o in ops), operands)
        case _:
            return rebuild(expr, tuple(weaker(c) for c in children(expr)))


def parts(expr: Expr) -> list[Expr]:
    match expr:
        case Logical(op="and", left=left, right=right):
            return [*parts(left), *parts(right)]
        case _:
            return [expr]


def without(expr: Expr, index: int) -> Expr:
    """A predicate without one of its conditions."""
    kept = [p for i, p in enumerate(parts(expr)) if i != index]
    found: Expr = Bool(True)
    for part in kept:
        found = part if found == Bool(True) else Logical("and", found, part)
    return found


def faults() -> Iterator[Any]:
    """Plans with one thing wrong."""
    _, fused = lowered(WINDOW)
    plan = fused.plan
    (loop,) = (s for k in plan.kernels for s in k.body if isinstance(s, Loop))

    def at(number: int, change: Callable[[Any], Any]) -> Plan:
        """Changes the body's statement of that number."""
        body = list(loop.body)
        new = change(body[number])
        body[number : number + 1] = [] if new is None else [new]
        return with_loop(replace(loop, body=tuple(body)))

    def with_loop(new: Loop) -> Plan:
        return mutated(plan, lambda s: [new] if isinstance(s, Loop) else [s])

    for number, item in enumerate(loop.body):
        match item:
            case Fold() | Dot():
                label = f"{type(item).__name__.lower()} {item.target}"
                yield (
                    f"{label} without its predicate",
                    at(number, lambda s: replace(s, where=Bool(True))),
                )
                if isinstance(item, Fold) and item.op == "max":
                    continue  # a maximum of more points scales, and changes no result
                for i in range(len(parts(item.where))):
                    if parts(item.where)[i] != Compare(("<",), (Int(0), Value("E"))):
                        yield (
                            f"{label} without condition {i}",
                            at(number, lambda s, i=i: replace(s, where=without(s.where, i))),
                        )
                yield (
                    f"{label} with <= for <",
                    at(number, lambda s: replace(s, where=weaker(s.where))),
                )
            case Map(value=Binary(op="+")):
                yield (
                    f"{item.target} drops what was before",
                    at(number, lambda s: replace(s, value=s.value.right)),
                )
                yield (
                    f"{item.target} drops the tile",
                    at(number, lambda s: replace(s, value=s.value.left)),
                )
            case _:
                pass
    for carry in loop.carries:
        stuck = replace(carry, next=Name(carry.name))
        yield (
            f"{carry.name} is never carried on",
            with_loop(
                replace(loop, carries=tuple(c if c is not carry else stuck for c in loop.carries))
            ),
        )
    half = replace(loop.ranges[0], high=Binary("-", loop.ranges[0].high, Int(1)))
    yield "the last key is left out", with_loop(replace(loop, ranges=(half,)))
    late = replace(loop.ranges[0], low=Int(1))
    yield "the first key is left out", with_loop(replace(loop, ranges=(late,)))
    yield (
        "rows without a key are not told",
        mutated(plan, lambda s: [replace(s, where=Bool(True))] if isinstance(s, Store) else [s]),
    )


@pytest.mark.parametrize("label", [label for label, _ in faults()])
def test_faults_are_seen(label: str) -> None:
    """Each wrong plan gives a wrong result, or none, at some tiles."""
    (plan,) = [p for name, p in faults() if name == label]
    run, plain = function(plan), oracle(WINDOW)
    rng = np.random.default_rng(3)
    seen = False
    for seed in range(8):
        keys = (8, 12)[seed % 2]
        arrays = [rng.normal(size=(1, 2, *s)) for s in ((8, 3), (keys, 3), (keys, 5))]
        for array in arrays[1:]:
            array[:, :, 9:] = np.nan  # keys that no query reads
        for window in (-9, 0, 3):
            expected = plain(*arrays, window=window)
            try:
                found = run(*arrays, window=window, _tiles=tiles(plan, seed))
            except (IndexError, ValueError):
                seen = True
                continue
            seen = seen or differs(found, expected)
    assert seen


def test_there_are_many_faults() -> None:
    assert len(list(faults())) >= 20


def test_the_page_on_running_reductions_is_current() -> None:
    """Its texts are the compiler's own."""
    page = (examples.ROOT / "docs" / "running.md").read_text("utf-8")
    folder = examples.ROOT / "tests" / "running"
    softmax = (folder / "softmax.attn").read_text("utf-8")
    assert f"```attn\n{softmax}```" in page
    plan = lowered(softmax)[1].plan
    assert f"```text\n{tiles_printer.plan(plan)}```" in page
    assert f"```text\n{tiles_printer.plan(tiling(plan))}```" in page


# The command line


def attnc_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attnc", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(examples.ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=examples.ROOT
    )


def test_compile_tiled() -> None:
    done = attnc_command("compile", "--tiled", "examples/causal.attn")
    assert done.returncode == 0
    run = function_of(done.stdout, "causal")
    name = "causal"
    label, arrays, parameters = cases(name)[0]
    expected = oracle(examples.text(name))(*arrays, **parameters)
    found = run(*arrays, **parameters, _tiles={"m": 2, "n": 3})
    assert not differs(found, expected), label


def test_explain_says_what_is_compiled() -> None:
    done = attnc_command("explain", "--json", "tests/tiles/two_passes.attn")
    found = json.loads(done.stdout)
    kernels = found["compiled"]["kernels"]
    assert [k["streams"] for k in kernels] == [["n"], ["n"]]
    assert kernels[0]["passes"] == {"n": 1}
    assert [r["line"] for r in found["refusals"]] == [3, 4]
    assert all(r["term"] and r["reason"] for r in found["refusals"])
    shown_ = attnc_command("explain", "examples/causal.attn").stdout
    assert (
        "As compiled: 1 kernel\n  kernel  streams  reads and writes\n  k0            n  " in shown_
    )
