"""The device of a worker: a GPU, or the CPU with Triton's interpreter."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.settings import Settings
from benchmarks.gpu.store import Array

KINDS = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}


def device_of(settings: Settings) -> torch.device:
    """Where tensors live."""
    return torch.device("cpu" if settings.dry else "cuda")


def to_device(array: Array, kind: str, device: torch.device) -> torch.Tensor:
    """A stored array as a tensor."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
    return (tensor.view(torch.bfloat16) if kind == "bf16" else tensor).to(device)


def to_numpy(tensor: torch.Tensor) -> Array:
    """A result, where floats are f64."""
    tensor = tensor.double() if tensor.is_floating_point() else tensor
    found: Array = tensor.cpu().numpy()
    return found


def synchronize(device: torch.device) -> None:
    """Waits for the device; raises what went wrong there."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two results are the same, NaN included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(torch.equal(*(x.reshape(-1).view(torch.uint8) for x in (a, b))))


def outputs(found: Any) -> tuple[torch.Tensor, ...]:
    """One result or several as several."""
    return found if isinstance(found, tuple) else (found,)


def dirty(results: Iterable[torch.Tensor], most: int) -> None:
    """Leaves NaN in memory that is then free, in blocks as large as results, and of many sizes.

    So a kernel shows that reads what it has not written, or leaves out an element.
    """
    held = [torch.empty_like(x) for x in results]
    device = held[0].device
    held += [torch.empty(1 << n, dtype=torch.uint8, device=device) for n in range(9, most)]
    for x in held:
        x.reshape(-1).view(torch.uint8).fill_(255)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """While no other worker uses the device; what comes before may overlap."""
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with (settings.scratch / "device.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(settings: Settings) -> Mapping[str, Any]:
    """The device, the versions, the day."""
    import platform

    import triton

    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "numpy": np.__version__,
        "processors": os.cpu_count(),
        "device": "Triton's interpreter",
    }
    if not settings.dry:
        about = torch.cuda.get_device_properties(0)
        found |= {
            "device": about.name,
            "multiprocessors": about.multi_processor_count,
            "memory": about.total_memory,
            "capability": list(torch.cuda.get_device_capability(0)),
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
        }
    return found
