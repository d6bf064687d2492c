"""The bounds that the documentation states are those that hold."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from attnc.grammar import syntax

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| [^|]+ \| ([\d,]+) \| `([\w.]+)\.(\w+)` \|$", re.MULTILINE)


def bounds() -> list[tuple[str, str, int]]:
    """Module, constant and value of each row."""
    page = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    return [(m[2], m[3], int(m[1].replace(",", ""))) for m in ROW.finditer(page)]


@pytest.mark.parametrize(("module", "constant", "value"), bounds())
def test_bounds(module: str, constant: str, value: int) -> None:
    assert getattr(importlib.import_module(module), constant) == value


def test_every_limit_of_the_language_is_stated() -> None:
    limits = {name: value for name, value in vars(syntax).items() if name.startswith("MAX_")}
    assert len(limits) >= 9
    stated = {name: value for module, name, value in bounds() if module == syntax.__name__}
    assert stated == limits


def test_the_reference_states_the_same() -> None:
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    table = page.split("\n## Limits\n")[1].split("\n## ")[0]
    rows = re.findall(r"\| ([\d,]+)\b[^|⁶]*\|$", table, re.MULTILINE)
    numbers = sorted(int(n.replace(",", "")) for n in rows)
    assert numbers == sorted(v for k, v in vars(syntax).items() if k.startswith("MAX_"))
