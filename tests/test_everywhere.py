"""The same bytes under any hash seed, locale, time zone, umask, folder and mode of Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support import EXAMPLES, ROOT

SECONDS: Final = 300


class Environment(NamedTuple):
    """How Python is started."""

    folder: str
    umask: int
    variables: dict[str, str]
    flags: tuple[str, ...] = ()


USUAL: Final = Environment("usual", 0o022, {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"})
OTHERS: Final = {
    "seed 1, C, no UTF-8 mode, -O": Environment(
        "é %s {} \n'",
        0o077,
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Kolkata"},
        ("-O", "-X", "utf8=0"),
    ),
    "any seed, Turkish, isolated, -OO": Environment(
        "a/b", 0, {"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati"}, ("-I", "-OO")
    ),
}


def everything(folder: Path, environment: Environment) -> tuple[bytes, bytes, dict[str, bytes]]:
    """What all commands print, and the files they write."""
    place = folder / environment.folder
    place.mkdir(parents=True)
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    found = subprocess.run(
        [sys.executable, *environment.flags, str(ROOT / "tests" / "everything.py")],
        cwd=place,
        env={**cleared, **environment.variables},
        umask=environment.umask,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    assert found.returncode == 1, found.stderr.decode()
    return found.stdout, found.stderr, {p.name: p.read_bytes() for p in place.iterdir()}


@pytest.mark.slow
def test_the_same_everywhere(tmp_path: Path) -> None:
    """As in an ordinary environment."""
    usual = everything(tmp_path, USUAL)
    assert len(usual[2]) == 2 * len(EXAMPLES[::3]) + 1
    for name, environment in OTHERS.items():
        out, err, files = everything(tmp_path, environment)
        assert files == usual[2], name
        shown = _escaped if environment.variables["LC_ALL"] == "C" else bytes.decode
        assert [shown(out), shown(err)] == [shown(text) for text in usual[:2]], name


def _escaped(text: bytes) -> str:
    """As where not all letters can be encoded."""
    return text.decode().encode("ascii", "backslashreplace").decode()
