"""Kernels of the TVM backend for few rows, which go through what is streamed in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnc
import attnc.planning
from attnc.api import Device, emit
from attnc.modules import function_of
from attnc.passes.tiling import merge
from tests.built import built
from tests.test_gallery import facts
from tests.test_split import not_brought
from tests.test_tvm import accepted

SPEC = """
cascade seen(Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], window: int, sinks: int) -> O[B,H,M,F], L[B,H,M]:
    require H % J == 0
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E)
        where n <= m + (N - M), m + (N - M) - n < window or n < sinks
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    L[b,h,m] = logsumexp[n](S[b,h,m,n])
"""
POINTS = 16
"""Keys of a piece in these tests."""


@pytest.fixture(scope="module")
def kernel() -> Any:
    """The function of the spec in short pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attnc.planning, "POINTS", POINTS)
        return made("few")


def made(name: str) -> Any:
    facts = attnc.check(SPEC).select()
    return function_of(emit(facts, backend="tvm", dtype=None, static={}, device=Device()), name)


def inputs(heads: int, shared: int, rows: int, keys: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(keys)
    shapes = (heads, rows, size), (shared, keys, size), (shared, keys, size + 3)
    return [rng.standard_normal((2, *s)).astype(np.float32) for s in shapes]


def written(q: Any, k: Any, v: Any, window: int, sinks: int) -> tuple[np.ndarray, np.ndarray]:
    """In 64 bits, as the text says it."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // k.shape[1], 1) for x in (k, v))
    m, n = np.arange(q.shape[2])[:, None] + (k.shape[2] - q.shape[2]), np.arange(k.shape[2])
    here = (n <= m) & ((m - n < window) | (n < sinks))
    with np.errstate(all="ignore"):
        x = np.exp(np.where(here, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[3]), -np.inf))
        total = x.sum(-1, keepdims=True)
        found = np.where(total > 0, x @ v / total, 0)
        return found, np.where(total > 0, np.log(total), 0)[..., 0]


def wrong(function: Any, arrays: list[np.ndarray], window: int, sinks: int) -> bool:
    found = function(*arrays, window=window, sinks=sinks)
    return not all(
        np.allclose(a, b, 2e-5, 2e-6)
        for a, b in zip(found, written(*arrays, window, sinks), strict=True)
    )


SIZES = [(8, 2, 1, n, 32) for n in (0, 97, 100, 112)]
SIZES += [(4, 4, 3, 5, 20), (5, 1, 2, 70, 5)]


def test_pieces(kernel: Any) -> None:
    """Lengths that pieces do not divide, no keys, rows without any, and pieces that are skipped."""
    for size in SIZES:
        arrays = inputs(*size)
        for window, sinks in ((1000, 0), (5, 3), (20, 0), (0, 0)):
            assert not wrong(kernel, arrays, window, sinks), (size, window, sinks)


def noted(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that calls make ready from now on."""
    space, called = kernel.__globals__, list[str]()
    build = space["_built"]

    def built(made_: Any, *fixed: Any) -> Any:
        called.append(made_.__name__)
        return build(made_, *fixed)

    monkeypatch.setitem(space, "_built", built)
    return called


def test_kernels_are_chosen_by_sizes(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By these alone: threads do not matter. What the others compute is nearly the same."""
    space, called = kernel.__globals__, noted(kernel, monkeypatch)
    arrays = inputs(8, 2, 1, 100, 32)
    few = {}
    for threads in "124":
        monkeypatch.setenv("TVM_NUM_THREADS", threads)
        space["_CALLS"].clear()
        few[threads] = [x.tobytes() for x in kernel(*arrays, window=40, sinks=3)]
    assert few["1"] == few["2"] == few["4"]
    assert called == ["_few0", "_few1"] * 3
    kernel(*inputs(4, 4, 40, 40, 32), window=40, sinks=3)
    assert called[6:] == ["_k0"]
    monkeypatch.setitem(space, "_few_rows", lambda *_: False)
    space["_CALLS"].clear()
    assert not wrong(kernel, arrays, 40, 3)
    assert called[7:] == ["_k0"]


def test_one_piece_needs_no_merging(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel then does what two do; where there are more, its bits would not be theirs."""
    space, called = kernel.__globals__, noted(kernel, monkeypatch)
    space["_CALLS"].clear()
    for keys, names in ((POINTS, ["_one0"]), (POINTS + 1, ["_few0", "_few1"]), (3, ["_one0"])):
        for window, sinks in ((1000, 0), (5, 3), (0, 0)):
            assert not wrong(kernel, inputs(8, 2, 1, keys, 32), window, sinks)
        assert called[-len(names) :] == names
    arrays = inputs(8, 2, 1, 100, 32)
    some = kernel(*arrays, window=40, sinks=3)
    monkeypatch.setitem(space, "_one_piece", lambda *_: True)
    space["_CALLS"].clear()
    assert not wrong(kernel, arrays, 40, 3)
    assert called[-1] == "_one0"
    assert some[0].tobytes() != kernel(*arrays, window=40, sinks=3)[0].tobytes()


def test_steps_of_any_length(kernel: Any) -> None:
    """Keys are read where they lie if neighbours are next to each other, else copied."""
    q, k, v = inputs(8, 2, 1, 100, 32)
    plain = kernel(q, k, v, window=60, sinks=0)
    turned = [np.asfortranarray(x) for x in (k, v)]
    for a, b in zip(kernel(q, *turned, window=60, sinks=0), plain, strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_of_64_bits_have_all_their_digits(kernel: Any) -> None:
    """Constants of functions, too, which TVM would take for numbers of 32 bits."""
    arrays = [x.astype(np.float64) for x in inputs(8, 2, 1, 100, 32)]
    found, _ = kernel(*arrays, window=60, sinks=0)
    np.testing.assert_allclose(found, written(*arrays, 60, 0)[0], 1e-12, 1e-14)


def test_a_fault_in_merging_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attnc.planning, "POINTS", POINTS)
    monkeypatch.setattr(merge.MergeBuilder, "_brought", not_brought)
    assert wrong(made("few faulty"), inputs(8, 2, 1, 100, 32), 1000, 0)


def test_tiles_along_two_axes_of_rows() -> None:
    """What a loop carries lies as what it becomes, which takes its place."""
    accepted(built(facts("additive")), "additive", "f32", None, few=True)
