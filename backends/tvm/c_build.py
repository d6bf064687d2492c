# mypy: ignore-errors
"""Helpers that build kernels by way of C, in place of others with the same names."""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from attnc.backends.tvm.build import _loaded, _lowering
from attnc.backends.tvm.keeping import _stored_at

tvm: Any = None
T: Any = None


def _imported():
    """Imports the compiler, if nothing has."""
    global tvm, T
    import tvm as found
    from tvm.script import tirx

    tvm, T = found, _in_c(tirx)


def _has(feature):
    """Whether vectors have a feature: there are none."""
    return False


def _launcher():
    """What runs programs on several threads: nothing, as no loop is parallel."""


def _workers():
    """How many threads work."""
    return 1


def _vector(dtype):
    """How many lanes are told to go together: those of one or two vectors of most processors."""
    return 8


def _sums():
    """How many sums a product keeps at once."""
    return 16


def _target():
    """The language, as the compiler knows it."""
    return tvm.target.Target("c")


def _passes():
    """The passes that a kernel needs: what is meant for vectors is a loop, and none is parallel."""
    of, ends = tvm.tirx.transform, tvm.tirx.compilation_pipeline
    ready = of.prim_func_pass(lambda f, *_: _ready(tvm, f), opt_level=0)
    steps = [of.AnnotateEntryFunc(), *_lowering(of, False), of.MakePackedAPI(), ready]
    found = tvm.ir.transform.Sequential(steps)
    return found, ends.finalize_host_passes, ends.finalize_device_passes


def _made(kernel, fixed, place):
    """A kernel that is built now, by a compiler of C, and kept."""
    tool = next((t for t in map(shutil.which, ("cc", "gcc", "clang")) if t), None)
    if tool is None:
        raise RuntimeError("kernels in C need a compiler: none of cc, gcc and clang is here")
    _imported()
    tvm.tirx.compilation_pipeline.register_tir_pipeline("attnc", _passes)
    text = tvm.tirx.build(kernel(*fixed), _target(), pipeline="attnc").inspect_source()
    text = _prelude(text) + _of_c(text)
    spots = [importlib.util.find_spec(n).submodule_search_locations[0] for n in ("tvm", "tvm_ffi")]
    options = [f"-I{spot}/include" for spot in spots]

    def written(made):
        source = made.with_suffix(".c")
        source.write_text(text, encoding="utf-8")
        command = [tool, "-std=gnu11", "-O2", "-march=native", "-w", "-fPIC", "-shared", *options]
        subprocess.run([*command, "-o", made, source, "-lm"], check=True, capture_output=True)

    found = None if place is None else _stored_at(place, written, _loaded)
    if found is None:
        import tvm_ffi

        with tempfile.TemporaryDirectory(prefix="attnc") as folder:
            made = Path(folder, "kernel.so")
            written(made)
            found = tvm_ffi.load_module(str(made))
    return found


_AROUND = """\
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define half _Float16
static inline int64_t claim(int64_t *turns) { return (*turns)++; }
static inline int32_t fetch(const void *place) {
  __builtin_prefetch(place);
  return 0;
}
static inline int64_t mixed(int64_t state, int64_t x) {
  uint64_t z = ((uint64_t)state ^ (uint64_t)x) + 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return (int64_t)(z ^ z >> 31);
}
"""

_BITS = """\
static inline {to} as_{to_name}_{of_name}({of} x) {{
  {to} y;
  memcpy(&y, &x, sizeof y);
  return y;
}}
"""

_C_NAMES = {
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "uint16": "uint16_t",
    "float16": "half",
    "float32": "float",
    "float64": "double",
}

_SAME_BITS = [
    ("int32", "float32"),
    ("uint32", "float32"),
    ("int64", "float64"),
    ("uint64", "float64"),
    ("uint16", "float16"),
]


def _prelude(text):
    """What the text of kernels uses that C does not have."""
    lines = [_AROUND]
    for name, sign in (("least", "<"), ("most", ">")):
        for kind, number in _C_NAMES.items():
            if f"{name}_{kind}(" in text:
                head = f"static inline {number} {name}_{kind}({number} a, {number} b)"
                lines.append(f"{head} {{ return a {sign} b ? a : b; }}")
    for pair in _SAME_BITS:
        for to, of in (pair, pair[::-1]):
            if f"as_{to}_{of}(" in text:
                names = {"to": _C_NAMES[to], "of": _C_NAMES[of]}
                lines.append(_BITS.format(**names, to_name=to, of_name=of))
    return "\n".join(lines)


def _ready(tvm, function):
    """A function before it is printed: it says where memory is, around everything.

    It has floats by their bits, of which TVM prints seven digits. Casts of bits, minima and maxima
    are functions: TVM gives operands of these a name, under which it finds what memory held then.
    """
    import tvm_ffi

    of = tvm.tirx

    def exact(number):
        kind = str(number.ty)
        if "nf" not in f"{number.value:e}" and float(f"{number.value:e}") == number.value:
            return number
        bits = kind.replace("float", "int")
        value = int(np.array(number.value, kind).view(bits))
        return of.call_pure_extern(kind, f"as_{kind}_{bits}", of.IntImm(bits, value))

    def bits(call):
        if getattr(call.op, "name", None) != "tirx.reinterpret":
            return call
        to, kind = str(call.ty), str(call.args[0].ty)
        if to not in _C_NAMES:  # a pointer
            return call
        return of.call_pure_extern(to, f"as_{to}_{kind}", call.args[0])

    def chosen(found):
        kind = str(found.ty)
        name = f"{'least' if isinstance(found, of.Min) else 'most'}_{kind}"
        return of.call_pure_extern(kind, name, found.a, found.b)

    changes = [(of.FloatImm, exact), (tvm.ir.Call, bits), ((of.Min, of.Max), chosen)]
    body = tvm_ffi.structural_map(function.body, changes, order="post")
    body = of.AttrStmt("default", "device_type", of.IntImm("int32", 1), body)
    return function.with_body(of.AttrStmt("default", "device_id", of.IntImm("int32", 0), body))


def _of_c(text):
    """A text of TVM's as C has it: without declarations of what is in the prelude."""
    declared = r'#ifdef __cplusplus\nextern "C"\n#endif\nTVM_DLL [\w *]+?\b(\w+)\([^)]*\);\n'
    own = re.compile(r"claim|(as|least|most)_\w+|[a-z0-9]+f?")
    text = re.sub(declared, lambda m: "" if own.fullmatch(m[1]) else m[0], text)
    return re.sub(r"\n *#pragma unroll.*", "", text)


def _in_c(tirx):
    """The script in which kernels are written for C, of which no loop is parallel."""
    return SimpleNamespace(**{**vars(tirx), "parallel": tirx.serial})
