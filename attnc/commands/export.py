"""`attnc export`: a spec becomes a library that is called from C."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from attnc.commands.common import add_sizes, add_spec, check_output, pairs, read_spec, show, sizes
from attnc.errors import UsageError

SUMMARY: Final = "write a spec as a shared library with a header for C"

EPILOG: Final = """\
examples:
  attnc export spec.attn -o libspec.so --size E=64,F=64
  cc main.c -L. -lspec
  attnc export spec.attn -o spec.o --size E=64,F=64 --triple aarch64 --mcpu neoverse-v1
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_spec(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="what is written, as its end tells: a shared library (.so, .dylib, .wasm), an object "
        "(.o), LLVM's text (.ll) or C's (.c)",
    )
    parser.add_argument(
        "--header", metavar="FILE", help="its header (default: beside it, ending in .h)"
    )
    parser.add_argument(
        "--symbol", metavar="NAME", help="what the function is called (default: as the cascade)"
    )
    parser.add_argument(
        "--dtype",
        default="f32",
        metavar="TYPE",
        help="f16, bf16, f32 or f64 for tensors that state no type (default: f32)",
    )
    parser.add_argument(
        "--static",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a parameter, which is then no argument (may be repeated)",
    )
    add_sizes(
        parser,
        "sizes that are known: what kernels hold whole must be, such as the head size; another one "
        "chooses how kernels are built, and each call may have its own",
    )
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--mcpu",
        metavar="NAME",
        help="the processor, as LLVM calls it: znver4, x86-64-v3, neoverse-v1 ... (default: "
        "native, the one at hand; with --triple: any of that machine)",
    )
    group.add_argument(
        "--triple",
        metavar="TRIPLE",
        help="another machine: aarch64, riscv64, wasm32, or a triple such as arm64-apple-macos",
    )
    group.add_argument(
        "--mattr",
        metavar="+a,-b",
        default="",
        help="features that the processor has beside (+sve), or lacks (--mattr=-avx512f)",
    )
    group.add_argument(
        "--no-threads",
        action="store_true",
        help="the caller's thread does all: no library for threads is needed",
    )
    parser.add_argument(
        "--nonfinite",
        default="fast",
        metavar="HOW",
        help="exact confines NaN and infinity to results that read them (default: fast, does not)",
    )


def run(options: argparse.Namespace) -> int:
    """Exports; warnings follow once the files are there."""
    from attnc.api import check
    from attnc.backends.tvm.export.export import Wish
    from attnc.exporting import exported
    from attnc.files import write_whole

    static = dict(pairs(options.static, "--static"))
    found = check(*read_spec(options.spec))
    check_output(options)
    output = Path(options.output)
    header = Path(options.header) if options.header else output.with_suffix(".h")
    if header == output:
        raise UsageError(f"the header '{header}' is the output itself")
    wish = Wish(
        options.symbol or found.select(options.cascade).cascade.name,
        sizes(options.size),
        options.mcpu,
        options.triple,
        tuple(item for item in options.mattr.split(",") if item),
        not options.no_threads,
    )
    text = exported(found, options.cascade, wish, output, options.dtype, static, options.nonfinite)
    write_whole(header, text)
    show(found.warnings)
    return 0
