"""O_i = softmax_{j <= i}(q_i . k_j / sqrt(E)) v_j, query 0 being level with key 0.

Vaswani et al., 2017, "Attention Is All You Need", section 3.2.3.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        kept = list(range(min(m + 1, N)))
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
    yield "more keys", _inputs(rng, 1, 1, 6, 11, 2, 3), {}
    yield "more queries", _inputs(rng, 1, 1, 11, 5, 3, 2), {}
    unread = _inputs(rng, 1, 2, 5, 11, 2, 3)
    unread["K"][:, :, 5:], unread["V"][:, :, 5:] = np.nan, np.inf
    yield "NaN and inf behind the last query", unread, {}
    yield "no keys", _inputs(rng, 1, 2, 3, 0, 2, 3), {}
