"""Options of `attnc compile` that show and verify the passes on the cascade."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from attnc.commands.common import add_sizes, sizes
from attnc.errors import UsageError

if TYPE_CHECKING:
    from attnc.ir.facts import Facts
    from attnc.passes.algebra.program import Pass

ALL: Final = "all"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options."""
    group = parser.add_argument_group("passes on the cascade")
    group.add_argument(
        "--print-after",
        action="append",
        default=[],
        metavar="PASS",
        help="print the cascade after this pass on standard error; all: after each (may be "
        "repeated)",
    )
    group.add_argument(
        "--verify-passes", action="store_true", help="check the cascade after each pass"
    )
    add_sizes(group, "sizes at which passes compare costs")


def run(options: argparse.Namespace, facts: Facts) -> None:
    """Runs the passes if they are to be shown or verified.

    Raises `UsageError` for an unknown pass or size, `InternalError` if a pass does not verify.
    """
    given = sizes(options.size)
    if not (options.print_after or options.verify_passes or given):
        return
    from attnc.compilation import Dump, algebra, verify
    from attnc.explanation import check_sizes
    from attnc.passes.algebra.pipeline import at_sizes

    check_sizes(facts, given)
    passes = at_sizes(given)
    known = [*dict.fromkeys(p.name for p in passes), ALL]
    for name in options.print_after:
        if name not in known:
            raise UsageError(f"no pass is called '{name}'; there are {', '.join(known)}")
    chosen = known if ALL in options.print_after else options.print_after
    dump = Dump(frozenset(chosen), lambda text: print(text, file=sys.stderr), passes)

    def after(step: Pass, before: Facts, found: Facts) -> None:
        dump.after(step, before, found)
        if options.verify_passes:
            verify(step, before, found)

    algebra(facts, passes, after=after, tell=dump.tell)
