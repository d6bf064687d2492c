"""One workload: all contestants are built, compared with ours, and timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from benchmarks.cpu.cases import Workload, arguments, share
from benchmarks.cpu.contestants import Contestant, contestants
from benchmarks.cpu.turns import interleaved, summary
from benchmarks.gpu.speed import OURS, apart, built

APART: Final = {"f32": 2**-12, "bf16": 2**-5}
"""How far results of others may be from ours, in the largest element."""
Found = Callable[[Workload, list[torch.Tensor]], Mapping[str, Contestant]]


def contest(w: Workload, seconds: float, others: Found = contestants) -> dict[str, Any]:
    """What each took, and whether all agree; `seconds` are for the rounds."""
    tensors = arguments(w)
    about = w.to_dict() | {"flops": w.flops(share(w, tensors))}
    results: dict[str, dict[str, Any]] = {}
    calls: dict[str, Callable[[], Any]] = {}
    expected: Any = None
    with torch.no_grad():
        for name, one in others(w, tensors).items():
            results[name], call, result = built(one.build, torch.device("cpu"))
            results[name] |= {"same": one.same, **one.notes}
            if call is None:
                continue
            calls[name] = call
            if name == OURS:
                expected = result
            elif one.same and expected is not None:
                distance = apart(expected, result)
                results[name] |= {"apart": distance, "wrong": not distance <= APART[w.kind]}
            del result
        for name, times in interleaved(calls, seconds).items():
            found = summary(times)
            rates = {
                "gflops": about["flops"] / found["median"] / 1e6,
                "gbs": about["bytes"] / found["median"] / 1e6,
            }
            results[name] |= {**found, **rates}
    for name, ratio in ratios(results).items():
        results[name]["ratio"] = ratio
    ok = "error" not in results[OURS] and not any(r.get("wrong") for r in results.values())
    return {"workload": about, "timed": True, "contestants": results, "ok": ok}


def ratios(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Times over ours, of those that compute the same: above 1, ours is faster."""
    mine = results[OURS].get("median")
    if mine is None:
        return {}
    return {
        name: one["median"] / mine
        for name, one in results.items()
        if name != OURS and one["same"] and "median" in one and not one.get("wrong")
    }
