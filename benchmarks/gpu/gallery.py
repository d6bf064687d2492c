"""Every example against what is expected, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.store import FACTOR, compare, expected_of, inputs_of, read_index

NAME = "gallery"
POINTS = 64
"""Points of a piece."""
AGAIN = ("bf16", "f32")
"""Types of which the first case is computed in pieces, too."""


def tasks(settings: Settings) -> Iterator[Task]:
    """One for each example."""
    for name, example in read_index(settings.kernels).examples.items():
        if example.cases or example.refused:
            yield Task(NAME, name, settings)


def items(task: Task) -> list[int]:
    """Its cases by number; under the interpreter those that it does not do wrong."""
    example = read_index(task.settings.kernels).examples[task.subject]
    if example.refused:
        return [-1]
    return [
        number
        for number, case in enumerate(example.cases)
        if not (task.settings.dry and "bf16" in case.types.values())
    ]


def run(task: Task, item: int) -> dict[str, Any]:
    """Runs one case and compares all outputs; the first one of some types in pieces, too."""
    example = read_index(task.settings.kernels).examples[task.subject]
    if item < 0:
        return {"refused": example.refused}
    from benchmarks.gpu.devices import device_of, outputs, synchronize, to_device, to_numpy
    from benchmarks.gpu.modules import function, module, pieces

    device = device_of(task.settings)
    case = example.cases[item]
    arrays = inputs_of(task.settings.kernels, task.subject, item)
    tensors = [to_device(arrays[name], case.types[name], device) for name in example.inputs]
    call = function(task.settings, task.subject)
    whole = outputs(call(*tensors, **case.parameters))
    results = list(zip(example.outputs, whole, strict=True))
    first = item == next(i for i, c in enumerate(example.cases) if c.kind == case.kind)
    again = first and case.kind in AGAIN
    points = 8 if task.settings.dry else POINTS
    with pieces(module(task.settings, task.subject), points) as able:
        if able and again:
            more = outputs(call(*tensors, **case.parameters))
            results += zip(example.outputs, more, strict=True)
    synchronize(device)
    expected = expected_of(task.settings.kernels, task.subject, item)
    worst, over, undecided, problem = 0.0, 0, 0.0, ""
    for name, result in results:
        found = compare(expected[name], to_numpy(result))
        worst, over = max(worst, found.ratio), over + found.over
        undecided, problem = max(undecided, found.undecided), found.problem or problem
    return {
        "case": case.label,
        "kind": case.kind,
        "wide": case.wide,
        "in pieces": able and again,
        "ratio": worst,
        "over": over,
        "undecided": undecided,
        "problem": problem,
        "ok": worst <= FACTOR and undecided <= case.limit,
    }
