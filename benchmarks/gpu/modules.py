"""Emitted modules: loaded, loaded with other tiles, and asked what was compiled of them."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.gpu.settings import Settings


@dataclass(frozen=True)
class Tiling:
    """What is to be tried in the place of what a module chooses itself; None leaves its choice."""

    rows: int | None = None
    others: int | None = None
    warps: int | None = None
    stages: int | None = None

    def __str__(self) -> str:
        parts = ("rows", "others", "warps", "stages")
        return " ".join(f"{p}={getattr(self, p)}" for p in parts if getattr(self, p) is not None)


@cache
def module(settings: Settings, name: str) -> ModuleType:
    """An emitted module of the data."""
    return _loaded(Path(settings.kernels) / f"{name}.py", name)


def function(settings: Settings, name: str) -> Any:
    """The function that it exports."""
    found = module(settings, name)
    (exported,) = found.__all__
    return getattr(found, exported)


@cache
def oracle(settings: Settings, name: str) -> Any:
    """The function of the same text as it is written, in NumPy."""
    found = _loaded(Path(settings.kernels) / f"{name}_numpy.py", f"{name}_numpy")
    (exported,) = found.__all__
    return getattr(found, exported)


def variant(settings: Settings, name: str, tiling: Tiling) -> Any:
    """The exported function with other tiles; raises `ValueError` where they cannot be set."""
    text = (Path(settings.kernels) / f"{name}.py").read_text(encoding="utf-8")
    changed = retiled(text, tiling)
    folder = settings.scratch / "variants"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{hashlib.sha256(changed.encode()).hexdigest()[:16]}.py"
    if not path.exists():
        path.write_text(changed, encoding="utf-8")
    found = _loaded(path, path.stem)
    (exported,) = found.__all__
    return getattr(found, exported)


def _loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@contextlib.contextmanager
def pieces(found: ModuleType, points: int) -> Iterator[bool]:
    """Within it, a module goes through streams in pieces of so many points; of 0, as a whole.

    Tells whether it has kernels for that. Elsewhere sizes and the device decide.
    """
    able = hasattr(found, "_points")
    kept = vars(found).get("_points")
    if able:
        vars(found)["_points"] = lambda *_: points
    try:
        yield able
    finally:
        if able:
            vars(found)["_points"] = kept


# Tiles


def retiled(text: str, tiling: Tiling) -> str:
    """The text of a module that chooses these tiles, whether they fit or not.

    The loops over candidates get one alone, and `_fitting` says the stages. Lines stay where they
    are, since Triton's cache counts them.
    """
    loops = _choices(text)
    if not loops:
        raise ValueError("the module does not choose tiles by a loop over candidates")
    lines = text.splitlines(keepends=True)
    for loop in reversed(loops):
        first = dict(zip(_names(loop), ast.literal_eval(loop.iter)[0], strict=True))
        for key, value in (
            ("_rows", tiling.rows),
            ("_others", tiling.others),
            ("_warps", tiling.warps),
            ("_stages", tiling.stages),
            ("_beside", 1),
        ):
            if value is not None and key in first:
                first[key] = value
        span = loop.iter
        assert span.end_lineno is not None
        breaks = "\n" * (span.end_lineno - span.lineno)
        entry = f"(({', '.join(map(repr, first.values()))},),{breaks})"
        head = lines[span.lineno - 1].encode()[: span.col_offset].decode()
        tail = lines[span.end_lineno - 1].encode()[span.end_col_offset :].decode()
        lines[span.lineno - 1 : span.end_lineno] = (head + entry + tail).splitlines(keepends=True)
    if tiling.stages is None:
        return "".join(lines)
    return "".join(lines) + f"\n\ndef _fitting(*_):\n    return {tiling.stages}\n"


def _choices(text: str) -> list[ast.For]:
    """Loops over tuples of numbers with a name that speaks of warps, in order."""
    return [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.For)
        and "_warps" in _names(node)
        and isinstance(node.iter, ast.Tuple)
    ]


def _names(loop: ast.For) -> list[str]:
    if not isinstance(loop.target, ast.Tuple):
        return []
    return [item.id for item in loop.target.elts if isinstance(item, ast.Name)]


# What was compiled


def compiled(names: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Each specialisation that Triton holds of the kernels among names, with what it takes."""
    return [
        {
            "kernel": kernel,
            "registers": getattr(one, "n_regs", None),
            "spills": getattr(one, "n_spills", None),
            "shared": getattr(getattr(one, "metadata", None), "shared", None),
            "warps": getattr(getattr(one, "metadata", None), "num_warps", None),
            "stages": getattr(getattr(one, "metadata", None), "num_stages", None),
        }
        for kernel, one in _held(names)
    ]


class Watched:
    """A kernel under the interpreter that remembers with which constants it was launched.

    On a device each set of them is a kernel to compile.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.constants: set[tuple[tuple[str, str], ...]] = set()

    def __getitem__(self, grid: Any) -> Any:
        def launch(*arguments: Any, **constants: Any) -> Any:
            self.constants.add(tuple((k, repr(v)) for k, v in sorted(constants.items())))
            return self._kernel[grid](*arguments, **constants)

        return launch


def watch(found: ModuleType) -> None:
    """Puts `Watched` in the place of the kernels of a module."""
    for name in [n for n in vars(found) if re.fullmatch(r"_(k|parts|merge|other)\d+", n)]:
        setattr(found, name, Watched(getattr(found, name)))


def _held(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in names.items():
        if isinstance(value, Watched):
            yield from ((name, one) for one in value.constants)
        caches = getattr(value, "device_caches", None)
        for entry in caches.values() if isinstance(caches, Mapping) else ():
            held: Sequence[Any] = tuple(entry[0].values())
            for one in held:
                yield name, one
