"""`attnc explain`: what a spec costs, as written and as compiled."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from attnc.commands.common import add_sizes, add_spec, checked, sizes

SUMMARY: Final = "show what a spec costs, as written and as compiled"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_sizes(parser, "sizes at which formulas are evaluated")
    parser.add_argument(
        "--dtype", default="f32", metavar="TYPE", help="f16, bf16, f32 (default), f64"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the explanation, as a table or as JSON."""
    from attnc.api import explain

    given = sizes(options.size)
    spec = checked(options)
    found = explain(spec.select(options.cascade), given, options.dtype, spec.source)
    if options.json:
        import json

        print(json.dumps(found, indent=2))
    else:
        from attnc.terminal import show_explanation

        show_explanation(found, colour=sys.stdout is not None and sys.stdout.isatty())
    return 0
