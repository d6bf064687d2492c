"""Kernels and the function around them as one unit of machine code."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

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


Ready: TypeAlias = Callable[[Any, Any], Any]
"""What is done to a function before it is printed: of the compiler and the function."""


def compiled(entry: Entry, target: Any, ready: Ready, *, vectors: bool) -> Any:
    """The function and its kernels, as a module of TVM's that has their text."""
    tvm: Any = entry.tvm
    tirx, ir, of = tvm.tirx, tvm.ir, tvm.tirx.transform
    inner = entry.inner
    functions = {ir.GlobalVar(inner): entry.function().with_attr("global_symbol", inner)}
    for name, kernel in entry.calls.items():
        named = kernel.with_attr("global_symbol", name.name_hint)
        functions[name] = named.without_attr("global_symbol") if vectors else named
    module = tvm.IRModule({n: f.with_attr("calling_conv", 2) for n, f in functions.items()})
    lowering = import_module("attnc.backends.tvm.build")._lowering(of, vectors)
    for step in (of.BindTarget(target.with_host(target)), *lowering):
        module = step(module)
    module = tvm.IRModule({name: ready(tvm, f) for name, f in module.functions.items()})
    module = tvm.tirx.compilation_pipeline.finalize_host_passes()(module)
    done = {}
    for name, f in module.functions.items():
        if name.name_hint != inner:  # what it returns comes last, after its memory is given back
            body = tirx.SeqStmt([f.body, tirx.Return(tirx.IntImm("int32", 0))])
            f = tirx.PrimFunc(f.params, body, ir.PrimType("int32"), f.attrs)
        done[name] = f.without_attr("tirx.is_entry_func")
    return import_module("tvm.tirx.build").codegen_build(tvm.IRModule(done), target)


def unit(entry: Entry, target: Any, triple: str, *, threads: bool) -> str:
    """The text in LLVM's language."""
    text = compiled(entry, target, _on_processor, vectors=True).inspect_source("ll")
    machine = triple.partition("-")[0]
    around = with_threads(system_of(triple)) if threads else without_threads(machine)
    return joined(text, called(entry.interface, entry.inner) + around, entry.inner)


def _on_processor(tvm: Any, function: Any) -> Any:
    """A function that says around everything where its memory is, that of threads included."""
    tirx = tvm.tirx
    body = tirx.AttrStmt("default", "device_type", tirx.IntImm("int32", 1), function.body)
    return function.with_body(tirx.AttrStmt("default", "device_id", tirx.IntImm("int32", 0), body))


def joined(text: str, around: str, inner: str) -> str:
    """Kernels, and what stands around them, as one text: all but the function itself is its own."""
    known = set(DECLARED.findall(around))
    lines: list[str] = []
    for line in POINTERS.sub("", text.replace("dllexport ", "")).splitlines():
        found = DECLARED.match(line)
        if found is not None and line.startswith("declare") and found[1] in known:
            continue
        if found is not None and line.startswith("define"):
            if found[1] == inner:
                line = line.replace("define ", "define internal ", 1)
            line = line.replace("define weak dso_local ", "define weak hidden ", 1)
        lines.append(line)
    return "\n".join(lines) + "\n" + around
