"""Emitted modules as functions of this process: the one place where emitted text is run."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import itertools
import linecache
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from attnc.errors import UsageError

LATER: Final = "\n_FEW = "
"""What the text of a module has that leaves kernels for few rows to another one."""


def module_of(source: str, name: str) -> ModuleType:
    """An emitted module; tracebacks into it show its lines, and Triton finds its kernels' text.

    `source` is what a backend emitted, and nothing else: it is executed. `name` tells modules
    apart.
    """
    place = f"<attnc kernel {name}>"
    linecache.cache[place] = len(source), None, source.splitlines(keepends=True), place
    module = ModuleType(name)
    exec(compile(source, place, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module


def function_of(
    source: str, name: str, whole: Callable[[], str | None] | None = None
) -> Callable[..., Any]:
    """The function that an emitted module exports; see `module_of`.

    `whole` gives the module with all that this one leaves for later, if there is one.
    """
    module = module_of(source, name)
    if whole is not None and LATER in source:

        @functools.cache
        def few() -> Callable[..., Any] | None:
            text = whole()
            found = None if text is None else module_of(text, f"{name} whole")
            return None if found is None else found._launch

        vars(module)["_FEW"] = few  # it is in the text
    return exported(module)


def exported(module: ModuleType) -> Callable[..., Any]:
    """The function that a module exports."""
    (name,) = module.__all__
    found: Callable[..., Any] = getattr(module, name)
    return found


def keywords(function: Callable[..., Any], own: Collection[str]) -> dict[str, str]:
    """The keyword under which an emitted function takes each of these parameters.

    In the module a parameter goes by another name where its own is taken.
    """
    accepted = inspect.signature(function).parameters
    keyword = {n for n, p in accepted.items() if p.kind is p.KEYWORD_ONLY}
    found = {}
    for name in own:
        others = itertools.chain([f"{name}_"], (f"{name}_{i}" for i in itertools.count(2)))
        free = (o for o in others if o in keyword and o not in own)
        found[name] = name if name in keyword else next(free)
    return found


def without_tvm() -> UsageError | None:
    """That the TVM is not installed in whose dialect kernels are printed; it is not imported."""
    known = "tvm" in sys.modules
    found = sys.modules["tvm"] if known else importlib.util.find_spec("tvm")
    places = getattr(found, "__path__" if known else "submodule_search_locations", None) or ()
    if any(Path(place, "tirx").is_dir() for place in places):
        return None
    text = "TVM 0.27 is not installed; kernels for CPUs need it: pip install 'attnc[tvm]'"
    return UsageError(text)


def missing(error: ModuleNotFoundError) -> UsageError:
    """That a package is not installed which what is emitted for GPUs needs."""
    text = f"{error.name} is not installed; kernels for GPUs need it: pip install 'attnc[triton]'"
    return UsageError(text)
