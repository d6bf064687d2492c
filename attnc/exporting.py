"""Kernels as libraries that are called from C, without Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnc.api import Checked, Device, check, check_dtype, fixed
from attnc.backends.options import Options
from attnc.files import write_whole
from attnc.ir.cascade import Constant

if TYPE_CHECKING:
    from attnc.backends.tvm.export.export import Wish


def export(
    text: str,
    output: str | Path,
    *,
    name: str = "<spec>",
    cascade: str | None = None,
    symbol: str | None = None,
    header: str | Path | None = None,
    dtype: str = "f32",
    static: Mapping[str, Constant] | None = None,
    sizes: Mapping[str, int] | None = None,
    mcpu: str | None = None,
    triple: str | None = None,
    mattr: Sequence[str] = (),
    threads: bool = True,
    nonfinite: str = "fast",
) -> tuple[Path, Path]:
    """Writes one cascade of a spec as a library and a header for C; gives the paths of both.

    The end of `output` tells what is written: a shared library (`.so`, `.dylib`, `.wasm`), an
    object (`.o`), LLVM's text (`.ll`) or C's (`.c`). `symbol` is what the function is called,
    without it as the cascade; `header` is where its declaration goes, without it beside the
    library. `dtype` is the element type of tensors that declare none. `sizes` are those of extents
    that are known; what kernels hold whole, such as the head size, must be among them. `mcpu` is
    the processor, as LLVM calls it, without it the one at hand; `triple` (aarch64, riscv64, wasm32,
    or one in full) that of another machine, `mattr` features that are added (`+sve`) or taken away.
    Without `threads`, the caller's thread does all. `nonfinite` is that of `compile`. Raises
    `SpecError` for a spec that is not valid or that cannot be printed, `UsageError` for a choice
    that does not fit or a linker that is not there, `OSError` where nothing can be written.
    """
    from attnc.backends.tvm.export.export import Wish

    found = check(text, name)
    chosen = found.select(cascade)
    wish = Wish(
        symbol or chosen.cascade.name, dict(sizes or {}), mcpu, triple, tuple(mattr), threads
    )
    to = Path(output)
    beside = to.with_suffix(".h") if header is None else Path(header)
    shown = exported(found, cascade, wish, to, dtype, static or {}, nonfinite)
    write_whole(beside, shown)
    return to, beside


def exported(
    found: Checked,
    cascade: str | None,
    wish: Wish,
    output: Path,
    dtype: str,
    static: Mapping[str, Constant | str],
    nonfinite: str = "fast",
) -> str:
    """Writes a library of a checked file, and gives the text of its header."""
    from attnc.backends.refused import NotPrinted
    from attnc.backends.tvm.export.export import exported as write
    from attnc.explanation import check_sizes
    from attnc.passes.tiling.lower import NotLowered
    from attnc.planning import explained, in_pieces, refused, unprinted

    check_dtype(dtype)
    facts = found.select(cascade)
    check_sizes(facts, wish.sizes)
    options = Options(dtype, fixed(facts, static))
    exact = Device(nonfinite=nonfinite).nonfinite == "exact"
    try:
        plan, notes, _ = explained(facts, wish.sizes, exact=exact, lists=False)
        pieces = in_pieces(facts, wish.sizes, exact=exact)
        return write(plan, pieces, options, notes, wish, output)
    except NotLowered as error:
        raise refused(error, found.source) from None
    except NotPrinted as error:
        raise unprinted(error, "tvm", found.source) from None
