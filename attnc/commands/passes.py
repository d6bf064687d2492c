"""Options of `attnc compile` that show and verify the passes on the cascade and on its plan."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attnc.commands.common import add_sizes, sizes
from attnc.errors import UsageError

if TYPE_CHECKING:
    from attnc.api import Checked
    from attnc.ir.facts import Facts
    from attnc.ir.tiles import Plan
    from attnc.passes.algebra.program import Pass
    from attnc.passes.tiling.context import PlanPass

ALL: Final = "all"
TILE: Final = "tile"
"""What shows the plan as it is made, before any pass on it."""


def declare(parser: argparse.ArgumentParser) -> None:
    """The options."""
    group = parser.add_argument_group("passes")
    group.add_argument(
        "--print-after",
        action="append",
        default=[],
        metavar="PASS",
        help="print the cascade, or the plan of kernels, after this pass on standard error; tile: "
        "the plan as it is made; all: after each (may be repeated)",
    )
    group.add_argument("--verify-passes", action="store_true", help="check what each pass gives")
    add_sizes(group, "sizes at which passes compare costs")


def run(options: argparse.Namespace, found: Checked) -> None:
    """Runs the passes if they are to be shown or verified.

    Raises `UsageError` for an unknown pass or size, `InternalError` if a pass does not verify,
    `SpecError` where a plan is to be shown of what tiles cannot do yet.
    """
    given = sizes(options.size)
    if not (options.print_after or options.verify_passes or given):
        return
    from attnc.compilation import Dump, algebra, verify
    from attnc.explanation import check_sizes
    from attnc.passes.algebra.pipeline import at_sizes

    facts = found.select(options.cascade)
    check_sizes(facts, given)
    passes = at_sizes(given)
    on_plans = _on_plans(options)
    known = [
        *dict.fromkeys(p.name for p in passes),
        TILE,
        *dict.fromkeys(p.name for p in on_plans),
        ALL,
    ]
    for name in options.print_after:
        if name not in known:
            raise UsageError(f"no pass is called '{name}'; there are {', '.join(known)}")
    chosen = known if ALL in options.print_after else options.print_after
    dump = Dump(frozenset(chosen), _show, passes)

    def after(step: Pass, before: Facts, found: Facts) -> None:
        dump.after(step, before, found)
        if options.verify_passes:
            verify(step, before, found)

    algebra(facts, passes, after=after, tell=dump.tell)
    asked = {TILE, *(p.name for p in on_plans)}
    if asked & {*chosen} or options.verify_passes:
        _plans(options, found, frozenset(chosen), given)


def _on_plans(options: argparse.Namespace) -> tuple[PlanPass, ...]:
    """The passes on the plan: those that every printing has, or those for devices."""
    from attnc.backends import DEVICES, LISTS
    from attnc.passes.tiling.pipeline import TILING, for_devices

    if options.backend not in DEVICES:
        return TILING
    return for_devices(exact=options.nonfinite == "exact", lists=options.backend in LISTS)


def _plans(
    options: argparse.Namespace, found: Checked, chosen: frozenset[str], given: Mapping[str, int]
) -> None:
    """Runs the passes on the plan; one that is not asked for by name may be missing."""
    from attnc.compilation import numbered, shown_plan, tiling, verify_plan
    from attnc.passes.tiling.lower import NotLowered
    from attnc.passes.tiling.pipeline import filled
    from attnc.planning import planned, refused

    steps = _on_plans(options)
    names = [p.name for p in steps]
    try:
        plan = planned(found.select(options.cascade), given)[1].plan
    except NotLowered as error:
        if ALL not in options.print_after and chosen & {TILE, *names}:
            raise refused(error, found.source) from None
        if chosen:
            _show(f"# no plan: {error.reason}\n")
        return
    if TILE in chosen:
        _show(shown_plan(TILE, None, plan))
    if options.verify_passes:
        verify_plan(None, plan, plan)

    runs = Counter[str]()
    legal = False

    def after(step: PlanPass, before: Plan, found: Plan) -> None:
        nonlocal legal
        legal = legal or filled(step)  # and stays so, whatever comes later
        runs[step.name] += 1
        if step.name in chosen:
            head = numbered(step.name, runs[step.name], names)
            _show(shown_plan(head, before, found))
        if options.verify_passes:
            verify_plan(step, before, found, legal=legal)

    tiling(plan, steps, after=after)


def _show(text: str) -> None:
    print(text, file=sys.stderr)
