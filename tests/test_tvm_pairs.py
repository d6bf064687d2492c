"""Products of bf16 in the TVM backend: which take pairs, what of, and what they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from attnc.api import Device, check, emit
from attnc.backends.tvm.rounding import narrow_products
from attnc.modules import function_of
from attnc.planning import for_device
from tests.acceptance.judge import judge
from tests.test_gallery import facts

pytest.importorskip("tvm")

SPEC = """
cascade some(Q[M,E]{type}, K[N,E]{type}, V[N,F]{type}) -> O[M,F]:
    S[m,n] = Q[m,e] * K[n,e]
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
"""


@pytest.mark.parametrize(("kind", "count"), [("", 2), (": bf16", 1), (": f16", 0)])
def test_which(kind: str, count: int) -> None:
    """Those whose operands are loaded as bf16, or rounded to it, if the inputs are bf16."""
    cascade = check(SPEC.format(type=kind)).select()
    found = [narrow_products(plan, k) for plan in [for_device(cascade)] for k in plan.kernels]
    assert sum(map(len, found)) == count
    text = emit(cascade, backend="tvm", dtype=None, static={}, device=Device())
    assert ("\nPAIRS = True" in text) == (count > 0)


def made(*, pairs: bool) -> Any:
    """The function of causal attention for many rows, with its switch for pairs."""
    text = emit(facts("causal"), backend="tvm", dtype=None, static={}, device=Device())
    function = function_of(text, "tvm_pairs")
    function.__globals__.update(PAIRS=pairs, _few_rows=lambda *_: False)
    return function


def test_built_for_another_processor() -> None:
    """The instruction is there where a processor has it, and nowhere else."""
    space = made(pairs=True).__globals__
    space["_imported"]()
    tvm = space["tvm"]
    for cpu, lanes, pairs in (("sapphirerapids", 16, True), ("znver3", 8, False)):
        target = tvm.target.Target({"kind": "llvm", "mcpu": cpu})
        space["_scales"] = lambda lanes=lanes: lanes == 16
        kernel = space["_k0"]("bfloat16", "float32", lanes, pairs, 5, 3, 16, 3, 4, 5)
        built = tvm.get_global_func("target.build.llvm")(space["_lowered"](kernel, target), target)
        assert ("vdpbf16ps" in built.inspect_source("asm")) == pairs


def drawn() -> dict[str, np.ndarray]:
    """Inputs of odd sizes: a last pair along the head, or along keys, lacks a number."""
    rng = np.random.default_rng(3)
    sizes = {"Q": (1, 2, 37, 5), "K": (1, 2, 71, 5), "V": (1, 2, 71, 7)}
    return {n: rng.standard_normal(s).astype(ml_dtypes.bfloat16) for n, s in sizes.items()}


def spread(x: np.ndarray) -> np.ndarray:
    """The same elements, apart in memory."""
    wide = np.zeros((*x.shape[:-1], x.shape[-1] * 2 + 1), x.dtype)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def turned(x: np.ndarray) -> np.ndarray:
    """The same elements, the first axis last in memory."""
    return np.ascontiguousarray(x.T).T


def accepted(inputs: Mapping[str, np.ndarray], found: np.ndarray) -> bool:
    """Whether the bound accepts a result."""
    return judge(facts("causal"), inputs, {}, found, matrix_type="bf16").ok


def test_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """They give what widened numbers give, within the bound; what is not finite goes as far."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    paired, widened = made(pairs=True), made(pairs=False)
    if not paired.__globals__["_paired"]():
        pytest.skip("this processor has no instruction for pairs of bf16")
    assert not widened.__globals__["_paired"]()
    inputs = drawn()
    found, expected = paired(*inputs.values()), widened(*inputs.values())
    assert accepted(inputs, found)
    assert accepted(inputs, expected)
    assert not np.array_equal(found, expected)  # weights are rounded, sums in another order
    for layout in (spread, turned):
        assert np.array_equal(paired(*map(layout, inputs.values())), found)
    for name in inputs:
        for value in (np.nan, np.inf):
            changed = {n: x.copy() for n, x in inputs.items()}
            changed[name][0, 0, 33, 2] = value
            got, wanted = (f(*changed.values()).astype("f4") for f in (paired, widened))
            assert not np.all(np.isfinite(wanted))
            assert np.array_equal(np.isnan(got), np.isnan(wanted))
            assert np.array_equal(np.isinf(got), np.isinf(wanted))


def test_a_fault_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of one operand in the wrong order."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    function = made(pairs=True)
    space = function.__globals__
    if not space["_paired"]():
        pytest.skip("this processor has no instruction for pairs of bf16")
    joined = space["_joined"]
    space["_joined"] = lambda low, high: joined(high, low)
    inputs = drawn()
    assert not accepted(inputs, function(*inputs.values()))
