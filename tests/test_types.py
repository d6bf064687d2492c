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


def test_every_public_name_has_a_type(installed: Path, tmp_path: Path) -> None:
    found = pyright(installed, tmp_path, "--verifytypes", "attnc", "--ignoreexternal")
    complete = found["typeCompleteness"]
    unknown = [
        s["name"] for s in complete["symbols"] if not s["isTypeKnown"] or s["isTypeAmbiguous"]
    ]
    assert unknown == [], "\n".join(unknown)
    assert complete["completenessScore"] == 1
    assert complete["exportedSymbolCounts"]["withKnownType"] > 1000


def test_a_client_is_strict(installed: Path, tmp_path: Path) -> None:
    """No error, and none of the comments that expect one is in vain; one that is wrong is seen."""
    text = CLIENT.read_text("utf-8")
    wrong = text.replace("kernel.name, str", "kernel.name, int")
    assert wrong != text
    (tmp_path / "client.py").write_text(text, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
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
    place = text[: text.index("kernel.name, str")].count("\n")
    assert seen == [("wrong.py", place)], found["generalDiagnostics"]
    assert found["summary"]["filesAnalyzed"] == 2


def test_a_client_is_strict_for_mypy(installed: Path, tmp_path: Path) -> None:
    """Of transformers, which takes longest, nothing is seen by a client."""
    (tmp_path / "client.py").write_text(CLIENT.read_text("utf-8"), encoding="utf-8")
    config = "[mypy]\nstrict = True\n[mypy-transformers.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(config, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "client.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = [x for x in done.stdout.splitlines() if x.startswith("client.py") and "error" in x]
    assert wrong == [], done.stdout
    assert "checked 1 source file" in done.stdout or "no issues found in 1" in done.stdout
