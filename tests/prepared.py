"""Texts as facts and as plans, made once for all tests of a process.

Tests that change a pass make plans of their own.
"""

from __future__ import annotations

from functools import cache

import attnc
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.compilation import tiling
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan
from attnc.passes.tiling.fuse import Fused
from attnc.planning import for_device, in_pieces, planned


@cache
def facts_of(text: str) -> Facts:
    return attnc.check(text).select()


@cache
def lowered(text: str) -> tuple[Facts, Fused]:
    """The facts after the passes on cascades, and what kernels were made of them."""
    return planned(facts_of(text))


def plan_of(text: str) -> Plan:
    """The plan before the passes on plans."""
    return lowered(text)[1].plan


@cache
def legal_of(text: str) -> Plan:
    """The plan after them."""
    return tiling(plan_of(text))


@cache
def device_of(text: str) -> Plan:
    """The plan for a device."""
    return for_device(facts_of(text))


@cache
def triton_of(text: str) -> str:
    """The module of Triton, without what its head says of the plan, and without pieces."""
    return emit_plan(device_of(text), Options())


@cache
def pieces_of(text: str) -> str | None:
    """The same with its streams in pieces, too; None if none can be."""
    pieces = in_pieces(facts_of(text), told=True)
    return None if pieces is None else emit_plan(device_of(text), Options(), "", pieces)
