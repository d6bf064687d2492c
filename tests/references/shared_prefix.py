"""Shared prefix: every answer goes on from the same prefix, as if it stood right behind it.

Juravsky et al. 2024, "Hydragen: High-Throughput LLM Inference with Shared Prefixes"
(arXiv 2402.05099), section 3; here prefix and answers are one sequence.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, answer: torch.Tensor, prefix: int = 1024
) -> torch.Tensor:
    B, H, M, E = Q.shape
    out = Q.new_zeros(B, H, M, V.shape[3])
    if E == 0:  # a score over an empty rank is absent
        return out
    for b in range(B):
        shared = list(range(min(prefix, M)))
        for number in {None, *answer[b, len(shared) :].tolist()}:
            own = [t for t in range(len(shared), M) if int(answer[b, t]) == number]
            row = shared + own  # one sequence, without the other answers
            for i, t in enumerate(row):
                for h in range(H):
                    weight = torch.softmax(K[b, h, row[: i + 1]] @ Q[b, h, t] / math.sqrt(E), 0)
                    out[b, h, t] = weight @ V[b, h, row[: i + 1]]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, M: int, N: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, M, E)),
        "K": rng.standard_normal((B, H, N, E)),
        "V": rng.standard_normal((B, H, N, F)),
    }


def _answers(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """The inputs with the number of each token's answer; those of the prefix mean nothing."""
    B, _, N, _ = inputs["K"].shape
    return {**inputs, "answer": np.sort(rng.integers(0, count, (B, N), dtype=np.int32))}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _answers(rng, _inputs(rng, 2, 1, 12, 12, 2, 3), 3), {"prefix": 4}
    yield "no prefix", _answers(rng, _inputs(rng, 1, 1, 8, 8, 3, 2), 4), {"prefix": 0}
    yield "nothing but prefix", _answers(rng, _inputs(rng, 1, 1, 8, 8, 2, 3), 2), {}
    yield "no tokens", _answers(rng, _inputs(rng, 1, 2, 0, 0, 2, 3), 2), {"prefix": 2}
