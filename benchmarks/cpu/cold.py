"""A first call in a process of its own, and the memory that calls take beyond inputs and outputs.

    python -m benchmarks.cpu.cold CASE TYPE SIZE CONTESTANT THREADS KEYS...

Prints a line of JSON.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu.cases import ROOT, arguments, workload

IMPORTS: Final = {
    "attnc": (
        "attnc.api",
        "attnc.python.build",
        "attnc.planning",
        "attnc.backends.tvm.emit",
        "tvm.script",
    ),
    "FlexAttention": ("torch._dynamo", "torch._inductor.compile_fx"),
}
"""What a first call would import; the time of that is stated apart."""
PATIENCE: Final = 180
"""Seconds for one process."""
TIMES: Final = 3
"""Calls whose memory is measured, of which the most counts."""
RETURNED: Final = {-1: 0, -3: 65536}
"""So the C library gives memory back at once, and what a call takes is seen in each call: its
thresholds for the end of its heap, and for what is no part of that, in bytes."""


@dataclass(frozen=True)
class Cold:
    """One process: a contestant of a case, at lengths of which the first is called first."""

    family: str
    contestant: str
    keys: tuple[int, ...]
    kind: str = "f32"
    size: int = 64

    @property
    def label(self) -> str:
        """What a reader is shown."""
        return f"{self.family}, {self.contestant}"


def measured(cold: Cold, threads: int, patience: float = PATIENCE) -> dict[str, Any]:
    """What a fresh process found, where no compiler finds what it made before."""
    head: dict[str, Any] = {"family": cold.family, "contestant": cold.contestant, "kind": cold.kind}
    head |= {"size": cold.size, "keys": list(cold.keys)}
    words = (cold.family, cold.kind, cold.size, cold.contestant, threads, *cold.keys)
    command = [sys.executable, "-m", "benchmarks.cpu.cold", *map(str, words)]
    with tempfile.TemporaryDirectory(prefix="attnc-bench-") as folder:
        fresh = {"TORCHINDUCTOR_CACHE_DIR": folder, "XDG_CACHE_HOME": folder}
        fresh |= {"TVM_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **fresh},
                capture_output=True,
                text=True,
                timeout=patience,
            )
        except subprocess.TimeoutExpired:
            return head | {"error": f"it took more than {patience:.0f} seconds"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return head | {"error": f"status {done.returncode}: {last[0]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return head | found


def beyond(call: Callable[[], Any]) -> int:
    """Bytes that a call takes at its peak beyond its inputs and outputs; of Linux alone.

    The system's mark of the highest memory of this process is set back before the call. The call
    is made by a new thread: what libraries keep for each thread from call to call counts as well.
    """
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    with ThreadPoolExecutor(1) as fresh:
        results = fresh.submit(call).result()
    peak = _status("VmHWM")
    kept = results if isinstance(results, tuple) else (results,)
    return int(peak - before - sum(x.numel() * x.element_size() for x in kept))


def _alike(call: Callable[[], Any], threads: int) -> Any:
    """A call in a thread of which PyTorch is told what it was told of the first one."""
    import torch

    torch.set_num_threads(threads)
    with torch.no_grad():
        return call()


def _returning() -> None:
    """Has the C library give memory back; it would slow the first call down, of all contestants."""
    for threshold, size in RETURNED.items():
        assert ctypes.CDLL(None).mallopt(threshold, size)


def _status(name: str) -> int:
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) * 1024


def main(words: Sequence[str]) -> None:
    """Measures, and prints."""
    family, kind, size, name, threads, *lengths = words
    start = time.perf_counter()
    import torch

    from benchmarks.cpu.contestants import contestants

    for module in IMPORTS.get(name, ()):
        importlib.import_module(module)
    found: dict[str, Any] = {"imports": time.perf_counter() - start, "memory": {}}
    torch.set_num_threads(int(threads))
    with torch.no_grad():
        for keys in lengths:
            w = workload(family, kind, int(size), int(keys))
            tensors = arguments(w)
            start, worked = time.perf_counter(), sum(os.times()[:4])
            call = contestants(w, tensors)[name].build()
            call()
            alike = partial(_alike, call, int(threads))
            found.setdefault("first", time.perf_counter() - start)
            found.setdefault("work", sum(os.times()[:4]) - worked)
            _returning()
            found["memory"][keys] = max(beyond(alike) for _ in range(TIMES))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
