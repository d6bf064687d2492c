"""Kernels and the function around them as one unit of machine code."""

from __future__ import annotations

import re
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

from attnc.backends.tvm.export.around import called, system_of, with_threads, without_threads
from attnc.backends.tvm.export.entry import Entry

DECLARED: Final = re.compile(r"^(?:declare|define)[^@\n]*@([\w.$]+)\(.*$", re.M)
"""Functions of a text of LLVM's, by name."""

POINTERS: Final = re.compile(r"^@__TVMBackend\w+ = .*\n", re.M)
"""Where TVM's kernels look for what they ask of their surroundings."""


def script(tirx: Any, *, threads: bool) -> SimpleNamespace:
    """TVM's script as kernels of a library are written with it.

    A parallel loop tells first how many threads it has work for, or is a loop as others are.
    """

    def parallel(extent: Any) -> Any:
        if not threads:
            return tirx.serial(extent)
        tirx.evaluate(tirx.call_extern("int32", "attnc_want", tirx.Cast("int64", extent)))
        return tirx.parallel(extent)

    return SimpleNamespace(**{**vars(tirx), "parallel": parallel})


def unit(entry: Entry, target: Any, triple: str, *, threads: bool) -> Any:
    """A module of machine code."""
    tvm: Any = import_module("tvm")
    tirx, ir, of = tvm.tirx, tvm.ir, tvm.tirx.transform
    inner = f"{entry.interface.symbol}_attnc"
    function = entry.function()
    functions = {ir.GlobalVar(inner): function.with_attr("global_symbol", inner)}
    functions |= {name: f.without_attr("global_symbol") for name, f in entry.calls.items()}
    module = tvm.IRModule({n: f.with_attr("calling_conv", 2) for n, f in functions.items()})
    passes = [
        of.BindTarget(target.with_host(target)),
        of.FlattenBuffer(),
        of.VectorizeLoop(True),
        of.StorageRewrite(),
        of.UnrollLoop(),
        of.SplitHostDevice(),
    ]
    for step in passes:
        module = step(module)
    module = tvm.IRModule({name: _on_processor(tirx, f) for name, f in module.functions.items()})
    module = tvm.tirx.compilation_pipeline.finalize_host_passes()(module)
    done = {}
    for name, f in module.functions.items():
        if name.name_hint != inner:  # what it returns comes last, after its memory is given back
            body = tirx.SeqStmt([f.body, tirx.Return(tirx.IntImm("int32", 0))])
            f = tirx.PrimFunc(f.params, body, ir.PrimType("int32"), f.attrs)
        done[name] = f.without_attr("tirx.is_entry_func")
    made = import_module("tvm.tirx.build").codegen_build(tvm.IRModule(done), target)
    machine = triple.partition("-")[0]
    around = with_threads(system_of(triple)) if threads else without_threads(machine)
    return joined(made.inspect_source("ll"), called(entry.interface, inner) + around, inner)


def _on_processor(tirx: Any, function: Any) -> Any:
    """A function that says around everything where its memory is, that of threads included."""
    body = tirx.AttrStmt("default", "device_type", tirx.IntImm("int32", 1), function.body)
    return function.with_body(tirx.AttrStmt("default", "device_id", tirx.IntImm("int32", 0), body))


def joined(text: str, around: str, inner: str) -> str:
    """Kernels, and what stands around them, as one text: all but the function itself is its own."""
    known = set(DECLARED.findall(around))
    lines = []
    for line in POINTERS.sub("", text.replace("dllexport ", "")).splitlines():
        found = DECLARED.match(line)
        if found is not None and line.startswith("declare") and found[1] in known:
            continue
        if found is not None and line.startswith("define"):
            if found[1] == inner:
                line = line.replace("define ", "define internal ", 1)
            line = line.replace("define weak dso_local ", "define weak hidden ", 1)
        lines.append(line)
    rest = [x for x in around.splitlines() if not (x.startswith("declare") and f"@{inner}(" in x)]
    return "\n".join([*lines, *rest]) + "\n"
