"""Block-Attention: each block of the prompt is encoded on its own, causally; the tokens of the last
block, which holds the question, see all before them.

Ma et al. 2024, "Block-Attention for Efficient RAG" (arXiv 2409.15355), section 2; keys come
with their positions applied.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, block: torch.Tensor
) -> torch.Tensor:
    B, H, M, E = Q.shape
    F = V.shape[3]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        numbers = block[b].tolist()
        whole = numbers[m] == numbers[-1]  # blocks ascend
        kept = [n for n in range(m + 1) if whole or numbers[n] == numbers[m]]
        if kept and E:
            weight = torch.softmax(K[b, h, kept] @ Q[b, h, m] / math.sqrt(E), 0)
            out[b, h, m] = weight @ V[b, h, kept]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, M: int, N: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, M, E)),
        "K": rng.standard_normal((B, H, N, E)),
        "V": rng.standard_normal((B, H, N, F)),
    }


def _blocks(inputs: dict[str, np.ndarray], lengths: list[list[int]]) -> dict[str, np.ndarray]:
    """The inputs with blocks of such lengths."""
    rows = [np.repeat(np.arange(len(row), dtype=np.int32), row) for row in lengths]
    return {**inputs, "block": np.array(rows)}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _blocks(_inputs(rng, 2, 1, 10, 10, 2, 3), [[3, 2, 5], [1, 6, 3]]), {}
    yield "one block: causal", _blocks(_inputs(rng, 1, 2, 6, 6, 3, 4), [[6]]), {}
    yield "a question of one token", _blocks(_inputs(rng, 1, 1, 9, 9, 2, 3), [[4, 4, 1]]), {}
    yield "no tokens", _blocks(_inputs(rng, 1, 2, 0, 0, 2, 3), [[0]]), {}
