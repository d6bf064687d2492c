"""Kernels of the TVM backend, built and run in the process of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnc.api import Device, emit
from attnc.ir.facts import Facts
from attnc.modules import function_of


@dataclass(frozen=True)
class Built:
    """A module of kernels, called with arrays."""

    facts: Facts
    text: str

    def __call__(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any], tile: int | None = None
    ) -> tuple[np.ndarray, ...]:
        """The outputs; `tile`: tiles of so many points along axes that no vector goes along."""
        function = function_of(self.text, f"{hash(self.text):x}")
        space = function.__globals__
        kept = space.get("_tile")
        if tile is not None and kept is not None:
            space["_tile"] = lambda size, least, most: kept(
                size, min(least, tile) if least == space.get("_LEAST", 8) else least, least
            )
        try:
            arguments = [inputs[i.name] for i in self.facts.cascade.inputs]
            found = function(*arguments, **parameters)
        finally:
            if kept is not None:
                space["_tile"] = kept
        return found if isinstance(found, tuple) else (found,)


_MADE: dict[int, Built] = {}


def built(facts: Facts) -> Built:
    """The kernels of a cascade, made once."""
    if id(facts) not in _MADE:
        text = emit(facts, backend="tvm", dtype=None, static={}, device=Device())
        _MADE[id(facts)] = Built(facts, text)
    return _MADE[id(facts)]
