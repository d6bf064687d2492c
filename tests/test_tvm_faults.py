"""Faults seeded into emitted kernels for CPUs: each is noticed by what the other tests check.

A fault of the printing is a wrong piece of the text that it makes. One is put there for it, and the
bound that judges `test_tvm.py` has to refuse the result. None of them reads or writes outside of
tensors, where anything may happen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from tests.acceptance.judge import judge
from tests.built import Built, built
from tests.test_gallery import facts

FAULTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "the last key of each query left out": (
        "causal",
        r"n0 \+ n <= (m0 \+ m)",
        r"n0 + n < \1",
    ),
    "full tiles begin a tile late": (
        "causal",
        r"T\.serial\(T\.int64\(0\), n_full",
        "T.serial(T.int64(N_TILE), n_full",
    ),
    "a tile more is full": (
        "causal",
        r"n_low // N_TILE \* N_TILE",
        r"n_low // N_TILE * N_TILE + N_TILE",
    ),
    "partial tiles end a tile early": ("causal", r"(n_end: T\.int64 = [^\n]*)", r"\1 - N_TILE"),
    "the maximum is not carried": (
        "causal",
        r"\n +for m in _each\(M_TILE\):\n +o_max\[m\] = x_max\[m\]",
        "",
    ),
    "products are not brought to the new maximum": (
        "causal",
        r"o_max_new_u\[m\] \* o_sum_2\[f, m\]",
        "o_sum_2[f, m]",
    ),
    "sums are not brought to the new maximum": (
        "causal",
        r"o_max_new_u\[m\] \* o_sum\[m\]",
        "o_sum[m]",
    ),
    "the first program is claimed twice, the last never": (
        "causal",
        r"program: T\.let = turn\[0\]",
        "program: T.let = T.max(turn[0] - 1, 0)",
    ),
    "rows without a key are divided": (
        "causal",
        r"_where\(M <= m0 \+ m \+ N, ([^\n]*), 0\)",
        r"\1",
    ),
    "query heads read the wrong key head": (
        "gqa_causal",
        r"T\.truncdiv\((.{1,12}), G\)",
        r"T.truncmod(\1, G)",
    ),
    "an exponential has four digits": ("causal", r"0\.11100657284259796", "0.1105"),
    "a lane more is not there": ("causal", r"if m0 \+ m < M:", "if m0 + m < M - 1:"),
}
"""What it is, the example, what is looked for in its text, and what stands there instead."""


def wrong(name: str) -> tuple[str, Built]:
    """The example of a fault, and its kernels with that."""
    example, old, new = FAULTS[name]
    right = built(facts(example))
    text, count = re.subn(old, new, right.text)
    assert count, f"{name}: the text has no such place"
    return example, Built(right.facts, text)


def shown(example: str, run: Built) -> bool:
    """Whether the bound refuses a call: with more keys than queries, or with fewer."""
    rng = np.random.default_rng(5)
    for queries, keys in ((37, 41), (41, 37)):
        inputs = {
            "Q": rng.standard_normal((2, 4, queries, 8), np.float32),
            "K": rng.standard_normal((2, 4, keys, 8), np.float32),
            "V": rng.standard_normal((2, 4, keys, 5), np.float32),
        }
        if example == "gqa_causal":  # two heads share one
            inputs |= {"K": inputs["K"][:, :2], "V": inputs["V"][:, :2]}
        (found,) = run(inputs, {}, tile=4)
        verdict = judge(
            facts(example), inputs, {}, found, matrix_type="f32", tiles=None, undecided=0.02
        )
        if not verdict.ok:
            return True
    return False


def test_faults_show() -> None:
    """Each, and nothing where there is none."""
    assert not any(shown(example, built(facts(example))) for example in ("causal", "gqa_causal"))
    assert [name for name in FAULTS if not shown(*wrong(name))] == []
