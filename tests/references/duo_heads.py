"""Retrieval and streaming heads: key heads marked as streaming keep the first `sinks` keys and the
`window` latest ones, the query's own among them; the others keep all. The last query is level with
the last key.

Xiao et al. 2024, "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming
Heads" (arXiv 2410.10819), section 2.3.
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
    streaming: torch.Tensor,
    window: int = 256,
    sinks: int = 64,
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    group = H // V.shape[1]
    for b, h, m in np.ndindex(B, H, M):
        seen = range(min(max(N - M + m + 1, 0), N))
        recent = max(N - M + m + 1 - window, 0)
        kept = list(seen)
        if streaming[h // group]:
            kept = [n for n in seen if n in range(sinks) or n >= recent]
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
    both = np.array([True, False])
    yield (
        "ordinary",
        {**_inputs(rng, 1, 4, 2, 6, 11, 2, 3), "streaming": both},
        {"window": 3, "sinks": 2},
    )
    early = {**_inputs(rng, 1, 2, 2, 9, 5, 3, 2), "streaming": both}  # rows before the first key
    yield "more queries than keys", early, {"window": 2, "sinks": 1}
    unread = {**_inputs(rng, 1, 2, 2, 3, 19, 2, 3), "streaming": both[::-1].copy()}
    unread["K"][:, 1, 3:12], unread["V"][:, 1, 3:12] = np.nan, np.inf  # between sinks and window
    yield "NaN that streaming heads do not read", unread, {"window": 5, "sinks": 3}
    yield "one query, defaults", {**_inputs(rng, 1, 2, 1, 1, 23, 2, 3), "streaming": both[:1]}, {}
