"""Sparsely sharded attention: causal; a head sees the own and the near - 1 blocks before, and of
all others those whose number plus its own is a multiple of the stride.

Lin et al. 2024, "Efficient LLM Training and Serving with Heterogeneous Context Sharding among
Attention Heads" (arXiv 2407.17678), section 3; query heads of a group have one pattern.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 64, near: int = 8, stride: int = 16
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    group = H // V.shape[1]
    for b, h, m in np.ndindex(B, H, M):
        own = m // R
        shard = {c for c in range(own + 1) if c % stride == -(h // group) % stride}
        blocks = sorted(shard | set(range(max(own - near + 1, 0), own + 1)))
        kept = [n for c in blocks for n in range(c * R, min((c + 1) * R, m + 1, N))]
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
    yield "ordinary", _inputs(rng, 1, 4, 2, 14, 14, 2, 3), {"R": 2, "near": 2, "stride": 3}
    blind = {"R": 2, "near": 0, "stride": 3}
    yield "rows that see nothing", _inputs(rng, 1, 3, 3, 8, 8, 3, 2), blind
    yield (
        "more queries than keys",
        _inputs(rng, 1, 2, 1, 19, 8, 2, 3),
        {"R": 2, "near": 1, "stride": 4},
    )
    yield "one block", _inputs(rng, 2, 2, 2, 7, 7, 2, 3), {}
