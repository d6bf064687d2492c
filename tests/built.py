"""Kernels of the TVM backend, built and run in the process of the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnc.api import Device, emit
from attnc.ir.facts import Facts
from attnc.modules import function_of
from tests.interpreted import Strided

os.environ.setdefault("TVM_NUM_THREADS", "2")


@dataclass(frozen=True)
class Built:
    """A module of kernels, called with arrays, or with views of some."""

    facts: Facts
    text: str

    def __call__(
        self,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
        *,
        tile: int | None = None,
        few: bool | None = None,
    ) -> tuple[np.ndarray, ...]:
        """The outputs; `tile`: the least tiles along rows, and so many points along others.

        `few`: by the kernels for few rows, if there are any, or by the others.
        """
        function = function_of(self.text, f"{hash(self.text):x}")
        space = function.__globals__
        kept, chosen = space.get("_tile"), space.get("_few_rows")
        many = space.get("_unless_many")
        if tile is not None and kept is not None:
            space["_tile"] = small(kept, tile)
            space["_unless_many"] = lambda _: 1
            space["_crew"] = lambda kernel, _: kernel  # all threads, though there is little to do
        if few is not None and chosen is not None:
            space["_few_rows"] = lambda *_: few
            one = len(self.text) % 2 == 0  # the half of all texts, whatever their pieces are
            space["_one_piece"] = lambda *counts: one and max(counts) < 2
        try:
            arguments = [_array(inputs[i.name]) for i in self.facts.cascade.inputs]
            found = function(*arguments, **parameters)
        finally:
            if kept is not None:
                space["_tile"], space["_unless_many"] = kept, many
            if chosen is not None:
                space["_few_rows"] = chosen
        return found if isinstance(found, tuple) else (found,)


def small(choose: Callable[..., int], tile: int) -> Callable[..., int]:
    """A choice of tiles that takes the least ones; those of no vector have `tile` points."""

    def chosen(size: int, least: int, most: int) -> int:
        return choose(size, tile, tile) if least == 1 else choose(size, least, least)

    return chosen


def _array(value: Any) -> Any:
    if not isinstance(value, Strided):
        return value
    flat = value.memory.reshape(-1)[value.offset :]
    steps = [s * flat.itemsize for s in value.strides]
    return np.lib.stride_tricks.as_strided(flat, value.sizes, steps)


_MADE: dict[int, tuple[Facts, Built]] = {}


def built(facts: Facts) -> Built:
    """The kernels of a cascade, made once."""
    if id(facts) not in _MADE:
        text = emit(facts, backend="tvm", dtype=None, static={}, device=Device())
        _MADE[id(facts)] = facts, Built(facts, text)
    return _MADE[id(facts)][1]
