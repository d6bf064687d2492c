"""Times of several calls in turn, so that a machine that gets slower does so for all of them.

Each of them comes after each other one as often: a call finds in the caches what the one before has
left there, and after one that stores all scores, that is nothing.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

LEAST, MOST = 3, 40
"""Rounds."""


def interleaved(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each call, in rounds for so many seconds.

    All calls have been made before.
    """
    found = {name: list[float]() for name in calls}
    start = time.perf_counter()
    for turn, order in enumerate(islice(orders(list(calls)), MOST)):
        if turn >= LEAST and time.perf_counter() - start > seconds:
            break
        for name in order:
            before = time.perf_counter()
            calls[name]()
            found[name].append((time.perf_counter() - before) * 1e3)
    return found


def orders(names: Sequence[str]) -> Iterator[list[str]]:
    """Rounds without end: of those that are left in one, the next is whom the last has had behind
    it least often."""
    behind: Counter[tuple[str, str]] = Counter()
    last = ""
    while True:
        order: list[str] = []
        for _ in names:
            left = [n for n in names if n not in order]
            others = [n for n in left if n != last] or left
            best = min(others, key=lambda n: behind[last, n])
            behind[last, best] += 1
            order.append(best)
            last = best
        yield order


def summary(times: Sequence[float]) -> dict[str, float]:
    """The median, the quantiles 0.2 and 0.8, and how many there are."""
    ordered = sorted(times)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.2, 0.8))
    return {"median": statistics.median(ordered), "low": low, "high": high, "rounds": len(ordered)}
