"""What one kernel computes."""

from __future__ import annotations

from dataclasses import dataclass

from attnc.ir.cascade import Einsum
from attnc.passes.running.derive import Running
from attnc.passes.tiling.steps import Steps


@dataclass(frozen=True)
class Group:
    """Einsums that run together.

    `over` are the streamed rank variables, the outermost first; without them there is no loop.
    `results` are their reductions with running forms, `rows` are stored tile by tile in the loop,
    `maps` follow. `steps` is a recurrence, whose `rows` follow it step by step.
    """

    over: tuple[str, ...] = ()
    results: tuple[Einsum, ...] = ()
    forms: tuple[Running, ...] = ()
    rows: tuple[Einsum, ...] = ()
    maps: tuple[Einsum, ...] = ()
    backward: bool = False
    steps: Steps | None = None

    @property
    def einsums(self) -> tuple[Einsum, ...]:
        """All that it computes, in order; of a recurrence, its steps."""
        steps = self.steps.steps if self.steps else ()
        return (*steps, *self.results, *self.rows, *self.maps)
