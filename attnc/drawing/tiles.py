"""The tiles that a kernel visits at some sizes, and the points that count in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnc.drawing.tiles_kinds import TileDrawing, TileRequest
from attnc.drawing.tiles_loop import LoopPicture
from attnc.drawing.tiles_values import values_of
from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir.facts import Facts
from attnc.ir.tiles import Kernel, Plan
from attnc.passes.analysis.tile_along import NotCounted
from attnc.passes.analysis.tile_counts import whole_frame
from attnc.passes.analysis.tile_numbers import Numbers
from attnc.passes.analysis.tile_presence import predicates
from attnc.passes.analysis.tile_visits import innermost
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.summary_every import told
from attnc.planning import planned, ranged
from attnc.tile_data import check_tiles, tile_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]


def tiles(facts: Facts, request: TileRequest) -> TileDrawing:
    """Computes which tiles a kernel visits.

    Raises `UsageError` for a request that does not fit the cascade or asks for too much, or where
    a kernel's tiles depend on what only a run tells.
    """
    try:
        plan = ranged(planned(facts)[1].plan)
    except NotLowered as error:
        raise UsageError(f"this cannot be tiled yet: {error.reason}") from None
    check_tiles(plan, request.tiles)
    kernel = _kernel(plan, request.kernel)
    sizes = tile_sizes(plan, kernel, request.tiles)
    values = values_of(facts, plan, kernel, request, sizes)
    lists = told(plan, kernel)
    numbers = Numbers(plan, lists.kernel, values.known, values.data)
    try:
        frame = whole_frame(numbers, sizes)
        found = tuple(
            LoopPicture(numbers, frame, loop, request, lists.full).tiles()
            for loop in innermost(lists.kernel)
        )
    except NotCounted as error:
        raise UsageError(f"the tiles of {kernel.name} cannot be drawn: {error}") from None
    return TileDrawing(plan.name, kernel.name, found, values)


def _kernel(plan: Plan, name: str | None) -> Kernel:
    """The kernel of that name, else the first whose loop has a condition, else that streams."""
    looping = {k.name: k for k in plan.kernels if innermost(k)}
    if not looping:
        raise UsageError(f"no kernel of '{plan.name}' streams anything")
    if name is not None:
        if name not in looping:
            hint = suggestion(name, looping) or f"kernels that stream: {', '.join(looping)}"
            raise UsageError(f"no kernel that streams is called '{name}'; {hint}")
        return looping[name]
    tested = (k for k in looping.values() if _tests(Numbers(plan, k, {})))
    return next(tested, next(iter(looping.values())))


def _tests(numbers: Numbers) -> bool:
    every = [p for loop in innermost(numbers.kernel) for p in predicates(numbers, loop)]
    return any(numbers.mentioned(*conditions) for conditions in every)
