"""Texts of passes on cascades: what each makes of a spec.

Each case of `passes/<pass>/` is a cascade; its golden is the cascade after that pass, with remarks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import attnc
from attnc.compilation import verify
from attnc.ir import printer
from attnc.ir.facts import Facts
from attnc.passes.algebra.pipeline import ALGEBRA
from attnc.passes.algebra.program import Pass, Remark
from tests import examples, golden

FOLDER = Path(__file__).parent / "passes"
PASSES: dict[str, Pass] = {p.name: p for p in ALGEBRA}
CASES = [(f.parent.name, f.stem) for f in sorted(FOLDER.glob("*/*.attn"))]


def checked(text: str) -> Facts:
    return attnc.check(text).select()


@pytest.mark.parametrize(("name", "case"), CASES)
def test_text(name: str, case: str, renew: bool) -> None:
    facts = checked((FOLDER / name / f"{case}.attn").read_text(encoding="utf-8"))
    remarks: list[Remark] = []
    found = PASSES[name](facts, remarks.append)
    verify(PASSES[name], facts, found)
    told = "".join(f"# {r.tensor}: {r.text}\n" for r in remarks)
    golden.compare(f"passes/{name}", case, told + printer.cascade(found.cascade), renew, ".attn")


@pytest.mark.parametrize("name", PASSES)
def test_no_orphans(name: str, renew: bool) -> None:
    cases = [case for other, case in CASES if other == name]
    if renew:
        golden.prune(f"passes/{name}", cases, ".attn")
    assert golden.orphans(f"passes/{name}", cases, ".attn") == []
    assert cases


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("example", examples.NAMES)
def test_nothing_is_left_to_do(example: str, name: str) -> None:
    """A second run of a pass gives the same object."""
    once = PASSES[name](checked(examples.text(example)))
    assert PASSES[name](once) is once


SAME = """
import sys
import attnc
from attnc.compilation import Dump, algebra
from attnc.passes.algebra.pipeline import ALGEBRA
for path in sys.argv[1:]:
    dump = Dump(frozenset(p.name for p in ALGEBRA), print)
    algebra(attnc.check(open(path).read()).select(), after=dump.after, tell=dump.tell)
"""


def test_the_same_text_in_every_process() -> None:
    """Neither texts nor remarks depend on the order of sets."""
    names = ("nystrom", "native_sparse", "differential", "performer")
    paths = [str(examples.FOLDER / f"{name}.attn") for name in names]
    paths += [str(p) for p in sorted((FOLDER / "order").glob("*.attn"))]
    found = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONPATH": str(examples.ROOT), "PYTHONHASHSEED": seed}
        line = [sys.executable, "-c", SAME, *paths]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert "# after order" in found.pop()


# The page


def sections() -> Iterator[Any]:
    """The passes of docs/passes.md with their texts before and after."""
    page = (examples.ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    for part in page.split("\n## ")[1:]:
        found = re.findall(r"^```attn\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
        if part.startswith("`"):
            yield pytest.param(part.split("`")[1], *found, part, id=part.split("`")[1])


@pytest.mark.parametrize(("name", "before", "after", "text"), list(sections()))
def test_page(name: str, before: str, after: str, text: str) -> None:
    remarks: list[Remark] = []
    found = PASSES[name](checked(before), remarks.append)
    assert printer.cascade(found.cascade) == after
    for shown in re.findall(r"^```text\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE):
        assert shown in [f"{r.tensor} {r.text}" for r in remarks]


def test_page_lists_the_passes() -> None:
    page = (examples.ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    assert "  ".join(p.name for p in ALGEBRA) in page
    assert re.findall(r"^## `(\w+)`$", page, re.MULTILINE) == list(dict.fromkeys(PASSES))
