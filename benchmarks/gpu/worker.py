"""One task: each of its items, and a line of JSON for each.

python -m benchmarks.gpu.worker FILE [--start ITEM] TASK
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.gpu.pool import RESTART
from benchmarks.gpu.settings import Task

WORDS = 800
"""Characters of an error that are kept."""


def section(name: str) -> ModuleType:
    """The module of a section."""
    from benchmarks.gpu import edges, gallery, machine, sparse, speed, steady, sweep

    modules = {m.NAME: m for m in (machine, gallery, steady, edges, sparse, speed, sweep)}
    return modules[name]


def records(task: Task, start: int = 0) -> Iterator[dict[str, Any]]:
    """Does the items of a task in this process. After what a device does not forget, it stops."""
    module = section(task.section)
    head = {"section": task.section, "subject": task.subject}
    for number, item in enumerate(module.items(task)):
        if number < start:
            continue
        began = time.perf_counter()
        found = attempted(partial(module.run, task, item))
        spent = round(time.perf_counter() - began, 3)
        yield {**head, "number": number, "item": str(item), **found, "seconds": spent}


def attempted(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it finds, or how it failed: whatever a kernel raises is a finding."""
    try:
        return run()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}"[:WORDS]
        return {"error": text, "where": f"{Path(where.filename).name}:{where.lineno}"}


def plain(value: Any) -> Any:
    """JSON has no numbers that are not finite: they are written as texts."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def healthy(task: Task) -> bool:
    """Whether the device still answers."""
    from benchmarks.gpu.devices import device_of, synchronize

    def wait() -> dict[str, Any]:
        synchronize(device_of(task.settings))
        return {}

    return "error" not in attempted(wait)


def main() -> int:
    """Does a task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("task")
    options = parser.parse_args()
    # Many workers compile at once: none of them needs workers of its own.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    task = Task.from_json(options.task)
    with options.out.open("a", encoding="utf-8") as file:
        for record in records(task, options.start):
            file.write(json.dumps(plain(record)) + "\n")
            file.flush()
            if not healthy(task):
                print("the device does not answer any more")
                return RESTART
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
