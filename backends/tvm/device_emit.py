"""A plan as a module of kernels for a device that stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attnc.backends.library import helpers, words
from attnc.backends.options import Options
from attnc.backends.refused import NotPrinted
from attnc.backends.triton.emit import title
from attnc.backends.tvm.device_kernel import device_printed
from attnc.backends.tvm.device_launch import DeviceCaller
from attnc.ir.tiles import Plan

PACKAGE: Final = "attnc.backends.tvm"
RUNTIMES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "opencl": ("opencl_runtime.py", ("import pyopencl as cl",)),
    "webgpu": ("webgpu_runtime.py", ("import struct", "import wgpu")),
    "metal": ("text_runtime.py", ()),
    "cuda": ("text_runtime.py", ()),
}
"""What runs the kernels of a device, and what that imports."""
SHARED: Final = {"webgpu": 16384}
"""Bytes that the threads of a program share at most, where not 32 KiB."""


def emit_device(plan: Plan, options: Options, notes: str = "") -> str:
    """The text of a module with one function named as the plan, and `source`.

    It imports numpy, tvm and what runs kernels of the target. Each kernel's text is made by TVM
    when it is first called.
    """
    target = options.target or "opencl"
    if options.dtype == "f64":
        raise NotPrinted("numbers of 64 bits on a device")
    kernels = [device_printed(plan, k, f"_k{i}", target) for i, k in enumerate(plan.kernels)]
    caller = DeviceCaller(plan, options, [], printed=kernels)
    wrapper = "\n".join(caller.text())
    bodies = "\n\n\n".join("\n".join(k.lines) for k in kernels)
    file, imports = RUNTIMES[target]
    said = words(bodies, wrapper)
    found: list[str] = []
    for package, source in (
        (PACKAGE, "device_script.py"),
        (PACKAGE, "script.py"),
        (PACKAGE, "device_runtime.py"),
        (PACKAGE, file),
        (PACKAGE, "runtime.py"),
        ("attnc.backends.triton", "runtime.py"),
    ):
        known = {_name(h) for h in found}
        more = helpers(package, source, said | words(*found))
        found += [h for h in more if _name(h) not in known and _name(h) not in _GIVEN]
    around = "\n".join([wrapper, *found])
    standard = [f"import {m}" for m in ("ctypes", "math", "os", "re", "sys") if f"{m}." in around]
    plain = [i for i in imports if i == "import struct"]
    others = [i for i in imports if i not in plain]
    lines = [*title(plan, options, notes, "TVM"), ""]
    if standard or plain:
        lines += [*sorted([*standard, *plain]), ""]
    lines += ["import numpy as np", *others[:1], "import tvm"]
    lines = [*lines, "from tvm.script import tirx as T"]
    lines += ["from tvm.tirx.build import split_host_device_mods", ""]
    lines += [f'_KERNEL = "{plan.name}"', f'_KIND = "{target}"']
    lines += [f"_SHARED = {SHARED.get(target, 32768)}", "THREADS = 64"]
    lines += ['INDEX = "int32"', 'FLOAT = TYPE = "float32"', ""]
    lines += [f'__all__ = ["{caller.function}"]', "", "", bodies, "", "", wrapper]
    for helper in found:
        lines += ["", "", helper]
    return "\n".join(lines) + "\n"


_GIVEN: Final = frozenset(("_KERNEL", "_KIND", "_SHARED"))
"""What the head of a module says."""


def _name(helper: str) -> str:
    """The name that a helper's text defines."""
    lines = [x for x in helper.splitlines() if not x.startswith("@")]
    return lines[0].removeprefix("def ").partition("(")[0].partition(" ")[0]
