# mypy: ignore-errors
"""Helpers that build kernels and keep them; those that a module uses are copied into it.

What was built before is found on disk, so that the compiler is imported only where it is needed.
"""

import gc
import hashlib
import importlib.util
import linecache
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from attnc.backends.tvm.runtime import _directed, _library_at, _shared_library

tvm: Any = None  # the compiler, once `_imported`
T: Any = None  # its script
PAIRS: Any = None  # the switch of a module

_CPU = None  # the processor that kernels are built for, where it is not this machine's own

_KNOWN = {}


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


def _threads_of(library):
    """Chooses at the first call whose threads run kernels: torch's, if tensors are its own."""
    _KNOWN.setdefault("torch", library if library is not np else None)


def _workers():
    """How many threads work: as many as torch has, or as TVM is told once."""
    if _launcher() is not None:
        return _KNOWN["torch"].get_num_threads()
    if "workers" not in _KNOWN:
        _KNOWN["workers"] = max(1, int(os.environ["TVM_NUM_THREADS"]))
    return _KNOWN["workers"]


def _whole(size, lanes):
    """The size of a tile that holds all of an axis: a whole number of vectors."""
    return max(1, -(-int(size) // lanes)) * lanes


def _tile(size, least, most):
    """The size of tiles along an axis: a power of two that is no more than needed."""
    return max(least, min(most, 1 << max(0, int(size) - 1).bit_length()))


def _few(size, lanes):
    """The least tile along rows: a vector, unless most of it would be idle."""
    return lanes if size * 4 > lanes else 1


def _unless_many(size):
    """The least tile along an axis if each tile computes the same anew: all of it, up to 256."""
    return int(size) if size <= 256 else 1


def _few_rows(rows, others, lanes):
    """Whether rows are few, so that vectors do not go along them, and what is streamed is taken in
    pieces; `others`: programs beside them. It is told by sizes alone, for the sake of bits."""
    return (rows > 0) & ((rows * 2 <= lanes) | ((rows <= lanes * 4) & (others < 4)))


def _shared(size, most, others):
    """The most that tiles shall have so that each thread finds one; `others`: tiles beside them."""
    while most > 1 and 0 < -(-int(size) // most) * int(others) < _workers():
        most //= 2
    return most


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


def _crew(kernel, products):
    """A kernel as it is called: by one thread alone, if so many products of matrices are few.

    They then take less time than until another thread is awake, which the call waits for.
    """
    if products >= 2**19 or _workers() == 1 or "forked" in _KNOWN:
        return kernel
    threads = _threads()

    def call(*arguments):
        threads(1)
        try:
            kernel(*arguments)
        finally:
            threads(0)  # all

    return call


def _threads():
    """What is told how many threads the next kernel that this thread calls has."""
    if "threads" not in _KNOWN:
        launcher = _launcher()
        if launcher is None:
            import tvm_ffi

            configure = tvm_ffi.get_global_func("runtime.config_threadpool")
            _KNOWN["threads"] = lambda count: configure(1, count)  # of the fast cores
        else:
            _KNOWN["threads"] = launcher.attnc_want
    return _KNOWN["threads"]


_LAUNCHER = """\
%job = type { ptr, ptr, { ptr, i32 }, i32 }
@wanted = internal thread_local global i32 0
declare void @GOMP_parallel(ptr, ptr, i32, i32)
declare i32 @omp_get_thread_num()
declare i32 @omp_get_num_threads()
declare i32 @omp_get_max_threads()

define i32 @attnc_want(i32 %count) {
  store i32 %count, ptr @wanted
  ret i32 0
}

; What TVM's runtime has by the name of TVMBackendParallelLaunch: `function` is called with each
; number below a count of its own choice, the count after a null pointer, and `data`.
define i32 @attnc_launch(ptr %function, ptr %data, i32 %tasks) {
  %wanted = load i32, ptr @wanted
  %most = call i32 @omp_get_max_threads()
  %any = icmp eq i32 %wanted, 0
  %count = select i1 %any, i32 %most, i32 %wanted
  %job = alloca %job
  store ptr %function, ptr %job
  %data.at = getelementptr %job, ptr %job, i32 0, i32 1
  store ptr %data, ptr %data.at
  %env = getelementptr %job, ptr %job, i32 0, i32 2
  store ptr null, ptr %env
  %count.at = getelementptr %job, ptr %job, i32 0, i32 2, i32 1
  store i32 %count, ptr %count.at
  %code.at = getelementptr %job, ptr %job, i32 0, i32 3
  store i32 0, ptr %code.at
  %alone = icmp eq i32 %count, 1
  br i1 %alone, label %one, label %many
one:
  %own = call i32 %function(i32 0, ptr %env, ptr %data)
  ret i32 %own
many:
  call void @GOMP_parallel(ptr @member, ptr %job, i32 %count, i32 0)
  %code = load i32, ptr %code.at
  ret i32 %code
}

; OpenMP may give fewer threads: each takes every so many numbers.
define internal void @member(ptr %job) {
entry:
  %function = load ptr, ptr %job
  %data.at = getelementptr %job, ptr %job, i32 0, i32 1
  %data = load ptr, ptr %data.at
  %env = getelementptr %job, ptr %job, i32 0, i32 2
  %count.at = getelementptr %job, ptr %job, i32 0, i32 2, i32 1
  %count = load i32, ptr %count.at
  %code.at = getelementptr %job, ptr %job, i32 0, i32 3
  %first = call i32 @omp_get_thread_num()
  %step = call i32 @omp_get_num_threads()
  br label %next
next:
  %number = phi i32 [ %first, %entry ], [ %after, %work ]
  %more = icmp slt i32 %number, %count
  br i1 %more, label %work, label %done
work:
  %own = call i32 %function(i32 %number, ptr %env, ptr %data)
  %before = atomicrmw or ptr %code.at, i32 %own monotonic
  %after = add i32 %number, %step
  br label %next
done:
  ret void
}
"""


def _launcher():
    """A library that runs programs on the threads of torch's OpenMP.

    Threads of TVM's own would take the cores from those, which wait for work without sleeping.
    None where the first call was not with tensors of torch, where it has no OpenMP with the names
    of GNU's, and where kernels are not kept.
    """
    if "launcher" not in _KNOWN:
        linker = shutil.which("ld")
        place = _place_of(["launcher", _LAUNCHER]) if _KNOWN["torch"] and linker else None

        def written(made):
            _imported()
            source = made.with_suffix(".ll")
            source.write_text(_LAUNCHER, encoding="utf-8")
            _linked(tvm.runtime.load_module(str(source)), linker, made)

        found = None if place is None else _found(place, _library_at)
        if found is None and place is not None:
            found = _stored_at(place, written, _library_at)
        _KNOWN["launcher"] = found
    return _KNOWN["launcher"]


def _linked(module, linker, made):
    """Writes what the compiler has made as a library."""
    unit = made.with_suffix(".o")
    module.write_to_file(str(unit), "o")
    subprocess.run([linker, "-shared", "-o", made, unit], check=True, capture_output=True)


def _forked():
    """What a process begins with that is a copy of another one, whose threads are not copied.

    TVM has threads for each thread that calls it, and waits for those of the other process.
    """
    if "tvm_ffi" in sys.modules:
        _KNOWN["forked"] = None
        _BUILT.clear()


def _elsewhere(kernel):
    """A kernel that a thread calls which this process has begun, with threads of its own."""
    from concurrent.futures import ThreadPoolExecutor

    if _KNOWN["forked"] is None:
        _KNOWN["forked"] = ThreadPoolExecutor(1)
    caller = _KNOWN["forked"]
    return lambda *arguments: caller.submit(kernel, *arguments).result()


def _target():
    """What kernels are built for, as the compiler knows it."""
    if "target" not in _KNOWN:
        chosen = _CPU and _CPU["target"]
        if chosen is None:
            of_system = tvm.get_global_func("target.llvm_get_system_cpu")
            # Of a processor that the compiler knows by no name, what kernels ask for is told.
            more = ["+avx512bf16"] if "avx512_bf16" in _processor() else []
            chosen = {"mcpu": of_system(), "mattr": more}
        _KNOWN["target"] = tvm.target.Target({"kind": "llvm", "fast-math-contract": True, **chosen})
    return _KNOWN["target"]


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


def _stored_at(place, written, load):
    """A library that is written, kept at its place, and loaded; None if something is in the way."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours(place.parent):
            return None
        with tempfile.TemporaryDirectory(dir=place.parent, prefix="tvm") as folder:
            made = Path(folder, "kernel.so")
            written(made)
            data = made.read_bytes()
            made.write_bytes(data + hashlib.sha256(data).digest())
            made.replace(place)
        _swept(place.parent)
    except (OSError, subprocess.CalledProcessError):
        return None  # trouble with the disk or the linker
    return _found(place, load)


def _place(kernel, fixed):
    """Where a kernel is kept: by its module, what it is built for, the machine and the compiler.

    Nowhere if the module has no text.
    """
    path = kernel.__code__.co_filename
    text = "".join(linecache.getlines(path, globals()))
    return _place_of([text, kernel.__name__, *fixed]) if text else None


def _place_of(facts):
    """Where a library is kept: by what it is made of, the machine and the compiler.

    In a folder of the user's: `ATTNC_CACHE`, else where the system keeps such; nowhere if
    `ATTNC_CACHE` is empty or `off`, or if there is no compiler.
    """
    chosen = os.environ.get("ATTNC_CACHE")
    root = _root()
    if sys.platform != "linux" or chosen in ("", "off") or root is None or len(_processor()) < 2:
        return None
    folder = Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "attnc"))
    folder = folder.expanduser().absolute()
    status = root.stat()
    facts = [*facts, sorted(_processor())]
    facts += [str(root), status.st_size, status.st_mtime_ns, sys.version]
    name = hashlib.sha256(repr(facts).encode()).hexdigest()
    return folder / f"tvm-{name}.so"


def _root():
    """The file of the compiler's runtime."""
    if "root" not in _KNOWN:
        found = importlib.util.find_spec("tvm")
        places = found.submodule_search_locations if found else ()
        files = [Path(place, "lib", "libtvm_runtime.so") for place in places]
        _KNOWN["root"] = next((f for f in files if f.exists()), None)
    return _KNOWN["root"]


def _ours(path):
    """Whether only this user and root can have written to it: what it holds is run."""
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _found(place, load):
    """A library that was kept; None where there is none that is whole and ours."""
    try:
        if not (_ours(place.parent) and _ours(place)):
            return None
        data = place.read_bytes()
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            return None
        os.utime(place)
        return load(place)
    except OSError:
        return None


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


def _swept(folder):
    """Removes what was longest unused, where kernels take more than 256 MiB."""
    kept = []
    for path in folder.glob("tvm-*.so"):
        status = path.stat()
        kept.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= 2**28:
            break
        path.unlink(missing_ok=True)
        total -= size
