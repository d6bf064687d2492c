"""Times of several calls in turn, so that a machine that gets slower does so for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LEAST, MOST = 3, 40
"""Rounds."""


def interleaved(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each call, in rounds for so many seconds; each begins with another call.

    All calls have been made before.
    """
    names, found = list(calls), {name: list[float]() for name in calls}
    start = time.perf_counter()
    for turn in range(MOST):
        if turn >= LEAST and time.perf_counter() - start > seconds:
            break
        at = turn % len(names) if names else 0
        for name in names[at:] + names[:at]:
            before = time.perf_counter()
            calls[name]()
            found[name].append((time.perf_counter() - before) * 1e3)
    return found


def summary(times: Sequence[float]) -> dict[str, float]:
    """The median, the quantiles 0.2 and 0.8, and how many there are."""
    ordered = sorted(times)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.2, 0.8))
    return {"median": statistics.median(ordered), "low": low, "high": high, "rounds": len(ordered)}
