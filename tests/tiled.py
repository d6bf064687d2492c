"""Plans as functions, and how tests run them: at random tile sizes, in random orders."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import attnc
from attnc.backends.numpy.tiled import emit_tiled
from attnc.backends.options import Options
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Value
from attnc.ir.facts import Facts
from attnc.ir.tiles import Kernel, Plan
from attnc.modules import function_of
from attnc.passes.tiling.matrix import MatrixOperands
from attnc.planning import planned
from tests.agreement import function

SIZES = (1, 2, 3, 5, 8, 64)
"""Tile sizes to choose from."""
ROUNDS = 30
"""The most tiles that a kernel goes through: a tile takes about a millisecond."""
SPARE = 3
"""The most lanes beyond an extent: tiles of several axes multiply."""


@dataclass(frozen=True)
class Tiled:
    """A cascade, its plan with rounded operands, and the function of that plan."""

    facts: Facts
    plan: Plan
    call: Callable[..., Any]

    def sizes(
        self,
        seed: int,
        inputs: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> dict[str, int]:
        """A random tile size for each axis; for such inputs, none takes more than `ROUNDS`."""
        generator = random.Random(seed)
        names = dict.fromkeys(a.name for k in self.plan.kernels for a in k.axes)
        found = {name: generator.choice(SIZES) for name in names}
        if inputs is not None:
            extents = self.extents(inputs, parameters or {})
            found = {name: min(size, extents[name] + SPARE) for name, size in found.items()}
            for kernel in self.plan.kernels:
                _limit(kernel, found, extents)
        return found

    def extents(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, int]:
        """The sizes of axes, as far as they are numbers before a call."""
        cascade = self.facts.cascade
        values: dict[str, Any] = {p.name: p.default for p in cascade.parameters}
        values |= parameters
        for item in cascade.inputs:
            shape = zip(item.sizes, np.shape(inputs[item.name]), strict=True)
            values |= {size: int(n) for size, n in shape if isinstance(size, str)}
        for let in self.plan.lets:
            values[let.name] = evaluate(let.value, values)
        axes = [a for k in self.plan.kernels for a in k.axes]
        return {a.name: int(evaluate(a.size, values) or 0) for a in axes}

    def streamed(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The smallest tiles in which ranks are streamed, by the names of their extents."""
        found: dict[str, int] = {}
        for axis in (a for k in self.plan.kernels for a in k.axes if a.kind in ("stream", "step")):
            name = axis.size.name if isinstance(axis.size, Value) else axis.name
            size = sizes[axis.name] if axis.kind == "stream" else 1
            found[name] = min(size, found.get(name, size))
        return found

    def __call__(
        self,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
        sizes: Mapping[str, int],
        shuffle: int | None = None,
    ) -> Any:
        """What the plan computes."""
        arrays = (inputs[i.name] for i in self.facts.cascade.inputs)
        with np.errstate(all="ignore"):
            return self.call(*arrays, **parameters, _tiles=sizes, _shuffle=shuffle)


def _limit(kernel: Kernel, tiles: dict[str, int], extents: Mapping[str, int]) -> None:
    """Doubles tiles until the rounds of a kernel are few enough."""
    moving = [a.name for a in kernel.axes if a.kind in ("par", "stream")]

    def rounds(name: str) -> int:
        return -(-extents[name] // tiles[name])

    while math.prod(rounds(name) for name in moving) > ROUNDS:
        tiles[max(moving, key=rounds)] *= 2


def tiled(facts: Facts) -> Tiled:
    """The plan of a cascade; raises `NotLowered`."""
    return of_plan(facts, planned(facts)[1].plan)


def of_plan(facts: Facts, plan: Plan, *, rounded: bool = True) -> Tiled:
    """A plan of a cascade with its function."""
    plan = MatrixOperands()(plan) if rounded else plan
    return Tiled(facts, plan, function_of(emit_tiled(plan, Options()), facts.cascade.name))


def from_text(text: str) -> Tiled:
    """The plan of a text."""
    return tiled(attnc.check(text).select())


def written(facts: Facts, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """What the cascade as it is written computes."""
    with np.errstate(all="ignore"):
        return function(facts)(*(inputs[i.name] for i in facts.cascade.inputs), **parameters)


def outputs(found: Any) -> tuple[Any, ...]:
    """One result or several as several."""
    return found if isinstance(found, tuple) else (found,)
