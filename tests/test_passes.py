"""What `explain` says of cascades as written: passes, operations, bytes, footprint."""

from __future__ import annotations

import re
from typing import Any

import pytest

import attnc
from attnc.errors import UsageError
from tests.support import ROOT

THREE_PASSES = (ROOT / "examples/fusemax_three_pass.attn").read_text(encoding="utf-8")
ONE_PASS = (ROOT / "examples/fusemax_one_pass.attn").read_text(encoding="utf-8")

TEXTBOOK = """\
cascade attention(Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F]) -> O[B,H,M,F]:
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E)
    G[b,h,m]   = max[n](S[b,h,m,n])
    X[b,h,m,n] = exp(S[b,h,m,n] - G[b,h,m])
    D[b,h,m]   = sum[n](X[b,h,m,n])
    A[b,h,m,n] = X[b,h,m,n] / D[b,h,m]
    O[b,h,m,f] = A[b,h,m,n] * V[b,h,n,f]
"""


def explained(text: str, **sizes: int) -> dict[str, Any]:
    """The explanation of the only cascade of a spec, as written."""
    facts = attnc.check(text).select()
    found: Any = attnc.explain(facts, sizes)
    return found["written"]  # type: ignore[no-any-return]


def passes(text: str, **sizes: int) -> dict[str, int | str]:
    """Passes by rank variable."""
    return explained(text, **sizes)["passes"]  # type: ignore[no-any-return]


def more_than_one(text: str, **sizes: int) -> dict[str, int | str]:
    """The ranks with more than one pass."""
    return {v: n for v, n in passes(text, **sizes).items() if n != 1}


def renamed(text: str, **names: str) -> str:
    """A text with words replaced."""
    return re.sub(r"\b[A-Za-z]\w*\b", lambda w: names.get(w[0], w[0]), text)


def scores(*body: str, header: str = "Q[M,E], K[N,E], V[N,F]", outputs: str = "O[M,F]") -> str:
    """A cascade with a score `S[m,n]` and the given statements."""
    lines = ["    S[m,n] = Q[m,e] * K[n,e]", *(f"    {line}" for line in body)]
    return f"cascade c({header}) -> {outputs}:\n" + "\n".join(lines) + "\n"


# Softmax attention in its forms


def test_three_passes() -> None:
    assert passes(THREE_PASSES) == {"b": 1, "h": 1, "p": 1, "e": 1, "m": 3, "f": 1}
    assert more_than_one(TEXTBOOK) == {"n": 3}


def test_one_pass() -> None:
    assert passes(ONE_PASS) == {"b": 1, "h": 1, "p": 1, "e": 1, "m": 1, "f": 1}


LETTERS = {"P": "X", "p": "x", "M": "Y", "m": "y", "E": "W", "e": "w", "M1": "Y1", "M0": "Y0"}
WORDS = {"M": "KEYS", "m": "keys", "M1": "TILES", "m1": "tiles", "M0": "LANES", "m0": "lanes"}


@pytest.mark.parametrize("names", [LETTERS, WORDS])
def test_other_names(names: dict[str, str]) -> None:
    names = names | {"QK": "Scores", "K": "Keys", "SN": "Numerators", "m1": "t1", "m0": "t0"}
    names |= {"M1": "T1", "M0": "T0"}
    key = names["m"]
    assert more_than_one(renamed(THREE_PASSES, **names)) == {key: 3}
    one = passes(renamed(ONE_PASS, **names))
    assert key in one
    assert set(one.values()) == {1}


def test_another_variable_over_the_rank() -> None:
    text = THREE_PASSES.replace(":\n", ":\n    var s in M\n", 1)
    body = text.split("\n", 5)
    swapped = "\n".join([*body[:5], re.sub(r"\bm\b", "s", body[5])])
    found = passes(swapped)
    assert (found["m"], found["s"]) == (3, 3)


def test_other_variables_per_statement() -> None:
    text = scores(
        "var i, j, k in N",
        "G[m] = max[i](S[m,i])",
        "X[m,j] = exp(S[m,j] - G[m])",
        "D[m] = sum[k](X[m,k])",
        "A[m,n] = X[m,n] / D[m]",
        "O[m,f] = sum[i](A[m,i] * V[i,f])",
    )
    assert passes(text)["n"] == 3


def test_rows_and_columns_of_one_tensor() -> None:
    text = """\
cascade alike(X[T,E]) -> O[T,E]:
    var s, u in T
    Y[u,e] = X[u,e] * 2
    S[t,s] = Y[t,e] * Y[s,e]
    O[t,e] = softmax[s](S[t,s]) * Y[s,e]
"""
    assert passes(text)["t"] == 3


def test_a_window_by_its_offset() -> None:
    text = """\
cascade near(Q[N,E], K[N,E], V[N,F], W: int = 8) -> O[N,F]:
    S[n,w] = Q[n,e] * K[n - w,e]
    O[n,f] = softmax[w](S[n,w]) * V[n - w,f]
"""
    assert passes(text)["n"] == 3


def test_keys_in_tiles() -> None:
    """The same three passes where the keys are indexed as c*R + r."""
    tiled = re.sub(r"\bm\b(?=[\],])", "c,r", THREE_PASSES).replace("K[b,h,c,r,e]", "K[b,h,c*R+r,e]")
    tiled = tiled.replace("V[b,h,c,r,f]", "V[b,h,c*R+r,f]")
    tiled = tiled.replace("M,F])", "M,F], R: int = 4)").replace(
        ":\n", ":\n    C = ceildiv(M, R)\n", 1
    )
    assert more_than_one(tiled) == {"m": 3}
    in_two_steps = tiled.replace("max[c,r](", "max[c](max[r](").replace(
        "QK[b,h,c,r,p])", "QK[b,h,c,r,p]))"
    )
    assert in_two_steps != tiled
    assert more_than_one(in_two_steps) == {"m": 3}


def test_deferred_division() -> None:
    text = TEXTBOOK.replace("    A[b,h,m,n] = X[b,h,m,n] / D[b,h,m]\n", "")
    text = text.replace("A[b,h,m,n] * V[b,h,n,f]", "X[b,h,m,n] * V[b,h,n,f] / D[b,h,m]")
    assert more_than_one(text) == {"n": 2}


def test_split_keys() -> None:
    """Tiles reduced each by itself, then merged: what is merged are summaries, not keys."""
    text = """\
cascade split(Q[M,E], K[N,E], V[N,F], R: int = 8) -> O[M,F]:
    C = ceildiv(N, R)
    S[m,c,r] = Q[m,e] * K[c*R + r,e]
    G[m,c]   = max[r](S[m,c,r])
    X[m,c,r] = exp(S[m,c,r] - G[m,c])
    D[m,c]   = sum[r](X[m,c,r])
    P[m,c,f] = X[m,c,r] * V[c*R + r,f]
    T[m,c]   = exp(G[m,c] - max[c](G[m,c]))
    O[m,f]   = sum[c](P[m,c,f] * T[m,c]) / sum[c](D[m,c] * T[m,c])
"""
    assert set(passes(text).values()) == {1}
    corrected = text.replace("P[m,c,f] * T[m,c]", "X[m,c,r] * V[c*R+r,f] * T[m,c]").replace(
        "sum[c](X", "sum[c,r](X"
    )
    assert more_than_one(corrected) == {"n": 2}


def test_no_normalisation() -> None:
    assert set(passes(scores("O[m,f] = sigmoid(S[m,n]) * V[n,f]")).values()) == {1}
    assert set(passes(scores("O[m,f] = tanh(S[m,n]) * V[n,f] / N")).values()) == {1}


def test_a_gathered_rank() -> None:
    paged = """\
cascade paged(Q[E], K[P,R,E], V[P,R,F], page[C]: i32) -> O[F]:
    S[c,r] = Q[e] * K[page[c],r,e]
    O[f]   = softmax[c,r](S[c,r]) * V[page[c],r,f]
"""
    assert passes(paged) == {"e": 1, "p": 3, "r": 3, "f": 1, "c": 3}


def test_queries_and_keys_of_one_rank() -> None:
    text = """\
cascade causal(Q[T,E], K[T,E], V[T,F]) -> O[T,F]:
    var s in T
    S[t,s] = Q[t,e] * K[s,e] where s <= t
    O[t,f] = softmax[s](S[t,s]) * V[s,f]
"""
    assert passes(text) == {"t": 3, "e": 1, "f": 1, "s": 3}


# Other reductions


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("O[m,f] = mean[n](S[m,n]) * V[0,f]", 1),
        ("O[m,f] = variance[n](S[m,n]) * V[0,f]", 2),
        ("O[m,f] = l2norm[n](S[m,n], 1e-6) * V[n,f]", 2),
        ("O[m,f] = layernorm[n](S[m,n], 1e-6) * V[n,f]", 3),
        ("O[m,f] = (sum[n](S[m,n] ** 2) / N - mean[n](S[m,n]) ** 2) * V[0,f]", 1),
        ("O[m,f] = sum[n](only(S[m,n], S[m,n] > mean[n](S[m,n]))) * V[0,f]", 2),
        ("O[m,f] = at[n = argmax[n](S[m,n])](V[n,f])", 1),
        ("O[m,f] = logsumexp[n](S[m,n]) * V[0,f]", 2),
        ("O[m,f] = cumsum[n](S[m,n]) * V[n,f]", 1),
        ("O[m,f] = cumsum[n, reverse](S[m,n]) * V[n,f]", 2),
        ("O[m,f] = cummax[n](S[m,n]) * V[n,f]", 1),
        ("O[m,f] = exp(S[m,n] - cummax[n](S[m,n])) * V[n,f]", 1),
        ("O[m,f] = count[n](S[m,n] > 0) * V[0,f]", 1),
    ],
)
def test_reductions(body: str, number: int) -> None:
    assert passes(scores(body))["n"] == number


def test_entropy() -> None:
    written = scores(
        "P[m,n] = softmax[n](S[m,n])",
        "O[m,f] = P[m,n] * V[n,f]",
        "H[m] = -sum[n](P[m,n] * log(P[m,n]))",
        outputs="O[M,F], H[M]",
    )
    assert passes(written)["n"] == 3
    again = scores("P[m,n] = softmax[n](S[m,n])", "O[m,f] = softmax[n](P[m,n]) * V[n,f]")
    assert passes(again)["n"] == 5


def test_two_independent_softmaxes_share_their_passes() -> None:
    text = scores(
        "X[m,n] = K[n,0] * Q[m,0]",
        "O[m,f] = (softmax[n](S[m,n]) - softmax[n](X[m,n])) * V[n,f]",
    )
    assert passes(text)["n"] == 3


def test_a_window_is_no_summary() -> None:
    """A convolution over the keys leaves as many points as there are keys."""
    text = scores(
        "Y[m,n] = sum[w](S[m,n - w] * W[w])",
        "O[m,f] = softmax[n](Y[m,n]) * V[n,f]",
        header="Q[M,E], K[N,E], V[N,F], W[W]",
    )
    assert passes(text)["n"] == 3


def test_a_read_at_a_fixed_place_is_no_pass() -> None:
    text = scores("O[m,f] = S[m,0] * V[n,f]")
    assert passes(text)["n"] == 1


def test_block_routing() -> None:
    """The mean of each block is a summary; choosing among them finishes the first pass."""
    text = (ROOT / "examples/moba.attn").read_text(encoding="utf-8")
    assert passes(text)["s"] == 4


# Recurrences


def test_recurrence() -> None:
    text = """\
cascade recurrence(Q[T,E], K[T,E], V[T,F], gamma: float = 0.9) -> O[T,F]:
    Z[-1,e,f] = 0
    Z[t,e,f]  = gamma * Z[t-1,e,f] + K[t,e] * V[t,f]
    O[t,f]    = Q[t,e] * Z[t,e,f]
"""
    assert passes(text) == {"t": 1, "e": 1, "f": 1}
    last = text.replace("O[T,F]", "O[F]").replace("O[t,f]    = Q[t,e]", "O[f] = Q[0,e]")
    assert passes(last.replace("Z[t,e,f]\n", "Z[T-1,e,f]\n"))["t"] == 1
    final = text.replace("Q[t,e] * Z[t,e,f]", "sum[e](K[t,e] * Z[T-1,e,f])")
    assert passes(final)["t"] == 2


def test_a_running_maximum_is_had_as_it_runs() -> None:
    text = """\
cascade running(A[T]) -> O[T], P[T]:
    R[-1] = -inf
    R[t] = max(R[t-1], A[t])
    O[t] = exp(A[t] - R[t])
    P[t] = exp(A[t] - R[T-1])
"""
    assert passes(text) == {"t": 2}
    assert passes(text.replace("R[T-1]", "R[t]")) == {"t": 1}


def test_delta_rule() -> None:
    """Each step reads a key of its own, twice along e; it does not grow with the steps."""
    text = (ROOT / "examples/delta_rule.attn").read_text(encoding="utf-8")
    assert more_than_one(text) == {"e": 2}
    scaled = text.replace("K[b,h,t,e]", "Y[b,h,t,e]").replace(
        ":\n", ":\n    Y[b,h,t,e] = K[b,h,t,e] * 2\n", 1
    )
    assert more_than_one(scaled) == {"e": 2}


def test_rounds() -> None:
    """Slots compete for the inputs, round after round."""
    text = (ROOT / "examples/slot.attn").read_text(encoding="utf-8")
    text = text.replace("steps: int = 3", "steps: int")
    assert more_than_one(text) == {
        "n": "steps",
        "e": "steps",
        "d": "steps + 1",
        "s": "2*steps + 1",
    }
    for steps in (1, 2, 5):
        found = passes(text, steps=steps)
        assert (found["n"], found["d"], found["s"]) == (steps, steps + 1, 2 * steps + 1)
    fixed = text.replace("in steps", "in 2 * 2").replace("steps-1", "3")
    assert passes(fixed)["s"] == 9
    assert passes(text, steps=0)["n"] == 1


def test_rows_that_read_earlier_rows() -> None:
    text = (ROOT / "examples/triangular.attn").read_text(encoding="utf-8")
    assert set(passes(text).values()) == {1}


# Amounts


def test_matrix_product() -> None:
    text = "cascade product(A[M,K], B[K,N]) -> C[M,N]:\n    C[m,n] = A[m,k] * B[k,n]\n"
    found = explained(text, M=2, K=3, N=5)
    assert found["operations"] == {"formula": "2*K*M*N", "value": 60}
    assert {k: v["value"] for k, v in found["bytes"].items()} == {
        "inputs": 4 * (6 + 15),
        "outputs": 4 * 10,
        "compulsory": 124,
        "traffic": 124,
    }
    assert found["intensity"] == {"compulsory": 0.484, "traffic": 0.484}
    assert found["footprint"] == {"live": {"formula": "0", "value": 0}, "tensors": []}


def test_attention() -> None:
    """Against counts by hand, at sizes that tell the ranks apart."""
    b, h, m, n, e, f = 2, 3, 5, 7, 11, 13
    found = explained(TEXTBOOK, B=b, H=h, M=m, N=n, E=e, F=f)
    points = b * h * m * n
    operations = (
        points * (2 * e + 1)  # scores: multiply, add, divide
        + 1  # sqrt(E)
        + points  # maximum
        + 2 * points  # subtract, exponential
        + points  # denominator
        + points  # division
        + 2 * points * f  # values
    )
    assert found["operations"]["value"] == operations
    q, k, v, o = 4 * b * h * m * e, 4 * b * h * n * e, 4 * b * h * n * f, 4 * b * h * m * f
    s, g = 4 * points, 4 * b * h * m
    assert found["bytes"]["inputs"]["value"] == q + k + v
    assert found["bytes"]["outputs"]["value"] == o
    assert found["bytes"]["compulsory"]["value"] == q + k + v + o
    traffic = (q + k + s) + (s + g) + (s + g + s) + (s + g) + (s + g + s) + (s + v + o)
    assert found["bytes"]["traffic"]["value"] == traffic
    assert found["intensity"]["traffic"] == round(operations / traffic, 3)
    tensors = {t["tensor"]: t["value"] for t in found["footprint"]["tensors"]}
    assert tensors == {"S": s, "G": g, "X": s, "D": g, "A": s}
    # X, D and A, or S, G and X
    assert found["footprint"]["live"]["value"] == 2 * s + g
    assert found["footprint"]["live"]["formula"] == "8*B*H*M*N + 4*B*H*M"


def test_element_types() -> None:
    text = (
        "cascade c(A[N], I[N]: i8, L[N]: i64) -> O[N]: f16:\n"
        "    X[n] = A[n] + I[n]\n    O[n] = X[n] * L[n]\n"
    )
    facts = attnc.check(text).select()
    for dtype, size, held in [("f16", 2, 4), ("bf16", 2, 4), ("f32", 4, 4), ("f64", 8, 8)]:
        found: Any = attnc.explain(facts, {"N": 10}, dtype)
        assert found["written"]["bytes"]["inputs"]["value"] == 10 * (size + 1 + 8)
        assert found["written"]["bytes"]["outputs"]["value"] == 20
        assert found["written"]["footprint"]["live"]["value"] == 10 * held
    with pytest.raises(UsageError, match="no floating type is called 'f8'"):
        attnc.explain(facts, {}, "f8")


def test_sizes_that_are_computed() -> None:
    text = """\
cascade c(A[N], R: int = 4, k: int = 3) -> O[C,R]:
    C = ceildiv(N, R)
    var u in N % 4 + max(k, 1)
    O[c,r] = A[c*R + r] * sum[u](u)
"""
    found: Any = attnc.explain(attnc.check(text).select(), {"N": 10})
    assert found["sizes"] == {"R": 4, "N": 10, "C": 3}
    assert found["missing"] == []
    # the sum over u once, the index apart, and a product at every point
    assert found["written"]["operations"]["value"] == (10 % 4 + 3) + 12
    unknown: Any = attnc.explain(attnc.check(text).select(), {"R": 2})
    assert unknown["missing"] == ["C", "N"]
    for impossible in ({"N": 10, "R": 0}, {"N": 0, "R": 0}, {"N": 0}):
        assert attnc.explain(attnc.check(text).select(), impossible)


def test_graph() -> None:
    found = explained(TEXTBOOK)
    assert [(n["tensor"], n["reads"]) for n in found["graph"]] == [
        ("S", ["Q", "K"]),
        ("G", ["S"]),
        ("X", ["S", "G"]),
        ("D", ["X"]),
        ("A", ["X", "D"]),
        ("O", ["A", "V"]),
    ]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"X": 1}, "'attention' has no size 'X'; sizes: B, H, M, E, N, F"),
        ({"n": 1}, "did you mean 'N'?"),
        ({"S": 1}, "no size 'S'"),
        ({"N": -1}, "the extent N = -1 is negative"),
    ],
)
def test_sizes_that_are_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        attnc.explain(attnc.check(TEXTBOOK).select(), sizes)


def test_a_bound_extent_has_no_size_of_its_own() -> None:
    text = "cascade c(A[H], B[J]) -> O[G]:\n    G = H // J\n    O[g] = A[g] * B[0]\n"
    with pytest.raises(UsageError, match="no size 'G'"):
        attnc.explain(attnc.check(text).select(), {"G": 2})
