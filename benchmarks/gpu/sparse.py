"""Calls in which pairs are absent, beside FlexAttention with its mask of blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.patterns import PATTERNS, SHARES, Masked, arguments, calls, pattern, seen
from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.speed import APART, OURS, apart, built
from benchmarks.gpu.store import read_index

if TYPE_CHECKING:
    import torch

NAME = "sparse"
FLEX = "FlexAttention"
TILE = (128, 64)
"""Queries and keys of the tiles that are counted."""
CHUNK = 1_024
"""Queries that are looked at together."""
AGAIN = 3
"""How often a mask is built again."""


def tasks(settings: Settings, *, warm: bool) -> Iterator[Task]:
    """One for each pattern, and one for the shares of windows; `warm`: for each call, untimed."""
    examples = read_index(settings.kernels).examples
    names = [n for n, p in PATTERNS.items() if p.dry or not settings.dry]
    for name in (names[0], SHARES, *names[1:]):
        example = pattern(name).example
        if example not in examples or examples[example].refused:
            continue
        if not warm:
            yield Task(NAME, name, settings)
            continue
        if name != SHARES:  # what is built for windows
            for w in calls(name, dry=settings.dry):
                options = {"pattern": name, "keys": w.keys}
                yield Task(NAME, w.label, settings, options)


def items(task: Task) -> list[Masked]:
    """The calls."""
    only = task.options
    found = list(calls(only.get("pattern", task.subject), dry=task.settings.dry))
    return [w for w in found if not only or w.keys == only["keys"]]


def run(task: Task, item: Masked) -> dict[str, Any]:
    """Both contestants, built and called once; then timed, alone on the device."""
    import torch

    from benchmarks.gpu.devices import alone, device_of
    from benchmarks.gpu.modules import function
    from benchmarks.gpu.timing import interleaved

    settings, device, timed = task.settings, device_of(task.settings), not task.options
    tensors = arguments(item, device)
    kernel = function(settings, pattern(item.pattern).example)
    builds: dict[str, Callable[[], Callable[[], Any]]] = {
        OURS: lambda: partial(kernel, *tensors, **item.parameters)
    }
    results: dict[str, dict[str, Any]] = {}
    found: list[Any] = []
    if item.pattern != SHARES:
        builds[FLEX] = lambda: _flex(item, tensors, found, dry=settings.dry)
    ready: dict[str, Callable[[], Any]] = {}
    values: dict[str, Any] = {}
    with torch.no_grad():
        for name, build in builds.items():
            results[name], call, values[name] = built(build, device)
            results[name]["same"] = True
            if call is not None:
                ready[name] = call
        if len(ready) == len(builds) == 2:
            results[FLEX]["apart"] = apart(values[OURS], values[FLEX])
        values.clear()
        about = {**item.to_dict(), "label": item.label}
        if timed:
            about |= counted(item, tensors[3:], device)
            with alone(settings):
                for name, times in interleaved(ready, device, settings.milliseconds).items():
                    rate = about["flops"] / times.median / 1e9
                    results[name] |= {**asdict(times), "tflops": rate}
                if found:
                    results[FLEX] |= {"mask": _again(found[0], device)}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    near = results.get(FLEX, {}).get("apart", 0) <= APART
    ok = near and "error" not in results[OURS]
    return {"workload": about, "timed": timed, "contestants": results, "ok": ok}


def _flex(
    w: Masked, tensors: Sequence[torch.Tensor], found: list[Any], *, dry: bool
) -> Callable[[], Any]:
    """Its call, with a mask that was built before; what builds the mask again goes to `found`.

    Both are compiled for these very sizes. A dry run leaves out the compiler.
    """
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def whole(q: Any, k: Any, v: Any, mask: Any) -> Any:
        return flex_attention(q, k, v, block_mask=mask, enable_gqa=w.heads != w.key_heads)

    maker: Callable[..., Any] = create_block_mask
    attention: Callable[..., Any] = whole
    if not dry:
        torch._dynamo.reset()
        maker = torch.compile(create_block_mask, dynamic=False)
        attention = torch.compile(whole, dynamic=False)
    each = pattern(w.pattern).each
    batch, heads = (w.batch if each == "b" else None), (w.heads if each == "h" else None)
    device = str(tensors[0].device)
    make = partial(maker, seen(w, tensors[3:]), batch, heads, w.keys, w.keys, device=device)
    mask = make()
    found.append(make)
    return partial(attention, *tensors[:3], mask)


def _again(make: Callable[[], Any], device: torch.device) -> float:
    """Milliseconds in which a mask is built once its code is there: the least of some times."""
    from benchmarks.gpu.devices import synchronize

    spent = []
    for _ in range(AGAIN):
        synchronize(device)
        start = time.perf_counter()
        make()
        synchronize(device)
        spent.append((time.perf_counter() - start) * 1e3)
    return min(spent)


def counted(w: Masked, data: Sequence[Any], device: torch.device) -> dict[str, Any]:
    """Shares of the pairs, and of the tiles, that have to be; and the operations of the pairs."""
    import torch

    each = pattern(w.pattern).each
    condition = seen(w, data)
    keys = torch.arange(w.keys, device=device)
    zero = torch.zeros((), dtype=torch.int64, device=device)
    pairs = tiles = 0
    batches, heads = (w.batch if each == "b" else 1), (w.heads if each == "h" else 1)
    rows, columns = min(TILE[0], w.keys), min(TILE[1], w.keys)
    for b, h in ((b, h) for b in range(batches) for h in range(heads)):
        for first in range(0, w.keys, CHUNK):
            queries = keys[first : first + CHUNK, None]
            here = condition(zero + b, zero + h, queries, keys[None])
            here = here.expand(len(queries), w.keys)
            pairs += int(here.sum())
            tiles += int(here.reshape(-1, rows, w.keys // columns, columns).any(3).any(1).sum())
    masks = batches * heads
    every = (w.keys // rows) * (w.keys // columns)
    share = pairs / masks / w.keys**2
    flops = 4.0 * w.batch * w.heads * w.size * w.keys**2 * share
    return {"pairs": share, "tiles": tiles / masks / every, "flops": flops}
