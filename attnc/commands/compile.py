"""`attnc compile`: a spec becomes a kernel file."""

from __future__ import annotations

import argparse
import re
from typing import Final

from attnc.commands import passes
from attnc.commands.common import add_spec, checked, pairs, show, sizes, write_text
from attnc.errors import UsageError

SUMMARY: Final = "write a spec as a kernel file"
PIECES: Final = re.compile(r"[1-9]\d{0,3}")


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
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="VARIABLE=PIECES",
        help="with --tiled: go through what kernels stream in pieces, and merge them",
    )
    passes.declare(parser)


def run(options: argparse.Namespace) -> int:
    """Compiles; warnings follow once the file is there."""
    from attnc.api import emit, emit_tiled

    static = dict(pairs(options.static, "--static"))
    found = checked(options)
    facts = found.select(options.cascade)
    passes.run(options, found)
    if options.tiled:
        if options.backend != "numpy":
            raise UsageError(f"--tiled is of the backend numpy, not of {options.backend}")
        text = emit_tiled(
            found,
            options.cascade,
            dtype=options.dtype,
            static=static,
            sizes=sizes(options.size),
            pieces=_pieces(options.split),
        )
    elif options.split:
        raise UsageError("--split is of --tiled: the text as written has no kernels")
    else:
        text = emit(facts, backend=options.backend, dtype=options.dtype, static=static)
    write_text(options, text)
    show(found.warnings)
    return 0


def _pieces(items: list[str]) -> dict[str, int]:
    """The numbers of pieces that `--split n=4` gave."""
    found: dict[str, int] = {}
    for variable, text in pairs(items, "--split"):
        if not PIECES.fullmatch(text):
            raise UsageError(f"--split {variable}={text}: pieces are counted from 1 to 9999")
        found[variable] = int(text)
    return found
