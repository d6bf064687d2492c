"""Radial attention: frames i, j of s tokens each, places k, l in them, p = 2**floor(log2(|i - j|))
(1 for i = j); kept are pairs with |k - l| + 1 <= s / p, those with k = l and |i - j| a multiple of
ceil(p / s), and, as sinks, the keys of the first frame.

Li, Li, et al. 2025, "Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video
Generation" (arXiv 2506.19852), section 4.2.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def _kept(i: int, k: int, j: int, l: int, s: int) -> bool:  # noqa: E741
    if j == 0:
        return True
    p = 1
    while 2 * p <= abs(i - j):
        p *= 2
    if (abs(k - l) + 1) / s <= 1 / p:
        return True
    return k == l and abs(i - j) % math.ceil(p / s) == 0


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 1024) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        kept = [n for n in range(N) if _kept(*divmod(m, R), *divmod(n, R), R)]
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
    yield "ordinary", _inputs(rng, 1, 1, 17, 17, 2, 3), {"R": 3}
    yield "more frames than tokens in one", _inputs(rng, 1, 1, 22, 22, 2, 3), {"R": 2}
    yield "one frame", _inputs(rng, 2, 1, 5, 5, 2, 3), {}
    yield "frames of one token", _inputs(rng, 1, 1, 23, 31, 2, 3), {"R": 1}
