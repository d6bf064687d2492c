"""Rows that kernels for CPUs ask for ahead are those that the thread's next program copies.

Results do not depend on what is asked for, so the lines that tell where it lies are run here.
"""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

import attnc
from attnc.api import Device, emit
from attnc.modules import function_of
from tests.test_gallery import facts

WORKERS = 3


def value(text: str, name: str, **known: object) -> int:
    """What a line of a kernel gives a name."""
    found = re.search(rf"( +){name}: T\.\w+ = (.*?)\n(?=\1[\w@])", text, re.DOTALL)
    assert found is not None
    known |= {"T": SimpleNamespace(truncmod=math.fmod, min=min, max=max), "workers": WORKERS}
    exec(f"found = {found[2]}", known)
    return int(float(str(known["found"])))


def right(text: str) -> bool:
    """Whether rows of queries are those of the program that is as many further as there are
    threads, and keys move as far as the end of those that may be seen."""
    known = {"M_TILE": 64, "LANES": 16, "M": 640, "N": 740}
    starts = [value(text, "m0", program=p, m_count=10, **known) for p in range(10)]
    moves = [value(text, "m_ahead", m0=start, **known) for start in starts]
    right = all(a + b == c for a, b, c in zip(starts, moves, starts[WORKERS:], strict=False))
    if "n_ahead" not in text:
        return right
    ends = [value(text, "n_end_part", part=0, m0=start, **known) for start in starts]
    there = [value(text, "n_end_ahead", m0=start, **known) for start in starts]
    return right and there[:-WORKERS] == ends[WORKERS:]


@pytest.mark.parametrize(("name", "rows"), [("dense", 1), ("causal", 3)])
def test_rows_of_the_next_program(name: str, rows: int) -> None:
    text = emit(facts(name), backend="tvm", dtype=None, static={}, device=Device())
    text = text[text.index("def _k0(") : text.index("def _few0(")]
    assert text.count("_ask(") == rows
    assert right(text)
    for sign, other in ("-+", "+-"):
        assert f"m0 {other} M_TILE * workers" not in text or not right(
            text.replace(f"m0 {other} M_TILE", f"m0 {sign} M_TILE")
        )


GATHERED = """cascade gathered(Q[M,E], K[C,E], at[N]: i32) -> D[N]:
    D[n] = sum[m](sigmoid(sum[e](Q[m,e] * K[at[n],e])))
"""


def test_rows_that_are_looked_up() -> None:
    """Where those of the next program lie is not known before it has looked."""
    rng = np.random.default_rng(0)
    queries, keys = rng.standard_normal((2, 20, 8))
    places = rng.integers(-1, 21, 40, np.int32)
    text = attnc.compile(GATHERED, backend="tvm")
    found = function_of(text, "gathered tvm")(queries, keys, places)
    expected = function_of(attnc.compile(GATHERED), "gathered")(queries, keys, places)
    np.testing.assert_allclose(found, expected, 1e-12, 1e-12)
    assert text[: text.index("def _few0(")].count("_ask(") == 0
