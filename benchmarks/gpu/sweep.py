"""The slowest workloads with other tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from benchmarks.gpu.modules import Tiling
from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.workloads import FAMILIES, Workload, arguments

NAME = "sweep"
ROWS, OTHERS, WARPS, STAGES = (64, 128, 256), (32, 64, 128), (4, 8), (2, 3, 4)
PARTS = 12
"""Processes that build the candidates of one workload."""
LENGTH = 4_096
"""Keys of the workloads that are compared, if there are any of that length."""


def tilings(*, dry: bool) -> list[Tiling | None]:
    """All candidates, the module's own choice first."""
    if dry:
        return [None, Tiling(16, 16, 4, 1)]
    every = product(ROWS, OTHERS, WARPS, STAGES)
    found = [Tiling(*one) for one in every if one[0] * one[1] <= 128 * 128 and one[0] != 256]
    found += [Tiling(256, 64, 8, s) for s in STAGES]
    return [None, *found]


def slowest(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Workloads of a benchmark, those first that are furthest behind the best of the others."""
    timed = [r for r in records if r.get("timed") and "median" in r["contestants"]["attnc"]]
    chosen = [r for r in timed if r["workload"]["keys"] == LENGTH] or timed
    chosen = [r for r in chosen if r["workload"]["queries"] > 1 and r["workload"]["kind"] != "f16"]

    def behind(record: Mapping[str, Any]) -> float:
        times = {n: c["median"] for n, c in record["contestants"].items() if "median" in c}
        others = [t for name, t in times.items() if name != "attnc"]
        return -float(times["attnc"] / min(others, default=times["attnc"]))

    return [dict(r["workload"]) for r in sorted(chosen, key=behind)]


def tasks(
    settings: Settings, workloads: Sequence[Mapping[str, Any]], *, warm: bool
) -> Iterator[Task]:
    """One for each workload; `warm`: several, that build a part of the candidates each."""
    for workload in workloads:
        for part in range(1 if settings.dry or not warm else PARTS):
            options = {"workload": dict(workload), "part": part if warm else None}
            yield Task(
                NAME, workload["label"] + (f" part {part}" if warm else ""), settings, options
            )


def items(task: Task) -> list[Tiling | None]:
    """Candidates."""
    found = tilings(dry=task.settings.dry)
    part = task.options["part"]
    return found if part is None else found[part :: 1 if task.settings.dry else PARTS]


def run(task: Task, item: Tiling | None) -> dict[str, Any]:
    """One candidate: its time, registers and spills."""
    return _measured(task, item, timed=task.options["part"] is None)


def _measured(task: Task, tiling: Tiling | None, *, timed: bool) -> dict[str, Any]:
    from benchmarks.gpu.devices import device_of, synchronize
    from benchmarks.gpu.modules import compiled, function, variant
    from benchmarks.gpu.timing import interleaved

    settings, device = task.settings, device_of(task.settings)
    known = {
        k: v for k, v in task.options["workload"].items() if k in Workload.__dataclass_fields__
    }
    w = Workload(**known)
    example = FAMILIES[w.family].example
    call = function(settings, example) if tiling is None else variant(settings, example, tiling)
    tensors, parameters = arguments(w, device)
    call(*tensors, **parameters)
    synchronize(device)
    head: dict[str, Any] = {
        "workload": w.label,
        "tiles": None if tiling is None else asdict(tiling),
    }
    head |= {"timed": timed, "compiled": compiled(call.__globals__)}
    if not timed:
        return head
    times = interleaved(
        {"": lambda: call(*tensors, **parameters)}, device, settings.milliseconds / 4
    )[""]
    return {**head, **asdict(times), "tflops": w.flops / times.median / 1e9}
