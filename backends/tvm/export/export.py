"""A plan as a library with a header, and no word of Python or TVM in it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from attnc.backends.options import Options
from attnc.backends.tvm.c_words import KEYWORDS
from attnc.backends.tvm.cpus import Cpu, compiler, cpu
from attnc.backends.tvm.emit import emit_kernels, kernels_of
from attnc.backends.tvm.export.around import system_of
from attnc.backends.tvm.export.build import script, unit
from attnc.backends.tvm.export.builds import Builder, known_values
from attnc.backends.tvm.export.c_text import in_c
from attnc.backends.tvm.export.entry import Entry
from attnc.backends.tvm.export.few import Few, Rows, known_few
from attnc.backends.tvm.export.header import header
from attnc.backends.tvm.export.interface import Interface
from attnc.backends.tvm.export.link import Linker
from attnc.errors import UsageError
from attnc.files import write_bytes_whole, write_whole
from attnc.ir.tiles import Plan
from attnc.modules import module_of

SYMBOL: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)

FORMS: Final = {
    ".so": "library",
    ".dylib": "library",
    ".wasm": "library",
    ".o": "object",
    ".obj": "object",
    ".ll": "text",
    ".c": "c",
}
"""What is written, by the end of a file's name."""


@dataclass(frozen=True)
class Wish:
    """What is to be exported: a symbol, sizes that are known, and a machine; see `attnc.export`."""

    symbol: str
    sizes: Mapping[str, int]
    mcpu: str | None = None
    triple: str | None = None
    attributes: tuple[str, ...] = ()
    threads: bool = True

    @property
    def cpu(self) -> Cpu | None:
        """The processor; none for this machine's own."""
        if self.triple is None and self.mcpu in (None, "native") and not self.attributes:
            return None
        if self.mcpu == "native":
            raise UsageError("mcpu native is this machine's processor, and goes with nothing else")
        return cpu(self.mcpu, self.triple, self.attributes)


def exported(
    plan: Plan, pieces: Plan | None, options: Options, notes: str, wish: Wish, output: Path
) -> str:
    """Writes a library, an object or a text, as `output` ends; gives the text of its header.

    `pieces` is the same plan with its streams in pieces, for few rows.
    """
    form = FORMS.get(output.suffix)
    if form is None:
        listed = ", ".join(FORMS)
        raise UsageError(f"the end of '{output.name}' does not tell what to write: {listed}")
    if not SYMBOL.fullmatch(wish.symbol) or wish.symbol in KEYWORDS:
        raise UsageError(f"'{wish.symbol}' is no name of a function in C; choose another symbol")
    tvm = compiler()
    if form == "c":
        if wish.mcpu or wish.triple or wish.attributes:
            raise UsageError("C is for any processor: the compiler that reads it is told which")
        interface = Interface(plan, replace(options, target="c"), wish.symbol)
        entry, target = _entry(tvm, interface, pieces, wish.sizes, None, threads=False)
        write_whole(output, in_c(entry, target, output.with_suffix(".h").name))
        return header(interface, entry.whole, notes, "any processor")
    chosen = wish.cpu
    triple = str(tvm.get_global_func("target.llvm_get_system_triple")())
    if chosen is not None:
        triple = chosen.triple
    threads = wish.threads and system_of(triple) != ""
    linker = None
    if form == "library":
        linker = Linker.of(triple, native=wish.triple is None)
    interface = Interface(plan, options, wish.symbol)
    entry, target = _entry(tvm, interface, pieces, wish.sizes, chosen, threads=threads)
    text = unit(entry, target, triple, threads=threads)
    with tempfile.TemporaryDirectory(prefix="attnc") as folder:
        made = Path(folder, "unit.ll")
        made.write_text(text, encoding="utf-8")
        if form != "text":
            loaded = tvm.runtime.load_module(str(made))
            made = made.with_suffix(".o")
            loaded.write_to_file(str(made), "o")
        if linker is not None:
            library = Path(folder, output.name)
            linker(made, library, wish.symbol)
            made = library
        write_bytes_whole(output, made.read_bytes())
    shown = wish.mcpu or ("this machine's processor" if chosen is None else "")
    return header(interface, entry.whole, notes, f"{triple}{shown and f', {shown}'}")


def _entry(
    tvm: Any,
    interface: Interface,
    pieces: Plan | None,
    sizes: Mapping[str, int],
    chosen: Cpu | None,
    *,
    threads: bool,
) -> tuple[Entry, Any]:
    """The function with its kernels, and the target that they are built for."""
    options = interface.options
    found = kernels_of(interface.plan, pieces)
    module: Any = module_of(emit_kernels(found, options), f"{found.plan.name} exported")
    if chosen is not None:
        module._CPU = {**asdict(chosen), "features": frozenset(chosen.features)}
    module._imported()
    module.T = script(module.T, threads=threads)
    known = known_values(found.pieces or found.plan, {**sizes, **options.static})
    builder = Builder(found.plan, module, interface.dtype, known)
    rows = tuple(Rows.of(kernel, axis) for kernel, axis in found.rows)
    few = known_few(rows, known, builder.lanes)
    built, in_pieces = () if few else found.built, () if few is False else found.few
    whole = builder.whole([*built, *in_pieces])
    builds = [builder(kernel, whole) for kernel in built]
    part = None
    if found.pieces is not None and in_pieces:
        sizes_ = [r.size for r in rows]
        made = [builder(kernel, whole, sizes_) for kernel in in_pieces]
        part = Few(Interface(found.pieces, options, interface.symbol), made, rows)
    helpers = import_module("attnc.backends.tvm.script")
    entry = Entry(tvm, interface, builds, whole, builder.lanes, builder.number, helpers, part)
    return entry, module._target()
