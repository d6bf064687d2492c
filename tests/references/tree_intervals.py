"""Tree attention: a token sees those on the way from its root to itself. The trees are given as
numbers of a walk, depth first: below a token are those entered after it and before it is left.

Miao et al. 2024, "SpecInfer: Accelerating Generative Large Language Model Serving with Tree-based
Speculative Inference and Verification" (arXiv 2305.09781), section 4; the numbers are the usual
nested intervals of a tree.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def _below(enter: list[int], leave: list[int], n: int, m: int) -> bool:
    """Whether m is n or lies below it: n's numbers enclose m's."""
    return m == n or (enter[n] < enter[m] and leave[m] <= leave[n])


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, enter: torch.Tensor, leave: torch.Tensor
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        kept = [n for n in range(N) if _below(enter[b].tolist(), leave[b].tolist(), n, m)]
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


def _walked(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], mixed: bool = False
) -> dict[str, np.ndarray]:
    """The inputs with the walk over a random forest; mixed: tokens are in any order."""
    B, _, N, _ = inputs["K"].shape
    enter, leave = np.zeros((2, B, N), dtype=np.int32)
    for b in range(B):
        path: list[int] = []
        order = rng.permutation(N) if mixed else np.arange(N)
        for number, n in enumerate(order):
            for _ in range(int(rng.integers(len(path) + 1))):
                leave[b, path.pop()] = number
            enter[b, n] = number
            path.append(n)
        leave[b, path] = N
    return {**inputs, "enter": enter, "leave": leave}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _walked(rng, _inputs(rng, 1, 1, 11, 11, 2, 3)), {}
    yield "in another order", _walked(rng, _inputs(rng, 1, 1, 8, 8, 3, 2), mixed=True), {}
    yield "one token", _walked(rng, _inputs(rng, 1, 1, 1, 1, 2, 3)), {}
    yield "no tokens", _walked(rng, _inputs(rng, 2, 1, 0, 0, 2, 3)), {}
