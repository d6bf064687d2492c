# mypy: ignore-errors
"""Helpers that emitted modules carry, around kernels; those that a module uses are copied.

Tensors are torch's or NumPy's, or give their memory by DLPack; none is copied.
"""

import ctypes
import os
import sys

import numpy as np

_KERNEL = "kernel"
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _torch():
    """The module torch, if anything has imported it."""
    return sys.modules.get("torch")


def _tensor(name, value, ranks, types, sizes):
    """Checks a tensor's place, element type and sizes; one of another library becomes NumPy's.

    `ranks` names its ranks or gives their sizes; `sizes` remembers each rank's size and tensor.
    """
    torch = sys.modules.get("torch")
    numpy = isinstance(value, np.ndarray)
    if not numpy and torch is not None and isinstance(value, torch.Tensor):
        if value.layout is not torch.strided:
            raise TypeError(f"{_KERNEL}: {name} must be a dense tensor, not {value.layout}")
        if not value.is_cpu:
            raise ValueError(f"{_KERNEL}: {name} is on {value.device}, not on cpu")
    elif not numpy:
        if not hasattr(value, "__dlpack__"):
            kind = type(value).__name__
            raise TypeError(f"{_KERNEL}: {name} must be a tensor of torch or NumPy, not {kind}")
        value = np.from_dlpack(value)
        numpy = True
    shape = value.shape
    if len(shape) != len(ranks):
        shown = f"{name}[{','.join(map(str, ranks))}]"
        raise ValueError(f"{_KERNEL}: {shown} has {len(ranks)} ranks, not {len(shape)}")
    kind = _name(value.dtype)
    if kind not in types:
        wanted = " or ".join(types)
        raise TypeError(f"{_KERNEL}: {name} must be {wanted}, not {kind}")
    for rank, size in zip(ranks, shape):
        known = (rank, "its declaration") if isinstance(rank, int) else sizes.get(rank)
        if known is None:
            known = sizes[rank] = (size, name)
        if size != known[0] or size >= 2**29:
            raise _missized(f"{name}[{','.join(map(str, ranks))}]", rank, size, *known)
    if numpy and any([s % value.itemsize for s in value.strides]):  # noqa: C419 - in half the time
        raise ValueError(f"{_KERNEL}: {name} has strides that are no whole number of elements")
    return value


def _missized(shown, rank, size, known, where):
    """The error of a size that is not another one, or too large."""
    if size == known:
        return ValueError(f"{_KERNEL}: rank {rank} of {shown} has size {size}, 2**29 or more")
    place = f"rank {rank} of {shown}" if isinstance(rank, str) else f"a rank of {shown}"
    return ValueError(f"{_KERNEL}: {place} has size {size}, but {known} in {where}")


def _common(**tensors):
    """The one element type of the tensors that declare none."""
    (first, tensor), *rest = tensors.items()
    kind = _name(tensor.dtype)
    for name, other in rest:
        if _name(other.dtype) != kind:
            raise TypeError(
                f"{_KERNEL}: {first} is {kind} and {name} is {_name(other.dtype)}; "
                "tensors without an element type share one"
            )
    return kind


_NAMES = {}


def _name(dtype):
    """What an element type is called."""
    found = _NAMES.get(dtype)
    if found is None:
        found = _NAMES[dtype] = str(dtype).removeprefix("torch.")
    return found


def _library(**tensors):
    """The library whose tensors are given, of which the outputs are, too."""
    torch = _torch()
    if torch is not None:
        for tensor in tensors.values():
            if isinstance(tensor, torch.Tensor):
                return torch
    return np


def _filled(library, shape, dtype, value):
    """A new tensor with one value everywhere."""
    return library.full(tuple(map(int, shape)), value, dtype=_dtype_of(library, dtype))


def _dtype_of(library, dtype):
    """An element type of a library."""
    if library is not np:
        return getattr(library, dtype)
    if dtype in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        import ml_dtypes

        return getattr(ml_dtypes, dtype)
    return np.dtype(dtype)


def _finished(tensor, here, empty, dtype):
    """An output that kernels have read again: its absent points filled, in its own type."""
    library = np if isinstance(tensor, np.ndarray) else _torch()
    if here is not None:
        tensor = library.where(here, tensor, empty)
    kind = _dtype_of(library, dtype)
    return tensor.astype(kind) if library is np else tensor.to(kind)


def _claim(text, *parts):
    """Raises an error if a tensor is not sorted as it is said to be; looks only if told to.

    Each part is a tensor, a rank, and how each element along it compares with the next one.
    """
    if os.environ.get("ATTNC_CHECK", "0") in ("", "0"):
        return
    compare = {"<=": np.less_equal, "<": np.less, ">=": np.greater_equal, ">": np.greater}
    for tensor, rank, op in parts:
        rows = np.moveaxis(np.asarray(tensor), rank, -1)
        if not np.all(compare[op](rows[..., :-1], rows[..., 1:])):
            raise ValueError(f"{_KERNEL}: `require {text}` does not hold")


def _at(tensor):
    """Where the elements of a tensor begin."""
    numpy = isinstance(tensor, np.ndarray)
    return ctypes.c_void_p(tensor.__array_interface__["data"][0] if numpy else tensor.data_ptr())


def _within(tensor, places):
    """What lies so many bytes behind the begin of a tensor, for each of some places."""
    start = _at(tensor).value or 0
    return [ctypes.c_void_p(start + place) for place in places]


def _in_large_pages(make):
    """What makes a tensor, and asks the system for large pages where it lies, if it has these."""
    import mmap

    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return make
    ask, page = ctypes.CDLL(None).madvise, mmap.PAGESIZE

    def made():
        tensor = make()
        begin = tensor.data_ptr()
        first, end = -(-begin // page) * page, (begin + tensor.nbytes) // page * page
        ask(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_HUGEPAGE)
        return tensor

    return made


def _steps(tensor):
    """The strides of a tensor, in elements."""
    if isinstance(tensor, np.ndarray):
        size = tensor.itemsize
        return [s // size for s in tensor.strides]
    return tensor.stride()


def _stored(element):
    """As what elements lie in memory: bf16 as its 16 bits."""
    return "uint16" if element == "bfloat16" else element


def _shared_library(path):
    """A library whose names others that are loaded see."""
    return ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)


def _library_at(path):
    """A library."""
    return ctypes.CDLL(str(path))


def _directed(path, launch):
    """Lets the loops of a kernel's library, which TVM has loaded, be launched by a function."""
    place = ctypes.c_void_p.in_dll(ctypes.CDLL(str(path)), "__TVMBackendParallelLaunch")
    place.value = ctypes.cast(launch, ctypes.c_void_p).value
