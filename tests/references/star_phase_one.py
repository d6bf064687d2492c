"""Star attention, phase 1: the context is cut into blocks; each but the first is put behind the
first, the anchor, and the pair is encoded on its own, causally.

Acharya, Jia, Ginsburg 2024, "Star Attention: Efficient LLM Inference over Long Sequences"
(arXiv 2411.17116), section 2.1.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 4096) -> torch.Tensor:
    B, H, M, E = Q.shape
    J, N, F = V.shape[1:]
    out = Q.new_zeros(B, H, M, F)
    for begin in range(0, M if E else 0, R):
        own = [n for n in range(begin, begin + R) if n < N]
        pair = own if begin == 0 else [*range(min(R, N)), *own]
        for b, h in np.ndindex(B, H):
            k, v = K[b, h // (H // J), pair], V[b, h // (H // J), pair]
            for m in range(begin, min(begin + R, M)):
                seen = sum(n <= m for n in pair)
                if seen:
                    weight = torch.softmax(k[:seen] @ Q[b, h, m] / math.sqrt(E), 0)
                    out[b, h, m] = weight @ v[:seen]
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
    yield "ordinary", _inputs(rng, 1, 4, 2, 13, 13, 2, 3), {"R": 4}
    yield "more queries than keys", _inputs(rng, 1, 2, 1, 11, 6, 3, 2), {"R": 3}
    yield "one block", _inputs(rng, 1, 2, 2, 7, 7, 2, 3), {}
    yield "blocks of one token", _inputs(rng, 1, 1, 1, 6, 6, 2, 3), {"R": 1}
