"""The data of a run: kernels, cases of the gallery, what is expected and how exactly.

In a folder with `index.json`: `NAME.py` is the kernel, `NAME_numpy.py` the same as it is written,
`NAME.npz` the arrays of its cases. Elements of bf16 are kept as their bits. NumPy alone is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

VERSION: Final = 1
FACTOR: Final = 2.0
"""How many times the bound is allowed on a GPU."""
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Case:
    """One call. `limit` is the share of an output that may be undecided."""

    label: str
    kind: str
    parameters: Mapping[str, Any]
    types: Mapping[str, str]
    """The element types of inputs and outputs: f16, bf16, f32, i32 and so on."""
    wide: bool = False
    """Whether it has the sizes of a real call, and not one of the corners."""
    limit: float = 0.02


@dataclass(frozen=True)
class Example:
    """A kernel and its cases; `refused` is why there is none."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class Index:
    """What a folder holds, made from which sources."""

    sources: str
    examples: Mapping[str, Example] = field(default_factory=dict[str, Example])


@dataclass(frozen=True)
class Expected:
    """One output: values, bounds that are infinite where anything may come out, and where what
    is not finite may be any number that is not."""

    value: Array
    bound: Array
    wild: Array


@dataclass(frozen=True)
class Comparison:
    """The largest error / bound, and how many elements are over, and undecided."""

    ratio: float
    over: int
    undecided: float
    problem: str = ""


def write_index(folder: Path, index: Index) -> None:
    """Writes `index.json`, last of all."""
    text = json.dumps({"version": VERSION, **asdict(index)}, indent=1)
    (folder / "index.json").write_text(text + "\n", encoding="utf-8")


@cache
def read_index(folder: str) -> Index:
    """What the folder holds; raises `FileNotFoundError`, and `ValueError` for other versions."""
    found = json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))
    if found["version"] != VERSION:
        raise ValueError(f"{folder} has version {found['version']}, not {VERSION}")
    examples = {name: _example(values) for name, values in found["examples"].items()}
    return Index(found["sources"], examples)


def _example(values: dict[str, Any]) -> Example:
    cases = tuple(Case(**c) for c in values["cases"])
    inputs, outputs = tuple(values["inputs"]), tuple(values["outputs"])
    return Example(inputs, outputs, cases, values["refused"])


def write_arrays(folder: Path, name: str, arrays: Mapping[str, Array]) -> None:
    """Writes the arrays of all cases of an example."""
    kept: dict[str, Any] = {
        k: v.view(np.int16) if v.dtype.name == "bfloat16" else v for k, v in arrays.items()
    }
    np.savez_compressed(folder / f"{name}.npz", **kept)


@cache
def _arrays(folder: str, name: str) -> Mapping[str, Array]:
    found: Mapping[str, Array] = np.load(Path(folder) / f"{name}.npz", allow_pickle=False)
    return found


def inputs_of(folder: str, name: str, number: int) -> dict[str, Array]:
    """The inputs of a case; those of bf16 as bits."""
    index = read_index(folder).examples[name]
    return {item: _arrays(folder, name)[f"{number}/{item}"] for item in index.inputs}


def expected_of(folder: str, name: str, number: int) -> dict[str, Expected]:
    """What is expected of each output of a case."""
    index = read_index(folder).examples[name]
    arrays = _arrays(folder, name)
    parts = ("value", "bound", "wild")
    return {
        item: Expected(*(arrays[f"{number}/{item}/{part}"] for part in parts))
        for item in index.outputs
    }


def compare(expected: Expected, found: Array) -> Comparison:
    """Judges one output in f64, as `tests/acceptance/judge.py` does."""
    if found.shape != expected.value.shape:
        problem = f"its shape is {found.shape}, expected {expected.value.shape}"
        return Comparison(np.inf, found.size, 0.0, problem)
    value, found = expected.value.astype(np.float64), found.astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(found - value)
        ratio = np.where(error == 0, 0.0, error / expected.bound)
    same = (found == value) | (np.isnan(found) & np.isnan(value))
    ratio = np.where(same | (expected.wild & ~np.isfinite(found)), 0.0, ratio)
    ratio = np.where(np.isnan(ratio) | (expected.wild & np.isfinite(found)), np.inf, ratio)
    decided = np.isfinite(expected.bound)
    ratio = ratio[decided]
    undecided = 1 - float(decided.mean()) if decided.size else 0.0
    return Comparison(float(ratio.max(initial=0.0)), int((ratio > FACTOR).sum()), undecided)
