"""Offsets just over 2^31, and new lengths that must not compile anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.store import read_index

NAME = "edges"
KERNEL = "dense"
"""The kernel of the checks of offsets: its inputs have ranks of any size."""
LENGTHS = ("dense", "causal", "gqa_causal", "sliding_window_sinks")
LIMIT = 2**31
NEAR = 2**-6
"""What a result in bf16 may be away, in the largest of its elements."""


def tasks(settings: Settings) -> Iterator[Task]:
    """One for each way to pass the limit, one for the lengths of each kernel."""
    known = read_index(settings.kernels).examples
    if KERNEL in known and not known[KERNEL].refused:
        yield Task(NAME, "offsets", settings)
        yield Task(NAME, "strides", settings)
    for name in LENGTHS:
        if name in known and not known[name].refused:
            yield Task(NAME, f"lengths of {name}", settings)


def items(task: Task) -> list[str]:
    """Each is one check."""
    return ["check"]


def run(task: Task, item: str) -> dict[str, Any]:
    """Runs it."""
    if task.subject.startswith("lengths of "):
        return _lengths(task.settings, task.subject.removeprefix("lengths of "))
    return _far(task.settings, strided=task.subject == "strides")


def _far(settings: Settings, *, strided: bool) -> dict[str, Any]:
    """The last head of keys that are too many for 32 bits, and the same keys alone.

    Whole: heads one after the other, of which the last begins beyond the limit. Strided: heads side
    by side, so that the rows of one head are far apart, and within one head the limit is passed.
    """
    import torch

    from benchmarks.gpu.devices import device_of, outputs, same_bits, synchronize, to_numpy
    from benchmarks.gpu.modules import function, module, oracle, pieces

    device = device_of(settings)
    heads, length, size, kind = (
        (2, 40, 16, torch.float32) if settings.dry else (34, 1 << 19, 128, torch.bfloat16)
    )
    wide, queries = 16, 16
    generator = torch.Generator(device).manual_seed(5)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=kind, device=device, generator=generator)

    if strided:
        keys = normal(1, length, heads, size).permute(0, 2, 1, 3)
        values = normal(1, length, heads, wide).permute(0, 2, 1, 3)
    else:
        keys, values = normal(1, heads, length, size), normal(1, heads, length, wide)
    query = normal(1, heads, queries, size) * 4
    call, found = function(settings, KERNEL), module(settings, KERNEL)
    last = [x[:, -1:].contiguous() for x in (query, keys, values)]
    expected = oracle(settings, KERNEL)(*(to_numpy(x) for x in last))
    reach = keys.storage_offset() + sum(
        (n - 1) * s for n, s in zip(keys.shape, keys.stride(), strict=True)
    )
    off, same = 0.0, True
    for points in (0,) if settings.dry else (0, 1 << 14):
        with pieces(found, points):
            (far,) = outputs(call(query, keys, values))
            synchronize(device)
            (near,) = outputs(call(*last))
            synchronize(device)
        other = float(np.abs(to_numpy(far[:, -1:]) - expected).max() / np.abs(expected).max())
        off, same = max(off, other), same and same_bits(far[:, -1:], near)
    beyond = reach >= LIMIT or settings.dry
    ok = beyond and off <= NEAR and (same or strided)
    return {"reach": reach, "beyond": reach >= LIMIT, "same": same, "off": off, "ok": ok}


def _lengths(settings: Settings, name: str) -> dict[str, Any]:
    """Other lengths of queries and of keys, and other batches: Triton compiles nothing more.

    Neither of kernels that go through all of a stream, nor of those that go through pieces of it.
    """
    import torch

    from benchmarks.gpu.devices import device_of, outputs, synchronize
    from benchmarks.gpu.modules import compiled, function, module, pieces, watch

    device = device_of(settings)
    kind = torch.float32 if settings.dry else torch.bfloat16
    low, high = (20, 21) if settings.dry else (1000, 1100)
    size = 16 if settings.dry else 64
    key_heads = 4 if name in ("dense", "causal") else 2
    found, call = module(settings, name), function(settings, name)
    if settings.dry:
        watch(found)

    def once(batch: int, queries: int, keys: int) -> None:
        query = torch.ones(batch, 4, queries, size, dtype=kind, device=device)
        key = torch.ones(batch, key_heads, keys, size, dtype=kind, device=device)
        (result, *_) = outputs(call(query, key, key))
        synchronize(device)
        if not bool((result[:, :, -1] == 1).all()):
            raise ArithmeticError(f"{queries} queries of {keys} keys: the mean of ones is not 1")

    before = new = 0
    for points in (0, 8 if settings.dry else 256):
        with pieces(found, points):
            slow = settings.dry and points > 0  # the interpreter merges rows one by one
            batch, queries = (1, 1) if slow else (2, low)
            once(batch, queries, low)
            known = len(compiled(vars(found)))
            for length in range(low, high + 1):
                once(batch, queries, length)
                once(batch, queries if slow else length, length)
            for other in (1,) if slow else (1, 3) if settings.dry else (1, 3, 16, 17):
                once(other, queries, low)
        before, new = known, new + len(compiled(vars(found))) - known
    return {"compiled": before, "new": new, "ok": new == 0 < before}
