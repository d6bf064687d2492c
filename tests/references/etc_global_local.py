"""Extended transformer construction: global tokens see each other and the long tokens of their own
part; long tokens see all global ones and the long ones at most `radius` away, in one softmax.

Ainslie et al. 2020, "ETC: Encoding Long and Structured Inputs in Transformers" (arXiv 2004.08483),
sections 3.1 and 3.2; global tokens are the first of the sequence, scores have no relative labels.
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
    part: torch.Tensor,
    leading: int = 256,
    radius: int = 84,
) -> torch.Tensor:
    B, H, M, E = Q.shape
    out = Q.new_zeros(B, H, M, V.shape[3])
    for b in range(B):
        for m in range(M):
            if m < leading:  # global to global, global to long
                kept = [n for n in range(M) if n < leading or int(part[b, n]) == m]
            else:  # long to global, long to long
                near = range(max(leading, m - radius), min(M, m + radius + 1))
                kept = [*range(min(leading, M)), *near]
            if kept and E:
                scores = (K[b, :, kept] @ Q[b, :, m, :, None]).mT / math.sqrt(E)
                out[b, :, m] = (torch.softmax(scores, -1) @ V[b, :, kept])[:, 0]
    return out


def _inputs(
    rng: np.random.Generator, B: int, H: int, M: int, N: int, E: int, F: int
) -> dict[str, np.ndarray]:
    return {
        "Q": rng.standard_normal((B, H, M, E)),
        "K": rng.standard_normal((B, H, N, E)),
        "V": rng.standard_normal((B, H, N, F)),
    }


def _parts(
    rng: np.random.Generator, inputs: dict[str, np.ndarray], parts: int
) -> dict[str, np.ndarray]:
    """The inputs with the part of each token; parts are of random lengths."""
    B, _, N, _ = inputs["K"].shape
    return {**inputs, "part": np.sort(rng.integers(0, parts, (B, N), dtype=np.int32))}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _parts(rng, _inputs(rng, 1, 1, 12, 12, 2, 3), 3), {"leading": 3, "radius": 2}
    yield "all global", _parts(rng, _inputs(rng, 1, 1, 6, 6, 3, 2), 6), {}
    yield (
        "no global ones",
        _parts(rng, _inputs(rng, 1, 1, 11, 11, 2, 3), 1),
        {"leading": 0, "radius": 3},
    )
    yield (
        "no window",
        _parts(rng, _inputs(rng, 1, 2, 12, 12, 2, 3), 3),
        {"leading": 3, "radius": -1},
    )
