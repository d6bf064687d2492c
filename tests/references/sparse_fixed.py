"""Fixed sparse attention: token i sees those of its block up to itself and, in each block, the last
c places that are not after it.

Child, Gray, Radford, Sutskever 2019, "Generating Long Sequences with Sparse Transformers"
(arXiv 1904.10509), section 4.2, both patterns in one head.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 128, kept: int = 8
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    c, out = kept, Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        own = range(m - m % R, m + 1)
        summary = [end - 1 - i for end in range(R, m + R + 1, R) for i in range(min(max(c, 0), R))]
        seen = sorted({n for n in [*own, *summary] if n <= m and n < N})
        if seen and E:
            weight = torch.softmax(K[b, h, seen] @ Q[b, h, m] / math.sqrt(E), 0)
            out[b, h, m] = weight @ V[b, h, seen]
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
    yield "ordinary", _inputs(rng, 1, 1, 13, 13, 2, 3), {"R": 5, "kept": 2}
    yield "none kept", _inputs(rng, 1, 1, 9, 9, 3, 2), {"R": 4, "kept": 0}
    yield "all kept", _inputs(rng, 1, 1, 17, 9, 2, 3), {"R": 3, "kept": 4}
    yield "one block", _inputs(rng, 1, 2, 7, 7, 2, 3), {}
