"""The tiles of one axis and their lanes, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Number: TypeAlias = Any
"""A Python number or bool, or an array of them."""


class NotCounted(Exception):
    """A number that nothing is known of without a run; the text says why."""


@dataclass(frozen=True, slots=True)
class Along:
    """Tiles of one axis: where each begins, and the last coordinate that exists.

    Lanes beyond are copies of the last one that exists: so they make no difference to whoever asks
    whether any lane, or each of them, is so.
    """

    start: Number
    last: Number
    tile: int
    step: Number = 1

    def lanes(self) -> Number:
        """The number of the last lane that exists."""
        return np.minimum(self.tile - 1, (self.last - self.start) // self.step)
