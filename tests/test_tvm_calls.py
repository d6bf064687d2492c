"""Calls like an earlier one: what is kept of that decides nothing that may differ."""

from __future__ import annotations

import gc
import mmap
import re
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import attnc
from attnc.modules import function_of

SPEC = """
cascade kept(Q[B,M,E], K[B,N,E], V[B,N,F], doc[N]: i32, late: int = 0, by: float = 1.0)
        -> O[B,M,F]:
    require all[n](doc[n] <= doc[n + 1])
    require late >= 0
    S[b,m,n] = sum[e](Q[b,m,e] * K[b,n,e]) where n + late <= m + (N - M)
    P[b,m,n] = softmax[n](S[b,m,n])
    O[b,m,f] = sum[n](P[b,m,n] * V[b,n,f] * doc[n]) + 1 / by
"""
Function = Callable[..., Any]


@pytest.fixture(scope="module")
def text() -> str:
    return attnc.compile(SPEC, backend="tvm")


@pytest.fixture
def function(text: str) -> Function:
    return function_of(text, "kept calls")


def drawn(seed: int = 0, size: tuple[int, int, int] = (2, 9, 17), kind: Any = np.float64) -> Any:
    rng = np.random.default_rng(seed)
    batch, queries, keys = size
    shapes = (batch, queries, 4), (batch, keys, 4), (batch, keys, 3)
    doc = np.sort(rng.integers(0, 5, keys)).astype(np.int32)
    return [*(rng.standard_normal(s).astype(kind) for s in shapes), doc]


def expected(q: Any, k: Any, v: Any, doc: Any, late: int = 0, by: float = 1.0) -> Any:
    queries, keys = q.shape[1], k.shape[1]
    seen = np.arange(keys) + late <= np.arange(queries)[:, None] + keys - queries
    scores = np.where(seen, q @ k.mT, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    with np.errstate(divide="ignore"):
        return weights / weights.sum(-1, keepdims=True) @ (v * doc[:, None]) + np.divide(1, by)


def right(function: Function, arrays: Any, *, torches: bool = False, **given: Any) -> bool:
    """Whether a call gives what the formula does, in the library and the type of its tensors."""
    tensors = [torch.from_numpy(a) if torches else a for a in arrays]
    found = function(*tensors, **given)
    if isinstance(found, torch.Tensor) is not torches or found.dtype != tensors[0].dtype:
        return False
    wanted = expected(*arrays, **given)
    bound = 1e-3 if arrays[0].dtype == np.float32 else 1e-9
    return found.shape == wanted.shape and np.allclose(np.asarray(found), wanted, bound, bound)


def repeated(function: Function) -> Iterator[bool]:
    """Whether each of some calls is right, of which each is like another one but for one thing."""
    for seed in range(2):
        arrays = drawn(seed)
        q, k, v, doc = arrays
        yield right(function, drawn(seed, (1, 9, 17)))
        yield right(function, arrays)
        yield right(function, drawn(seed, kind=np.float32), torches=True)
        yield right(function, arrays, torches=True)
        yield right(function, [np.ascontiguousarray(q.mT).mT, k, v, doc])
        yield right(function, drawn(seed, kind=np.float32))
        yield right(function, arrays, late=1)
        yield right(function, arrays, by=0.0)
        yield right(function, arrays, by=-0.0)


def test_calls_alike(function: Function) -> None:
    """A call finds what an earlier one made ready, and that fits."""
    function(*drawn())
    assert all(repeated(function))
    assert len(function.__globals__["_CALLS"]) == 9


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_fault_in_what_is_alike_is_seen(text: str, part: int) -> None:
    """Nothing of what tells calls apart can be left out: sizes, strides, types, or values."""
    function = function_of(text, f"kept calls without {part}")
    space = function.__globals__
    seen = space["_seen"]

    def faulty(tensors: Any, *values: Any) -> Any:
        key = seen(tensors, *values)
        if key is None:
            return None
        if part == 3:
            return key[:13]
        return tuple(x for i, x in enumerate(key) if i == 0 or i > 12 or (i - 1) % 3 != part)

    space["_seen"] = faulty
    function(*drawn())
    assert not all(repeated(function))


def test_errors_are_those_of_a_first_call(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever went before; and what is required of elements is looked at in each call."""
    arrays = drawn()
    for _ in range(3):
        function(*arrays, late=1)
        with pytest.raises(TypeError, match="late must be an int, not bool"):
            function(*arrays, late=True)
        with pytest.raises(TypeError, match="late must be an int, not float"):
            function(*arrays, late=1.0)
        with pytest.raises(ValueError, match="rank N of V"):
            function(*arrays[:2], arrays[2][:, 1:], arrays[3])
        with pytest.raises(ValueError, match="require late >= 0"):
            function(*arrays, late=-1)
        with pytest.raises(ValueError, match="on meta, not on cpu"):
            function(*(torch.from_numpy(a).to("meta") for a in arrays))
        with pytest.raises(TypeError, match="Q must be a dense tensor"):
            function(torch.from_numpy(arrays[0]).to_sparse(), *arrays[1:])
        with pytest.raises(TypeError, match="Q must be a tensor of torch or NumPy, not list"):
            function([1], *arrays[1:])
    mixed = [*arrays[:3], arrays[3][::-1].copy()]
    function(*mixed, late=1)
    monkeypatch.setenv("ATTNC_CHECK", "1")
    function(*arrays, late=1)
    with pytest.raises(ValueError, match="does not hold"):
        function(*mixed, late=1)


def test_nothing_is_kept_alive(function: Function) -> None:
    """Neither what goes in nor what comes out, and of calls only the last ones."""
    for torches in (False, True):
        for _ in range(3):
            arrays = [torch.from_numpy(a) if torches else a for a in drawn()]
            tensors = [*arrays, function(*arrays)]
        alive = [weakref.ref(t) for t in tensors]
        del arrays, tensors
        gc.collect()
        assert not any(ref() is not None for ref in alive)
    for keys in range(10, 110):
        function(*drawn(0, (1, 9, keys)))
    assert len(function.__globals__["_CALLS"]) <= 64


def test_threads_call_at_once(function: Function) -> None:
    """Each with sizes of its own, of which there are more than are kept."""
    function(*drawn())

    def calls(thread: int) -> bool:
        sizes = [(1, 5, 9 + (7 * thread + i) % 40) for i in range(60)]
        return all(right(function, drawn(thread, size), torches=thread % 2 == 0) for size in sizes)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(calls, range(4)))


def test_other_numbers_of_threads(function: Function) -> None:
    """They are those of the call, and not of the first one like it."""
    before = torch.get_num_threads()
    tensors = [torch.from_numpy(a) for a in drawn(0, (8, 200, 300))]
    found = []
    try:
        for threads in (1, 2, 1, 2):
            torch.set_num_threads(threads)
            found.append(function(*tensors))
            space = function.__globals__
            assert any(key[0] == threads for key in space["_CALLS"]) or len(found) == 1
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], x) for x in found)


def advised(tensor: torch.Tensor) -> bool:
    """Whether the system was asked for large pages in the middle of a tensor."""
    place, inside = tensor.data_ptr() + tensor.nbytes // 2, False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= place < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "hg" in line.split()
    return False


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the system has none"
)
def test_large_outputs_lie_in_large_pages(function: Function) -> None:
    """Those that are too small to gain by it are not asked for."""
    maker = function.__globals__["_maker"]
    assert advised(maker(torch, (2**10, 2**13), "float32")())
    small = maker(torch, (2**10, 2**10 - 1), "float32")
    assert small.func is torch.empty
    own = mmap.mmap(-1, 2**22)  # where nobody asks, none are told
    assert not advised(torch.frombuffer(own, dtype=torch.uint8))
