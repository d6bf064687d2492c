"""Block-causal attention: a token sees all tokens up to the end of its own block.

Arriola et al. 2025, "Block Diffusion: Interpolating Between Autoregressive and Diffusion Language
Models" (arXiv 2503.09573), section 3: the mask of clean tokens.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 16) -> torch.Tensor:
    B, H, M, E = Q.shape
    out = Q.new_zeros(B, H, M, V.shape[3])
    for begin in range(0, M if E and K.shape[2] else 0, R):
        block, seen = slice(begin, begin + R), slice(0, begin + R)
        scores = Q[:, :, block] @ K[:, :, seen].mT / math.sqrt(E)
        out[:, :, block] = torch.softmax(scores, -1) @ V[:, :, seen]
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
    yield "ordinary", _inputs(rng, 1, 1, 11, 11, 2, 3), {"R": 4}
    yield "more keys", _inputs(rng, 1, 1, 5, 11, 3, 2), {"R": 3}
    yield "fewer keys", _inputs(rng, 1, 1, 13, 5, 2, 3), {"R": 3}
    yield "one block", _inputs(rng, 1, 2, 6, 6, 2, 3), {}
