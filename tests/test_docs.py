"""What README and docs show is so: their blocks run, and their excerpts are what is emitted."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import attnc
from attnc import api, cli
from attnc.ir import printer
from attnc.ir.facts import Facts
from tests.shown import explained, make_gallery

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
def test_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and Python of a page, in order, in a folder of their own."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.kind in ("sh", "python"):
            run(block, alone=page == "README.md" or "os.environ" in block.text)


@pytest.mark.parametrize("alone", [True, False])
def test_blocks_that_fail_are_seen(
    alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, text in (
        ("sh", "mkdir -p a\nattnc check a/missing.attn\n"),
        ("sh", "true\nfalse\ntrue\n"),
        ("python", "import re\nassert 1 == 2\n"),
        ("python", "import missing_here\n"),
    ):
        with pytest.raises((AssertionError, ImportError)):
            run(Block(kind, text, ""), alone=alone)


def run(block: Block, *, alone: bool) -> None:
    """Runs a block in the current folder; `alone`: as a reader would, in a process of its own.

    What only runs `attnc`, and Python, needs no other process, which would import torch and TVM.
    """
    words = simple(block.text) if block.kind == "sh" else None
    if alone or (block.kind == "sh" and words is None):
        command = ["sh", "-e"] if block.kind == "sh" else [sys.executable, "-"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            input=block.text,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, block.text + done.stderr
    elif words is None:
        with imports_kept():
            exec(compile(block.text, "<stdin>", "exec"), {"__name__": "__main__"})
    else:
        for first, *rest in words:
            if first == "mkdir":
                Path(rest[-1]).mkdir(parents=True, exist_ok=True)
            else:
                assert cli.main(rest) == 0, rest


def simple(text: str) -> list[list[str]] | None:
    """The words of each line, if all make folders or run `attnc`, and nothing else."""
    lines = text.replace("\\\n", " ").splitlines()
    if re.search(r"[|&;<>$`*?#]", text) or not all(
        line.startswith(("attnc ", "mkdir -p ")) for line in lines
    ):
        return None
    return [shlex.split(line) for line in lines]


@contextmanager
def imports_kept() -> Iterator[None]:
    """What can be imported, and what was from the current folder, is as before."""
    path, known = [*sys.path], {*sys.modules}
    try:
        yield
    finally:
        sys.path[:] = path
        for name in {*sys.modules} - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).resolve().parent == Path.cwd():
                del sys.modules[name]


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


@pytest.mark.slow
def test_the_gallery_is_current(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python docs/make_gallery.py` renews it; what is not as it should be is told."""

    def known(facts: Facts, sizes: object, dtype: str, _: object) -> dict[str, Any]:
        assert (sizes, dtype) == (make_gallery.sizes_of(facts), "f32")
        return explained(facts.cascade.name)

    monkeypatch.setattr(make_gallery, "explain", known)
    read = cache(make_gallery.read)
    monkeypatch.setattr(make_gallery, "read", read)
    assert make_gallery.main(["--check"]) == 0, capsys.readouterr().out
    monkeypatch.setattr(make_gallery, "table", lambda _: "")
    assert make_gallery.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("README.md is not current: run python docs/make_")


def test_the_reference_is_current() -> None:
    """`python docs/make_api.py` renews it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "docs/make_api.py", "--check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_lists_what_is_public() -> None:
    page = (ROOT / "docs" / "api" / "python.md").read_text(encoding="utf-8")
    for name in attnc.__all__:
        assert f"`{name}`" in page or name.startswith("_")
    commands = (ROOT / "docs" / "api" / "command_line.md").read_text(encoding="utf-8")
    assert re.findall(r"## `attnc (\w+)`", commands) == list(cli.COMMANDS)
