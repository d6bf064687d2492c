"""Packed sequences: query i of sequence s sees keys offset[s] to offset[s + 1] - 1; also gives
log(sum(exp(score))). Query heads share key heads in groups.

Krell, Kosec, Perez, Fitzgibbon 2021, "Efficient Sequence Packing without Cross-contamination"
(arXiv 2107.02027); lengths of queries and keys may differ, and a sequence may have no key.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor,
    K: torch.Tensor,
    V: torch.Tensor,
    segment: torch.Tensor,
    offset: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    M, H, E = Q.shape
    J, F = V.shape[1:]
    out, lse = Q.new_zeros(M, H, F), Q.new_full((M, H), -math.inf)
    for s in range(len(offset) - 1):
        begin, end = int(offset[s]), int(offset[s + 1])
        if begin == end or E == 0:  # nothing to attend to: 0, and -inf for the log-sum-exp
            continue
        for m in (m for m in range(M) if int(segment[m]) == s):
            for h in range(H):
                j = h // (H // J)
                scores = K[begin:end, j] @ Q[m, h] / math.sqrt(E)
                out[m, h] = torch.softmax(scores, 0) @ V[begin:end, j]
                lse[m, h] = torch.logsumexp(scores, 0)
    return out, lse


def _inputs(
    rng: np.random.Generator,
    size: tuple[int, int],
    queries: list[int],
    keys: list[int],
    H: int,
    J: int,
) -> dict[str, np.ndarray]:
    E, F = size
    return {
        "Q": rng.standard_normal((sum(queries), H, E)),
        "K": rng.standard_normal((sum(keys), J, E)),
        "V": rng.standard_normal((sum(keys), J, F)),
        "segment": np.repeat(np.arange(len(queries), dtype=np.int32), queries),
        "offset": np.cumsum([0, *keys], dtype=np.int32),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _inputs(rng, (2, 2), [3, 2, 1, 2], [5, 2, 0, 4], 4, 2), {}
    yield "one sequence", _inputs(rng, (3, 4), [6], [9], 3, 3), {}
    unread = _inputs(rng, (2, 3), [0, 4, 3], [5, 3, 8], 2, 1)
    unread["K"][:5] = np.nan  # the keys of a sequence without queries
    unread["V"][:5] = np.inf
    unread["segment"][-1] = -1  # a query of no sequence
    yield "NaN and inf that nobody reads", unread, {}
    yield "no keys", _inputs(rng, (2, 3), [2, 1], [0, 0], 2, 2), {}
