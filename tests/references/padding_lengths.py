"""Padding: full attention among the first length[b] tokens of each sequence, 0 behind them.

Devlin, Chang, Lee, Toutanova 2019, "BERT: Pre-training of Deep Bidirectional Transformers for
Language Understanding" (arXiv 1810.04805), as its code masks padding; here padding has no output.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, length: torch.Tensor
) -> torch.Tensor:
    B, H, M, E = Q.shape
    out = Q.new_zeros(B, H, M, V.shape[3])
    for b in range(B):
        filled = max(int(length[b]), 0)
        q, k, v = (t[b, :, :filled] for t in (Q, K, V))  # as if it had not been padded
        if k.numel():
            out[b, :, :filled] = torch.softmax(q @ k.mT / math.sqrt(E), -1) @ v
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
    lengths = np.array([9, 6, 0, 40], dtype=np.int32)
    yield "ordinary", {**_inputs(rng, 4, 1, 9, 9, 2, 3), "length": lengths}, {}
    padded = {**_inputs(rng, 2, 2, 9, 9, 3, 4), "length": np.array([4, -1], dtype=np.int32)}
    padded["Q"][0, :, 4:], padded["K"][0, :, 4:], padded["V"][0, :, 4:] = np.nan, np.inf, np.nan
    padded["Q"][1], padded["K"][1], padded["V"][1] = np.inf, np.nan, np.nan
    yield "NaN and inf in padding", padded, {}
    yield "no tokens", {**_inputs(rng, 1, 2, 0, 0, 2, 3), "length": lengths[:1]}, {}
