"""BigBird: a block of queries sees the blocks of keys at most `near` away, the first `leading` and
those of its row of a table; the first `leading` blocks of queries see everything.

Zaheer et al. 2020, "Big Bird: Transformers for Longer Sequences" (arXiv 2007.14062), section 2 and
appendix D (blocks).
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
    keep: torch.Tensor,
    R: int = 64,
    near: int = 1,
    leading: int = 2,
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        row = m // R
        blocks = set(range(leading)) | set(range(row - near, row + near + 1))
        blocks |= {c for c in range(len(keep[h, row])) if keep[h, row, c]}
        if row < leading:
            blocks = set(range(N))
        kept = [n for n in range(N) if n // R in blocks]
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


def _blocks(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], R: int
) -> dict[str, np.ndarray]:
    """The inputs with a table of random blocks."""
    H, M, N = *inputs["Q"].shape[1:3], inputs["K"].shape[2]
    return {**inputs, "keep": rng.random((H, -(-M // R), -(-N // R))) < 0.3}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    blocks = {"R": 2, "near": 1, "leading": 1}
    yield "ordinary", _blocks(rng, _inputs(rng, 1, 2, 9, 11, 2, 3), 2), blocks
    alone = {"R": 2, "near": 0, "leading": 0}
    yield "own and random blocks", _blocks(rng, _inputs(rng, 1, 2, 8, 8, 3, 2), 2), alone
    table = _blocks(rng, _inputs(rng, 1, 2, 11, 16, 2, 3), 2)
    table["K"][:, :, 6:8] = np.nan  # a block that no query reads
    table["keep"][:, :, 3] = False
    yield "the table alone, NaN", table, {"R": 2, "near": -1, "leading": 0}
    yield "one block", _blocks(rng, _inputs(rng, 1, 1, 5, 7, 2, 3), 64), {}
