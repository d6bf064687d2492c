"""Passes on cascades: what they give has the values of what they took; options, time."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.cli import main
from attnc.compilation import algebra, verify
from attnc.ir import printer
from attnc.ir.expr import Int
from attnc.ir.facts import Facts
from attnc.passes.algebra import pipeline
from attnc.passes.algebra.pipeline import ALGEBRA
from attnc.passes.algebra.program import Pass, Tell, ignore, rewritten
from attnc.passes.algebra.simplify import Simplify
from attnc.passes.tiling.pipeline import TILING
from tests import examples
from tests.contractions import contraction
from tests.oracle.cascades import cascade_from, tolerance
from tests.preserved import preserved, random_inputs

PASSES: dict[str, Pass] = {p.name: p for p in ALGEBRA}
EVERY = [*PASSES, "all"]
READER = sorted((Path(__file__).parent / "reader").glob("*.attn"))
CHANGED = {
    "means": 0.02,
    "combine": 0.01,
    "simplify": 0.5,
    "separate": 0.6,
    "cse": 0.4,
    "inline": 0.04,
    "hoist": 0.1,
    "order": 0.01,
    "all": 0.8,
}
"""How many of the random cascades a pass has to change at least, so that they test it."""

FIRST = {"combine": ("means", "separate")}
"""What has to be done before a pass finds anything to do."""

REASSOCIATES = ("hoist", "order", "all")
"""Passes after which a result that is not finite may be another one that is not."""

TOLERANCE = 1e-9


@cache
def checked(text: str) -> Facts:
    return attnc.check(text).select()


def verified(step: Pass, before: Facts, after: Facts) -> None:
    """Fails unless what a pass has changed is sound."""
    if after is not before:
        verify(step, before, after)


def applied(facts: Facts, name: str) -> Facts:
    """What a pass, or all in order, make of a cascade; every step is verified."""
    if name == "all":
        return algebra(facts, after=verified)
    found = PASSES[name](facts)
    verified(PASSES[name], facts, found)
    assert PASSES[name](facts) == found
    return found


Call = tuple[dict[str, Any], dict[str, Any]]
"""Inputs and parameters."""


def compare(facts: Facts, name: str, calls: list[Call], allowed: float) -> bool:
    """Fails unless a pass keeps the values; whether it changed anything."""
    for first in FIRST.get(name, ()):
        facts = PASSES[first](facts)
    after = applied(facts, name)
    if after is not facts:
        for inputs, parameters in calls:
            preserved(facts, after, inputs, parameters, allowed, name in REASSOCIATES)
    return after is not facts


# Values


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("example", examples.NAMES)
def test_examples(example: str, name: str) -> None:
    facts = checked(examples.text(example))
    module = examples.load(examples.ROOT / "tests" / "references" / f"{example}.py")
    cases = list(module.cases(np.random.default_rng(5)))
    compare(facts, name, [c[1:] for c in (cases if name == "all" else cases[:1])], TOLERANCE)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in READER])
def test_reader(path: Path, name: str) -> None:
    module = examples.load(path.with_suffix(".py"))
    checked_ = attnc.check(path.read_bytes().decode("utf-8"))
    todo = getattr(module, "CASCADES", None)
    for facts in checked_.facts:
        inputs, _ = todo[facts.cascade.name] if todo else (module.inputs, None)
        given = inputs(np.random.default_rng(0))
        parameters = {k: v for k, v in given.items() if k not in facts.tensors}
        compare(facts, name, [(given, parameters)], max(TOLERANCE, tolerance(facts)))


@pytest.mark.parametrize("name", EVERY)
def test_random(name: str, request: pytest.FixtureRequest) -> None:
    """The same cascades in every run; `--cascades N` asks for more."""
    count = int(request.config.getoption("--cascades"))
    changed = 0
    for seed in range(count // 4):
        facts = checked(cascade_from(np.random.default_rng(seed)))
        changed += compare(facts, name, [random_inputs(facts, seed)], tolerance(facts))
    assert changed > count // 4 * CHANGED[name]


@pytest.mark.parametrize("name", ["hoist", "order", "all"])
def test_contractions(name: str, request: pytest.FixtureRequest) -> None:
    """Random nested sums of products: what is hoisted and reordered most."""
    count = int(request.config.getoption("--cascades"))
    changed = 0
    for seed in range(count // 2):
        facts = checked(contraction(np.random.default_rng(seed)))
        changed += compare(facts, name, [random_inputs(facts, seed)], 1e-8)
    assert changed > count // 2 * 0.3


# The command line


def test_print_after(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is printed on standard error is a spec; a pass that runs again is printed again."""
    spec = tmp_path / "dense.attn"
    spec.write_text(examples.text("dense"), encoding="utf-8")
    command = ["compile", str(spec), "-o", str(tmp_path / "out.py")]
    assert main([*command, "--print-after", "hoist", "--verify-passes"]) == 0
    text = capsys.readouterr().err
    assert text.startswith("# after hoist\n#   O O_sum_2[b,h,m] leaves sum[n]\n")
    assert printer.cascade(checked(text).cascade) in text
    assert main([*command, "--print-after", "all"]) == 0
    heads = [line for line in capsys.readouterr().err.splitlines() if line.startswith("# after")]
    assert len(heads) == len(ALGEBRA) + 1 + len(TILING)  # and the plan before those on it
    assert heads[0] == "# after means: no change"
    assert heads[1:3] == ["# after simplify, run 1 of 2: no change", "# after separate, run 1 of 3"]


def test_print_after_what_is_no_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = tmp_path / "dense.attn"
    spec.write_text(examples.text("dense"), encoding="utf-8")
    assert main(["compile", str(spec), "--print-after", "fuse"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no pass is called 'fuse'; there are means, simplify, separate, cse" in err
    assert main(["compile", str(spec), "--size", "X=3"]) == 2
    assert "has no size 'X'" in capsys.readouterr().err


CHAIN = """\
cascade c(Q[M,E], K[N,E], V[N,F]) -> O[M,F]:
    S[m,n] = sum[e](Q[m,e] * K[n,e])
    O[m,f] = sum[n](S[m,n] * V[n,f])
"""


def test_sizes_decide(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = tmp_path / "chain.attn"
    spec.write_text(CHAIN, encoding="utf-8")
    command = ["compile", str(spec), "-o", str(tmp_path / "out.py"), "--print-after", "order"]
    assert main(command) == 0
    assert "sum[e](Q[m,e] * O_part[e,f])" in capsys.readouterr().err
    assert main([*command, "--size", "E=128,F=128,M=16,N=16"]) == 0
    assert "sum[n](S[m,n] * V[n,f])" in capsys.readouterr().err


def test_a_broken_pass_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that changes the type of an output is seen, and is no traceback."""

    class Broken(Simplify):
        def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
            (einsum,) = facts.cascade.einsums
            return rewritten(facts, [replace(einsum, value=Int(1))])

    monkeypatch.setattr(pipeline, "ALGEBRA", (Broken(),))
    spec = tmp_path / "one.attn"
    spec.write_text("cascade c(X[M]) -> O[M]:\n    O[m] = X[m]\n", encoding="utf-8")
    assert main(["compile", str(spec), "--print-after", "all"]) == 0
    capsys.readouterr()
    assert main(["compile", str(spec), "--verify-passes"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "O[m] = 1\n" in err
    assert "attnc: error: the pass simplify broke the types of before" in err


# Time


def test_time_grows_with_the_length() -> None:
    """Ten times the statements take about ten times as long; a quadratic pass would take 100."""

    def seconds(count: int) -> float:
        lines = [f"    S{i}[m,n] = Q[m,e] * K[n,e] / {i + 1}\n" for i in range(count)]
        lines += [f"    T{i}[m,f] = softmax[n](S{i}[m,n]) * V[n,f]\n" for i in range(count)]
        total = " + ".join(f"T{i}[m,f]" for i in range(0, count, max(1, count // 40)))
        lines.append(f"    O[m,f] = {total}\n")
        facts = checked("cascade c(Q[M,E], K[N,E], V[N,F]) -> O[M,F]:\n" + "".join(lines))
        start = time.perf_counter()
        algebra(facts)
        return time.perf_counter() - start

    seconds(10)
    assert seconds(500) < 30 * min(seconds(50), seconds(50))
