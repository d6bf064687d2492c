"""Multi-window attention: head h cuts the sequence into windows of width[h] tokens, each of which
attends to itself.

Yadav et al. 2024, "Masked Autoencoders with Multi-Window Local-Global Attention Are Better Audio
Learners" (arXiv 2306.00561), section 3.2.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, width: torch.Tensor
) -> torch.Tensor:
    B, H, M, E = Q.shape
    F = V.shape[3]
    out = Q.new_zeros(B, H, M, F)
    for h in range(H):
        size = int(width[h])
        for begin in range(0, M if size and E else 0, size or 1):
            own = slice(begin, begin + size)
            scores = Q[:, h, own] @ K[:, h, own].mT / math.sqrt(E)
            if scores.shape[2]:
                out[:, h, own] = torch.softmax(scores, -1) @ V[:, h, own]
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
    widths = {"width": np.array([1, 4, 6, 50], dtype=np.int32)}
    yield "ordinary", {**_inputs(rng, 1, 4, 8, 8, 2, 3), **widths}, {}
    yield "more queries than keys", {**_inputs(rng, 1, 4, 7, 4, 3, 2), **widths}, {}
    yield "no width", {**_inputs(rng, 1, 2, 5, 5, 2, 3), "width": np.array([0, 2], np.int32)}, {}
    yield "no queries", {**_inputs(rng, 1, 4, 0, 3, 2, 3), **widths}, {}
