"""Chunked attention: the sequence is cut into chunks of R tokens; a token sees those of its own
chunk up to itself. The queries are the last M of N positions.

Meta 2025, Llama 4: the local attention of three layers in four.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 8192) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    group = H // V.shape[1]
    for b, h, m in np.ndindex(B, H, M):
        place = m + N - M
        begin = max(place - place % R, 0)
        kept = list(range(begin, place + 1))
        if kept and E:
            weight = torch.softmax(K[b, h // group, kept] @ Q[b, h, m] / math.sqrt(E), 0)
            out[b, h, m] = weight @ V[b, h // group, kept]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, J: int, M: int, N: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, M, E)),
        "K": rng.standard_normal((B, J, N, E)),
        "V": rng.standard_normal((B, J, N, F)),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _inputs(rng, 1, 4, 2, 6, 13, 2, 3), {"R": 4}
    yield "more queries than keys", _inputs(rng, 1, 2, 1, 9, 5, 3, 2), {"R": 3}
    yield "chunks of one token", _inputs(rng, 1, 1, 1, 6, 6, 2, 3), {"R": 1}
    yield "one chunk", _inputs(rng, 1, 2, 2, 7, 7, 2, 3), {}
