"""Summaries of tiles: kernels before list what a loop goes through, the same for all programs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.api import Device, emit
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.errors import InternalError, Source, SpecError
from attnc.grammar.tiles import parse
from attnc.ir import tiles_printer
from attnc.ir.expr import Value
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan
from attnc.ir.tiles_verify import verify
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.legalise import predicates, unfilled
from attnc.planning import explained, for_device
from tests.interpreted import interpreted
from tests.tiled import of_plan, written

HEAD = "cascade summed(Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], {inputs}) -> O[B,H,M,F]:\n{lets}"
BODY = (
    "    S[b,h,m,n] = Q[b,h,m,e] * K[b,{h},n,e] where {condition}\n"
    "    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,{h},n,f]\n"
)


def spec(inputs: str, condition: str, *, grouped: bool = False) -> str:
    """Attention under a condition."""
    lets = "    G = H // J\n" if grouped else ""
    text = HEAD.format(inputs=inputs, lets=lets)
    text = text if grouped else text.replace("J", "H")
    return text + BODY.format(condition=condition, h="h//G" if grouped else "h")


SHARED = {
    "mask": spec("mask[M,N]: bool", "mask[m,n]"),
    "mask below": spec("mask[B,M,N]: bool", "mask[b,m,n], n <= m + 2"),
    "documents": spec("doc[B,M]: i32, own[B,N]: i32", "doc[b,m] == own[b,n], n <= m", grouped=True),
    "keys": spec("mask[N]: bool", "mask[n] or n < 3"),
    "blocks": spec("mask[C,D]: bool, R: int = 4", "mask[m//R,n//R], abs(m - n) < 4 * R"),
}
APART = {
    "heads": spec("mask[B,H,M,N]: bool", "mask[b,h,m,n]"),
    "heads, too": spec("mask[B,M,N]: bool, w[H]: i32", "mask[b,m,n], n < w[h]"),
    "two streams": (
        "cascade summed(Q[H,Y,X], K[H,I,K], mask[I,K]: bool) -> O[H,Y,X]:\n"
        "    O[h,y,x] = max[i,k](only(Q[h,y,x] * K[h,i,k], mask[i,k] and abs(i - y) < 2))\n"
    ),
    "closed": spec("length[B]: i32", "n < length[b]"),
}
KINDS = ("none", "all", "mixed", "blocks")


@cache
def facts(text: str) -> Facts:
    return attnc.check(text).select()


@cache
def plan_of(text: str) -> Plan:
    return for_device(facts(text))


def drawn(text: str, kind: str, seed: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Inputs of a spec; what decides is drawn so that there are tiles of each kind."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for item in facts(text).cascade.inputs:
        shape = tuple(sizes[str(s)] for s in item.sizes)
        match item.element:
            case "bool":
                points = {"none": 0.0, "all": 1.0, "mixed": 0.3, "blocks": 0.5}[kind]
                value = rng.random(shape) < points
                if kind == "blocks" and len(shape) > 1:
                    ends = np.array(shape[-2:]) // 8 + 1
                    wide = np.kron(rng.random(ends) < points, np.ones((8, 8), bool))
                    value = np.broadcast_to(wide[tuple(map(slice, shape[-2:]))], shape).copy()
                found[item.name] = value
            case "i32":
                most = {"none": 1, "all": 1, "mixed": 5, "blocks": 3}[kind]
                value = rng.integers(0, most, shape) + (item.name == "own") * (kind == "none")
                value = np.sort(value) if kind == "blocks" else value
                found[item.name] = value.astype(np.int32)
            case _:
                found[item.name] = rng.standard_normal(shape)
    return found


def sized(M: int, N: int, J: int = 2) -> dict[str, int]:
    """Sizes of a spec; five heads on two of keys are more than there are keys for."""
    sizes = {"B": 2, "H": 5 if J == 2 else J, "J": J, "M": M, "N": N, "E": 3, "F": 4}
    return sizes | {"C": -(-M // 4), "D": -(-N // 4)}


CASES = (
    ("mixed", (21, 34)),
    ("blocks", (18, 24)),
    ("all", (16, 9)),
    ("none", (3, 7)),
    ("blocks", (5, 0)),
)


def differs(plan: Plan, text: str, tiles: int = 3) -> bool:
    """Whether a plan computes anything else than its spec, at some sizes and tiles."""
    run = of_plan(facts(text), plan)
    choices = list(itertools.product((4, 16), (8, 32, 2), (1, 2)))
    for place, (kind, (M, N)) in enumerate(CASES):
        inputs = drawn(text, kind, place, sized(M, N))
        expected = written(facts(text), inputs, {})
        for turn in range(tiles):
            m, n, other = choices[(5 * (place + 3 * turn)) % len(choices)]
            asked = dict.fromkeys(("b", "h", "y"), other) | {"m": m, "x": m, "x2": m, "n": n}
            try:
                found = run(inputs, {}, asked, shuffle=turn)
            except AssertionError:  # of what a full range claims, or of a list
                return True
            if not np.allclose(found, expected, rtol=1e-9, atol=1e-12):
                return True
    return False


@pytest.mark.parametrize("name", SHARED)
def test_values_stay(name: str) -> None:
    text = SHARED[name]
    plan = plan_of(text)
    assert [k.name for k in plan.kernels] == ["k0_look", "k0_list", "k0"]
    assert parse(Source("plan", tiles_printer.plan(plan))) == plan
    verify(plan, filled=True)
    assert not [*unfilled(plan), *predicates(plan)]
    assert not differs(plan, text, 2)
    for buffer in plan.buffers:  # of so many numbers as there are tiles
        for size in buffer.sizes:
            names = {n.name for n in subexpressions(size) if isinstance(n, Value)}
            assert names & set(plan.tiles)


@pytest.mark.parametrize("name", APART)
def test_what_no_programs_share_is_looked_at_by_each(name: str) -> None:
    plan = plan_of(APART[name])
    assert not plan.tiles
    assert [k.name for k in plan.kernels] == ["k0"]


def test_backends_that_take_no_lists_look_in_each_round() -> None:
    plan = explained(facts(SHARED["mask"]), lists=False).plan
    assert [k.name for k in plan.kernels] == ["k0"]
    text = emit(facts(SHARED["mask"]), backend="tvm", dtype=None, static={}, device=Device())
    assert "n_list" not in text


LISTED = "n_list[low(m) // tile(m)] at "
FAULTS = {
    "some, not every": (("reduce[all,", "reduce[any,"), (" else true)", " else false)")),
    "every, not some": (("reduce[any,m,n](m < M and n", "reduce[all,m,n](m < M and n"),),
    "beyond the extent": (("every and low(n) + tile(n) <= N", "every"),),
    "the next tile": (("= i32(n)", "= i32(min(n + 1, ceildiv(N, n_tile) - 1))"),),
    "a place too far": (("count + so_far - 1", "count + so_far"),),
    "one too few": (("= i32(count2)", "= i32(max(count2 - 1, 0))"),),
    "full from the start": (
        (f"[0, n_partial) partial, {LISTED}[n_partial,", f"[0, 0) partial, {LISTED}[0,"),
    ),
    "other rows": (
        ("load n_partial[low(m) // tile(m)]", "load n_partial[low(m) // tile(m) // 2]"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault: str) -> None:
    text = SHARED["mask"]
    after = tiles_printer.plan(plan_of(text))
    for old, new in FAULTS[fault]:
        assert old in after
        after = after.replace(old, new)
    plan = parse(Source("plan", after))
    if fault == "other rows":  # of which nothing shows that it is a row
        with pytest.raises(InternalError, match="nothing tests that the index"):
            verify(plan, filled=True)
    assert differs(plan, text)


def test_verified() -> None:
    text = tiles_printer.plan(plan_of(SHARED["mask"]))
    with pytest.raises(SpecError, match="'other' is no size of tiles"):
        parse(Source("plan", text.replace("par M by m_tile", "par M by other")))
    wrong = {
        "given mask": ("given o_max == o_max", "what is given depends on what the loop carries"),
        "partial, n_list": ("step 2 partial, n_list", "have no order, nor steps"),
        "for n in n_list": ("for n ordered in n_list", "have no order, nor steps"),
        "n_kinds[low(m) // tile(m),": ("n_kinds[low(m) // 2,", "nothing tests that the index"),
    }
    for old, (new, message) in wrong.items():
        assert old in text
        with pytest.raises(InternalError, match=message):
            verify(parse(Source("plan", text.replace(old, new))), filled=True)
    plan = plan_of(SHARED["mask"])
    with pytest.raises(InternalError, match="is loaded before it is stored"):
        verify(replace(plan, kernels=plan.kernels[:1] + plan.kernels[2:]), filled=True)


def test_full_rounds_test_nothing() -> None:
    text = emit_plan(plan_of(SHARED["mask below"]), Options())
    partial, full = (part.partition("left = ")[0] for part in text.split("for n_turn")[1:3])
    assert "tl.where(here" in partial
    assert "mask_ = tl.load(" in partial
    assert full.count("tl.dot(") == 2
    assert not [word for word in ("mask_", " here", "<=", "n < N") if word in full]


def test_on_devices() -> None:
    text = SHARED["documents"]
    run = interpreted(facts(text))
    for kind, (M, N) in (("mixed", (20, 37)), ("all", (3, 33)), ("blocks", (32, 32))):
        sizes = sized(M, N) | {"B": 1, "H": 3}  # a head for which there are no keys
        inputs = drawn(text, kind, 5, sizes)
        inputs = {k: v.astype(np.float32) if v.dtype == float else v for k, v in inputs.items()}
        (found,) = run(inputs, tile=16)
        expected = written(facts(text), inputs, {})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
