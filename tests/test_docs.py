"""What README and docs show is so: their blocks run, and their excerpts are what is emitted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import attnc
from attnc import api, cli
from attnc.ir import printer

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/**/*.md")))]


class Block(NamedTuple):
    """A fenced block: its language, its text, and the spec shown last before it."""

    kind: str
    text: str
    spec: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found, spec = [], ""
    for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        spec = body if kind == "attn" else spec
        found.append(Block(kind, body, spec))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_specs_are_valid(page: str) -> None:
    for block in blocks(page):
        if block.kind == "attn" and "cascade" in block.text:
            assert api.check(block.text).warnings == ()


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page: str, tmp_path: Path) -> None:
    """Commands and Python of a page, in order, in a folder of their own."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    for block in blocks(page):
        command = {"sh": ["sh", "-e"], "python": [sys.executable, "-"]}.get(block.kind)
        if command is not None:
            done = subprocess.run(
                command,
                input=block.text,
                cwd=tmp_path,
                env=environment,
                text=True,
                capture_output=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, block.text + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_excerpts(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Level-1 texts are those of the spec before them; lines of kernels are in its kernel."""
    for block in blocks(page):
        if block.kind != "text" or not block.spec:
            continue
        if re.match(r"cascade \w+\(\w+\[", block.text):
            assert block.text == printer.cascade(api.check(block.spec).select().cascade)
        elif "np." in block.text or "tl." in block.text:
            backend = "numpy" if "np." in block.text else "triton"
            emitted = [
                line.strip() for line in api.compile(block.spec, backend=backend).splitlines()
            ]
            assert _others(block.text, emitted) == []
        elif ") full" in block.text:
            (tmp_path / "it.attn").write_text(block.spec, encoding="utf-8")
            line = ["compile", str(tmp_path / "it.attn"), "-o", str(tmp_path / "it.py")]
            plans = []
            listed = "] at [" in block.text
            for backend in ("triton",) if listed else ("numpy", "triton"):
                for step in ("summary",) if listed else ("ranges", "dead"):
                    assert cli.main([*line, "--backend", backend, "--print-after", step]) == 0
                    plans.append([line.strip() for line in capsys.readouterr().err.splitlines()])
            assert [] in [_others(block.text, plan) for plan in plans]


def _others(text: str, known: list[str]) -> list[str]:
    """The lines of an excerpt that are in no text."""
    lines = [line.strip() for line in text.splitlines()]
    return [x for x in lines if x and x != "..." and x not in known]


@pytest.mark.parametrize("script", ["make_gallery.py", "make_api.py"])
def test_made_pages_are_current(script: str) -> None:
    """`python docs/make_gallery.py` and `python docs/make_api.py` renew them."""
    command = [sys.executable, f"docs/{script}", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_lists_what_is_public() -> None:
    page = (ROOT / "docs" / "api" / "python.md").read_text(encoding="utf-8")
    for name in attnc.__all__:
        assert f"`{name}`" in page or name.startswith("_")
    commands = (ROOT / "docs" / "api" / "command_line.md").read_text(encoding="utf-8")
    assert re.findall(r"## `attnc (\w+)`", commands) == list(cli.COMMANDS)
