"""Packed documents with a window: token i sees those of its document among i - window + 1, ..., i.

Krell, Kosec, Perez, Fitzgibbon 2021, "Efficient Sequence Packing without Cross-contamination"
(arXiv 2107.02027): the block-diagonal mask; the window is that of a causal sliding window.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, doc: torch.Tensor, window: int = 4096
) -> torch.Tensor:
    B, H, M, E = Q.shape
    F = V.shape[3]
    out = Q.new_zeros(B, H, M, F)
    group = H // V.shape[1]
    for b, h, m in np.ndindex(B, H, M):
        recent = range(max(m - window + 1, 0), m + 1)
        kept = [n for n in recent if doc[b, n] == doc[b, m]]
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


def _documents(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """The inputs with the number of each token's document."""
    B, _, N, _ = inputs["K"].shape
    return {**inputs, "doc": np.sort(rng.integers(0, count, (B, N), dtype=np.int32))}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _documents(rng, _inputs(rng, 1, 2, 1, 12, 12, 2, 3), 3), {"window": 4}
    yield "longer than the documents", _documents(rng, _inputs(rng, 1, 2, 2, 6, 6, 3, 2), 4), {}
    yield (
        "longer than a tile",
        _documents(rng, _inputs(rng, 1, 1, 1, 17, 17, 2, 3), 3),
        {"window": 6},
    )
    yield "no window", _documents(rng, _inputs(rng, 1, 2, 2, 5, 5, 2, 3), 2), {"window": 0}
