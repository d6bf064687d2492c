"""How pieces of the emitted text are spelled and laid out."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from attnc.ir import printer
from attnc.ir.cascade import Constant, Einsum
from attnc.ir.types import Kind

NUMPY_NAMES: Final = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "f8e4m3": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
    "bool": "bool",
}
HELD_AS: Final = {
    Kind.BOOL: "np.bool_",
    Kind.I32: "np.int32",
    Kind.I64: "np.int64",
    Kind.F32: "np.float32",
    Kind.FLOAT: "_float",
    Kind.F64: "np.float64",
}
INDENT: Final = "    "
BREAKS: Final = frozenset("+ - * / // % & | == != < <= > >=".split())


def as_written(einsum: Einsum) -> list[str]:
    """Comment lines that show an Einsum as it was written, macros and implicit sums included."""
    return [f"# {line}" for line in printer.statement(einsum.written or einsum).splitlines()]


def indented(lines: Sequence[str]) -> list[str]:
    return [INDENT + line if line else "" for line in lines]


def folded(line: str, depth: int) -> list[str]:
    """A long line of code as several, broken inside brackets after commas and before operators."""
    if len(line) + depth * len(INDENT) <= printer.WIDTH or line.lstrip().startswith("#"):
        return [line]
    start = line[: len(line) - len(line.lstrip())]
    words = line.lstrip().split(" ")
    lines, current, opened, quoted = [], start + words[0], 0, False
    for before, word in pairwise(words):
        opened += sum(before.count(c) for c in "([{") - sum(before.count(c) for c in ")]}")
        quoted ^= before.count('"') % 2 == 1
        fits = len(current) + 1 + len(word) + depth * len(INDENT) <= printer.WIDTH
        if not fits and opened > 0 and not quoted and (word in BREAKS or before.endswith(",")):
            lines.append(current)
            current = start + INDENT + word
        else:
            current += " " + word
    return [*lines, current]


def dtype_text(element: str) -> str:
    """An element type; those that NumPy lacks come from ml_dtypes."""
    name = NUMPY_NAMES[element]
    if element in ("bf16", "f8e4m3", "f8e5m2"):
        return f'_extension("{name}")'
    return f"np.{'bool_' if name == 'bool' else name}"


def literal(value: Constant) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}[repr(value)]
    return repr(value)


def keywords(pairs: Mapping[str, str]) -> str:
    """Arguments by keyword: `a=x, **{"lambda": y}`."""
    plain = [f"{name}={text}" for name, text in pairs.items() if not keyword.iskeyword(name)]
    odd = [f'"{name}": {text}' for name, text in pairs.items() if keyword.iskeyword(name)]
    return ", ".join([*plain, f"**{{{', '.join(odd)}}}"] if odd else plain)


def tuple_of(texts: Sequence[str]) -> str:
    """A tuple of so many items."""
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
