"""A plan as a library with a header, and no word of Python or TVM in it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from attnc.backends.options import Options
from attnc.backends.tvm.cpus import Cpu, compiler, cpu
from attnc.backends.tvm.emit import emit_plan
from attnc.backends.tvm.export.around import system_of
from attnc.backends.tvm.export.build import script, unit
from attnc.backends.tvm.export.builds import Builder, known_values
from attnc.backends.tvm.export.entry import Entry
from attnc.backends.tvm.export.header import header
from attnc.backends.tvm.export.interface import KEYWORDS, Interface
from attnc.backends.tvm.export.link import linked
from attnc.backends.tvm.kernel import printed
from attnc.errors import UsageError
from attnc.files import write_bytes_whole
from attnc.ir.tiles import Plan
from attnc.modules import module_of
from attnc.passes.tiling.counted import Counted

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


def exported(plan: Plan, options: Options, notes: str, wish: Wish, output: Path) -> str:
    """Writes a library, an object or a text, as `output` ends; gives the text of its header."""
    form = FORMS.get(output.suffix)
    if form is None:
        listed = ", ".join(FORMS)
        raise UsageError(f"the end of '{output.name}' does not tell what to write: {listed}")
    if not SYMBOL.fullmatch(wish.symbol) or wish.symbol in KEYWORDS:
        raise UsageError(f"'{wish.symbol}' is no name of a function in C")
    chosen = wish.cpu
    tvm = compiler()
    triple = str(tvm.get_global_func("target.llvm_get_system_triple")())
    if chosen is not None:
        triple = chosen.triple
    interface = Interface(Counted()(plan), options, wish.symbol)
    entry, target = _entry(tvm, interface, chosen, wish, system_of(triple))
    text = unit(entry, target, triple, threads=wish.threads and system_of(triple) != "")
    with tempfile.TemporaryDirectory(prefix="attnc") as folder:
        made = Path(folder, "unit.ll")
        made.write_text(text, encoding="utf-8")
        if form != "text":
            loaded = tvm.runtime.load_module(str(made))
            made = made.with_suffix(".o")
            loaded.write_to_file(str(made), "o")
        if form == "library":
            library = Path(folder, output.name)
            machine = triple.partition("-")[0]
            linked(made, library, wish.symbol, machine, native=wish.triple is None)
            made = library
        write_bytes_whole(output, made.read_bytes())
    shown = wish.mcpu or ("this machine's processor" if chosen is None else "")
    return header(interface, entry.whole, notes, f"{triple}{shown and f', {shown}'}")


def _entry(
    tvm: Any, interface: Interface, chosen: Cpu | None, wish: Wish, system: str
) -> tuple[Entry, Any]:
    """The function with its kernels, and the target that they are built for."""
    plan = interface.plan
    module: Any = module_of(emit_plan(plan, interface.options, ""), f"{plan.name} exported")
    if chosen is not None:
        module._CPU = {**asdict(chosen), "features": frozenset(chosen.features)}
    module._imported()
    module.T = script(module.T, threads=wish.threads and system != "")
    known = known_values(plan, {**wish.sizes, **interface.options.static})
    builder = Builder(plan, module, interface.dtype, known)
    kernels = [printed(plan, kernel, f"_k{i}") for i, kernel in enumerate(plan.kernels)]
    whole = builder.whole(kernels)
    builds = [builder(kernel, whole) for kernel in kernels]
    narrow = import_module("attnc.backends.tvm.script")._narrow
    entry = Entry(tvm, interface, builds, whole, builder.number, builder.lanes, narrow)
    return entry, module._target()
