"""Heads with windows of their own: head h sees the first `sinks` keys and the window[h] latest
ones, causally.

Fu et al. 2024, "MoA: Mixture of Sparse Attention for Automatic Large Language Model Compression"
(arXiv 2406.14909), section 4.1; the lengths are computed beforehand.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, window: torch.Tensor, sinks: int = 64
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        recent = range(max(m - int(window[h]) + 1, 0), m + 1)
        kept = [n for n in range(min(m + 1, N)) if n in recent or n < sinks]
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
    spans = {"window": np.array([1, 5, 40], dtype=np.int32)}
    yield "ordinary", {**_inputs(rng, 1, 3, 12, 12, 2, 3), **spans}, {"sinks": 2}
    yield (
        "sinks alone",
        {**_inputs(rng, 1, 2, 6, 6, 3, 2), "window": np.zeros(2, np.int32)},
        {"sinks": 3},
    )
    yield "fewer keys", {**_inputs(rng, 1, 3, 13, 5, 2, 3), **spans}, {"sinks": 0}
    less = {**_inputs(rng, 1, 2, 6, 6, 2, 3), "window": np.array([-3, 0], dtype=np.int32)}
    yield "nothing is seen", less, {"sinks": 0}
