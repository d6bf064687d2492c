"""Tasks in processes of their own: one that dies, or hangs, loses nothing but its item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.settings import ROOT, Task

PATIENCE: Final = 90.0
"""Seconds in which a worker has to finish an item, the first of them with all imports."""
TRIES: Final = 6
"""How many items of a task may take their process with them."""
RESTART: Final = 3
"""What a worker ends with whose device is lost, after the record of the item that did it."""
Record = dict[str, Any]
Line = Callable[[Task, Path, int], list[str]]


def worker_line(task: Task, out: Path, start: int) -> list[str]:
    """The command that does a task from an item on."""
    command = [sys.executable, "-m", "benchmarks.gpu.worker", str(out), "--start", str(start)]
    return [*command, task.to_json()]


@dataclass(frozen=True)
class Pool:
    """So many processes at once, until a deadline of `time.monotonic`."""

    jobs: int
    deadline: float
    patience: float = PATIENCE
    line: Line = worker_line

    def run(self, tasks: Iterable[Task]) -> list[Record]:
        """All records of all tasks, in their order; what is missing is a record that says so."""
        waiting = list(tasks)
        with ThreadPoolExecutor(max(1, self.jobs)) as threads:
            return [record for found in threads.map(self._task, waiting) for record in found]

    def _task(self, task: Task) -> list[Record]:
        found: list[Record] = []
        for _ in range(TRIES):
            if time.monotonic() >= self.deadline:
                break
            start = _next(found)
            out = _fresh(task)
            problem = self._process(task, out, start)
            found += read_records(out)
            if not problem:
                return found
            if problem == RESTART:
                continue
            head = {"section": task.section, "subject": task.subject}
            if problem == "out of time":
                break
            found.append({**head, "number": _next(found), "error": problem})
        return [*found, {"section": task.section, "subject": task.subject, "unfinished": True}]

    def _process(self, task: Task, out: Path, start: int) -> str | int:
        """Runs a process to its end; why it did not get there, or `RESTART`."""
        paths = {**os.environ, "PYTHONPATH": str(ROOT)}
        log = out.with_suffix(".log")
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                self.line(task, out, start), stdout=file, stderr=file, cwd=ROOT, env=paths
            )
            size, since = 0, time.monotonic()
            try:
                while process.poll() is None:
                    time.sleep(0.02)
                    now = time.monotonic()
                    known = out.stat().st_size if out.exists() else 0
                    if known > size:
                        size, since = known, now
                    if now >= self.deadline:
                        return "out of time"
                    if now - since > self.patience:
                        return f"no answer in {self.patience:.0f} s"
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if process.returncode == 0:
            return ""
        if process.returncode == RESTART:
            return RESTART
        text = log.read_text(encoding="utf-8", errors="replace").strip()
        return f"the process ended with {process.returncode}: {text[-600:]}"


def _next(found: list[Record]) -> int:
    return max((r["number"] for r in found), default=-1) + 1


def _fresh(task: Task) -> Path:
    """A file that no one has written yet."""
    folder = task.settings.scratch
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "_" for c in f"{task.section}_{task.subject}")
    for number in range(1_000):
        path = folder / f"{name}_{number}.jsonl"
        if not path.exists():
            return path
    raise FileExistsError(f"{folder} is full of {name}")


def read_records(path: Path) -> list[Record]:
    """The whole lines of a file that a worker may have been writing when it ended."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return list(_whole(text))


def _whole(text: str) -> Iterator[Record]:
    for line in text.split("\n")[:-1]:
        yield json.loads(line)
