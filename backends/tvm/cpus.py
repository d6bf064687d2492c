"""Processors that kernels can be built for, as LLVM calls them."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from attnc.errors import UsageError
from attnc.modules import without_tvm

TRIPLES: Final[Mapping[str, str]] = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "aarch64": "aarch64-unknown-linux-gnu",
    "riscv64": "riscv64-unknown-linux-gnu",
    "wasm32": "wasm32-unknown-unknown-wasm",
}
"""Short names of triples."""

ARCHITECTURES: Final[Mapping[str, str]] = {
    "x86_64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "riscv64": "riscv64",
    "wasm32": "wasm32",
}
"""The first parts of triples, and the machines that they mean."""

ASSUMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "x86_64": {},
    "aarch64": {},
    "riscv64": {"mabi": "lp64d", "mattr": ["+m", "+a", "+f", "+d", "+c"]},
    "wasm32": {"mattr": ["+simd128"], "vector-width": 128},
}
"""What a machine is taken to have, if nothing more is said."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor: its machine, what the compiler is told of it, and what it can do."""

    machine: str
    triple: str
    target: Mapping[str, Any]
    """Options of a target of TVM's, of the kind `llvm`."""
    features: tuple[str, ...]

    def lines(self) -> list[str]:
        """As the value of `_CPU` in an emitted module, which runs on machines of this kind."""
        return [
            "_CPU = {",
            f'    "machine": "{self.machine}",',
            f'    "target": {{"mcpu": "{self.target["mcpu"]}"}},',
            '    "features": frozenset(',
            '        """',
            *(" " * 8 + line for line in _filled(self.features)),
            '        """.split()',
            "    ),",
            "}",
        ]


def cpu(name: str | None, triple: str | None = None, attributes: Sequence[str] = ()) -> Cpu:
    """The processor of that name; `triple` says of what machine, if it is not this one.

    `attributes` are features that it has beside, `+avx2`, or lacks, `-avx2`. Raises `UsageError`
    for a name that LLVM does not know, and where TVM is not installed, which asks it.
    """
    tvm = compiler()
    ask = tvm.get_global_func
    triple = TRIPLES.get(triple or "", triple) or str(ask("target.llvm_get_system_triple")())
    machine = ARCHITECTURES.get(triple.partition("-")[0])
    if machine is None:
        listed = ", ".join(ARCHITECTURES)
        raise UsageError(f"kernels are built for {listed}, not for the triple '{triple}'")
    told: dict[str, Any] = {"mtriple": triple, **ASSUMED[machine]}
    if name is not None:
        known = [str(n) for n in ask("target.llvm_get_cpu_archlist")(_target(tvm, told))]
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"no processor of {machine} is called '{name}'{hint}")
        told["mcpu"] = name
        if not name.startswith("generic"):
            told.pop("mattr", None)  # it is known what this one has
    if attributes:
        told["mattr"] = [*told.get("mattr", ()), *attributes]
    features = ask("target.llvm_get_cpu_features")
    found = tuple(sorted(map(str, features(_target(tvm, told)))))
    for item in attributes:
        if item[:1] not in ("+", "-"):
            raise UsageError(f"a feature is given as +NAME or -NAME, not '{item}'")
        if item[:1] == "+" and item[1:] not in found:
            raise UsageError(f"no feature of {machine} is called '{item[1:]}'")
    return Cpu(machine, triple, told, found)


def _filled(words: Sequence[str]) -> list[str]:
    return textwrap.wrap(" ".join(words), 88, break_on_hyphens=False)


def _target(tvm: Any, told: Mapping[str, Any]) -> Any:
    return tvm.target.Target({"kind": "llvm", **told})


def compiler() -> Any:
    """TVM; raises `UsageError` where it is not installed."""
    error = without_tvm()
    if error is not None:
        raise error
    return import_module("tvm")
