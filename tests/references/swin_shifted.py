"""Shifted windows: the grid is rolled by `shift` along both axes and cut into R x R windows; in a
window a token sees those of its own region, that is those that were neighbours before the roll.

Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
(arXiv 2103.14030), section 3.2, figure 4; the last window may be smaller where R divides no axis.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def _regions(length: int, R: int, shift: int) -> list[tuple[int, bool]]:
    """Of each place: its window after the roll, and whether the roll took it around the border."""
    padded = -(-length // R) * R  # rolled with its padding
    rolled = torch.roll(torch.arange(padded), -shift).tolist()
    return [(rolled.index(i) // R, i < shift) for i in range(length)]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, R: int = 7, shift: int = 3
) -> torch.Tensor:
    Y, X, E = Q.shape[2:]
    rows, columns = _regions(Y, R, shift), _regions(X, R, shift)
    labels = [(row, column) for row in rows for column in columns]
    same = torch.tensor([[i == j for j in labels] for i in labels]).reshape(Y * X, Y * X)
    if E == 0:  # a score over an empty rank is absent
        return torch.zeros_like(V)
    q, k, v = (t.flatten(2, 3) for t in (Q, K, V))
    scores = (q @ k.mT / math.sqrt(E)).masked_fill(~same, -math.inf)
    return (torch.softmax(scores, -1) @ v).reshape(V.shape)


def _inputs(
    rng: np.random.Generator, B: int, H: int, Y: int, X: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, Y, X, E)),
        "K": rng.standard_normal((B, H, Y, X, E)),
        "V": rng.standard_normal((B, H, Y, X, F)),
    }


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _inputs(rng, 1, 2, 4, 6, 2, 3), {"R": 2, "shift": 1}
    yield "ragged", _inputs(rng, 1, 1, 4, 5, 3, 2), {"R": 3, "shift": 2}
    yield "no shift", _inputs(rng, 1, 1, 4, 6, 2, 3), {"R": 2, "shift": 0}
    yield "one window", _inputs(rng, 1, 1, 3, 2, 2, 3), {}
