"""`attnc compile`: a spec becomes a kernel file."""

from __future__ import annotations

import argparse
from typing import Final

from attnc.commands.common import add_spec, checked, pairs, show, write_text

SUMMARY: Final = "write a spec as a kernel file"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="file (-: print it)")
    parser.add_argument(
        "--backend", default="numpy", metavar="NAME", help="what to emit: numpy (default)"
    )
    parser.add_argument(
        "--dtype",
        metavar="TYPE",
        help="f16, bf16, f32 or f64 for tensors that state no type (default: taken from the call)",
    )
    parser.add_argument(
        "--static",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a parameter (may be repeated)",
    )


def run(options: argparse.Namespace) -> int:
    """Compiles; warnings follow once the file is there."""
    from attnc.api import emit

    static = dict(pairs(options.static, "--static"))
    found = checked(options)
    facts = found.select(options.cascade)
    text = emit(facts, backend=options.backend, dtype=options.dtype, static=static)
    write_text(options, text)
    show(found.warnings)
    return 0
