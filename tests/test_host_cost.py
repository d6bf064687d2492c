"""What a call costs before a kernel runs does not grow with the length of sequences.

Seeded faults: a mask that is stored, and a length that kernels are compiled for.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.interpreted import INTERPRETER
from tests.support import ROOT
from tests.test_triton import kernel

LENGTHS = (1_000, 1 << 14, 1 << 20)


def costs(text: str, lengths: tuple[int, ...] = LENGTHS) -> list[Any]:
    """Calls of the sliding window; text: its module, or one with a fault."""
    spec = (ROOT / "examples" / "sliding_window.attn").read_text(encoding="utf-8")
    found: list[Any] = INTERPRETER.ask("benchmarks.host_cost", "costs", spec, text, lengths, 1)
    return found


def test_nothing_grows() -> None:
    pytest.importorskip("triton")
    text = kernel("sliding_window").text
    found = costs(text)
    assert [c.length for c in found] == list(LENGTHS)
    assert {c.beyond for c in found} == {0}
    assert len({c.arguments for c in found}) == 1 < found[0].arguments
    assert {c.kernels for c in found} == {1}
    assert max(c.python for c in found) < 1 << 15
    mask = text.replace(
        "    if _programs:\n", "    _here = torch.empty((M, N))\n    if _programs:\n"
    )
    assert [c.beyond for c in costs(mask, LENGTHS[:2])] == [4 * n * n for n in LENGTHS[:2]]
    constant = text.replace(
        "                E=E,\n", "                E=E,\n                LENGTH=N,\n"
    )
    assert [c.kernels for c in costs(constant)] == [1, 2, 3]
