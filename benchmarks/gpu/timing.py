"""Times of several calls in turn, so that a device that gets slower does so for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

FLUSH: Final = 256 << 20
"""Bytes that are written before each call, more than any second-level cache holds."""
AHEAD: Final = 1_000_000
"""Cycles that the device sleeps before each call, so that the host is ahead of it."""
LEAST, MOST = 5, 100
"""Rounds."""


@dataclass(frozen=True)
class Times:
    """Milliseconds on the device, and microseconds that one call takes of the host."""

    median: float
    low: float
    high: float
    rounds: int
    host: float


def interleaved(
    calls: Mapping[str, Callable[[], object]], device: torch.device, milliseconds: float
) -> dict[str, Times]:
    """Medians and the quantiles 0.2 and 0.8 of each call, with a cold second-level cache.

    Each round does all calls, and begins with another one.
    """
    clock: _Device | _Host
    if device.type == "cuda":
        clock, rounds = _Device(device), MOST
        for call in calls.values():
            call()
        estimate = sum(clock.once(call) for call in calls.values()) / max(1, len(calls))
        rounds = int(min(MOST, max(LEAST, milliseconds / max(estimate, 1e-3))))
    else:
        clock, rounds = _Host(), 1
    names = list(calls)
    for turn in range(rounds):
        at = turn % len(names) if names else 0
        for name in names[at:] + names[:at]:
            clock.record(name, calls[name])
    found = clock.finished()
    if device.type != "cuda":
        return {name: _times(times, times[0] * 1e3) for name, times in found.items()}
    return {name: _times(found[name], _host(calls[name])) for name in names}


def _times(found: Sequence[float], host: float) -> Times:
    ordered = sorted(found)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.2, 0.8))
    return Times(statistics.median(ordered), low, high, len(ordered), host)


def _host(call: Callable[[], object]) -> float:
    """Microseconds until a call returns, while the device is busy with nothing else."""
    spent = []
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        spent.append((time.perf_counter() - start) * 1e6)
    torch.cuda.synchronize()
    return statistics.median(spent)


class _Device:
    """Events of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._flush = torch.empty(FLUSH, dtype=torch.int8, device=device)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def record(self, name: str, call: Callable[[], object]) -> None:
        """Queues one call between two events."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(AHEAD)
        self._flush.zero_()
        start.record()
        call()
        end.record()
        self._events.append((name, start, end))

    def once(self, call: Callable[[], object]) -> float:
        """Milliseconds of one call, now."""
        self.record("", call)
        torch.cuda.synchronize()
        _, start, end = self._events.pop()
        return float(start.elapsed_time(end))

    def finished(self) -> dict[str, list[float]]:
        """All times in milliseconds."""
        torch.cuda.synchronize()
        found: dict[str, list[float]] = {}
        for name, start, end in self._events:
            found.setdefault(name, []).append(float(start.elapsed_time(end)))
        return found


class _Host:
    """The clock of the host, for dry runs."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def record(self, name: str, call: Callable[[], object]) -> None:
        """Does one call."""
        self._found.setdefault(name, []).append(self.once(call))

    def once(self, call: Callable[[], object]) -> float:
        """Milliseconds of one call, now."""
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3

    def finished(self) -> dict[str, list[float]]:
        """All times in milliseconds."""
        return self._found
