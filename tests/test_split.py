"""Streams in pieces: partial states merged by what was derived, for any number of pieces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attnc.ir.expr import Binary, Expr, Int, Name
from attnc.ir.tiles_verify import verify
from attnc.passes.running.derive import Sum
from attnc.passes.tiling import merge
from attnc.passes.tiling.fuse import Fused
from attnc.passes.tiling.loop import State
from attnc.planning import planned
from tests import examples
from tests.agreement import NARROW
from tests.oracle.cascades import cascade_from, inputs_for, tolerance
from tests.prepared import facts_of, lowered
from tests.test_tiles import cases, differs, function, oracle, outputs, tiles
from tests.tiled import of_plan

WHOLE = {"cope", "stick_breaking"}
"""Examples whose streams have scans, which need all that is before them."""
WHOLE |= {"delta_rule", "fusemax_one_pass", "lightning", "retention", "slot", "triangular"}
"""Those whose steps need what the step before has left."""

TIED = {"native_sparse"}
"""Where sums are compared, the order of additions decides between equals."""


def in_pieces(text: str, pieces: int) -> Fused:
    """The plan in which each stream that can be split is."""
    facts, whole = facts_of(text), lowered(text)[1]
    return planned(facts, None, dict.fromkeys(whole.can_split, pieces))[1]


CLEAR = [n for n in examples.NAMES if n not in TIED]


@pytest.mark.parametrize("name", CLEAR)
def test_pieces_merge_to_the_whole(name: str) -> None:
    """Whatever the number of pieces, their order, and the tiles of both kernels."""
    text = examples.text(name)
    assert bool(lowered(text)[1].can_split) == (name not in WHOLE)
    if name in WHOLE:
        return
    facts, plain = facts_of(text), oracle(text)
    names = [i.name for i in facts.cascade.inputs]
    for pieces in (3, 11):
        fused = in_pieces(text, pieces)
        verify(fused.plan)
        run = of_plan(facts, fused.plan, rounded=False)
        for number, (label, arrays, parameters) in enumerate(cases(name)[:2]):
            inputs = dict(zip(names, arrays, strict=True))
            sizes = run.sizes(10 * number + pieces, inputs, parameters)
            found = run(inputs, parameters, sizes, number or None)
            assert not differs(found, plain(*arrays, **parameters)), (label, pieces, sizes)


@pytest.mark.parametrize("part", range(2))
def test_random_cascades_in_pieces(part: int, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--cascades")) // 4
    done = 0
    for seed in range(part, count, 2):
        text = cascade_from(np.random.default_rng(seed))
        facts = facts_of(text)
        fused = in_pieces(text, 1 + seed % 5)
        inputs, parameters = inputs_for(facts, np.random.default_rng(seed), nonfinite=False)
        for item in facts.cascade.inputs:
            if item.element in NARROW:
                inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
        arrays = [inputs[i.name] for i in facts.cascade.inputs]
        try:
            expected = outputs(oracle(text)(*arrays, **parameters))
        except ValueError:
            continue
        if not fused.split or not all(np.isfinite(x.astype(float)).all() for x in expected):
            continue
        done += 1
        found = outputs(function(fused.plan)(*arrays, **parameters, _tiles=tiles(fused.plan, seed)))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                a.astype(float), b.astype(float), tolerance(facts), tolerance(facts), err_msg=text
            )
    assert done > 0


# Faults in merging, each seen by values

Brought = Callable[[merge.MergeBuilder, Sum, State, list[Expr], int, Expr], Expr]


def not_brought(self: Any, form: Sum, state: State, tiles_: Any, j: int, where: Expr) -> Expr:
    """States are added as they are."""
    del form
    tile = self.block.fold("sum", self.over, tiles_[j], where, "t")
    return self.block.tile(Binary("+", self._carried(state, j), tile), "t")


def forgets(self: Any, form: Sum, state: State, tiles_: Any, j: int, where: Expr) -> Expr:
    """What was merged before is not brought to the new results."""
    del form
    tile = self.block.fold("sum", self.over, tiles_[j], where, "t")
    return self.block.tile(Binary("+", Name(state.tiles[j]), tile), "t")


def twice(self: Any, form: Sum, state: State, tiles_: Any, j: int, where: Expr) -> Expr:
    """A piece counts twice."""
    right = BROUGHT(self, form, state, tiles_, j, where)
    return self.block.tile(Binary("*", Int(2), right), "t")


BROUGHT = merge.MergeBuilder._brought


@pytest.mark.parametrize(("fault", "least"), [(not_brought, 2), (forgets, 2), (twice, 1)])
def test_faults_are_seen(fault: Brought, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum that counts twice is seen where it is not divided by another that does."""
    monkeypatch.setattr(merge.MergeBuilder, "_brought", fault)
    seen = 0
    for name in ("causal", "entropy", "differential"):
        text = examples.text(name)
        fused = in_pieces(text, 3)
        run, plain = function(fused.plan), oracle(text)
        seen += any(
            differs(run(*arrays, **parameters), plain(*arrays, **parameters))
            for _, arrays, parameters in cases(name)[:4]
        )
    assert seen >= least


def test_a_piece_without_points_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that no point went into must not count, though it holds numbers."""
    monkeypatch.setattr(merge.MergeBuilder, "_present", lambda *_: merge.TRUE)
    text = examples.text("causal")
    run, plain = function(in_pieces(text, 40).plan), oracle(text)
    assert any(differs(run(*a, **p), plain(*a, **p)) for _, a, p in cases("causal")[:4])


# The command line


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "attnc", "compile", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=examples.ROOT)


def test_compile_split() -> None:
    done = command("--tiled", "--split", "n=3", "examples/causal.attn")
    assert done.returncode == 0
    assert "kernel k0_parts" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--tiled", "--split", "q=3"),
            "no kernel goes through 'q' in pieces; what can be split: n",
        ),
        (("--tiled", "--split", "n=0"), "pieces are counted from 1 to 9999"),
        (("--split", "n=3"), "the text as written has no kernels"),
    ],
)
def test_splits_that_make_no_sense(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments, "examples/causal.attn")
    assert done.returncode == 2
    assert message in done.stderr
