# mypy: ignore-errors
"""Kernels run by OpenCL; helpers that emitted modules carry."""

import numpy as np
import pyopencl as cl

THREADS = 64
_KERNEL = "kernel"
_QUEUE = []


def _queue():
    """The queue of the first device that there is."""
    if not _QUEUE:
        devices = [d for p in cl.get_platforms() for d in p.get_devices()]
        if not devices:
            raise RuntimeError(f"{_KERNEL}: OpenCL has no device here")
        _QUEUE.append(cl.CommandQueue(cl.Context(devices[:1])))
    return _QUEUE[0]


def _uploaded(array):
    """An array in the memory of the device."""
    if not array.size:
        return _allocated(array.shape, array.dtype)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    return cl.Buffer(_queue().context, flags, hostbuf=array)


def _allocated(shape, dtype):
    """Room in the memory of the device."""
    size = max(1, int(np.prod(shape))) * dtype.itemsize
    return cl.Buffer(_queue().context, cl.mem_flags.READ_WRITE, size)


def _downloaded(buffer, shape, dtype):
    """An array from the memory of the device."""
    array = np.empty(shape, dtype)
    if array.size:
        cl.enqueue_copy(_queue(), array, buffer)
    return array


_KERNELS = {}


def _launched(text, name, programs, arguments):
    """Runs a kernel."""
    if text not in _KERNELS:
        program = cl.Program(_queue().context, text)
        # The optimiser of PoCL (3.1) takes threads for each other where a barrier is in a branch.
        pocl = "Portable Computing" in _queue().device.platform.name
        _KERNELS[text] = cl.Kernel(program.build(["-cl-opt-disable"] if pocl else []), name)
    values = [v if kind == "tensor" else np.dtype(kind).type(v) for _, kind, v in arguments]
    _KERNELS[text](_queue(), (programs * THREADS,), (THREADS,), *values)
