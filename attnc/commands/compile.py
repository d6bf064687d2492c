"""`attnc compile`: a spec becomes a kernel file."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from attnc.commands import passes
from attnc.commands.common import add_spec, pairs, read_spec, show, sizes, write_text
from attnc.commands.kept import Kept
from attnc.errors import UsageError

if TYPE_CHECKING:
    from attnc.api import Checked

SUMMARY: Final = "write a spec as a kernel file"
PIECES: Final = re.compile(r"[1-9]\d{0,3}")


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="file (-: print it)")
    parser.add_argument(
        "--backend",
        default="numpy",
        metavar="NAME",
        help="what to emit: numpy (default), triton, for GPUs, or tvm, for CPUs and other devices",
    )
    parser.add_argument(
        "--target",
        metavar="DEVICE",
        help="with triton: cuda:80, cuda:90, cuda:100 or hip:gfx942 (default: told by each call); "
        "with tvm: llvm, for CPUs (default), c, opencl, webgpu, metal or cuda",
    )
    parser.add_argument(
        "--mcpu",
        metavar="NAME",
        help="with tvm: the processor to build for, as LLVM calls it, such as znver4, x86-64-v3 or "
        "apple-m1 (default: native, the one at hand)",
    )
    parser.add_argument(
        "--nonfinite",
        default="fast",
        metavar="HOW",
        help="with triton: exact confines NaN and infinity to results that read them (fast: does "
        "not)",
    )
    parser.add_argument(
        "--tiled",
        action="store_true",
        help="with numpy: the derived kernels, as loops over tiles of any size",
    )
    parser.add_argument(
        "--precision",
        default="ieee",
        metavar="HOW",
        help="with triton: tf32 multiplies f32 matrices faster, with fewer digits (default: ieee)",
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
    from attnc.api import check

    static = dict(pairs(options.static, "--static"))
    text, name = read_spec(options.spec)
    kept = Kept.of(options, text)
    emitted = kept.get()
    if emitted is None:
        found = check(text, name)
        emitted = _emitted(options, found, static)
        write_text(options, emitted)
        show(found.warnings)
        if not found.warnings:  # else they would be missing the next time
            kept.put(emitted)
    else:
        write_text(options, emitted)
    return 0


def _emitted(options: argparse.Namespace, found: Checked, static: Mapping[str, str]) -> str:
    from attnc.api import Device, emit, emit_tiled

    facts = found.select(options.cascade)
    passes.run(options, found)
    if options.tiled:
        if options.backend != "numpy":
            raise UsageError(f"--tiled is of the backend numpy, not of {options.backend}")
        return emit_tiled(
            found,
            options.cascade,
            dtype=options.dtype,
            static=static,
            sizes=sizes(options.size),
            pieces=_pieces(options.split),
        )
    if options.split:
        raise UsageError("--split is of --tiled: the text as written has no kernels")
    device = Device(
        options.target, options.nonfinite, options.precision, sizes(options.size), options.mcpu
    )
    return emit(
        facts,
        backend=options.backend,
        dtype=options.dtype,
        static=static,
        device=device if options.backend != "numpy" else replace(device, sizes={}),
        source=found.source,
    )


def _pieces(items: list[str]) -> dict[str, int]:
    """The numbers of pieces that `--split n=4` gave."""
    found: dict[str, int] = {}
    for variable, text in pairs(items, "--split"):
        if not PIECES.fullmatch(text):
            raise UsageError(f"--split {variable}={text}: pieces are counted from 1 to 9999")
        found[variable] = int(text)
    return found
