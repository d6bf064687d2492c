# mypy: ignore-errors
"""Helpers by which a call like an earlier one finds what was made ready then; copied as others are.

What is kept has sizes, strides and kernels, and no tensor.
"""

import functools
import math
import sys

import numpy as np

from attnc.backends.tvm.processor import _KNOWN
from attnc.backends.tvm.runtime import _dtype_of, _in_large_pages
from attnc.backends.tvm.threads import _workers

_CALLS = {}  # what runs the kernels of calls that were there before, by what `_seen` says of them


def _seen(tensors, *values):
    """What a call has in common with those that need the same: sizes, strides and types of tensors,
    the values of parameters, and the threads. None where that is not told, as in the first call."""
    if "torch" not in _KNOWN:
        return None
    torch = sys.modules.get("torch")
    key = [_workers()]
    for tensor in tensors:
        if isinstance(tensor, np.ndarray):
            key += (tensor.shape, tensor.strides, tensor.dtype)
        elif torch is None or not isinstance(tensor, torch.Tensor):
            return None
        elif tensor.layout is torch.strided and tensor.is_cpu:
            key += (tensor.shape, tensor.stride(), tensor.dtype)
        else:
            return None
    for value in values:
        kind = type(value)
        if kind is not int and kind is not bool and kind is not float:
            return None
        key += (kind, value.hex() if kind is float else value)  # 0.0 is not -0.0
    return tuple(key)


def _remembered(key, run):
    """Keeps what runs the kernels of a call for those like it; all are forgotten when many are."""
    if key is not None:
        if len(_CALLS) >= 64:
            _CALLS.clear()
        _CALLS[key] = run
    return run


def _maker(library, shape, dtype):
    """What makes a new tensor of such a shape and type each time it is called.

    Of 4 MiB on, it asks for large pages: memory that a process did not have before comes page by
    page when it is written to, and the C library gives 32 MiB and more back each time. NumPy asks
    for them itself.
    """
    kind = _dtype_of(library, dtype)
    make = functools.partial(library.empty, shape, dtype=kind)
    if library is np or kind.itemsize * math.prod(shape) < 2**22:
        return make
    return _in_large_pages(make)


def _packed(shape):
    """The strides of a new tensor, in elements."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size or 1
    return steps[::-1]


_WIDTHS = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


def _rooms(*tensors):
    """How many bytes tensors of some shapes and types take, and where each of them lies."""
    end, places = 0, []
    for shape, dtype in tensors:
        places.append(end)
        end += -(-_WIDTHS[dtype] * math.prod(shape) // 64) * 64
    return (end, *places)
