"""Prefix LM: full attention over the prefix of each sequence, causal attention behind it.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer" (arXiv 1910.10683), section 3.2.1, figure 3.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, prefix: torch.Tensor
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    group = H // V.shape[1]
    for b, h, m in np.ndindex(B, H, M):
        kept = list(range(min(max(int(prefix[b]), m + 1), N)))
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
    lengths = np.array([5, 0, 40, -2], dtype=np.int32)
    yield "ordinary", {**_inputs(rng, 4, 2, 1, 8, 8, 2, 3), "prefix": lengths}, {}
    yield "more keys", {**_inputs(rng, 2, 2, 2, 4, 9, 3, 2), "prefix": lengths[:2]}, {}
    yield "fewer keys", {**_inputs(rng, 1, 2, 2, 11, 4, 2, 3), "prefix": lengths[:1]}, {}
    yield "no keys", {**_inputs(rng, 1, 1, 1, 3, 0, 2, 3), "prefix": lengths[:1]}, {}
