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
    "any seed, POSIX, isolated": Environment(
        "a/b", 0, {"LC_ALL": "POSIX", "TZ": "Pacific/Kiritimati"}, ("-I", "-OO")
    ),
    "seed 2, Turkish": Environment(
        "t", 0o027, {"PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", "TZ": ""}, ("-B",)
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


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, dict[str, bytes]]:
    """All of it, in an ordinary environment."""
    found = everything(tmp_path_factory.mktemp("usual"), USUAL)
    assert len(found[2]) == 2 * len(EXAMPLES) + 1
    return found


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_everywhere(
    tmp_path: Path, usual: tuple[bytes, bytes, dict[str, bytes]], name: str
) -> None:
    environment = OTHERS[name]
    out, err, files = everything(tmp_path, environment)
    assert files == usual[2]
    if environment.variables["LC_ALL"] in ("C", "POSIX"):  # escapes what it cannot encode
        out, err = (text.decode().encode("ascii", "backslashreplace") for text in (out, err))
        usual = tuple(  # type: ignore[assignment]
            text.decode().encode("ascii", "backslashreplace") for text in usual[:2]
        )
    assert out == usual[0]
    assert err == usual[1]
