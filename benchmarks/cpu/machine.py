"""What the machine is, and the versions of all that is timed."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def machine(threads: int) -> dict[str, Any]:
    """For JSON."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    about = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    from attnc.version import VERSION

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": about.get("model name", platform.processor()),
        "flags": about.get("flags", about.get("Features", "")).split(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": version("torch"),
        "tvm": version("apache-tvm"),
        "attnc": VERSION,
    }
