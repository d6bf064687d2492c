"""Neighbourhood attention, 3-D, causal along time: one softmax over the query's frame and the
`frames` - 1 before it, and in each over the `rows` nearest rows and `columns` nearest columns.

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
    frames: int = 5,
    rows: int = 7,
    columns: int = 7,
) -> torch.Tensor:
    T, Y, X, E = Q.shape[2:]
    out = torch.zeros_like(V)
    for t, y, x in np.ndindex(T, Y, X):
        tall, wide = _window(y, rows, Y), _window(x, columns, X)
        early = max(t - frames + 1, 0)
        if not len(tall) or not len(wide) or early > t or not E:
            continue
        k = K[:, :, early : t + 1, tall.start : tall.stop, wide.start : wide.stop].flatten(2, 4)
        v = V[:, :, early : t + 1, tall.start : tall.stop, wide.start : wide.stop].flatten(2, 4)
        scores = (k @ Q[:, :, t, y, x, :, None]).mT / math.sqrt(E)
        out[:, :, t, y, x] = (torch.softmax(scores, -1) @ v)[:, :, 0]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, T: int, Y: int, X: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, T, Y, X, E)),
        "K": rng.standard_normal((B, H, T, Y, X, E)),
        "V": rng.standard_normal((B, H, T, Y, X, F)),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _inputs(rng, 1, 2, 3, 4, 3, 2, 3), {"frames": 2, "rows": 3, "columns": 2}
    yield "longer than the video", _inputs(rng, 1, 1, 2, 3, 3, 2, 2), {"rows": 2, "columns": 3}
    yield "no frames seen", _inputs(rng, 1, 1, 2, 1, 3, 2, 3), {"frames": 0}
