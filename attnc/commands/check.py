"""`attnc check`: what is wrong or odd in a spec."""

from __future__ import annotations

import argparse
from typing import Final

from attnc.commands.common import add_spec, checked, count, show
from attnc.errors import printable

SUMMARY: Final = "report what is wrong or odd in a spec"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)


def run(options: argparse.Namespace) -> int:
    """Checks; warnings are shown and change nothing."""
    found = checked(options)
    if options.cascade is not None:
        found.select(options.cascade)
    show(found.warnings)
    names = ", ".join(c.name for c in found.cascades)
    warned = f" ({count(len(found.warnings), 'warning')})" if found.warnings else ""
    print(f"{printable(found.source.name)}: {names}: valid{warned}")
    return 0
