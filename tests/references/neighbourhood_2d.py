"""Neighbourhood attention, 2-D: one softmax over the `rows` nearest rows and, in each, the
`columns` nearest columns; a query at a border sees as many keys as one in the middle.

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
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, rows: int = 7, columns: int = 7
) -> torch.Tensor:
    Y, X, E = Q.shape[2:]
    out = torch.zeros_like(V)
    for y, x in np.ndindex(Y, X):
        tall, wide = _window(y, rows, Y), _window(x, columns, X)
        if not len(tall) or not len(wide) or not E:
            continue
        k = K[:, :, tall.start : tall.stop, wide.start : wide.stop].flatten(2, 3)
        v = V[:, :, tall.start : tall.stop, wide.start : wide.stop].flatten(2, 3)
        scores = (k @ Q[:, :, y, x, :, None]).mT / math.sqrt(E)
        out[:, :, y, x] = (torch.softmax(scores, -1) @ v)[:, :, 0]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, Y: int, X: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, Y, X, E)),
        "K": rng.standard_normal((B, H, Y, X, E)),
        "V": rng.standard_normal((B, H, Y, X, F)),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ragged", _inputs(rng, 1, 2, 4, 6, 2, 3), {"rows": 3, "columns": 5}
    yield "taller than the grid", _inputs(rng, 1, 1, 3, 5, 3, 2), {"rows": 4, "columns": 2}
    yield "one row", _inputs(rng, 1, 1, 1, 5, 2, 3), {"rows": 1, "columns": 3}
    yield "no columns seen", _inputs(rng, 1, 1, 3, 2, 2, 3), {"columns": 0}
