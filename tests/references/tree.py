"""Tree attention: the last M of N keys are the nodes of a tree, each after its parent; a node sees
all keys before the tree and those on the way from its root to itself.

Miao et al. 2024, "SpecInfer: Accelerating Generative Large Language Model Serving with Tree-based
Speculative Inference and Verification" (arXiv 2305.09781), section 4.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

Case = tuple[str, dict[str, np.ndarray], dict[str, int | float | bool]]


def reference(
    Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, parent: torch.Tensor
) -> torch.Tensor:
    B, H, M, E = Q.shape
    N, F = V.shape[2:]
    out = Q.new_zeros(B, H, M, F)
    for b, h, m in np.ndindex(B, H, M):
        path = [m]
        while (above := int(parent[b, path[-1]])) >= 0:
            path.append(above)
        tree = [N - M + i for i in path]
        kept = [*range(N - M), *(n for n in reversed(tree) if n >= 0)]
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


def _tree(rng: np.random.Generator, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs with a random parent, or none, for each node."""
    B, _, M, _ = inputs["Q"].shape
    parent = [[int(rng.integers(-1, m)) for m in range(M)] for _ in range(B)]
    return {**inputs, "parent": np.array(parent, dtype=np.int32)}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield "ordinary", _tree(rng, _inputs(rng, 2, 1, 7, 10, 2, 3)), {}
    chain = _inputs(rng, 1, 1, 6, 6, 3, 2)
    chain["parent"] = np.arange(-1, 5, dtype=np.int32)[None]
    yield "a chain: causal", chain, {}
    roots = _inputs(rng, 1, 2, 6, 9, 3, 4)
    roots["parent"] = np.full((1, 6), -1, dtype=np.int32)
    roots["K"][:, :, 1] *= 50.0
    yield "nothing but roots, large scores", roots, {}
    yield "more nodes than keys", _tree(rng, _inputs(rng, 1, 1, 8, 5, 2, 3)), {}
