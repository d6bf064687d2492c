"""Objects become libraries, by the linker of the machine that they are for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from attnc.errors import UsageError

COMPILERS: Final = ("cc", "gcc", "clang")
CROSS: Final[Mapping[str, tuple[str, ...]]] = {
    "aarch64": ("aarch64-linux-gnu-gcc",),
    "riscv64": ("riscv64-linux-gnu-gcc",),
    "x86_64": ("x86_64-linux-gnu-gcc",),
}
"""Compilers that link for another machine with Linux, by their usual names."""


@dataclass(frozen=True)
class Linker:
    """A program that links, and whether it is a compiler, which knows the libraries of C."""

    path: str
    kind: str

    @classmethod
    def of(cls, triple: str, *, native: bool) -> Linker:
        """The first one that is here; raises `UsageError` if none is."""
        machine = triple.partition("-")[0]
        if not (native or machine == "wasm32" or "linux" in triple):
            raise UsageError(
                f"libraries for {triple} cannot be linked here; -o FILE.o writes the object"
            )
        choices: dict[str, tuple[str, ...]]
        if machine == "wasm32":
            choices = {"wasm": ("wasm-ld",)}
        elif native:
            choices = {"compiler": COMPILERS, "plain": ("ld",)}
        else:
            choices = {"compiler": CROSS.get(machine, ()), "plain": ("ld.lld",)}
        for kind, names in choices.items():
            for name in names:
                found = shutil.which(name)
                if found is not None:
                    return cls(found, kind)
        listed = " or ".join(name for names in choices.values() for name in names)
        raise UsageError(
            f"a library for {machine} needs a linker: none of {listed} is here; "
            "with -o FILE.o the object alone is written"
        )

    def __call__(self, unit: Path, output: Path, symbol: str) -> None:
        """Makes a library of an object, of which others see one function."""
        if self.kind == "wasm":
            exports = [f"--export={symbol}", "--export=__heap_base"]
            return self._run(["--no-entry", "--allow-undefined", *exports], unit, output)
        if sys.platform == "darwin":
            return self._run(["-shared", f"-Wl,-exported_symbol,_{symbol}"], unit, output)
        with tempfile.TemporaryDirectory(prefix="attnc") as folder:
            script = Path(folder, "symbols")
            script.write_text(f"{{ global: {symbol}; local: *; }};\n", encoding="ascii")
            only = f"--version-script={script}"
            if self.kind == "plain":
                return self._run(["-shared", only], unit, output)
            return self._run(["-shared", f"-Wl,{only}"], unit, output, ["-lm", "-lpthread"])

    def _run(
        self, options: Sequence[str], unit: Path, output: Path, after: Sequence[str] = ()
    ) -> None:
        command = [self.path, *options, "-o", str(output), str(unit), *after]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            told = done.stderr.strip()[-2000:]
            raise UsageError(f"{Path(self.path).name} cannot link: {told}")
