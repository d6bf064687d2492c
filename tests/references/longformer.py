"""Longformer: a token sees `radius` tokens on each side and the global ones; those see all tokens.

Beltagy, Peters, Cohan 2020, "Longformer: The Long-Document Transformer" (arXiv 2004.05150),
section 3.1; global attention by the same projections.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, radius: int = 256, leading: int = 1
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        near = range(m - radius, m + radius + 1)
        kept = [n for n in range(N) if n in near or n < leading]
        if m < leading:
            kept = list(range(N))
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
    yield "ordinary", _inputs(rng, 1, 1, 12, 12, 2, 3), {"radius": 2, "leading": 3}
    yield "no global ones", _inputs(rng, 1, 1, 5, 9, 3, 2), {"radius": 3, "leading": 0}
    yield "global ones alone", _inputs(rng, 1, 2, 11, 5, 2, 3), {"radius": -1, "leading": 2}
    yield "longer than the sequence", _inputs(rng, 1, 1, 6, 6, 2, 3), {}
