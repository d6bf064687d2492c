"""Objects become libraries, by the linker of the machine that they are for."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from attnc.errors import UsageError

CROSS: Final = {
    "aarch64": ("aarch64-linux-gnu-gcc",),
    "riscv64": ("riscv64-linux-gnu-gcc",),
    "x86_64": ("x86_64-linux-gnu-gcc",),
}
"""Compilers that link for another machine with Linux, by their usual names."""


def linked(unit: Path, output: Path, symbol: str, machine: str, *, native: bool) -> None:
    """Makes a library of an object; raises `UsageError` where there is no linker for it."""
    if machine == "wasm32":
        return _run(
            [
                _found(("wasm-ld",), machine),
                "--no-entry",
                "--allow-undefined",
                f"--export={symbol}",
                "--export=__heap_base",
                "-o",
                str(output),
                str(unit),
            ]
        )
    names = ("cc", "gcc", "clang") if native else CROSS.get(machine, ())
    tool = next((found for n in names if (found := shutil.which(n))), None)
    with tempfile.TemporaryDirectory(prefix="attnc") as folder:
        script = Path(folder, "symbols")
        script.write_text(f"{{ global: {symbol}; local: *; }};\n", encoding="ascii")
        only = f"--version-script={script}"
        if tool is not None:
            return _run(
                [tool, "-shared", f"-Wl,{only}", "-o", str(output), str(unit), "-lm", "-lpthread"]
            )
        plain = ("ld",) if native else ("ld.lld",)
        wanted = _found(plain, machine, (*names, *plain))
        return _run([wanted, "-shared", only, "-o", str(output), str(unit)])


def _found(names: tuple[str, ...], machine: str, shown: tuple[str, ...] = ()) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    listed = " or ".join(shown or names)
    raise UsageError(
        f"a library for {machine} needs a linker: none of {listed} is here; "
        "with -o FILE.o the object alone is written"
    )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{Path(command[0]).name} cannot link: {done.stderr.strip()[-2000:]}")
