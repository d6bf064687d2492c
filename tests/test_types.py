"""Types as a user's checker sees them: the installed package, and a program that uses it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

CLIENT = ROOT / "tests" / "client" / "client.py"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it is installed, from a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (
        "attnc",
        "grammar",
        "passes",
        "backends",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
        elif source.exists():
            shutil.copy(source, tree)
    place = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    subprocess.run([*command, "--no-index", "--target", str(place), str(tree)], check=True)
    return place


def pyright(installed: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """What pyright reports when the package is installed there."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        pytest.skip(f"pyright does not run here: {(done.stdout + done.stderr)[-300:]}")
    return found


def clients(folder: Path) -> list[int]:
    """Writes the program and one with two faults there; the lines that are wrong, from 0."""
    text = CLIENT.read_text("utf-8")
    wrong, places = text, []
    for right in ("(attention(x, x, x, window=3), Tensor", "(kernel.name, str"):
        assert text.count(right) == 1
        wrong = wrong.replace(right, right.rpartition(" ")[0] + " int")
        places.append(text[: text.index(right)].count("\n"))
    (folder / "client.py").write_text(text, encoding="utf-8")
    (folder / "wrong.py").write_text(wrong, encoding="utf-8")
    return places


@pytest.mark.slow
def test_every_public_name_has_a_type(installed: Path, tmp_path: Path) -> None:
    found = pyright(installed, tmp_path, "--verifytypes", "attnc", "--ignoreexternal")
    complete = found["typeCompleteness"]
    unknown = [
        s["name"] for s in complete["symbols"] if not s["isTypeKnown"] or s["isTypeAmbiguous"]
    ]
    assert unknown == [], "\n".join(unknown)
    assert complete["completenessScore"] == 1
    assert complete["exportedSymbolCounts"]["withKnownType"] > 1000


@pytest.mark.slow
def test_a_client_is_strict(installed: Path, tmp_path: Path) -> None:
    """No error, and none of the comments that expect one is in vain; one that is wrong is seen."""
    places = clients(tmp_path)
    config = {
        "typeCheckingMode": "strict",
        "include": ["client.py", "wrong.py"],
        "enableTypeIgnoreComments": False,  # those are mypy's
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    found = pyright(installed, tmp_path)
    seen = [
        (Path(d["file"]).name, d["range"]["start"]["line"]) for d in found["generalDiagnostics"]
    ]
    assert seen == [("wrong.py", place) for place in places], found["generalDiagnostics"]
    assert found["summary"]["filesAnalyzed"] == 2


@pytest.mark.slow
def test_a_client_is_strict_for_mypy(installed: Path, tmp_path: Path) -> None:
    """Of torch, a client sees tensors alone; bodies of functions that are installed are not read,
    as mypy does with packages (those of attnc `make check` reads)."""
    places = clients(tmp_path)
    config = """\
[mypy]
strict = True
[mypy-attnc.*]
ignore_errors = True
[mypy-transformers.*,sympy.*,torch.*]
follow_imports = skip
[mypy-torch,torch._C,torch._tensor]
follow_imports = normal
"""
    (tmp_path / "mypy.ini").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull]
    done = subprocess.run(
        [*command, "client.py", "wrong.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    *seen, told = done.stdout.splitlines()
    expected = [f"wrong.py:{place + 1}: error: Expression is of type" for place in places]
    assert len(seen) == len(expected), done.stdout
    assert all(line.startswith(start) for line, start in zip(seen, expected, strict=True)), seen
    assert told == "Found 2 errors in 1 file (checked 2 source files)"
