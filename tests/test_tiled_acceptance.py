"""Kernels of tiles, judged by the bound, and bit for bit where nothing is rounded.

Each is run at random tile sizes and in random orders of its tiles, with operands of matrix products
rounded to the inputs' type, as a device does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.ir.expr import Apply
from attnc.ir.facts import Facts
from attnc.ir.tiles import Dot, Fold, Load, Map, Scan, TopK
from attnc.ir.tiles_walk import statements
from attnc.ir.types import Kind
from attnc.passes.tiling.matrix import MatrixOperands
from attnc.planning import planned
from tests import examples
from tests.acceptance.exact import exact_inputs, stand_in
from tests.acceptance.judge import judge
from tests.test_acceptance import DOUBTFUL, TYPES, narrowed
from tests.test_acceptance_rules import NOT_EXACT
from tests.test_gallery import facts, reference
from tests.tiled import Tiled, of_plan, outputs, tiled, written

KINDS = ("f32", "f16", "bf16")
VAGUE = {
    ("additive", "large scores"): 1.0,
    ("delta_rule", "beta 1 and 2"): 0.2,
    ("entropy", "sharp weights"): 1.0,
    ("latent", "large scores"): 1.0,
    ("latent", "one query"): 0.1,
    ("native_sparse", "blocks without a score"): 0.6,
    ("native_sparse", "compressed blocks larger than selected"): 0.3,
    ("rotary", "longer than a tile"): 0.5,
    ("slot", "one slot"): 1.0,
    ("slot", "ones"): 1.0,
    ("slot", "ordinary"): 1.0,
}
"""The share that may be undecided in half types: rounded operands make large scores uncertain."""
STEPS = 2
"""The most steps of an iteration: the bound adds up what each of them loses."""


@cache
def kernel(name: str) -> Tiled:
    """The kernels of an example; there is none that tiles cannot do."""
    return tiled(facts(name))


@cache
def exact_kernel(name: str) -> Tiled:
    return tiled(stand_in(facts(name)))


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_accepted(name: str, request: pytest.FixtureRequest) -> None:
    """Every case in every type, at factor 1; more tiles and orders with `--tilings`."""
    run = kernel(name)
    cases = reference(name).cases(np.random.default_rng(7))
    for number, (label, given, parameters) in enumerate(cases):
        if "steps" in parameters:
            parameters = {**parameters, "steps": min(parameters["steps"], STEPS)}
        for kind in KINDS:
            inputs = narrowed(facts(name), given, kind)
            limit = DOUBTFUL.get(name, 0.02)
            if kind != "f32":
                limit = max(limit, VAGUE.get((name, label), 0))
            for turn in range(int(request.config.getoption("--tilings"))):
                seed = 1000 * turn + 10 * number + KINDS.index(kind)
                sizes = run.sizes(seed, inputs, parameters)
                verdict = judge(
                    facts(name),
                    inputs,
                    parameters,
                    run(inputs, parameters, sizes, seed),
                    matrix_type=kind,
                    tiles=run.streamed(sizes),
                    undecided=limit,
                )
                assert verdict.ok, f"{label} {kind} {sizes}: {verdict}"


# Exact mode


def small(name: str, kind: str) -> tuple[Facts, dict[str, Any], dict[str, Any]]:
    """The stand-in of an example with inputs of which nothing is rounded."""
    found = stand_in(facts(name))
    _, given, parameters = next(reference(name).cases(np.random.default_rng(7)))
    items = found.cascade.inputs
    sizes = {s: n for i in items for s, n in zip(i.sizes, given[i.name].shape, strict=True)}
    kept = {i.name: given[i.name] for i in items if i.element in ("i32", "i64", "bool")}
    return found, exact_inputs(found, sizes, 0, kind, kept, parameters), parameters


ABOUT_MEANS = {"entropy"}
"""Examples whose sums are kept about a mean of the points so far: a quotient that is rounded."""


@pytest.mark.parametrize("name", [n for n in examples.NAMES if n not in NOT_EXACT | ABOUT_MEANS])
def test_every_bit_is_the_same(name: str) -> None:
    """Whatever the tiles and their order, in every type: that of the written text."""
    run = exact_kernel(name)
    for kind in KINDS:
        found, inputs, parameters = small(name, kind)
        expected = outputs(written(found, inputs, parameters))
        for seed in range(3):
            sizes = run.sizes(seed, inputs, parameters)
            got = run(inputs, parameters, sizes, seed)
            verdict = judge(found, inputs, parameters, got, matrix_type=kind)
            assert verdict.exact
            assert verdict.ok, f"{kind} {sizes}: {verdict}"
            for a, b in zip(outputs(got), expected, strict=True):
                np.testing.assert_array_equal(a.astype(np.float64), b.astype(np.float64))


# Operands of matrix products

ATTENTION = """cascade attention(Q[M,E], K[N,E], V[N,F]) -> O[M,F]:
    S[m,n] = Q[m,e] * K[n,e] / sqrt(E)
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
"""


@pytest.mark.parametrize("name", examples.NAMES)
def test_operands_that_are_computed_are_rounded(name: str) -> None:
    """Each operand of the inputs' type comes from an input or is rounded, once and for all."""
    run = kernel(name)
    inputs = {i.name for i in run.facts.cascade.inputs if i.element is None}
    for item in run.plan.kernels:
        body = list(statements(item.body))
        tiles = {s.target: s for s in body if isinstance(s, Load | Map | Dot | Fold | Scan | TopK)}
        for dot in (s for s in body if isinstance(s, Dot)):
            for operand in (tiles[dot.left], tiles[dot.right]):
                match operand:
                    case Map(value=Apply(function="rounded")):
                        assert operand.kind is Kind.FLOAT
                    case Load(tensor=tensor):
                        assert tensor in inputs or operand.kind is not Kind.FLOAT
                    case _:
                        assert operand.kind is not Kind.FLOAT
    assert MatrixOperands()(run.plan) is run.plan


def test_nothing_to_round() -> None:
    text = "cascade products(A[M,K], B[K,N]) -> C[M,N]:\n    C[m,n] = A[m,k] * B[k,n]\n"
    plan = planned(attnc.check(text).select())[1].plan
    assert any(isinstance(s, Dot) for k in plan.kernels for s in statements(k.body))
    assert MatrixOperands()(plan) is plan


@pytest.mark.parametrize("kind", TYPES)
def test_rounding_changes_half_types_alone(kind: str) -> None:
    found = attnc.check(ATTENTION).select()
    plan = planned(found)[1].plan
    rng = np.random.default_rng(0)
    shapes = {"Q": (9, 8), "K": (40, 8), "V": (40, 7)}
    inputs = {k: rng.standard_normal(s).astype(TYPES[kind]) for k, s in shapes.items()}
    results = [
        of_plan(found, plan, rounded=rounded)(inputs, {}, {"n": 8}) for rounded in (True, False)
    ]
    same = np.array_equal(*(np.asarray(r, np.float64) for r in results))
    assert same == (kind in ("f64", "f32"))
