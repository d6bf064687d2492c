"""The fuzzer runs, and would find a fault; `make fuzz` runs it for longer."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attnc.errors import Report, Source
from attnc.grammar.parser import logical
from tests.support import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="the fuzzer, atheris, is not installed"
)

TOKENS = ROOT / "tests" / "fuzz" / "tokens.dict"


def fuzz(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A short run with its files in a folder of its own."""
    program = (
        "import sys, pathlib; import tests.fuzz.__main__ as fuzz; "
        f"fuzz.FOLDER = pathlib.Path({str(folder)!r}); {code}"
    )
    line = [sys.executable, "-c", program, *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_the_fuzzer_runs(tmp_path: Path) -> None:
    found = fuzz(tmp_path, "fuzz.main(sys.argv[1:])", "-runs=400", "-max_total_time=5")
    assert found.returncode == 0, found.stderr[-2000:]
    assert "Done" in found.stderr
    reached = [int(n) for n in re.findall(r"cov: (\d+)", found.stderr)]
    assert reached[-1] > 1000  # places of attnc


def test_the_fuzzer_finds_a_fault(tmp_path: Path) -> None:
    code = "fuzz.main(sys.argv[1:], lambda data: 1 // (b'softmax' not in data))"
    found = fuzz(tmp_path, code, "-runs=1000", "-max_total_time=30")
    assert found.returncode != 0
    assert "ZeroDivisionError" in found.stdout + found.stderr
    (crash,) = tmp_path.glob("crash-*")
    assert b"softmax" in crash.read_bytes()


def test_the_dictionary_is_of_tokens() -> None:
    lines = TOKENS.read_text(encoding="ascii").splitlines()
    words = [line[1:-1] for line in lines if line.startswith('"')]
    assert len(words) == len(set(words)) == len(lines) - 1
    report = Report(Source("tokens", " ".join(w for w in words if "\\" not in w and w.isalnum())))
    assert logical(report)
    assert report.found == []
