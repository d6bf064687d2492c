"""Tiles that come through descriptors hold the same bits as those that come through pointers.

Seeded faults: a wrong coordinate, and another fill.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu.modules import Tiling, retiled
from tests.compiled import COMPILED, key, launches, meta, text_of
from tests.interpreted import INTERPRETER, Failed, Forced, Strided, call

pytest.importorskip("triton")

POSITION = "K_box.load([b_at, h_at, tl.cast(n0, tl.int32), 0])"
FAULTS = {
    "a wrong coordinate": (POSITION, POSITION.replace("0, tl", "0 + 1, tl")),
    "another rank": (POSITION, POSITION.replace("b_at, h_at", "h_at, b_at")),
    "another fill": ("[*steps, 1], [*tile])", '[*steps, 1], [*tile], "nan")'),
}


def both_ways(text: str, arguments: list[Any]) -> tuple[list[Any], list[Any], list[bool]]:
    """The outputs with descriptors and with none, and which descriptors there were."""
    from tests import interpreted

    space = interpreted._loaded(text).__globals__
    own = space["_box"]
    made: list[bool] = []

    def noted(*about: Any) -> Any:
        found = own(*about)
        made.append(found is not None)
        return found

    results = []
    for way in (noted, lambda *_: None):
        space["_box"] = way
        results.append(list(call(text, arguments, {}, Forced(tile=16))))
    space["_box"] = own
    return *results, made


def arrays(heads: int, keys: int, head: int, kind: str = "float32") -> list[np.ndarray]:
    """Queries, keys and values."""
    rng = np.random.default_rng(keys)
    shapes = ((2, 4, 21, head), (2, heads, keys, head), (2, heads, keys, head))
    return [rng.standard_normal(s).astype(kind) for s in shapes]


def compared(text: str, arguments: list[Any]) -> list[bool]:
    """Which descriptors a call made; its outputs have to be the same without them."""
    ours, theirs, made = INTERPRETER.ask(__name__, "both_ways", text, arguments)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    return list(made)


def turned(value: np.ndarray) -> Strided:
    """The same elements, those of a column beside each other."""
    _, h, n, e = value.shape
    steps = (h * n * e, n * e, 1, n)
    return Strided(np.ascontiguousarray(value.swapaxes(2, 3)), value.shape, steps)


def test_both_ways_are_the_same() -> None:
    dense = text_of("dense")
    assert compared(dense, arrays(4, 39, 16)) == [True, True]
    assert compared(dense, arrays(4, 39, 24, "float16")) == [True, True]
    assert compared(text_of("gqa_causal"), arrays(2, 39, 16)) == [True, True]
    q, k, v = arrays(4, 39, 16)
    assert compared(dense, [q, turned(k), v]) == [False, True]
    assert compared(dense, arrays(4, 39, 17)) == [False, False]
    assert "_box" not in text_of("paged_decode")  # a tile has keys of several pages


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault: str) -> None:
    text = text_of("dense")
    wrong = text.replace(*FAULTS[fault])
    assert wrong != text
    with pytest.raises((AssertionError, Failed)):
        compared(wrong, arrays(4, 39, 24))


# Which calls have descriptors


def half(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float16)


KEYS = (2, 3, 40, 64)
TILE = (1, 1, 64, 64)
CALLS: dict[str, tuple[Callable[[], torch.Tensor], tuple[Any, ...], bool]] = {
    "plain": (lambda: half(*KEYS), (16, TILE, "cuda:90", 4), True),
    "a later device": (lambda: half(*KEYS), (16, TILE, "cuda:120", 4), True),
    "an earlier device": (lambda: half(*KEYS), (16, TILE, "cuda:89", 4), False),
    "another maker": (lambda: half(*KEYS), (16, TILE, "hip:gfx942", 4), False),
    "more warps": (lambda: half(*KEYS), (16, TILE, "cuda:90", 8), False),
    "rows that are not aligned": (lambda: half(2, 3, 40, 60), (4, TILE, "cuda:90", 4), False),
    "rows of f32": (lambda: half(2, 3, 40, 60).float(), (4, TILE, "cuda:90", 4), True),
    "f64": (lambda: half(*KEYS).double(), (16, TILE, "cuda:90", 4), False),
    "columns": (lambda: half(2, 3, 64, 48).mT, (16, TILE, "cuda:90", 4), False),
    "heads within rows": (lambda: half(2, 40, 3, 64).mT.mT, (16, TILE, "cuda:90", 4), True),
    "one row for all": (lambda: half(2, 1, 40, 64).expand(KEYS), (16, TILE, "cuda:90", 4), False),
    "a base that is not": (lambda: half(4097)[1:].view(2, 1, 32, 64), (16, TILE, "cuda:90", 4), 0),
    "one of a rank": (lambda: half(1, 3, 40, 64).as_strided((1, 3, 40, 64), (7, 2560, 64, 1)),
                      (16, TILE, "cuda:90", 4), True),
    "nothing": (lambda: half(2, 3, 0, 64), (16, TILE, "cuda:90", 4), False),
    "long rows": (lambda: half(2, 3, 40, 512), (16, (1, 1, 64, 512), "cuda:90", 4), False),
    "short rows": (lambda: half(2, 3, 40, 4), (16, (1, 1, 64, 4), "cuda:90", 4), False),
}  # fmt: skip


def test_what_a_call_allows() -> None:
    from attnc.backends.triton import runtime

    for name, (tensor, about, allowed) in CALLS.items():
        found: Any = runtime._box(tensor(), *about)
        assert (found is not None) == bool(allowed), name
        if found is not None:
            assert all(s * tensor().element_size() % 16 == 0 for s in found.strides[:-1]), name


@COMPILED
def test_lengths_compile_nothing() -> None:
    """Nor do numbers of sequences and of heads, with descriptors; the size of rows does."""

    text = retiled(text_of("gqa_causal"), Tiling(rows=64, others=64, warps=4, stages=2))

    def at(head: int, **sizes: int) -> set[str]:
        tensors = meta("gqa_causal", head, "bfloat16", **sizes)
        found = launches("gqa_causal", tensors, "cuda:90", text=text)
        assert all(launch.arguments["K_box"] is not None for launch in found)
        return {key(launch, "cuda:90") for launch in found}

    first = at(64, B=1, H=8, J=2, M=4096, N=4096)
    assert "tensordesc<bf16[1, 1, " in "".join(first)
    assert at(64, B=3, H=2, J=1, M=1029, N=5003) == first != at(48, B=1, H=8, J=2, M=512, N=512)
