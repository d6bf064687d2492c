"""Neighbourhood attention, 2-D, tokens in one sequence, row by row: one softmax over the `rows`
nearest rows and, in each, the `columns` nearest columns, always as many as the grid allows.

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
    width: int = 64,
    rows: int = 7,
    columns: int = 7,
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        y, x = divmod(m, width)
        tall, wide = _window(y, rows, N // width), _window(x, columns, width)
        kept = [v * width + u for v in tall for u in wide]
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
    yield "ragged", _inputs(rng, 1, 1, 20, 20, 2, 3), {"width": 5, "rows": 3, "columns": 4}
    wide = {"width": 4, "rows": 2, "columns": 9}
    yield "wider than the grid", _inputs(rng, 1, 1, 12, 12, 3, 2), wide
    yield "one column", _inputs(rng, 1, 1, 9, 9, 2, 3), {"width": 1, "rows": 4, "columns": 1}
    yield "no rows seen", _inputs(rng, 1, 1, 6, 6, 2, 3), {"width": 3, "rows": 0}
