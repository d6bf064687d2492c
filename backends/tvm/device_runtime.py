# mypy: ignore-errors
"""Helpers that modules for devices carry, around kernels; those that a module uses are copied.

Tensors are NumPy's, torch's on the CPU, or give their memory by DLPack. Kernels take numbers of 32
bits: others are made these, and results what was asked for, on the host.
"""

import re

import numpy as np
import tvm
from tvm.tirx.build import split_host_device_mods

_KERNEL = "kernel"
_KIND = "opencl"
_SHARED = 16384
_FLOATS = ("float16", "bfloat16", "float32")
THREADS = 64
INDEX = "int32"
FLOAT = "float32"
TYPE = "float32"


def _torch():
    """The module torch, if anything has imported it."""
    import sys

    return sys.modules.get("torch")


def _array(name, value, dtype):
    """A tensor as an array of NumPy's, as a device takes its elements."""
    torch = _torch()
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach()
        kind = torch.float32 if dtype == "float32" else torch.int64
        value = value.to(kind).numpy()
    wide = dtype == "int32" and value.dtype == np.int64 and value.size > 0
    if wide and (value.min() <= -(2**31) or value.max() >= 2**31):
        raise ValueError(f"{_KERNEL}: {name} has integers that 32 bits do not hold")
    return np.ascontiguousarray(value, dtype)


_RECORDS = []
"""Lists of launches that are written down instead of run."""


def _recorded(call):
    """What a call would launch."""
    _RECORDS.append([])
    try:
        call()
        return _RECORDS[-1]
    finally:
        _RECORDS.pop()


def _sent(name, value, dtype):
    """A tensor in the memory of the device."""
    array = _array(name, value, dtype)
    return array if _RECORDS else _uploaded(array)


def _room(shape, dtype):
    """Room for a tensor in the memory of the device."""
    shape = tuple(map(int, shape))
    return np.zeros(shape, dtype) if _RECORDS else _allocated(shape, np.dtype(dtype))


def _taken(buffer, shape, dtype, like, kind):
    """A result, of the library of the inputs and of a type."""
    array = buffer if _RECORDS else _downloaded(buffer, tuple(map(int, shape)), np.dtype(dtype))
    return _as(array, like, kind)


def _as(array, like, kind):
    """An array as a tensor of a library, of a type."""
    if like is not np:
        return like.from_numpy(np.ascontiguousarray(array)).to(_dtype_of(like, kind))
    return array.astype(_dtype_of(np, kind))


def _chosen(sizes, room):
    """Sizes of tiles: powers of two of which all that is shared has room, the most lanes first.

    `sizes` are the extents of the axes; `room` tells the bytes.
    """
    most = [min(64, 1 << max(0, int(n) - 1).bit_length()) for n in sizes]
    found = list(most)
    while room(*found) > _SHARED:
        if max(found, default=1) == 1:
            raise ValueError(
                f"{_KERNEL}: tiles of one coordinate need {room(*found)} bytes that threads share, "
                f"and there are {_SHARED}"
            )
        place = max(range(len(found)), key=lambda i: (found[i], -i))
        found[place] //= 2
    return found


_FENCES = {
    "cuda": "__syncthreads()",
    "metal": "threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device)",
    "opencl": "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)",
    "webgpu": "workgroupBarrier(); storageBarrier()",
}
"""Where threads of a program wait for each other, and for what they have written to memory."""

_TEXTS = {}


def _text(kernel, fixed):
    """A kernel as text, its name, and its arguments in order with their types."""
    key = (kernel, *fixed)
    if key not in _TEXTS:
        kind = {"kind": _KIND, "arch": "sm_80"} if _KIND == "cuda" else {"kind": _KIND}
        target = tvm.target.Target(kind, host="llvm")
        module = tvm.IRModule.from_expr(kernel(*fixed))
        module = tvm.tirx.transform.BindTarget(target)(module)
        _, parts = split_host_device_mods(_lowered()(module))
        ((target, part),) = parts.items()
        part = tvm.tirx.compilation_pipeline.finalize_device_passes()(part)
        ((_, function),) = part.functions.items()
        arguments = [
            (p.name, "tensor" if "handle" in str(p.ty) else str(p.ty).removeprefix("T."))
            for p in function.params
        ]
        text = tvm.get_global_func("target.build." + _KIND)(part, target).inspect_source()
        # TVM writes addresses of numbers as C does.
        text = re.sub(r"\(&\(\(\(i32\*\)(\w+)\)\[0i\]\)\)", r"&\1[0i]", text)
        # What is read as the negative of a number that 32 bits do not hold, is said otherwise.
        text = re.sub(r"-2147483648(i?)\b", r"(-2147483647\1 - 1\1)", text)
        text = text.replace("fence()", _FENCES[_KIND])
        _TEXTS[key] = text, str(function.attrs["global_symbol"]), arguments
    return _TEXTS[key]


def _lowered():
    """The passes that a kernel needs: it has no blocks, and says itself where threads wait. What
    would simplify long conditions takes minutes for some."""
    of = tvm.tirx.transform
    return tvm.ir.transform.Sequential(
        [
            tvm.s_tir.transform.CanonicalizeLoop(),
            of.FlattenBuffer(),
            of.UnrollLoop(),
            of.AnnotateEntryFunc(),
            of.SplitHostDevice(),
            of.MakePackedAPI(),
        ]
    )


def _run(kernel, fixed, programs, tensors, **numbers):
    """Runs a kernel, or notes it; `tensors` and `numbers` are what it takes, by name."""
    if not programs:
        return
    text, name, arguments = _text(kernel, tuple(map(int, fixed)))
    numbers = {**numbers, "NINF": -np.inf, "NOT": np.nan}
    given = [
        (n, kind, tensors[n.removesuffix("_ptr")] if kind == "tensor" else numbers[n])
        for n, kind in arguments
    ]
    if _RECORDS:
        launch = {"text": text, "name": name, "programs": programs, "threads": THREADS}
        _RECORDS[-1].append({**launch, "arguments": given})
        return
    _launched(text, name, programs, given)
