"""Limited context: frame i sees frames i - left to i + right; the queries are the last M
of N frames.

Zhang et al. 2020, "Transformer Transducer: A Streamable Speech Recognition Model with Transformer
Encoders and RNN-T Loss" (arXiv 2002.02562), section 3; positions are not in the scores.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, left: int = 10, right: int = 2
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    group = H // V.shape[1]
    for b, h, m in np.ndindex(B, H, M):
        place = m + N - M
        kept = list(range(N))[max(place - left, 0) : max(place + right + 1, 0)]
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
    yield "ordinary", _inputs(rng, 1, 4, 2, 6, 11, 2, 3), {"left": 3, "right": 1}
    yield "more queries than keys", _inputs(rng, 1, 2, 1, 9, 5, 3, 2), {"left": 2, "right": 0}
    yield "longer than the sequence", _inputs(rng, 1, 2, 2, 7, 7, 2, 3), {"left": 40, "right": 20}
    yield "not the query itself", _inputs(rng, 1, 2, 2, 8, 8, 2, 3), {"left": 4, "right": -2}
