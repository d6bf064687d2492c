"""Head-wise positional strides: the keys of head h are those whose place leaves the remainder of h.

Huang, Cao, Parulian, Ji, Wang 2021, "Efficient Attentions for Long Document Summarization"
(arXiv 2104.02112), section 4.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, stride: int = 4) -> torch.Tensor:
    B, H, M, E = Q.shape
    out = Q.new_zeros(B, H, M, V.shape[3])
    for h in range(H):
        k, v = K[:, h, h % stride :: stride], V[:, h, h % stride :: stride]
        if k.shape[1] and E:
            out[:, h] = torch.softmax(Q[:, h] @ k.mT / math.sqrt(E), -1) @ v
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
    yield "ordinary", _inputs(rng, 1, 4, 4, 13, 2, 3), {"stride": 3}
    unread = _inputs(rng, 1, 2, 3, 11, 3, 2)
    unread["K"][:, 0, 1::5], unread["V"][:, 1, ::5] = np.nan, np.inf
    yield "NaN and inf between the keys", unread, {"stride": 5}
    yield "fewer keys than heads", _inputs(rng, 1, 5, 4, 2, 2, 3), {}
    yield "all keys", _inputs(rng, 1, 2, 3, 7, 2, 3), {"stride": 1}
