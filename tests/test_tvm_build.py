"""The TVM backend: kernels that are built are kept, and threads share programs."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from attnc.api import Device, check, emit
from attnc.backends.tvm.body import Body
from attnc.modules import function_of
from tests import examples
from tests.test_gallery import facts

pytest.importorskip("tvm")


def made(name: str, label: str) -> Any:
    """The function of an example's module, which has built nothing yet."""
    text = emit(facts(name), backend="tvm", dtype=None, static={}, device=Device())
    return function_of(text, label)


def drawn() -> list[np.ndarray]:
    """Inputs of rows that are uneven in work."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, 3, n, 8)).astype("f4") for n in (150, 170, 170)]


def test_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built is found again, unless a byte of it or the folder's rights have changed."""
    assert "causal" in examples.NAMES
    folder = tmp_path / "kept"
    monkeypatch.setenv("ATTNC_CACHE", str(folder))
    inputs = drawn()
    first = made("causal", "tvm_kept")
    first.__globals__["_KNOWN"]["launcher"] = None  # which is kept, too
    wanted = first(*inputs)
    (kept,) = folder.iterdir()

    def rebuilt() -> bool:
        again = made("causal", "tvm_kept")
        again.__globals__["_KNOWN"]["launcher"] = None
        count: list[int] = []
        building = again.__globals__["_made"]
        again.__globals__["_made"] = lambda *a: (count.append(1), building(*a))[1]
        assert np.array_equal(again(*inputs), wanted)
        return bool(count)

    assert not rebuilt()
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.unlink()  # the process has it mapped
    kept.write_bytes(data)
    assert rebuilt()
    assert not rebuilt()
    folder.chmod(0o777)
    assert rebuilt()
    monkeypatch.setenv("ATTNC_CACHE", "off")
    assert rebuilt()
    assert [p.name for p in folder.iterdir()] == [kept.name]


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads there are, and whatever they claim, the bits are the same."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    function = made("causal", "tvm_threads")
    inputs = drawn()
    tile = function.__globals__["_tile"]
    function.__globals__["_tile"] = lambda size, least, most: tile(size, least, least)
    found = []
    for workers in (1, 2, 4):
        function.__globals__["_workers"] = lambda workers=workers: workers
        found.append(function(*inputs))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_lanes_that_no_row_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """What partial rounds leave out changes nothing; a lane more would be seen."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    function = made("sliding_window_sinks", "tvm_clipped")
    space = function.__globals__
    first, last = space["_first"], space["_last"]

    def told(begin: Any, end: Any) -> np.ndarray:
        space["_BUILT"].clear()
        space["_CALLS"].clear()
        space["_first"], space["_last"] = begin, end
        found, _ = function(*drawn(), window=21, sinks=3)
        return np.asarray(found)

    wanted = told(lambda *_: space["T"].int32(0), lambda tile, *_: space["T"].int32(tile))
    assert np.allclose(told(first, last), wanted, 1e-5, 1e-6)
    assert not np.allclose(told(lambda *a: first(*a) + 1, last), wanted, 1e-2, 1e-3)
    assert not np.allclose(told(first, lambda *a: last(*a) - 1), wanted, 1e-2, 1e-3)


def test_extremes_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """A maximum is taken while a product is in registers: without it, weights are too large."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    function = made("dense", "tvm_extremes")
    space = function.__globals__
    q, k, v = (np.random.default_rng(1).standard_normal((1, 4, 128, 16), "f4") for _ in range(3))
    q *= 300
    scores = (q @ k.swapaxes(2, 3) / 4).astype("f8")
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    wanted = weights / weights.sum(-1, keepdims=True) @ v
    assert np.allclose(function(q, k, v), wanted, 1e-3, 1e-3)
    space["_BUILT"].clear()
    space["_take"] = lambda *_: None
    assert not np.allclose(function(q, k, v), wanted, 1e-1, 1e-1)


def test_full_rounds_load_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are not loaded where all keys are of one, so that nothing parts a product from its
    maximum; in memory, what the next round reads is asked for, but not where keys are left out."""

    spec = Path(__file__).parents[1] / "benchmarks" / "cpu" / "documents.attn"

    def text() -> str:
        found = check(spec.read_text("utf-8")).select()
        return emit(found, backend="tvm", dtype=None, static={}, device=Device())

    found = text()
    calls = [c for c in re.findall(r" _dot\((.*?)\n +\)\n", found, re.DOTALL) if "_placed" in c]
    assert ["extremes=" in c for c in calls] == [True, False]
    assert all("ahead=" in c for c in calls)
    assert found.count("ahead=_placed") == len(calls)
    monkeypatch.setattr(Body, "_without_unread", lambda _, body, __: body)
    assert "extremes=((" not in text()


def test_hyperbolic_tangent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is within 2 units in the last place; with a digit less of a coefficient it is not."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    spec = "cascade f(X[B,N]) -> O[B,N]:\n    O[b,n] = tanh(X[b,n])\n"
    text = emit(check(spec).select(), backend="tvm", dtype=None, static={}, device=Device())
    function = function_of(text, "tvm_tanh")
    space = function.__globals__
    bits = np.arange(0x30000000, 0x41400000, 1024, dtype=np.int64).astype("i4")
    x = np.concatenate([bits.view("f4"), -bits.view("f4")]).reshape(-1, 64)

    def off() -> float:
        exact = np.tanh(x.astype("f8"))
        return float(np.max(np.abs(function(x) - exact) / np.spacing(np.abs(exact).astype("f4"))))

    assert off() <= 2
    odd = np.array([[0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-38]], "f4")
    assert np.array_equal(function(odd).view("i4")[:, :4], np.tanh(odd).view("i4")[:, :4])
    assert np.array_equal(function(odd), np.tanh(odd), equal_nan=True)
    space["_BUILT"].clear()
    space["_TANH"] = (0.0667, *space["_TANH"][1:-2], 0.99999, 1.5)
    assert off() > 2


def test_kernels_of_a_call_are_built_at_once() -> None:
    """Each waits until another one is begun; in turn, as a fault, none goes on."""
    function = made("causal", "tvm_at_once")
    space, both = function.__globals__, threading.Barrier(2)
    space["_few_rows"] = lambda *_: True
    inputs = [np.zeros((1, 3, n, 8), "f4") for n in (4, 600, 600)]
    known: dict[Any, Any] = space["_BUILT"]

    def build(*key: Any) -> Any:
        if key not in known:
            both.wait(5 if at_once else 0.1)
            known[key] = lambda *_: None
        return known[key]

    at_once, space["_built"] = True, build
    function(*inputs)
    assert len(known) == 2
    known.clear()
    space["_CALLS"].clear()
    at_once, space["_all_built"] = False, lambda *asked: [build(*key) for key in asked]
    with pytest.raises(threading.BrokenBarrierError):
        function(*inputs)


def test_products_are_not_computed_anew() -> None:
    """Where each tile of an axis would compute the same products, there is one of up to 256."""
    space = made("sigmoid", "tvm_once").__globals__
    asked: list[tuple[int, int, int]] = []
    tile = space["_tile"]
    space["_tile"] = lambda *a: (asked.append(a), tile(*a))[1]
    space["_built"] = lambda *_: lambda *_: None
    for size in (72, 256, 300):
        q, k, v = (np.zeros((4, 1, 40, n), "f4") for n in (8, 8, size))
        asked.clear()
        space["sigmoid"](q, k, v)
        tiles = {a[0]: tile(*a) for a in asked}
        assert tiles == {40: 64, size: size if size <= 256 else 64}


def test_calls_are_cheap() -> None:
    """What a call runs of Python is counted, as time is not the same twice: 6 us at 20 calls.

    Faults: what an earlier call made ready is not found; what the processor can is looked up again.
    """
    function = made("causal", "tvm_cheap")
    space, inputs = function.__globals__, drawn()

    def calls() -> int:
        count = 0

        def event(_: Any, kind: str, __: Any) -> None:
            nonlocal count
            count += kind in ("call", "c_call")

        function(*inputs)
        sys.setprofile(event)
        function(*inputs)
        sys.setprofile(None)
        return count

    space["_built"] = lambda *_: lambda *_: None
    calls()
    assert calls() < 30
    space["_seen"] = lambda *_: None
    found = calls()
    assert 100 < found < 150
    has, known = space["_has"], space["_KNOWN"]
    space["_has"] = lambda feature: (known.pop(feature, None), has(feature))[1]
    space["_vector"] = lambda dtype: 16 if space["_has"]("avx512f") else 4
    assert calls() > found + 50


def test_little_work_wakes_no_thread() -> None:
    """A call with few products is one thread's; afterwards all are there, whatever it raised."""
    function = made("causal", "tvm_little")
    space, inputs = function.__globals__, [x[:, :, :90] for x in drawn()]
    whole = function(*inputs)
    told: list[int] = []
    known: dict[str, Any] = space["_KNOWN"]
    space["_workers"] = lambda: 2
    assert "threads" not in known
    first = function(*(x[:, :1] for x in inputs))
    configure = known["threads"]
    known["threads"] = lambda count: (told.append(count), configure(count))
    space["_CALLS"].clear()
    assert np.array_equal(function(*(x[:, :1] for x in inputs)), first)
    assert np.array_equal(first, whole[:, :1])
    assert told == [1, 0]
    function(*inputs)
    assert len(told) == 2
    run = space["_crew"](lambda: 1 // 0, 10)
    with pytest.raises(ZeroDivisionError):
        run()
    assert told[2:] == [1, 0]


def test_loops_are_built_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that is kept is built in parts, and has the bits of one that is built as a whole."""
    monkeypatch.setenv("ATTNC_CACHE", "off")
    whole = made("causal", "tvm_whole")(*drawn())
    monkeypatch.setenv("ATTNC_CACHE", str(tmp_path / "kept"))
    function = made("causal", "tvm_apart")
    space, parts = function.__globals__, list[int]()
    space["_KNOWN"]["launcher"] = None
    linked = space["_linked"]
    space["_linked"] = lambda *given: (parts.append(len(given) - 2), linked(*given))
    assert np.array_equal(function(*drawn()), whole)
    assert parts == [3], "partial tiles, full ones, and what stands around them"
    lost = made("causal", "tvm_lost")
    space = lost.__globals__
    space["_KNOWN"]["launcher"], space["_found"] = None, lambda *_: None
    lowered, functions = space["_lowered"], list[int]()

    def counted(*given: Any) -> Any:
        found = lowered(*given)
        functions.append(len(found.functions))
        return found

    space["_lowered"] = counted
    assert np.array_equal(lost(*drawn()), whole)
    assert functions == [3, 1], "where nothing can be kept, it is built as a whole"


REFUSED = """cascade refused(
    Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F], length[B]: i32
) -> O[B,H,M,F] empty -1:
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E)
        where n - m < length[b] or n // 5 < m // 4
    A[b,h,m,n] = exp(S[b,h,m,n] - cumsum[n, reverse](softplus(S[b,h,m,n])))
    O[b,h,m,f] = A[b,h,m,n] * V[b,h,n,f]
"""


@pytest.mark.parametrize("kept", [True, False])
def test_what_llvm_refuses_of_its_own(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where processors have products of bf16, it makes vectors here that it then finds wrong; the
    same is made by fewer passes."""
    monkeypatch.setenv("ATTNC_CACHE", str(tmp_path) if kept else "off")
    rng = np.random.default_rng(0)
    shapes = (1, 2, 3, 20), (1, 2, 4, 20), (1, 2, 4, 17)
    given = [rng.standard_normal(s).astype(ml_dtypes.bfloat16) for s in shapes]
    given.append(np.array([2], np.int32))
    spec = check(REFUSED).select()
    text = emit(spec, backend="tvm", dtype=None, static={}, device=Device())
    found = function_of(text, f"refused {kept}")(*given)
    expected = function_of(emit(spec, backend="numpy", dtype=None, static={}), "written")(*given)
    np.testing.assert_allclose(found.astype("f4"), expected.astype("f4"), 0.02, 0.02)
