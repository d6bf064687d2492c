"""`attnc explain`: what a spec costs, as written and as compiled."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from attnc.commands.common import add_sizes, add_spec, checked, pairs, sizes
from attnc.commands.tile_options import add_tiles, tiles

SUMMARY: Final = "show what a spec costs, as written and as compiled"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_sizes(parser, "sizes at which formulas are evaluated and tiles are counted")
    add_tiles(parser, "sizes of tiles at which those are counted that kernels visit")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=FILE.npy",
        help="the values of an input that decides which tiles are visited (may be repeated)",
    )
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
    from attnc.drawing.sample import given as data

    given = sizes(options.size)
    spec = checked(options)
    facts = spec.select(options.cascade)
    files = dict(pairs(options.data, "--data"))
    arrays = data(facts, files) if files else {}
    found = explain(
        facts, given, options.dtype, spec.source, options.target, tiles(options.tile), arrays
    )
    if options.json:
        import json

        print(json.dumps(found, indent=2))
    else:
        from attnc.terminal import show_explanation

        show_explanation(found, colour=sys.stdout is not None and sys.stdout.isatty())
    return 0
