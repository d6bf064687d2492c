"""Neighbourhood attention, 3-D, causal along time, tokens in one sequence, frame by frame: one
softmax over the query's frame and the `frames` - 1 before it, in each over the `rows` nearest rows,
and in each of those over the `columns` nearest columns.

Hassani, Hwu, Shi 2024, "Faster Neighborhood Attention" (arXiv 2403.04690).
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def _window(i: int, window: int, length: int) -> range:
    """The `window` places nearest to i, all of them within the length where it has as many."""
    places = range(max(i - window // 2, 0), length)[:window]
    missing = min(window, length) - len(places)
    return range(places.start - missing, places.stop) if missing else places


def reference(
    Q: torch.Tensor,
    K: torch.Tensor,
    V: torch.Tensor,
    height: int = 32,
    width: int = 32,
    frames: int = 5,
    rows: int = 7,
    columns: int = 7,
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    grid = (N // (height * width) + 1, height, width)
    for b, h, m in np.ndindex(B, H, M):
        t, y, x = (int(i) for i in np.unravel_index(m, grid))
        box = [
            (s, v, u)
            for s in range(max(t - frames + 1, 0), t + 1)
            for v in _window(y, rows, height)
            for u in _window(x, columns, width)
        ]
        kept = [k for k in (int(np.ravel_multi_index(i, grid)) for i in box) if k < N]
        if kept and E:
            weight = torch.softmax(K[b, h, kept] @ Q[b, h, m] / math.sqrt(E), 0)
            out[b, h, m] = weight @ V[b, h, kept]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, M: int, N: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, M, E)),
        "K": rng.standard_normal((B, H, N, E)),
        "V": rng.standard_normal((B, H, N, F)),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    grid = {"height": 2, "width": 3, "frames": 2, "rows": 1, "columns": 2}
    yield "ordinary", _inputs(rng, 1, 1, 18, 18, 2, 3), grid
    tall = {"height": 3, "width": 2, "rows": 2, "columns": 3}
    yield "longer than the video", _inputs(rng, 1, 1, 12, 12, 3, 2), tall
    yield "a frame without an end", _inputs(rng, 1, 2, 14, 14, 2, 3), {**tall, "frames": 1}
    yield "no frames seen", _inputs(rng, 1, 1, 6, 6, 2, 3), {**tall, "frames": 0}
