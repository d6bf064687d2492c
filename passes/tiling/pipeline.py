"""The order of the passes on plans, which make one ready for a device."""

from __future__ import annotations

from typing import Final

from attnc.passes.tiling.affine import Affine
from attnc.passes.tiling.bounded import Bounded
from attnc.passes.tiling.confine import Confine
from attnc.passes.tiling.context import PlanPass
from attnc.passes.tiling.extremes import Extremes
from attnc.passes.tiling.fills import Fills
from attnc.passes.tiling.given import Given
from attnc.passes.tiling.guards import Guards
from attnc.passes.tiling.invariant import Invariant
from attnc.passes.tiling.known import Known
from attnc.passes.tiling.legalise import Dead
from attnc.passes.tiling.matrix import MatrixOperands
from attnc.passes.tiling.pack import Pack
from attnc.passes.tiling.preload import Preload
from attnc.passes.tiling.ranges import Ranges
from attnc.passes.tiling.rows import Rows
from attnc.passes.tiling.strided import Strided
from attnc.passes.tiling.summary import Summary
from attnc.passes.tiling.tables import Tables
from attnc.passes.tiling.units import Units
from attnc.passes.tiling.witness import Witness

RANGED: Final[tuple[PlanPass, ...]] = (
    Bounded(),
    Strided(),
    Affine(),
    Invariant(),
    Ranges(),
)
"""What makes loops go through no more than they need, with predicates as they are."""

TILING: Final[tuple[PlanPass, ...]] = (
    *RANGED,
    Tables(),
    Rows(),
    Extremes(),
    Fills(),
    Known(),
    Guards(),
    Invariant(),
    Dead(),
)
"""What loops need not do anew goes first, so that the rest is known to stay. Predicates become
ranges of loops, and rows are told, while they are still there; then these become fills, extremes
first, since what is computed from filled values needs none of its own; fills and guards that others
imply go. What fills have brought into loops leaves them again."""


def for_devices(*, exact: bool = False, lists: bool = True) -> tuple[PlanPass, ...]:
    """The passes on a plan that a device is to run.

    What sizes alone decide goes first, and again when rows are told. `exact`: what is not finite
    reaches those alone who read it; that needs the predicates, too. Units come last, when what
    loops do is settled; then operands are rounded, ranks packed, and looks at rounds go into
    kernels of their own, which other passes need not know; `lists`: if the device takes that.
    """
    first = (Given(), Confine()) if exact else (Given(),)
    last = (Given(), Units(), Witness(), Invariant(), Preload(), Dead(), MatrixOperands())
    return (*first, *TILING, *last, Pack(), *((Summary(),) if lists else ()))


def filled(step: PlanPass) -> bool:
    """Whether predicates have begun to become fills when this pass is done."""
    later = TILING[TILING.index(Extremes()) :]
    return any(step is p for p in later)
