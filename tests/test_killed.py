"""Processes killed at any moment leave whole files: `pytest tests/test_killed.py --kills 1000`.

A third of the kills are aimed: they come within a millisecond of a temporary file being there.
SIGKILL may leave that file behind, Ctrl-C and a termination must not.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from attnc.cache import Store
from tests.processes import SECONDS, command, start
from tests.support import EXAMPLES, ROOT, load
from tests.writers import KEYS, keeps, text, writes_in_place

SPECS = [p for p in EXAMPLES if p.stem in ("dense", "moba")]


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How many processes to kill."""
    return int(request.config.getoption("--kills"))


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], kills: int) -> Callable[[str], None]:
    """Prints what came of a long run."""

    def told(text: str) -> None:
        if kills > 100:
            with capsys.disabled():
                print(f"\n{text}")

    return told


def temporaries(folder: Path) -> set[str]:
    """The temporary files in a folder."""
    return {name for name in os.listdir(folder) if name.endswith(".tmp")}  # noqa: PTH208


def strike(
    process: BaseProcess, number: int, folder: Path, longest: float, rng: random.Random
) -> bool:
    """Kills a process at some moment of its life; whether it was still there."""
    known = temporaries(folder)
    if rng.random() < 1 / 3:
        patience = time.monotonic() + SECONDS
        while process.is_alive() and not temporaries(folder) - known:
            assert time.monotonic() < patience, "no temporary file appears"
        time.sleep(rng.choice((0, rng.uniform(0, 1e-3))))
    else:
        process.join(rng.uniform(0, longest))
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid or 0, number)
    process.join(SECONDS)
    return process.exitcode != 0


def compiled(folder: Path) -> dict[Path, bytes]:
    """What each spec compiles to; both modules run."""
    found = {}
    for spec in SPECS:
        process = start(command, ["compile", str(spec), "-o", str(folder / "out.py")])
        process.join(SECONDS)
        found[spec] = (folder / "out.py").read_bytes()
        load(found[spec].decode(), spec.stem)
    assert len(set(found.values())) == len(SPECS)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_while_compiling(
    tmp_path: Path, kills: int, number: int, tell: Callable[[str], None]
) -> None:
    whole = compiled(tmp_path)
    rng = random.Random(number)
    out = tmp_path / "out.py"
    began = time.monotonic()
    start(command, ["compile", str(SPECS[0]), "-o", str(out)]).join(SECONDS)
    longest = 1.2 * (time.monotonic() - began)
    count: Counter[str] = Counter()
    tries = 0
    while count["kills"] < kills and tries < 20 * kills:
        tries += 1
        before = out.read_bytes()
        spec = next(s for s, data in whole.items() if data != before)
        process = start(command, ["compile", str(spec), "-o", str(out)])
        count["kills"] += strike(process, number, tmp_path, longest, rng)
        after = out.read_bytes()
        count["new"] += after == whole[spec]
        count["torn"] += after not in (before, whole[spec])
        left = temporaries(tmp_path)
        count["left behind"] += len(left)
        for name in left:
            (tmp_path / name).unlink()
    tell(f"compile, {signal.Signals(number).name}: {tries} processes, {dict(count)}")
    assert count["kills"] == kills
    assert count["torn"] == 0
    assert number == signal.SIGKILL or count["left behind"] == 0
    assert 0 < count["new"] < tries
    assert {p.name for p in tmp_path.iterdir()} == {"out.py"}


def test_killed_commands(tmp_path: Path, kills: int, tell: Callable[[str], None]) -> None:
    """The same of the command as a user runs it, from the start of its interpreter."""
    whole = compiled(tmp_path)
    rng = random.Random(0)
    out = tmp_path / "out.py"
    count: Counter[str] = Counter()
    for i in range(max(kills // 10, 5)):
        number = (signal.SIGKILL, signal.SIGTERM)[i % 2]
        before = out.read_bytes()
        spec = next(s for s, data in whole.items() if data != before)
        line = [sys.executable, "-m", "attnc", "compile", str(spec), "-o", str(out)]
        with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE) as process:
            try:
                process.wait(rng.uniform(0, 0.6))
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                count["kills"] += 1
            _, said = process.communicate(timeout=SECONDS)
        assert said == b""
        after = out.read_bytes()
        count["new"] += after == whole[spec]
        count["torn"] += after not in (before, whole[spec])
        left = temporaries(tmp_path)
        count["left behind"] += len(left)
        assert number == signal.SIGKILL or not left
        for name in left:
            (tmp_path / name).unlink()
    tell(f"commands: {dict(count)}")
    assert count["kills"] > 0
    assert count["torn"] == 0


def whole_entries(store: Store) -> Iterator[bool]:
    """Whether each entry that is there is whole."""
    for n, name in enumerate(KEYS):
        if (store.folder / f"{name}.entry").exists():
            found = store.get(name)
            yield found is not None and found == text(n, int(found[2]))


def test_killed_while_it_keeps(tmp_path: Path, kills: int, tell: Callable[[str], None]) -> None:
    store = Store(tmp_path / "cache")
    store.put(KEYS[0], text(0, 0))
    rng = random.Random(0)
    count: Counter[str] = Counter()
    for seed in range(kills):
        process = start(keeps, store.folder, seed)
        count["kills"] += strike(process, signal.SIGKILL, store.folder, 0.1, rng)
        seen = list(whole_entries(store))
        count["whole"] += sum(seen)
        count["torn"] += seen.count(False)
    left = temporaries(store.folder)
    count["left behind"] = len(left)
    for path in store.folder.iterdir():
        os.utime(path, (0, 0))
    store.put(KEYS[0], text(0, 0))
    count["left behind after a sweep"] = len(temporaries(store.folder))
    tell(f"cache: {dict(count)}")
    assert count["kills"] == kills
    assert count["torn"] == 0
    assert count["whole"] >= kills
    assert count["left behind"] > 0  # some kills hit a write
    assert count["left behind after a sweep"] == 0


# What the tests would see


def test_a_writer_in_place_is_caught(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.put(KEYS[0], text(0, 0))
    rng = random.Random(0)
    torn = 0
    for seed in range(50):
        process = start(writes_in_place, store.folder, seed)
        strike(process, signal.SIGKILL, store.folder, 0.1, rng)
        torn += not all(whole_entries(store))
    assert torn > 5
