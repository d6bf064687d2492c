"""What the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.settings import Settings, Task

NAME = "machine"


def tasks(settings: Settings) -> Iterator[Task]:
    """One."""
    yield Task(NAME, "about", settings)


def items(task: Task) -> list[str]:
    """One."""
    return ["about"]


def run(task: Task, item: str) -> dict[str, Any]:
    """The device and the versions."""
    from benchmarks.gpu.devices import environment

    return dict(environment(task.settings))
