"""Loads what attnc loads late, in the process that tests fork: its children start at once."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from attnc.cli import main

SPEC = "cascade a(X[T]) -> O[T]:\n    O[t] = softmax[t](X[t])\n"


with (
    tempfile.TemporaryDirectory() as name,
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()),
):
    path = Path(name, "spec.attn")
    path.write_text(SPEC)
    assert main(["compile", str(path), "-o", str(path.with_suffix(".py"))]) == 0
    path.write_text(f"{SPEC}\x1b")  # a character that is escaped when it is shown
    assert main(["check", str(path)]) == 1
