"""AnchorAttention: documents do not see each other, but all see the first token of the sequence.

Wang et al. 2024, "When Precision Meets Position: BFloat16 Breaks Down RoPE in Long-Context
Training" (arXiv 2411.13476), section 4; positions are applied beforehand.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, doc: torch.Tensor) -> torch.Tensor:
    B, H, M, E = Q.shape
    out = Q.new_zeros(B, H, M, V.shape[3])
    if E == 0:  # a score over an empty rank is absent
        return out
    for b in range(B):
        for number in set(doc[b].tolist()):
            own = [t for t in range(M) if int(doc[b, t]) == number]
            row = own if own[0] == 0 else [0, *own]  # the anchor in front of each document
            for h in range(H):
                for t in own:
                    seen = row[: row.index(t) + 1]
                    weight = torch.softmax(K[b, h, seen] @ Q[b, h, t] / math.sqrt(E), 0)
                    out[b, h, t] = weight @ V[b, h, seen]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, M: int, N: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, M, E)),
        "K": rng.standard_normal((B, H, N, E)),
        "V": rng.standard_normal((B, H, N, F)),
    }


def _documents(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """The inputs with the number of each token's document."""
    B, _, N, _ = inputs["K"].shape
    return {**inputs, "doc": np.sort(rng.integers(0, count, (B, N), dtype=np.int32))}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _documents(rng, _inputs(rng, 1, 1, 11, 11, 2, 3), 4), {}
    yield "one document", _documents(rng, _inputs(rng, 1, 1, 6, 6, 3, 2), 1), {}
    yield "documents of one token", _documents(rng, _inputs(rng, 1, 1, 6, 6, 2, 3), 90), {}
    yield "no tokens", _documents(rng, _inputs(rng, 1, 2, 0, 0, 2, 3), 2), {}
