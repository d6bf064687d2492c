# mypy: ignore-errors
"""Helpers that build kernels; those that a module uses are copied into it, as are those of the
files that these import from."""

import functools
import gc
import shutil
import sys
from typing import Any

from attnc.backends.tvm.keeping import _found, _linked, _place, _root, _stored_at
from attnc.backends.tvm.processor import _APART, _KNOWN, _imported, _target
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


def _lowering(of, vectors):
    """The passes that make loops of what the script says, and functions of those that are apart.

    None of them looks for room that is free again: kernels have said which tiles share theirs.
    """
    return [
        of.FlattenBuffer(),
        of.VectorizeLoop(vectors),
        of.SplitHostDevice(),
        of.UnrollLoop(),
    ]


def _made(kernel, fixed, place):
    """A kernel that is built now, and kept: in parts, if there is a linker to put them together."""
    _imported()
    target = _target()
    if "bfloat16" not in fixed:
        # The last level takes a quarter of the time more, and only pairs of bf16 gain by it.
        target = tvm.target.Target({**target.export(), "opt-level": 2})
    linker = None if place is None else shutil.which("ld")

    def written(made):
        # Functions of a target that is not the same are called by their names.
        _APART.target = tvm.target.Target({**target.export(), "keys": ["cpu", "apart"]})
        try:
            lowered = _lowered(kernel(*fixed), target)
        finally:
            _APART.target = None
        _linked(linker, made, *(functools.partial(_code, part, target) for part in _parts(lowered)))

    collects = gc.isenabled()
    gc.disable()  # what is made stays until then, and a process that builds has many objects
    try:
        found = None if linker is None else _stored_at(place, written, _loaded)
        return found or _code(_lowered(kernel(*fixed), target), target)
    finally:
        if collects:
            gc.enable()


def _code(module, target):
    """Machine code of a module. Of some loops LLVM makes vectors that it refuses itself in the end;
    then it is asked for less, until it takes what it has made."""
    build = tvm.get_global_func("target.build.llvm")
    known = target.export()
    for level in range(known.get("opt-level", 3), 0, -1):
        try:
            return build(module, tvm.target.Target({**known, "opt-level": level}))
        except tvm.error.InternalError as error:
            if "LLVM module verification failed" not in str(error):
                raise
    return build(module, tvm.target.Target({**known, "opt-level": 0}))


def _lowered(function, target):
    """A kernel as machine code is made of it: a function, and loops that are functions apart."""
    of, module = tvm.tirx.transform, tvm.IRModule.from_expr(function)
    steps = [of.BindTarget(target.with_host(target)), of.AnnotateEntryFunc(), *_lowering(of, True)]
    for step in steps:
        module = step(module)
    known = {name: _on_cpu(f) for name, f in module.functions.items()}
    known = tvm.IRModule(known, attrs=module.attrs)
    # Numbers and addresses come from `_launch`, so that no call is to check their types again.
    for step in (of.MakePackedAPI(), of.SkipAssert()):
        known = step(known)
    return tvm.tirx.compilation_pipeline.finalize_host_passes()(known)


def _on_cpu(function):
    """A function that says where its memory is, as the one does that is called first."""
    if function.attrs.get("tirx.is_entry_func"):
        return function
    body = function.body
    for key, number in (("device_type", 1), ("device_id", 0)):
        body = tvm.tirx.AttrStmt("default", key, tvm.tirx.IntImm("int32", number), body)
    return function.with_body(body)


def _parts(module):
    """The functions of a kernel as modules of their own."""
    found = module.functions.items()
    return [tvm.IRModule({name: f}, attrs=module.attrs) for name, f in found]


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
