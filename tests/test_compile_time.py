"""How long `attnc compile` takes for devices, in seconds of a processor: bounds three times wide.

`python benchmarks/compile_time.py --most 0` measures all examples.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

COLD = 3.0
KEPT = 0.9


def spent(name: str, folder: Path) -> float:
    """What a whole process takes that compiles an example; the cache is in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = ["compile", str(ROOT / "examples" / f"{name}.attn"), "--backend", "triton"]
    subprocess.run(
        [sys.executable, "-m", "attnc", *line],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ATTNC_CACHE": str(folder)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", ["gqa_causal", "multi_token", "paged_decode"])
def test_a_text_for_devices_is_soon_there(name: str, tmp_path: Path) -> None:
    cold, kept = (spent(name, tmp_path) for _ in range(2))
    assert cold < COLD
    assert kept < KEPT
    assert kept < cold / 2
