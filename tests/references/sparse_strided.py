"""Strided sparse attention: token i sees i - stride + 1, ..., i and i - stride, i - 2 stride, ...

Child, Gray, Radford, Sutskever 2019, "Generating Long Sequences with Sparse Transformers"
(arXiv 1904.10509), section 4.2, both patterns in one head.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, stride: int = 128) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        kept = [n for n in {*range(m, m - stride, -1), *range(m, -1, -stride)} if 0 <= n < N]
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
    yield "ordinary", _inputs(rng, 1, 1, 14, 14, 2, 3), {"stride": 4}
    yield "every token", _inputs(rng, 1, 2, 7, 7, 3, 4), {"stride": 1}
    yield "more queries than keys", _inputs(rng, 1, 1, 23, 6, 2, 3), {"stride": 5}
    yield "longer than the sequence", _inputs(rng, 1, 2, 9, 9, 2, 3), {}
