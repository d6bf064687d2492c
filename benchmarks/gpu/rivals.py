"""Others that compute the same: FlexAttention, the backends of PyTorch, a tutorial by its path."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.attention.flex_attention as flex
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from benchmarks.gpu.workloads import FAMILIES, Workload

FLEX: Final = "FlexAttention"
TUTORIAL: Final = "tutorial"
SMALL: Final = 2_048
"""The longest keys for which all scores are stored."""
CAP: Final = 50.0
AUXILIARY: Final = flex.AuxRequest(lse=True) if hasattr(flex, "AuxRequest") else None
Call = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Rival:
    """`build` gives the call. `same`: it computes the same; else only its speed is of interest."""

    build: Callable[[], Call]
    same: bool = True


def rivals(
    w: Workload, tensors: list[torch.Tensor], *, dry: bool, tutorial: str | None
) -> dict[str, Rival]:
    """All that can do a workload, or something of its size."""
    example = FAMILIES[w.family].example
    found: dict[str, Rival] = {}
    if example == "paged_decode":
        return found
    build = _flex(example)
    if build is not None:
        found[FLEX] = Rival(partial(build, w, tensors, dry), same=example != "sigmoid")
    if example in ("dense", "causal", "gqa_causal"):
        backends = ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH"]
        if w.keys > SMALL:
            backends.remove("MATH")
        for name in ["MATH"] if dry else backends:
            found[f"SDPA {name.removesuffix('_ATTENTION').lower()}"] = Rival(
                partial(_sdpa, name, w, tensors)
            )
    if tutorial and example in ("dense", "causal"):
        found[TUTORIAL] = Rival(partial(_tutorial, tutorial, w, tensors))
    return found


def _causal(b: Any, h: Any, m: Any, n: Any) -> Any:
    return n <= m


def compiled(function: Callable[..., Any], *, dry: bool) -> Callable[..., Any]:
    """As users do it, for these sizes; a dry run leaves out the compiler."""
    if dry:
        return function
    torch._dynamo.reset()
    made: Callable[..., Any] = torch.compile(function, dynamic=False)
    return made


def _mask(w: Workload, tensors: list[torch.Tensor]) -> Any:
    """The mask of blocks; none where all keys are seen."""
    if FAMILIES[w.family].share == 1:
        return None
    device = str(tensors[0].device)
    return create_block_mask(_causal, None, None, w.queries, w.keys, device=device)


def _flex(example: str) -> Callable[[Workload, list[torch.Tensor], bool], Call] | None:
    return {
        "dense": _flex_plain,
        "causal": _flex_plain,
        "gqa_causal": _flex_plain,
        "sigmoid": _flex_plain,
        "softcap": _flex_softcap,
        "alibi": _flex_alibi,
        "sink_logits": _flex_sinks,
        "differential": _flex_differential,
    }.get(example)


def _flex_plain(w: Workload, tensors: list[torch.Tensor], dry: bool) -> Call:
    def whole(q: Any, k: Any, v: Any, mask: Any) -> Any:
        return flex_attention(q, k, v, block_mask=mask, enable_gqa=w.heads != w.key_heads)

    return partial(compiled(whole, dry=dry), *tensors[:3], _mask(w, tensors))


def _flex_softcap(w: Workload, tensors: list[torch.Tensor], dry: bool) -> Call:
    def score(s: Any, b: Any, h: Any, m: Any, n: Any) -> Any:
        return CAP * torch.tanh(s / CAP)

    def whole(q: Any, k: Any, v: Any, mask: Any) -> Any:
        return flex_attention(q, k, v, score_mod=score, block_mask=mask)

    return partial(compiled(whole, dry=dry), *tensors, _mask(w, tensors))


def _flex_alibi(w: Workload, tensors: list[torch.Tensor], dry: bool) -> Call:
    def whole(q: Any, k: Any, v: Any, slope: Any, mask: Any) -> Any:
        def score(s: Any, b: Any, h: Any, m: Any, n: Any) -> Any:
            return s - slope[h] * (m - n)

        return flex_attention(q, k, v, score_mod=score, block_mask=mask)

    return partial(compiled(whole, dry=dry), *tensors, _mask(w, tensors))


def _with_sums(*arguments: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """FlexAttention and the logarithms of its denominators, in its older and its newer way."""
    if AUXILIARY is None:
        out, sums = flex_attention(*arguments, return_lse=True, **options)
        return out, sums
    out, more = flex_attention(*arguments, return_aux=AUXILIARY, **options)
    return out, more.lse


def _flex_sinks(w: Workload, tensors: list[torch.Tensor], dry: bool) -> Call:
    """The weight that the sink takes is found from the denominator, afterwards."""

    def whole(q: Any, k: Any, v: Any, sink: Any, mask: Any) -> Any:
        out, sums = _with_sums(q, k, v, block_mask=mask, enable_gqa=w.heads != w.key_heads)
        return out * torch.sigmoid(sums - sink[None, :, None])[..., None].to(out.dtype)

    return partial(compiled(whole, dry=dry), *tensors, _mask(w, tensors))


def _flex_differential(w: Workload, tensors: list[torch.Tensor], dry: bool) -> Call:
    """Two attentions, subtracted."""

    def whole(q: Any, r: Any, k: Any, s: Any, v: Any, lam: Any, mask: Any) -> Any:
        first = flex_attention(q, k, v, block_mask=mask)
        return first - lam[None, :, None, None] * flex_attention(r, s, v, block_mask=mask)

    return partial(compiled(whole, dry=dry), *tensors, _mask(w, tensors))


def _sdpa(backend: str, w: Workload, tensors: list[torch.Tensor]) -> Call:
    causal = FAMILIES[w.family].share < 1
    options = {"enable_gqa": True} if w.heads != w.key_heads else {}
    chosen = SDPBackend.__members__[backend]

    def call() -> torch.Tensor:
        with sdpa_kernel(chosen):
            return torch.nn.functional.scaled_dot_product_attention(
                *tensors[:3], is_causal=causal, **options
            )

    return call


@cache
def _file(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem.replace("-", "_"), path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def _tutorial(path: str, w: Workload, tensors: list[torch.Tensor]) -> Call:
    """A file with `attention(q, k, v, causal, scale)`, or a flag more, as Triton's tutorial has."""
    attention = _file(path).attention
    q, k, v = tensors[:3]
    first = (q, k, v, FAMILIES[w.family].share < 1, 1 / math.sqrt(w.size))
    try:
        attention(*first, False)
    except TypeError:
        return partial(attention, *first)
    return partial(attention, *first, False)
