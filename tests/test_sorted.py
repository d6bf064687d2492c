"""What is said to be sorted: claims, searches as they are printed, and ranges that come of both.

Seeded faults: a search that takes an element for one on the other side of what is sought, or goes
on one too far; a claim that is none.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import attnc
from attnc.api import emit
from attnc.backends.numpy.tiled import emit_tiled
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.backends.tvm.emit import emit_plan as emit_for_cpus
from attnc.errors import InternalError, Source, SpecError
from attnc.grammar.tiles import parse
from attnc.ir import tiles_printer
from attnc.ir.claims import sorted_ranks
from attnc.ir.tiles import Plan
from attnc.ir.tiles_verify import verify
from attnc.modules import function_of, module_of
from attnc.passes.tiling import counted
from attnc.passes.tiling.counted import Counted
from attnc.planning import for_device
from tests import examples, interpreted
from tests.interpreted import INTERPRETER, Failed, Forced

# Claims

CLAIMS = {
    "all[b,n](T[b,n] <= T[b,n+1])": ("T", 1, False),
    "all[n,b](T[b,n] < T[b,1+n])": ("T", 1, False),
    "all[b,n](T[b,n-1] <= T[b,n])": ("T", 1, False),
    "all[b,n](T[b,n] >= T[b,n-1])": ("T", 1, False),
    "all[b,n](T[b,n] >= T[b,n+1])": ("T", 1, True),
    "all[b,n](T[b,n+1] < T[b,n])": ("T", 1, True),
    "not any[b,n](T[b,n] > T[b,n+1])": ("T", 1, False),
    "N > 0 and all[b,n](T[b,n] <= T[b,n+1] and T[b,n] >= 0)": ("T", 1, False),
    "all[b,n](T[b,n-1] <= T[b,n] <= T[b,n+1])": ("T", 1, False),
    "all[b,n](T[b,n] <= T[b+1,n])": ("T", 0, False),
    "all[b,i](T[b,i] <= T[b,i+1])": ("T", 1, False),
}
NONE = (
    "all[b,n](T[b,n] != T[b,n+1])",
    "all[b,n](T[b,n] <= T[b,n+2])",  # every other one
    "all[b,n](T[b,n+1] <= T[b,n+2])",  # but the first
    "all[b,i](T[b,i-1] <= T[b,i])",  # but the last: i ends one earlier
    "all[b,n](T[b,n] <= T[b,n])",
    "all[b,n](T[b,n] <= T[b+1,n+1])",
    "all[b,n](T[b,n] <= X[b,n+1])",
    "all[n](T[0,n] <= T[0,n+1])",  # one row
    "all[c,n](T[c,n] <= T[c,n+1])",  # some rows
    "all[b](T[b,b] <= T[b,b+1])",
    "all[b,n](T[b,n] <= T[b,n+1] or n == 3)",
    "any[b,n](T[b,n] <= T[b,n+1])",
    "all[b,n](F[b,n] <= F[b,n+1])",  # of floats
)


def claimed(requirement: str) -> frozenset[tuple[str, int, bool]]:
    plan = parse(
        Source(
            "a plan",
            "plan p(T[B,N]: i32, X[B,N]: i32, F[B,N]) -> O[B]:\n    var b in B\n    var n in N\n"
            f"    var i in N - 1\n    var c in B - 1\n    require {requirement}\n    kernel k\n"
            "        axis b par B\n        store O[b] = 0\n            else 0, over b < B\n",
        )
    )
    return sorted_ranks(plan)


def test_claims() -> None:
    for requirement, claim in CLAIMS.items():
        assert claimed(requirement) == {claim}, requirement
    for requirement in NONE:
        assert not claimed(requirement), requirement


# Searches

SEARCHES = """
plan places(U[B,N]: i32, D[N,B]: i64, W[M]: i32) -> O[B,M]: i64, P[B,M]: i64, Q[B]: i64, R[B]: i64:
    var b in B
    var n in N
    require all[b,n](U[b,n] <= U[b,n+1])
    require all[b,n](D[n,b] >= D[n+1,b])
    kernel k0
        axis b par B
        axis m par M
        w[m]: i32 = load W[m] where m < M
        o[b,m]: i64 = find U[b,:] >= w where b < B and m < M
        p[b,m]: i64 = find U[b,:] > w where b < B and m < M
        store O[b,m] = o
            else 0, over b < B and m < M
        store P[b,m] = p
            else 0, over b < B and m < M
    kernel k1
        axis b par B
        q[b]: i64 = find D[:,b] <= 3 where b < B
        r[b]: i64 = find D[:,b] < 3 where b < B
        store Q[b] = q
            else 0, over b < B
        store R[b] = r
            else 0, over b < B
"""


@cache
def searches() -> Plan:
    plan = parse(Source("a plan", SEARCHES))
    verify(plan)
    assert parse(Source("again", tiles_printer.plan(plan))) == plan
    return plan


def samples() -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(5)
    found = []
    for b, n, m in ((1, 0, 2), (3, 7, 5), (2, 33, 12)):
        up = np.sort(rng.integers(-3, 9, (b, n), dtype=np.int32))
        down = np.sort(rng.integers(0, 6, (n, b)), axis=0)[::-1].copy()
        found.append((up, down, rng.integers(-5, 11, m, dtype=np.int32)))
    return found


def expected(up: np.ndarray, down: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    row = up[:, None, :]
    return (
        np.sum(row < w[:, None], axis=-1),
        np.sum(row <= w[:, None], axis=-1),
        np.sum(down > 3, axis=0),
        np.sum(down >= 3, axis=0),
    )


def agree(call: Any) -> bool:
    pairs = [(call(*one), expected(*one)) for one in samples()]
    return all(np.array_equal(a, b) for f, e in pairs for a, b in zip(f, e, strict=True))


def test_searches_in_numpy() -> None:
    text = emit_tiled(searches(), Options())

    def called(text: str) -> bool:
        call = function_of(text, "places")
        return agree(lambda *one: call(*one, _tiles={"b": 2, "m": 3}))

    assert called(text)
    for right, wrong in (
        ("np.greater_equal, ", "np.greater, "),
        ("middle + 1, high", "middle, high - 1"),
        ("0, rows.shape[-1]", "1, rows.shape[-1]"),
    ):
        faulty = text.replace(right, wrong)
        assert faulty != text
        assert not called(faulty), wrong


def test_searches_in_triton() -> None:
    text = emit_plan(searches(), Options())

    def called(text: str) -> bool:
        def call(*one: np.ndarray) -> Any:
            return INTERPRETER.ask(
                interpreted.__name__, "call", text, list(one), {}, Forced(tile=16)
            )

        try:
            return agree(call)
        except Failed:  # what is beside a tensor is not loaded
            return False

    assert called(text)
    for right, wrong in (
        ("< w", "<= w"),
        ("<= w", "< w"),
        (">= 3", "> 3"),
        ("_half - 1)", "_half)"),
        ("_left + 1) // 2", "_left + 2) // 2"),
        ("> 0:", "> 1:"),
        ("tl.int64)\n", "tl.int64) + 1\n"),
    ):
        faulty = text.replace(right, wrong)
        assert faulty != text, right
        assert not called(faulty), wrong


def test_searches_in_tvm() -> None:
    pytest.importorskip("tvm")
    text = emit_for_cpus(searches(), Options())

    def called(text: str) -> bool:
        return agree(function_of(text, "places"))

    assert called(text)
    for right, wrong in (
        ("< o_sought", "<= o_sought"),
        ("<= p_sought", "< p_sought"),
        (">= r_sought", "> r_sought"),
        ("_left[0] > 0:", "_left[0] > 1:"),
        ("o[b, m] + o_half - 1", "T.max(o[b, m] + o_half - 2, 0)"),
    ):
        faulty = text.replace(right, wrong)
        assert faulty != text, right
        assert not called(faulty), wrong


def test_searches_by_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    def called() -> bool:
        plan = Counted()(searches())
        verify(plan)
        call = function_of(emit_tiled(plan, Options()), "places")
        return agree(lambda *one: call(*one, _tiles={"b": 2, "m": 3, "place": 4}))

    assert called()
    monkeypatch.setattr(counted, "TURNED", {op: op for op in counted.TURNED})
    assert not called()


def test_what_is_not_said_is_not_searched() -> None:
    text = SEARCHES.replace("U[b,n] <= U[b,n+1]", "U[b,n] <= U[b,n+2]")
    with pytest.raises(InternalError, match="no requirement says that U is sorted so"):
        verify(parse(Source("a plan", text)))
    text = SEARCHES.replace("U[b,:] > w", "U[b,:] < w")
    with pytest.raises(InternalError, match="no requirement says that U is sorted so"):
        verify(parse(Source("a plan", text)))


# Ranges

DOCUMENTS = """
cascade sorted_documents(
    Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F], doc[B,N]: i32
) -> O[B,H,M,F]:
    require M == N
    require all[b,n](doc[b,n] <= doc[b,n+1])
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E) where doc[b,m] == doc[b,n]
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h,n,f]
"""


def labels(rng: np.random.Generator, tokens: int) -> np.ndarray:
    ends = np.sort(rng.integers(0, tokens, 4))
    return np.searchsorted(ends, np.arange(tokens), "right").astype(np.int32)[None]


def test_no_tile_in_vain() -> None:
    """Each tile that is gone to has a point; of those without an absent point each is full."""
    rng = np.random.default_rng(1)
    for text, tokens, sides in (
        (DOCUMENTS, 300, {"m": 16, "n": 16}),
        (examples.text("documents_window"), 257, {"m": 32, "n": 8}),
        (examples.text("anchor_documents"), 300, {"m": 16, "n": 16}),
    ):
        facts = attnc.check(text).select()
        sizes = {"M": tokens, "N": tokens, **({"window": 90} if "window" in text else {})}
        found: Any = attnc.explain(facts, sizes, tiles=sides, data={"doc": labels(rng, tokens)})
        tiles = found["compiled"]["kernels"][-1]["tiles"]
        assert tiles["visited"] == tiles["minimum"]
        assert tiles["full"] >= 0.9 * tiles["full_possible"] > 0


def test_full_ranges_ask_for_no_document() -> None:
    text = emit_plan(for_device(attnc.check(DOCUMENTS).select()), Options())
    kernel = text[: text.index("def sorted_documents")]
    _, partial, full, *_ = kernel.split("    for n")
    assert "tl.load(doc_at" in partial
    assert "doc" not in full.split("    left")[0]
    assert "where=" not in full
    assert kernel.count("while doc_left > 0:") == 1  # all searches wait at once


def test_claims_are_checked_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's kernels believe a claim, and look at it under `ATTNC_CHECK`; NumPy always does."""
    facts = attnc.check(DOCUMENTS).select()
    text = emit_plan(for_device(facts), Options())
    assert '_claim("all[b,n](doc[b,n] <= doc[b, n + 1])", (doc, 1, "<="))' in text
    assert "ATTNC_CHECK=1" in text.split("def sorted_documents")[1].split('"""')[1]
    look = module_of(text, "sorted_documents")._claim
    right, wrong = torch.tensor([[1, 1, 2], [0, 5, 5]]), torch.tensor([[1, 1, 2], [0, 5, 4]])
    monkeypatch.delenv("ATTNC_CHECK", raising=False)
    look("c", (wrong, 1, "<="))
    monkeypatch.setenv("ATTNC_CHECK", "1")
    look("c", (right, 1, "<="), (right[:, :0], 1, "<"), (right[:, 2:], 1, "<"), (right.T, 0, "<="))
    for claim in ((wrong, 1, "<="), (right, 1, "<"), (right, 1, ">="), (right, 0, ">")):
        with pytest.raises(ValueError, match="`require c` does not hold"):
            look("c", claim)
    call = function_of(emit(facts, backend="numpy", dtype=None, static={}), "sorted_documents")
    ones = np.ones((2, 1, 3, 2), np.float32)
    call(ones, ones, ones, right.numpy().astype(np.int32))
    with pytest.raises(ValueError, match="does not hold"):
        call(ones, ones, ones, wrong.numpy().astype(np.int32))


def test_other_requirements_on_tensors_are_refused() -> None:
    text = DOCUMENTS.replace("doc[b,n] <= doc[b,n+1]", "doc[b,n] >= 0")
    facts = attnc.check(text).select()
    with pytest.raises(SpecError, match="a number that reads tensors"):
        emit(facts, backend="triton", dtype=None, static={})
