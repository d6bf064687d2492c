# mypy: ignore-errors
"""Helpers that know the processor for which kernels are built."""

import platform
import threading
from pathlib import Path
from typing import Any

tvm: Any = None  # the compiler, once `_imported`
T: Any = None  # its script
PAIRS: Any = None  # the switch of a module

_CPU = None  # the processor that kernels are built for, where it is not this machine's own

_KNOWN = {}

_APART = threading.local()  # the target of loops that are apart, in a thread that builds in parts


def _imported():
    """Imports the compiler, if nothing has."""
    global tvm, T
    import tvm as found
    from tvm.script import tirx

    tvm, T = found, tirx


def _processor():
    """What this machine's processor is and can, as the system says it; it may say nothing."""
    if "processor" not in _KNOWN:
        words = []
        try:
            with Path("/proc/cpuinfo").open() as file:
                first = file.read(65536).partition("\n\n")[0]
        except OSError:
            first = ""
        for line in first.splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("vendor_id", "cpu family", "model", "model name", "CPU part"):
                words.append(f"{key.strip()}={value.strip()}")
            elif key.strip() in ("flags", "Features"):
                words += value.split()
        _KNOWN["processor"] = frozenset([platform.machine(), *words])
    return _KNOWN["processor"]


def _has(feature):
    """Whether vectors have a feature, by LLVM's name: the system's without underscores."""
    if _CPU is not None:
        return feature in _CPU["features"]
    if feature not in _KNOWN:
        if len(_processor()) > 1:
            words = {word.replace("_", "") for word in _processor()}
            _KNOWN[feature] = feature in words
        else:
            _imported()
            asked = tvm.get_global_func("target.target_has_feature")
            _KNOWN[feature] = bool(asked(feature, _target()))
    return _KNOWN[feature]


def _paired():
    """Whether products of bf16 take an instruction that multiplies pairs."""
    return PAIRS and _has("avx512bf16")


def _vector(dtype):
    """How many numbers a vector of this machine has."""
    if dtype not in _KNOWN:
        size = 64 if _has("avx512f") else 32 if _has("avx2") else 16
        _KNOWN[dtype] = size // (8 if dtype == "float64" else 4)
    return _KNOWN[dtype]


def _machine():
    """The kind of machine that kernels are built for."""
    return platform.machine() if _CPU is None else _CPU["machine"]


def _sums():
    """How many sums in vectors the registers hold, beside what is added."""
    many = _has("avx512f") or _machine() in ("aarch64", "arm64")
    return 16 if many else 8


def _target():
    """What kernels are built for, as the compiler knows it."""
    if "target" not in _KNOWN:
        chosen = _CPU and _CPU["target"]
        if chosen is None:
            of_system = tvm.get_global_func("target.llvm_get_system_cpu")
            # Of a processor that the compiler knows by no name, what kernels ask for is told.
            told = (name for name in ("avx512_bf16", "avx512dq") if name in _processor())
            more = [f"+{name.replace('_', '')}" for name in told]
            chosen = {"mcpu": of_system(), "mattr": more}
        own = {"kind": "llvm", "fast-math-contract": True, **chosen}
        if _machine() in ("x86_64", "AMD64"):
            # This pass takes a seventh of LLVM's time there, and kernels are as fast without it.
            # LLVM is told for the whole process, as long as it works; no other option is changed.
            own["cl-opt"] = ["-disable-lsr:bool=true"]
        _KNOWN["target"] = tvm.target.Target(own)
    return _KNOWN["target"]
