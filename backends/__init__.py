"""Backends: each prints a checked cascade, or its plan, as the text of a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attnc.backends.options import TARGETS, Options
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan

Emit = Callable[[Facts, Options], str]
Pieces = Plan | frozenset[str] | None
"""A plan of the same whose streams go in pieces, if there is one and the backend has use for it; or
the kernels that are in it, if it is for a module that is made later."""
EmitPlan = Callable[[Plan, Options, str, Pieces], str]
"""A plan, options, notes for the head of the module, and what is known of pieces."""


def _numpy(facts: Facts, options: Options) -> str:
    from attnc.backends.numpy.emit import emit

    return emit(facts, options)


def _triton(plan: Plan, options: Options, notes: str, pieces: Pieces) -> str:
    from attnc.backends.triton.emit import emit_plan

    return emit_plan(plan, options, notes, pieces)


def _tvm(plan: Plan, options: Options, notes: str, pieces: Pieces) -> str:
    from attnc.backends.tvm.emit import emit_plan

    return emit_plan(plan, options, notes, pieces)


BACKENDS: Final[Mapping[str, Emit]] = {"numpy": _numpy}
"""Those that print the cascade."""

DEVICES: Final[Mapping[str, EmitPlan]] = {"triton": _triton, "tvm": _tvm}
"""Those that print its plan."""

PIECES: Final = frozenset((*(("tvm", t) for t in (None, "llvm", "c")), ("triton", None))) | {
    ("triton", target) for target in TARGETS["triton"]
}
"""Those, with their targets, whose modules have kernels that go through streams in pieces."""

TOLD: Final = frozenset(("triton",))
"""Those whose modules choose the points of a piece in each call."""

LISTS: Final = frozenset(("triton",))
"""Those whose loops go through lists of tiles, which kernels before make."""
