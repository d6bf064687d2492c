"""Workloads beside all others that can do them, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.store import read_index
from benchmarks.gpu.workloads import FAMILIES, Workload, arguments, workloads

NAME = "speed"
OURS = "attnc"
APART = 2**-6
"""How far results of others may be from ours, in the largest element."""


def tasks(settings: Settings, *, warm: bool) -> Iterator[Task]:
    """One for each family; `warm`: one for each head size and type, which times nothing."""
    examples = read_index(settings.kernels).examples
    for family, found in FAMILIES.items():
        if found.example not in examples or examples[found.example].refused:
            continue
        if not warm:
            yield Task(NAME, family, settings)
            continue
        kinds = dict.fromkeys((w.kind, w.size) for w in workloads(family, dry=settings.dry))
        for kind, size in kinds:
            options = {"family": family, "kind": kind, "size": size}
            yield Task(NAME, f"{family} {kind} {size}", settings, options)


def items(task: Task) -> list[Workload]:
    """The workloads."""
    only = task.options
    found = list(workloads(only.get("family", task.subject), dry=task.settings.dry))
    if not only:
        return found
    return [w for w in found if (w.kind, w.size) == (only["kind"], only["size"])]


def run(task: Task, item: Workload) -> dict[str, Any]:
    """Builds all contestants, and calls them once; then times them, alone on the device.

    While others are timed, a single call goes unnoticed: medians are taken.
    """
    return _measured(task, item, timed=not task.options)


def _measured(task: Task, w: Workload, *, timed: bool) -> dict[str, Any]:
    import torch

    from benchmarks.gpu.devices import alone, device_of
    from benchmarks.gpu.modules import function
    from benchmarks.gpu.rivals import Rival, rivals
    from benchmarks.gpu.timing import interleaved

    settings, device = task.settings, device_of(task.settings)
    tensors, parameters = arguments(w, device)
    kernel = function(settings, FAMILIES[w.family].example)
    found = {OURS: Rival(lambda: lambda: kernel(*tensors, **parameters))}
    found |= rivals(w, tensors, dry=settings.dry, tutorial=settings.tutorial)
    calls: dict[str, Callable[[], Any]] = {}
    results: dict[str, dict[str, Any]] = {}
    ours: Any = None
    with torch.no_grad():
        for name, rival in found.items():
            results[name], call, result = built(rival.build, device)
            results[name]["same"] = rival.same
            if call is None:
                continue
            calls[name] = call
            if name == OURS:
                ours = result
            elif rival.same and ours is not None:
                results[name]["apart"] = apart(ours, result)
        if timed:
            with alone(settings):
                measured = interleaved(calls, device, settings.milliseconds)
            for name, times in measured.items():
                rate = w.flops / times.median / 1e9
                results[name] |= {
                    **asdict(times),
                    "tflops": rate,
                    "gbs": w.bytes / times.median / 1e6,
                }
    if device.type == "cuda":
        torch.cuda.empty_cache()
    near = all(one.get("apart", 0) <= APART for one in results.values())
    ok = near and "error" not in results[OURS]
    return {"workload": w.to_dict(), "timed": timed, "contestants": results, "ok": ok}


def built(build: Callable[[], Callable[[], Any]], device: Any) -> tuple[dict[str, Any], Any, Any]:
    """Seconds until a first result, the call, and that result."""
    from benchmarks.gpu.devices import outputs, synchronize
    from benchmarks.gpu.worker import attempted

    kept: list[Any] = []

    def first() -> dict[str, Any]:
        start = time.perf_counter()
        call = build()
        result = outputs(call())[0]
        synchronize(device)
        kept.extend((call, result))
        return {"build": time.perf_counter() - start}

    found = attempted(first)
    return (found, *kept) if kept else (found, None, None)


def apart(a: Any, b: Any) -> float:
    """The largest difference of two results, in the largest element."""
    return float((a.float() - b.float()).abs().max() / b.float().abs().max())
