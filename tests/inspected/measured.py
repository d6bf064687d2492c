# mypy: ignore-errors
"""Measures the kernels and prints them as JSON: `measured.py targets` or `measured.py changes`.

A process of its own, since what `triton.jit` makes where TRITON_INTERPRET is set cannot be
compiled.
"""

import json
import sys
from dataclasses import asdict

import kernels
import torch

from attnc.backends.triton.inspect import TARGETS, compiled, recorded


def meta(*shape, dtype=torch.bfloat16):
    """A tensor that holds nothing."""
    return torch.empty(*shape, dtype=dtype, device="meta")


def launched(E, target="cuda:90", **options):
    """The only launch of a call."""
    q, k, v = meta(1000, E), meta(1003, E), meta(1003, E)
    (launch,) = recorded(kernels, lambda module: module.attention(q, k, v, **options), target)
    return launch


def refused():
    """Why a call that is not recorded is refused: recording leaves nothing behind."""
    try:
        kernels.attention(meta(1000, 64), meta(1003, 64), meta(1003, 64))
    except ValueError as error:
        return str(error)
    return ""


def shown(report):
    """What a report says."""
    return {**asdict(report), "fits": report.fits, "inner": report.inner}


def targets():
    """Attention on each target, and what was launched."""
    launch = launched(128)
    arguments = {
        name: list(value.shape) if isinstance(value, torch.Tensor) else value
        for name, value in launch.arguments.items()
    }
    about = [launch.kernel.__name__, launch.grid, launch.warps, launch.stages, launch.options]
    reports = {target: shown(launch.compiled(target)) for target in TARGETS}
    stages = launched(128, "hip:gfx942").stages
    return {
        "launch": about,
        "arguments": arguments,
        "reports": reports,
        "stages": stages,
        "refused": refused(),
    }


def changes():
    """The same with one thing changed at a time, on one target."""
    found = {
        "stages": shown(launched(64, stages=3).compiled("cuda:90")),
        "plain": shown(launched(64).compiled("cuda:90")),
        "spilt": shown(launched(256, warps=4).compiled("cuda:90")),
    }
    x = meta(1 << 20, dtype=torch.float32)
    for name, kernel, pointer, n in (
        ("one", kernels._copied, x, 1),
        ("two", kernels._copied, x, 2),
        ("misaligned", kernels._copied, x[1:], 1),
        ("one unspecialised", kernels._plain, x, 1),
        ("two unspecialised", kernels._plain, x, 2),
        ("long unspecialised", kernels._plain, x, 1 << 40),
    ):
        arguments = {"x": pointer, "y": x, "n": n, "size": 1024}
        found[name] = shown(compiled(kernel, arguments, "cuda:90", warps=4, stages=1))
    return found


if __name__ == "__main__":
    print(json.dumps({"targets": targets, "changes": changes}[sys.argv[1]]()))
