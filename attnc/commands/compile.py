"""`attnc compile`: a spec becomes a kernel file."""

from __future__ import annotations

import argparse
from typing import Final

from attnc.commands import passes
from attnc.commands.common import add_spec, checked, pairs, show, write_text
from attnc.errors import UsageError

SUMMARY: Final = "write a spec as a kernel file"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="file (-: print it)")
    parser.add_argument(
        "--backend", default="numpy", metavar="NAME", help="what to emit: numpy (default)"
    )
    parser.add_argument(
        "--tiled",
        action="store_true",
        help="with numpy: the derived kernels, as loops over tiles of any size",
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
    passes.declare(parser)


def run(options: argparse.Namespace) -> int:
    """Compiles; warnings follow once the file is there."""
    from attnc.api import emit, emit_tiled

    static = dict(pairs(options.static, "--static"))
    found = checked(options)
    facts = found.select(options.cascade)
    passes.run(options, facts)
    if options.tiled:
        if options.backend != "numpy":
            raise UsageError(f"--tiled is of the backend numpy, not of {options.backend}")
        text = emit_tiled(found, options.cascade, dtype=options.dtype, static=static)
    else:
        text = emit(facts, backend=options.backend, dtype=options.dtype, static=static)
    write_text(options, text)
    show(found.warnings)
    return 0
