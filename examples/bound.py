"""Is a kernel as exact as its arithmetic allows? `make demo ARGS=--bound`.

The queries, keys and values of all layers of SmolLM2 go through the kernel. Each element of the
result is compared with the model's own attention, under a bound on the rounding errors of both.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import smollm2
from numpy.typing import NDArray
from report import step
from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Result:
    """How far the kernel is from one layer of the model."""

    name: str
    max_error: float
    relative_error: float  # in the norm over all elements
    of_bound: float  # the largest error as a part of the bound on its element
    milliseconds: float

    @property
    def ok(self) -> bool:
        return self.of_bound <= 1  # false for NaN


def exact(
    q: smollm2.Array, k: smollm2.Array, v: smollm2.Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Causal grouped-query attention in float64, and a bound on the error of a float32 one.

    In units of float32 rounding, a score is off by (sqrt(E) + 3) times the sum of the sizes of its
    terms, and its exponential by that, by its own argument, and by two more. An error d[n] of the
    scores moves the output by the sum of p[n] d[n] (v[n] - out). The sum over the keys is off by
    sqrt(N) + 3 of the sum of p[n] |v[n]|, and the output is rounded once.
    """
    group = q.shape[1] // k.shape[1]
    rows, keys, size = q.shape[2], k.shape[2], q.shape[3]
    queries = q.astype(np.float64) / np.sqrt(size)
    values = np.repeat(v.astype(np.float64), group, axis=1)
    transposed = np.repeat(k.astype(np.float64), group, axis=1).swapaxes(-1, -2)
    present = np.arange(keys) <= np.arange(rows)[:, None] + (keys - rows)

    scores = np.where(present, queries @ transposed, -np.inf)
    depth = np.where(present, scores.max(-1, keepdims=True) - scores, 0.0)
    weights = np.where(present, np.exp(-depth), 0.0)
    weights /= weights.sum(-1, keepdims=True)
    out = weights @ values

    off = weights * ((np.sqrt(size) + 3) * (np.abs(queries) @ np.abs(transposed)) + depth + 2)
    moved = off @ np.abs(values) + off.sum(-1, keepdims=True) * np.abs(out)
    summed = (np.sqrt(keys) + 3) * (weights @ np.abs(values))
    float32 = np.finfo(np.float32)
    bound = float32.eps / 2 * (moved + summed + np.abs(out)) + float32.tiny
    return out, bound


def compare(kernel: Any, layer: smollm2.Layer, name: str) -> Result:
    """Run the kernel on what one layer read; both it and the model round in float32."""
    start = time.perf_counter()
    found = kernel(layer.q, layer.k, layer.v)
    elapsed = time.perf_counter() - start
    bound = 2 * exact(layer.q, layer.k, layer.v)[1]
    expected = layer.out.astype(np.float64)
    error = np.abs(found.astype(np.float64) - expected)
    return Result(
        name,
        max_error=float(error.max()),
        relative_error=float(np.linalg.norm(error) / np.linalg.norm(expected)),
        of_bound=float((error / bound).max()),
        milliseconds=1000 * elapsed,
    )


def table(results: Sequence[Result]) -> Table:
    """One row for each layer."""
    made = Table(
        title="The kernel against the model's own attention",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    made.add_column("input")
    for heading in ("max abs error", "relative error", "of the bound", "kernel ms"):
        made.add_column(heading, justify="right")
    made.add_column("")
    for result in results:
        made.add_row(
            result.name,
            f"{result.max_error:.1e}",
            f"{result.relative_error:.1e}",
            f"{result.of_bound:.3f}",
            f"{result.milliseconds:.1f}",
            "ok" if result.ok else "[bold red]over[/]",
        )
    return made


def check(console: Console, loaded: smollm2.Model, kernel: Any, text: str, tokens: int) -> bool:
    """Show the comparison for all layers; whether each is within the bound."""
    with step(console, "Capture", "what each layer reads and writes") as notes:
        layers = smollm2.capture(loaded, text, tokens)
        notes.append(
            f"{len(layers)} layers, Q{[*layers[0].q.shape]}, K and V{[*layers[0].k.shape]}"
        )
    with step(console, "Run", "the kernel on each of them"):
        results = [compare(kernel, layer, f"layer {i}") for i, layer in enumerate(layers)]
    console.print(table(results))
    worst = max(results, key=lambda result: result.of_bound)
    console.print(f"The closest to its bound is {worst.name}, at {worst.of_bound:.1%}.")
    return all(result.ok for result in results)
