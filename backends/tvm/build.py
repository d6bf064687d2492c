# mypy: ignore-errors
"""Helpers that build kernels; those that a module uses are copied into it, as are those of the
files that these import from."""

import gc
import shutil
import sys
from typing import Any

from attnc.backends.tvm.keeping import _found, _linked, _place, _root, _stored_at
from attnc.backends.tvm.processor import _KNOWN, _imported, _target
from attnc.backends.tvm.repeated import _CALLS
from attnc.backends.tvm.runtime import _directed, _shared_library
from attnc.backends.tvm.threads import _elsewhere, _launcher

tvm: Any = None  # the compiler, once `_imported`

_BUILT = {}


def _built(kernel, *fixed):
    """A kernel for some types and sizes, which is built when it is first asked for."""
    key = (kernel, *fixed)
    if key not in _BUILT:
        place = _place(kernel, fixed)
        module = None if place is None else _found(place, _loaded)
        if module is None:
            module = _made(kernel, fixed, place)
        _BUILT[key] = _elsewhere(module["kernel"]) if "forked" in _KNOWN else module["kernel"]
    return _BUILT[key]


def _all_built(*asked):
    """Kernels as `_built` gives them. What is new is built at the same time: LLVM leaves Python to
    others while it works."""
    if "forked" not in _KNOWN and any(key not in _BUILT for key in asked):
        from concurrent.futures import ThreadPoolExecutor

        _launcher()  # of which there is one
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda key: _built(*key), asked))
    return [_built(*key) for key in asked]


def _forked():
    """What a process begins with that is a copy of another one, whose threads are not copied.

    TVM has threads for each thread that calls it, and waits for those of the other process.
    """
    if "tvm_ffi" in sys.modules:
        _KNOWN["forked"] = None
        _BUILT.clear()
        _CALLS.clear()


def _passes():
    """The passes that a kernel needs: it has no blocks, and no types that processors lack."""
    return _pipeline(vectors=True)


def _pipeline(*last, vectors):
    """The passes of a kernel, and the last ones: of its host, and of devices."""
    of = tvm.tirx.transform
    chosen = [*_lowering(of, vectors), of.AnnotateEntryFunc(), of.SplitHostDevice()]
    ends = tvm.tirx.compilation_pipeline
    return (
        tvm.ir.transform.Sequential([*chosen, of.MakePackedAPI(), *last]),
        ends.finalize_host_passes,
        ends.finalize_device_passes,
    )


def _lowering(of, vectors):
    """The passes that make loops and room of what the script says."""
    return [
        of.FlattenBuffer(),
        of.VectorizeLoop(vectors),
        of.StorageRewrite(),  # room is made once a thread
        of.UnrollLoop(),
    ]


def _made(kernel, fixed, place):
    """A kernel that is built now, and kept."""
    _imported()
    tvm.tirx.compilation_pipeline.register_tir_pipeline("attnc", _passes)
    target = _target()
    if "bfloat16" not in fixed:
        # The last level takes a quarter of the time more, and only pairs of bf16 gain by it.
        target = tvm.target.Target({**target.export(), "opt-level": 2})
    collects = gc.isenabled()
    gc.disable()  # what is made stays until then, and a process that builds has many objects
    try:
        module = tvm.tirx.build(kernel(*fixed), target, pipeline="attnc")
    finally:
        if collects:
            gc.enable()
    linker = None if place is None else shutil.which("ld")
    if linker is None:
        return module
    return _stored_at(place, lambda made: _linked(module, linker, made), _loaded) or module


def _loaded(path):
    """The kernel in a library."""
    import tvm_ffi

    if "runtime" not in _KNOWN:
        _KNOWN["runtime"] = _shared_library(_root())
    module = tvm_ffi.load_module(str(path))
    launcher = _launcher()
    if launcher is not None:
        _directed(path, launcher.attnc_launch)
    return module
