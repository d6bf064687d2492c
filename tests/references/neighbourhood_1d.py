"""Neighbourhood attention, 1-D: the tokens with the same remainder by the dilation are a sequence
of their own; in it a token sees the `window` places nearest to its own, never fewer at a border.

Hassani, Hwu, Shi 2024, "Faster Neighborhood Attention" (arXiv 2403.04690); the dilation is that of
Hassani, Shi 2022, "Dilated Neighborhood Attention Transformer" (arXiv 2209.15001).
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
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, window: int = 63, gap: int = 1
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        group = list(range(m % gap, N, gap))
        kept = [group[i] for i in _window(group.index(m), window, len(group))]
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
    yield "dilated, ragged", _inputs(rng, 1, 1, 14, 14, 2, 3), {"window": 3, "gap": 4}
    yield "even window", _inputs(rng, 1, 1, 9, 9, 3, 2), {"window": 4}
    yield "longer than the sequence", _inputs(rng, 1, 1, 9, 9, 2, 3), {"window": 11, "gap": 2}
    yield "no window", _inputs(rng, 1, 1, 5, 5, 2, 3), {"window": 0}
