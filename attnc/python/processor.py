"""Kernels for tensors in main memory where nobody chose a backend: TVM's, else NumPy's, aloud."""

from __future__ import annotations

import itertools
import sys
import threading
import warnings
from typing import Final

from attnc.errors import SpecError
from attnc.modules import without_tvm
from attnc.python.build import Built, Choices, Make

_said: Final[set[str]] = set()
_lock: Final = threading.Lock()


class BackendWarning(UserWarning):
    """A kernel runs on a slower backend than the one that its device is meant to have."""


def on_processor(numpy: Built, make: Make, choices: Choices) -> Built:
    """The kernel of TVM; that of NumPy, with a warning, if TVM is not there or cannot take it.

    `numpy` was compiled of the same spec, which is therefore valid. It is said once that TVM is
    missing, and once of each spec that TVM cannot take it.
    """
    lacking = without_tvm()
    if lacking is not None:
        _say("tvm", numpy, str(lacking))
        return numpy
    try:
        return make(choices.on("cpu"))
    except SpecError as error:
        _say(numpy.key, numpy, str(error))
        return numpy


def _say(what: str, built: Built, reason: str) -> None:
    with _lock:
        if what in _said:
            return
        _said.add(what)
    name = built.signature.name
    text = f'{name} runs as NumPy, which is slow; backend="numpy" asks for that. {reason}'
    warnings.warn(text, BackendWarning, stacklevel=_outside())


def _outside() -> int:
    """How many frames up the caller of the kernel is: not here, and not in PyTorch."""
    for level in itertools.count(1):  # the frames of this function and of `_say` are 0 and 1
        try:
            name = sys._getframe(level).f_globals.get("__name__", "")
        except ValueError:
            return 1
        if name.partition(".")[0] not in ("attnc", "torch", "functools"):
            return level
    raise AssertionError


def forget() -> None:
    """Says it all again."""
    _said.clear()
