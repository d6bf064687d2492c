# mypy: ignore-errors
"""Helpers that give kernels their threads: torch's, if tensors are its own, else TVM's."""

import os
import shutil
from typing import Any

import numpy as np

from attnc.backends.tvm.keeping import _found, _linked, _place_of, _stored_at
from attnc.backends.tvm.processor import _KNOWN, _imported
from attnc.backends.tvm.runtime import _library_at

tvm: Any = None  # the compiler, once `_imported`


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
            _linked(linker, made, lambda: tvm.runtime.load_module(str(source)))

        found = None if place is None else _found(place, _library_at)
        if found is None and place is not None:
            found = _stored_at(place, written, _library_at)
        _KNOWN["launcher"] = found
    return _KNOWN["launcher"]


def _elsewhere(kernel):
    """A kernel that a thread calls which this process has begun, with threads of its own."""
    from concurrent.futures import ThreadPoolExecutor

    if _KNOWN["forked"] is None:
        _KNOWN["forked"] = ThreadPoolExecutor(1)
    caller = _KNOWN["forked"]
    return lambda *arguments: caller.submit(kernel, *arguments).result()
