"""The same bits again and again, whatever runs beside; other stages, other warps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.store import FACTOR, compare, expected_of, inputs_of, read_index

NAME = "steady"
STAGES = (1, 2, 3, 4)
WARPS = (4, 8)
STREAMS = 2
POINTS = 64
"""Points of a piece."""


def tasks(settings: Settings) -> Iterator[Task]:
    """One for each example."""
    for name, example in read_index(settings.kernels).examples.items():
        if example.cases:
            yield Task(NAME, name, settings)


def items(task: Task) -> list[str]:
    """The checks, by name; those of other tiles need a choice of tiles."""
    tiles = [f"stages {n}" for n in STAGES] + [f"warps {n}" for n in WARPS]
    return ["repeat", "pieces", "streams", *tiles]


def run(task: Task, item: str) -> dict[str, Any]:
    """One check of the most real case of an example."""
    word, _, number = item.partition(" ")
    if word == "repeat":
        return _repeat(task)
    if word == "pieces":
        return _pieces(task)
    if word == "streams":
        return _streams(task)
    return _tiled(task, word, int(number))


@cache
def _call(task: Task) -> tuple[int, list[Any]]:
    """The case that is repeated, and its tensors."""
    from benchmarks.gpu.devices import device_of, to_device

    settings = task.settings
    example = read_index(settings.kernels).examples[task.subject]
    fit = [i for i, c in enumerate(example.cases) if not settings.dry or c.kind != "bf16"]
    number = next((i for i in fit if example.cases[i].wide), fit[0])
    arrays = inputs_of(settings.kernels, task.subject, number)
    types = example.cases[number].types
    device = device_of(settings)
    return number, [to_device(arrays[name], types[name], device) for name in example.inputs]


def _runner(task: Task, function: Callable[..., Any]) -> Callable[[], tuple[Any, ...]]:
    from benchmarks.gpu.devices import outputs

    number, tensors = _call(task)
    parameters = read_index(task.settings.kernels).examples[task.subject].cases[number].parameters
    return lambda: outputs(function(*tensors, **parameters))


def _first(task: Task) -> Callable[[], tuple[Any, ...]]:
    from benchmarks.gpu.modules import function

    return _runner(task, function(task.settings, task.subject))


def _repeat(task: Task) -> dict[str, Any]:
    """Again, after memory that will be used was filled with NaN."""
    from benchmarks.gpu.devices import device_of, dirty, same_bits, synchronize

    call, device = _first(task), device_of(task.settings)
    first = call()
    other = 0
    for _ in range(task.settings.repeats):
        dirty(first, 12 if task.settings.dry else 27)
        other += not all(same_bits(a, b) for a, b in zip(first, call(), strict=True))
    synchronize(device)
    return {"times": task.settings.repeats, "different": other, "ok": other == 0}


def _pieces(task: Task) -> dict[str, Any]:
    """Again, with streams in pieces, where there are kernels for that."""
    from benchmarks.gpu.modules import module, pieces

    points = 8 if task.settings.dry else POINTS
    with pieces(module(task.settings, task.subject), points) as able:
        return _repeat(task) if able else {"skipped": "there are none"}


def _streams(task: Task) -> dict[str, Any]:
    """On several streams at once."""
    import torch

    from benchmarks.gpu.devices import device_of, same_bits, synchronize

    call, device = _first(task), device_of(task.settings)
    first = call()
    synchronize(device)
    found: list[tuple[Any, ...]] = []
    if device.type == "cuda":
        streams = [torch.cuda.Stream() for _ in range(STREAMS)]
        for turn in range(task.settings.repeats):
            with torch.cuda.stream(streams[turn % STREAMS]):
                found.append(call())
    else:
        found += [call() for _ in range(STREAMS)]
    synchronize(device)
    other = sum(not all(map(same_bits, first, one)) for one in found)
    return {"times": len(found), "different": other, "ok": other == 0}


def _tiled(task: Task, word: str, number: int) -> dict[str, Any]:
    """With another depth of the pipeline, the same bits; with other warps, within the bound."""
    from benchmarks.gpu.devices import device_of, same_bits, synchronize, to_numpy
    from benchmarks.gpu.modules import Tiling, variant

    settings, device = task.settings, device_of(task.settings)
    smallest = Tiling(rows=32, others=32, warps=4, stages=2)
    values = {"rows": 32, "others": 32, "warps": 4, "stages": 2, word: number}
    try:
        base = _runner(task, variant(settings, task.subject, smallest))()
        other = _runner(task, variant(settings, task.subject, Tiling(**values)))()
    except ValueError as error:
        return {"skipped": str(error)}
    synchronize(device)
    same = all(map(same_bits, base, other))
    example = read_index(settings.kernels).examples[task.subject]
    expected = expected_of(settings.kernels, task.subject, _call(task)[0])
    worst = max(
        compare(expected[name], to_numpy(one)).ratio
        for name, one in zip(example.outputs, other, strict=True)
    )
    return {"same": same, "ratio": worst, "ok": (same or word != "stages") and worst <= FACTOR}
