"""Kernels of the Triton backend, interpreted, judged by the bound: examples, layouts, sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from tests import examples
from tests.acceptance.judge import Verdict, judge
from tests.interpreted import Interpreted, Strided, interpreted
from tests.prepared import triton_of
from tests.test_acceptance import DOUBTFUL, narrowed
from tests.test_gallery import facts, reference
from tests.test_tiled_acceptance import STEPS, VAGUE
from tests.tiled import outputs, written

KINDS = ("f32", "f16")
"""The types that the interpreter computes rightly; see `test_triton_plans.py` for bf16."""
SLOW = {"lightning", "moba", "multi_token", "native_sparse", "nystrom"}
"""Examples that take seconds a call: of these, one case is tried unless all are wanted."""
TILE = 4
"""Points of a tile where a call is made to take small ones, so that loops go round."""


@cache
def kernel(name: str) -> Interpreted:
    """The kernels of an example; there is none that the backend cannot print."""
    return Interpreted(facts(name), triton_of(examples.text(name)))


def cases(name: str, count: int | None = None) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Cases of an example, the first one and the smallest others, unless all are wanted."""
    found = list(reference(name).cases(np.random.default_rng(7)))
    if count is not None:
        ranked = sorted(found, key=lambda c: sum(a.size for a in c[1].values()))
        ranked = [c for c in ranked if all(a.size for a in c[1].values())]
        found = ranked[:1] if name in SLOW else [ranked[len(ranked) // 2], *ranked][:count]
    for label, given, parameters in found:
        if "steps" in parameters:
            parameters = {**parameters, "steps": min(parameters["steps"], STEPS)}
        yield label, given, parameters


def verdict(
    run: Interpreted,
    name: str,
    label: str,
    given: Mapping[str, Any],
    parameters: Mapping[str, Any],
    kind: str,
    tile: int | None,
) -> Verdict:
    """What the bound says of one call."""
    inputs = narrowed(facts(name), dict(given), kind)
    limit = DOUBTFUL.get(name, 0.02)
    if kind != "f32":
        limit = max(limit, VAGUE.get((name, label), 0))
    found = run(inputs, parameters, tile=tile)
    return judge(
        facts(name),
        inputs,
        parameters,
        found if len(found) > 1 else found[0],
        matrix_type=kind,
        tiles=None,
        undecided=limit,
    )


@pytest.fixture(scope="session")
def count(request: pytest.FixtureRequest) -> int | None:
    """How many cases of each example are tried."""
    found = request.config.getoption("--cases")
    return None if found == "all" else int(found)


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_accepted(name: str, count: int | None) -> None:
    """At factor 1, the first case in f32 and small tiles, another one, or the only one, in f16 and
    in tiles of its own choice; all of them in both where all are wanted."""
    found = list(cases(name, count))
    for number, (label, given, parameters) in enumerate(found):
        for turn, kind in enumerate(KINDS):
            if count is not None and len(found) > 1 and turn != number % 2:
                continue
            chosen = (number + turn) % 2 if count is None else turn
            tile = None if name in SLOW or chosen else TILE
            judged = verdict(kernel(name), name, label, given, parameters, kind, tile)
            assert judged.ok, f"{label} {kind} {tile}: {judged}"


# Layouts


def transposed(array: np.ndarray) -> Strided:
    """The last two ranks the other way round in memory."""
    memory = np.ascontiguousarray(np.swapaxes(array, -1, -2))
    steps = [s // array.itemsize for s in memory.strides]
    steps[-1], steps[-2] = steps[-2], steps[-1]
    return Strided(memory, array.shape, tuple(steps))


def reversed_ranks(array: np.ndarray) -> Strided:
    """All ranks the other way round in memory."""
    memory = np.ascontiguousarray(array.T)
    return Strided(memory, array.shape, tuple(s // array.itemsize for s in memory.strides[::-1]))


def sliced(array: np.ndarray) -> Strided:
    """Every other element of the last rank and every third of the one before, from an offset."""
    shape = list(array.shape)
    shape[-1], shape[-2] = 2 * shape[-1] + 1, 3 * shape[-2] + 2
    memory = np.full(shape, np.nan if array.dtype.kind == "f" else 3, array.dtype)
    memory[..., 2::3, 1::2] = array
    steps = [s // array.itemsize for s in memory.strides]
    offset = 2 * steps[-2] + steps[-1]
    steps[-1], steps[-2] = 2 * steps[-1], 3 * steps[-2]
    return Strided(memory, array.shape, tuple(steps), offset)


def middle(array: np.ndarray) -> Strided:
    """Heads beside features, `[B,M,H,E]`, as models have them."""
    if array.ndim != 4:
        return reversed_ranks(array)
    memory = np.ascontiguousarray(np.swapaxes(array, 1, 2))
    b, m, h, e = (s // array.itemsize for s in memory.strides)
    return Strided(memory, array.shape, (b, h, m, e))


def padded(array: np.ndarray) -> Strided:
    """Rows that begin at multiples of 16 elements, with NaN between them."""
    shape = list(array.shape)
    shape[-1] = -(-shape[-1] // 16) * 16
    memory = np.full(shape, np.nan if array.dtype.kind == "f" else 3, array.dtype)
    memory[..., : array.shape[-1]] = array
    return Strided(memory, array.shape, tuple(s // array.itemsize for s in memory.strides))


LAYOUTS: dict[str, Callable[[np.ndarray], Strided]] = {
    "transposed": transposed,
    "reversed": reversed_ranks,
    "sliced": sliced,
    "heads in the middle": middle,
    "padded": padded,
}


def same(found: Any, expected: Any) -> bool:
    """Whether results are equal but for the order of sums."""
    pairs = zip(outputs(found), outputs(expected), strict=True)
    return all(np.allclose(a, b, 2e-5, 2e-5, equal_nan=True) for a, b in pairs)


def layouts_agree(run: Interpreted, name: str, layout: str) -> bool:
    """Whether an example gives the same where all tensors of two or more ranks lie so."""
    _, given, parameters = next(cases(name))
    inputs = narrowed(facts(name), given, "f32")
    laid = {n: LAYOUTS[layout](a) if a.ndim > 1 and a.size else a for n, a in inputs.items()}
    return same(run(laid, parameters), run(inputs, parameters))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["gqa_causal", "paged_decode", "t5_bias", "rela"])
def test_layouts(name: str, layout: str) -> None:
    assert layouts_agree(kernel(name), name, layout)


def test_expanded_tensors() -> None:
    """Distances of 0: one key head, one batch, read for all."""
    rng = np.random.default_rng(1)
    q, k, v = (
        rng.standard_normal(s, np.float32) for s in ((2, 4, 5, 8), (1, 1, 7, 8), (1, 1, 7, 8))
    )
    wide = [np.broadcast_to(x, (2, 4, 7, 8)) for x in (k, v)]
    laid = [Strided(x, (2, 4, 7, 8), (0, 0, 8, 1)) for x in (k, v)]
    run = kernel("causal")
    assert same(run([q, *laid]), run([q, *map(np.ascontiguousarray, wide)]))
    row = Strided(k[0, 0, 0], (2, 4, 7, 8), (0, 0, 0, 1))  # all keys are one
    mean = np.cumsum(wide[1], 2)[:, :, 2:] / np.arange(3, 8)[:, None]
    assert same(run([q, row, laid[1]]), mean)


@pytest.mark.parametrize("name", ["gqa_causal", "paged_decode", "cope", "delta_rule", "t5_bias"])
def test_coordinates_of_64_bits(name: str) -> None:
    """They change nothing."""
    _, given, parameters = next(cases(name))
    inputs = narrowed(facts(name), given, "f32")
    for a, b in zip(
        kernel(name)(inputs, parameters), kernel(name)(inputs, parameters, wide=True), strict=True
    ):
        np.testing.assert_array_equal(a, b)


# Sizes


def attention_inputs(m: int, n: int, e: int, f: int, heads: tuple[int, int] = (2, 1)) -> Any:
    rng = np.random.default_rng(m + 7 * n + 31 * e)
    shapes = {"Q": (1, heads[0], m, e), "K": (1, heads[1], n, e), "V": (1, heads[1], n, f)}
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


@pytest.mark.parametrize(("e", "f"), [(1, 1), (3, 72), (72, 3), (80, 80), (257, 5), (5, 257)])
def test_head_sizes(e: int, f: int) -> None:
    inputs = attention_inputs(5, 19, e, f)
    found = kernel("gqa_causal")(inputs)
    assert judge(facts("gqa_causal"), inputs, {}, found[0], matrix_type="f32").ok


@pytest.mark.parametrize("m", [0, 1, 17, 65])
@pytest.mark.parametrize("n", [0, 1, 33, 130])
def test_sizes(m: int, n: int) -> None:
    """None, one, and what is no multiple of anything; several tiles of each."""
    inputs = attention_inputs(m, n, 6, 5, (6, 2))
    (found,) = kernel("gqa_causal")(inputs)
    assert judge(facts("gqa_causal"), inputs, {}, found, matrix_type="f32").ok


@pytest.mark.parametrize("empty", ["B", "H", "M", "N", "E", "F"])
def test_nothing(empty: str) -> None:
    """A rank without points: what is empty, or absent everywhere."""
    sizes = {"B": 2, "H": 2, "M": 3, "N": 4, "E": 2, "F": 3, empty: 0}
    for name in ("dense", "entropy", "lazy_softmax", "sigmoid", "alibi"):
        items = facts(name).cascade.inputs
        inputs = {
            i.name: np.ones([sizes[s] if isinstance(s, str) else s for s in i.sizes], np.float32)
            for i in items
        }
        expected = outputs(written(facts(name), inputs, {}))
        for a, b in zip(kernel(name)(inputs), expected, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a, b, 1e-6)


# The types of tensors that declare theirs

TYPED = """cascade typed(A[N]: i8, B[N]: u8, C[N]: i32, D[N]: i64, H[N]: f16, X[N]: f64, K[N]: bool)
    -> P[N]: i8 empty -1, R[N]: u8, S[N]: i32 empty 7, T[N]: i64, U[N]: f16, W[N]: f64, Y[N]: bool:
    P[n] = D[n]
    R[n] = D[n]
    S[n] = D[n]
    T[n] = D[n] + A[n] * B[n] - C[n] // (A[n] + 9)
    U[n] = H[n] * 2 where K[n]
    W[n] = X[n] / 3
    Y[n] = K[n] and C[n] % 3 == 1
"""


def test_types_in_and_out() -> None:
    found = attnc.check(TYPED).select()
    rng = np.random.default_rng(0)
    d = np.array([127, 128, -1, 255, 2**31, -(2**31), -(2**31) - 1, 2**62, 256, -129, 3])
    n = len(d)
    inputs = {
        "A": rng.integers(-8, 8, n).astype(np.int8),
        "B": rng.integers(0, 256, n).astype(np.uint8),
        "C": rng.integers(-(2**31), 2**31, n).astype(np.int32),
        "D": d,
        "H": rng.standard_normal(n).astype(np.float16),
        "X": rng.standard_normal(n),
        "K": rng.random(n) < 0.5,
    }
    expected = outputs(written(found, inputs, {}))
    for a, b in zip(interpreted(found)(inputs), expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
