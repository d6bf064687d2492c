"""The order of the passes on plans, which make one ready for a device."""

from __future__ import annotations

from typing import Final

from attnc.passes.tiling.context import PlanPass
from attnc.passes.tiling.extremes import Extremes
from attnc.passes.tiling.fills import Fills
from attnc.passes.tiling.guards import Guards
from attnc.passes.tiling.invariant import Invariant
from attnc.passes.tiling.known import Known
from attnc.passes.tiling.legalise import Dead
from attnc.passes.tiling.rows import Rows

TILING: Final[tuple[PlanPass, ...]] = (
    Invariant(),
    Rows(),
    Extremes(),
    Fills(),
    Known(),
    Guards(),
    Invariant(),
    Dead(),
)
"""What loops need not do anew goes first, so that the rest is known to stay. Rows are told while
predicates are still there; then these become fills, extremes first, since what is computed from
filled values needs none of its own; fills and guards that others imply go. What fills have brought
into loops leaves them again."""


def filled(step: PlanPass) -> bool:
    """Whether predicates have begun to become fills when this pass is done."""
    later = TILING[TILING.index(Extremes()) :]
    return any(step is p for p in later)
