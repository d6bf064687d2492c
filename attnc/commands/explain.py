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
    parser.add_argument(
        "--target",
        metavar="DEVICE",
        help="what the Triton kernels become on cuda:80, cuda:90, cuda:100 or hip:gfx942, at these "
        "sizes; no device is needed",
    )


def run(options: argparse.Namespace) -> int:
    """Prints the explanation, as a table or as JSON."""
    from attnc.api import explain

    given = sizes(options.size)
    spec = checked(options)
    facts = spec.select(options.cascade)
    found = explain(facts, given, options.dtype, spec.source, options.target)
    if options.json:
        import json

        print(json.dumps(found, indent=2))
    else:
        from attnc.terminal import show_explanation

        show_explanation(found, colour=sys.stdout is not None and sys.stdout.isatty())
    return 0
