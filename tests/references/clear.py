"""CLEAR: softmax over the pixels with (dx * dx + dy * dy) < r * r and all of the text; tokens
of the text see everything.

Liu, Tan, Wang 2024, "CLEAR: Conv-Like Linearization Revs Pre-Trained Diffusion Transformers Up"
(arXiv 2412.16112), section 3.2: the circular window.
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
    words: int = 512,
    width: int = 64,
    radius: int = 16,
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        pixels = range(words, N)
        y, x = divmod(m - words, width)
        near = [n for n in pixels if math.dist((y, x), divmod(n - words, width)) < radius]
        kept = [*range(min(words, N)), *(pixels if m < words else near)]
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


def cases(rng: np.random.Generator) -> Iterator[Case]:
    circle = {"words": 2, "width": 5, "radius": 2}
    yield "ordinary", _inputs(rng, 1, 1, 15, 15, 2, 3), circle
    yield "a corner is on the circle", _inputs(rng, 1, 1, 22, 22, 2, 3), {**circle, "radius": 5}
    yield "no text, a ragged last row", _inputs(rng, 1, 2, 17, 17, 2, 3), {**circle, "words": 0}
    yield "text alone", _inputs(rng, 2, 1, 5, 5, 2, 3), {}
