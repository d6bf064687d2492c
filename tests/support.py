"""What several tests share: specs built into callable kernels."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import attnc
from attnc.api import emit
from attnc.ir.facts import Facts

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.attn"))


@dataclass(frozen=True)
class Kernel:
    """One cascade of a spec: what checking found, the emitted text, the function it defines."""

    facts: Facts
    text: str
    function: Callable[..., Any]

    def __call__(self, /, *arguments: Any, **parameters: Any) -> Any:
        """Calls the function."""
        return self.function(*arguments, **parameters)


def build(text: str, **options: Any) -> dict[str, Kernel]:
    """The kernels of a spec by the names of their cascades; options as for `attnc.compile`."""
    chosen = {"backend": "numpy", "dtype": None, "static": {}, **options}
    kernels = {}
    for facts in attnc.check(text).facts:
        emitted = emit(facts, **chosen)
        kernels[facts.cascade.name] = Kernel(facts, emitted, load(emitted, facts.cascade.name))
    return kernels


def only(text: str, **options: Any) -> Kernel:
    """The kernel of a spec with one cascade."""
    (kernel,) = build(text, **options).values()
    return kernel


def load(text: str, name: str) -> Callable[..., Any]:
    """The function that an emitted module exports; tracebacks into it show its lines."""
    place = f"<emitted {name} {hash(text):x}>"
    linecache.cache[place] = len(text), None, text.splitlines(keepends=True), place
    module = ModuleType(name)
    exec(compile(text, place, "exec", dont_inherit=True), module.__dict__)
    (exported,) = module.__all__
    function: Callable[..., Any] = getattr(module, exported)
    return function
