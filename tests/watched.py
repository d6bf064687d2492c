"""Triton's interpreter as a device would be: lanes that are not loaded hold rubbish, and memory
beside tensors is not touched. For the process in which kernels are interpreted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

RUBBISH: Final = 0x5A5A5A5A
"""What lanes of integers hold that are not loaded; of floats, NaN."""


class Memory:
    """The memory of the tensors of a call: kernels may load and store there alone."""

    def __init__(self) -> None:
        self.watch(())

    def watch(self, tensors: Iterable[Any]) -> None:
        """From now on, these tensors."""
        self._starts = np.zeros(0, np.uint64)
        self._ends = np.zeros(0, np.uint64)
        self.add(*tensors)

    def add(self, *tensors: Any) -> None:
        """More tensors."""
        pairs = list(zip(self._starts.tolist(), self._ends.tolist(), strict=True))
        for x in tensors:
            if x.numel():
                reach = sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))
                pairs.append((x.data_ptr(), x.data_ptr() + (reach + 1) * x.element_size()))
        pairs.sort()
        self._starts = np.array([a for a, _ in pairs], np.uint64)
        self._ends = np.maximum.accumulate(np.array([b for _, b in pairs], np.uint64))

    def check(self, what: str, pointers: Any, mask: Any) -> None:
        """Raises an error unless all these addresses are in some tensor."""
        chosen = pointers[np.broadcast_to(mask != 0, pointers.shape)]
        place = np.searchsorted(self._starts, chosen, "right").astype(np.int64) - 1
        if chosen.size and (place.min() < 0 or not np.all(chosen < self._ends[place])):
            raise IndexError(f"a {what} beside all tensors")


MEMORY: Final = Memory()


def put_right() -> None:
    """Changes the interpreter of this process."""
    np.seterr(all="ignore")
    binary, load = InterpreterBuilder.binary_op, InterpreterBuilder.create_masked_load
    store = InterpreterBuilder.create_masked_store

    def compared(self: Any, lhs: Any, rhs: Any, op: Any) -> Any:
        """A comparison of numbers is a truth, and not a number of their type."""
        found = binary(self, lhs, rhs, op)
        if found.data.dtype == np.bool_:
            found.dtype = tl.int1
        return found

    def loaded(self: Any, pointers: Any, mask: Any, other: Any, *rest: Any, **options: Any) -> Any:
        MEMORY.check("load", pointers.data, mask.data)
        found = load(self, pointers, mask, other, *rest, **options)
        if other is not None or found.data.size == 1:  # a 0 for one lane counts as none there
            return found
        kind = found.data.dtype.kind
        rubbish = np.nan if kind == "f" else RUBBISH & (2 ** (8 * found.data.itemsize - 1) - 1)
        data = np.where(mask.data != 0, found.data, np.asarray(rubbish, found.data.dtype))
        return TensorHandle(data, found.dtype)

    def stored(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        MEMORY.check("store", pointers.data, mask.data)
        return store(self, pointers, value, mask, *rest)

    InterpreterBuilder.binary_op = compared
    InterpreterBuilder.create_masked_load = loaded
    InterpreterBuilder.create_masked_store = stored
    patch_once()


def patch_once() -> None:
    """Names of the language are put in place when a kernel begins, and not in each of its calls.

    A function that a kernel calls looks through all of them for what is not in place yet, which is
    nothing, and took a third of the time.
    """
    patch = interpreter._patch_lang

    def patched(fn: Any) -> Any:
        known = [value for value in fn.__globals__.values() if value is tl or value is tl.core]
        if known and not any(tl.core.is_builtin(lang.load) for lang in known):
            return interpreter._LangPatchScope()
        return patch(fn)

    interpreter._patch_lang = patched
