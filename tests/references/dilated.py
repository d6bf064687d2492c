"""Dilated sliding window: token i sees i + k * gap for k = -radius, ..., radius where there is one.

Beltagy, Peters, Cohan 2020, "Longformer: The Long-Document Transformer" (arXiv 2004.05150),
section 3.1, figure 2c.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, radius: int = 256, gap: int = 2
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        window = [m + k * gap for k in range(-radius, radius + 1)]
        kept = [n for n in window if 0 <= n < N]
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
    yield "ordinary", _inputs(rng, 1, 1, 14, 14, 2, 3), {"radius": 2, "gap": 3}
    yield "without gaps", _inputs(rng, 1, 1, 6, 9, 3, 2), {"radius": 3, "gap": 1}
    yield "gaps longer than the sequence", _inputs(rng, 1, 2, 7, 5, 2, 3), {"radius": 1, "gap": 9}
    yield "longer than the sequence", _inputs(rng, 1, 1, 8, 8, 2, 3), {}
