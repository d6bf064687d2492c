"""Emitted modules as functions of this process: the one place where emitted text is run."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from types import ModuleType
from typing import Any


def function_of(source: str, name: str) -> Callable[..., Any]:
    """The function that an emitted module exports; tracebacks into it show its lines.

    `source` is what a backend emitted, and nothing else: it is executed. `name` tells modules
    apart.
    """
    place = f"<attnc kernel {name}>"
    linecache.cache[place] = len(source), None, source.splitlines(keepends=True), place
    module = ModuleType(name)
    exec(compile(source, place, "exec"), module.__dict__)  # noqa: S102
    (exported,) = module.__all__
    found: Callable[..., Any] = getattr(module, exported)
    return found
