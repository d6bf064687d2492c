"""Decoding over a contiguous cache: one query over the first length[b] keys, query heads in groups;
also gives log(sum(exp(score))).

Prabhu et al. 2024, "vAttention: Dynamic Memory Management for Serving LLMs without PagedAttention"
(arXiv 2405.04437): the kernel of a cache without pages.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, length: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    B, H, E = Q.shape
    J, N, F = V.shape[1:]
    out, lse = Q.new_zeros(B, H, F), Q.new_full((B, H), -math.inf)
    for b, h in np.ndindex(B, H):
        filled = min(max(int(length[b]), 0), N)
        if filled and E:
            k, v = (t[b, h // (H // J), :filled] for t in (K, V))
            scores = k @ Q[b, h] / math.sqrt(E)
            out[b, h] = torch.softmax(scores, 0) @ v
            lse[b, h] = torch.logsumexp(scores, 0)
    return out, lse


def _inputs(
    rng: np.random.Generator, heads: tuple[int, int], N: int, E: int, F: int, length: list[int]
) -> dict[str, np.ndarray]:
    (H, J), B = heads, len(length)
    return {
        "Q": rng.standard_normal((B, H, E)),
        "K": rng.standard_normal((B, J, N, E)),
        "V": rng.standard_normal((B, J, N, F)),
        "length": np.array(length, dtype=np.int32),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _inputs(rng, (4, 2), 37, 3, 5, [37, 1, 16, 22]), {}
    empty = _inputs(
        rng, (2, 1), 9, 3, 4, [0, 12, -1]
    )  # nothing, more than there is, less than nothing
    empty["Q"][0], empty["Q"][2] = np.nan, np.inf
    yield "empty and overfull, NaN in empty rows", empty, {}
    stale = _inputs(rng, (3, 3), 21, 2, 3, [5, 20])
    stale["K"][0, :, 5:], stale["V"][0, :, 5:] = np.nan, np.inf
    yield "NaN and inf behind the end", stale, {}
    yield "no keys", _inputs(rng, (2, 2), 0, 2, 3, [0, 1]), {}
