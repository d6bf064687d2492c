"""A cascade as a plan of tile programs, and what can be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

from attnc.backends.refused import NotPrinted
from attnc.compilation import algebra, tiling
from attnc.errors import Diagnostic, Source, SpecError
from attnc.ir import printer
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan
from attnc.passes.algebra.pipeline import at_sizes
from attnc.passes.running.show import described
from attnc.passes.tiling.fuse import Fused, fuse
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.pipeline import RANGED, for_devices

POINTS: Final = 512
"""Points of a piece of a stream: so many that merging costs little beside them, and so few that
threads have a piece each where streams are long. Tiles divide it."""
TOLD: Final = "POINTS"
"""What the number of these is called where it is told when kernels are to run."""

Planned: TypeAlias = tuple[Facts, Fused]
"""The cascade that is tiled, and its plan."""


class Explained(NamedTuple):
    """The plan that a device is to run, and where it comes from."""

    plan: Plan
    notes: str
    """The cascade, and what is derived."""
    in_pieces: frozenset[str]
    """The kernels that `in_pieces` has in pieces."""


def planned(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    pieces: Mapping[str, int] | None = None,
) -> Planned:
    """The cascade that is tiled, and its plan; raises `NotLowered`.

    `sizes` are those at which costs are compared; others are nominal. A kernel that streams one of
    the variables in `pieces` goes through it in so many pieces, which another one merges.
    """
    before = algebra(facts, at_sizes(sizes or {}))
    return before, fuse(before, sizes, pieces)


def ranged(plan: Plan) -> Plan:
    """A plan as it was made, with loops that go through no more than they need."""
    return tiling(plan, RANGED)


def for_device(
    facts: Facts, sizes: Mapping[str, int] | None = None, *, exact: bool = False
) -> Plan:
    """The plan that a device is to run; raises `NotLowered`.

    `exact`: what is not finite reaches those results alone that read it.
    """
    return explained(facts, sizes, exact=exact).plan


def explained(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    *,
    exact: bool = False,
    lists: bool = True,
    before: Planned | None = None,
) -> Explained:
    """The plan that a device is to run, and where it comes from: the cascade, and what is derived.

    `lists`: loops may go through lists of tiles. `before` is what is `planned`, if that was done.
    Raises `NotLowered`.
    """
    _, fused = before or planned(facts, sizes)
    lines = printer.cascade(facts.cascade).splitlines()
    for group in fused.partition.groups:
        forms = [line for one in described(group.forms) for line in one.lines()]
        if forms:
            over = ", ".join(group.over)
            lines += ["", f"Running reductions over {over}; ' marks what was before a tile:", ""]
            lines += [f"    {line}" for line in forms]
    for refusal in fused.refusals:
        term = printer.expression(refusal.term)
        lines += ["", f"Another pass for {refusal.tensor}: {term}: {refusal.reason}"]
    plan = tiling(fused.plan, for_devices(exact=exact, lists=lists))
    return Explained(plan, "\n".join(lines), fused.in_pieces)


def in_pieces(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    *,
    exact: bool = False,
    told: bool = False,
    before: Planned | None = None,
) -> Plan | None:
    """The plan for a device whose streams go in pieces, which others merge; None if none can.

    `told`: the number of points of a piece is told when kernels are to run, else it is `POINTS`.
    `before` is what is `planned`, if that was done.
    """
    tiled, whole = before or planned(facts, sizes)
    if not whole.in_pieces:
        return None
    points = TOLD if told else POINTS
    fused = fuse(tiled, sizes, points=points, known=whole.first)
    if not fused.in_pieces:
        return None
    return tiling(fused.plan, for_devices(exact=exact, lists=False))


@dataclass
class Plans:
    """The plans of a cascade for a device, each made when it is first asked for."""

    facts: Facts
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    exact: bool = False
    lists: bool = True
    told: bool = False

    @cached_property
    def planned(self) -> Planned:
        """See `planned`."""
        return planned(self.facts, self.sizes)

    @cached_property
    def explained(self) -> Explained:
        """See `explained`."""
        return explained(
            self.facts, self.sizes, exact=self.exact, lists=self.lists, before=self.planned
        )

    @cached_property
    def in_pieces(self) -> Plan | None:
        """See `in_pieces`."""
        return in_pieces(
            self.facts, self.sizes, exact=self.exact, told=self.told, before=self.planned
        )


def refused(error: NotLowered, source: Source) -> SpecError:
    """That tiles cannot do a term yet, at its place in the spec."""
    message = f"this cannot be tiled yet: {error.reason}"
    return SpecError([Diagnostic(message, source, error.expr.span)])


def unprinted(error: NotPrinted, backend: str, source: Source) -> SpecError:
    """That a backend cannot print a term, at its place in the spec."""
    message = f"the backend {backend} cannot do this yet: {error.reason}"
    return SpecError([Diagnostic(message, source, error.expr.span)])
