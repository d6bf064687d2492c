"""Those who compute a workload: attnc's kernel for CPUs, and PyTorch in three ways.

Each is built from inputs to a call; what a user would make once for many calls, as a mask, is made
there, and is in no time of a call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from benchmarks.cpu.cases import CAP, ROOT, Workload, seen
from benchmarks.gpu.rivals import FLEX, compiled
from benchmarks.gpu.speed import OURS

SDPA: Final = "SDPA"
EAGER: Final = "eager"
NAMES: Final = (OURS, FLEX, SDPA, EAGER)
SMALL: Final = 4_096
"""The most queries for which PyTorch stores all scores."""
Call = Callable[[], Any]
Tensors = Sequence[torch.Tensor]


@dataclass
class Contestant:
    """`build` gives the call. `same`: it computes the same; else only its speed is of interest."""

    build: Callable[[], Call]
    same: bool = True
    notes: dict[str, float] = field(default_factory=dict[str, float])
    """What is stated beside its times: milliseconds in which a mask of blocks was built."""


def contestants(w: Workload, tensors: Tensors) -> Mapping[str, Contestant]:
    """All that can do a workload, or something of its size."""
    notes: dict[str, float] = {}
    found = {
        OURS: Contestant(partial(ours, w, tensors)),
        FLEX: Contestant(partial(_flex, w, tensors, notes), w.family != "sigmoid", notes),
    }
    if takes_part(w.family, SDPA):
        found[SDPA] = Contestant(partial(_sdpa, w, tensors))
    if w.queries <= SMALL:
        found[EAGER] = Contestant(partial(_eager, w, tensors))
    return found


def takes_part(family: str, name: str) -> bool:
    """Whether a contestant can do a case at all."""
    return name != SDPA or family not in ("sigmoid", "ALiBi and softcap")


def ours(w: Workload, tensors: Tensors) -> Call:
    """From the text of the spec to a call, as `attnc.kernel` goes where tensors are on a CPU;
    machine code is made when it is called first."""
    from attnc.python.build import Choices, build

    text = (ROOT / w.case.spec).read_text(encoding="utf-8")
    found = build(text, Choices(backend="tvm"), w.case.spec)
    return partial(found.function, *tensors, **w.parameters)


def _score(w: Workload, tensors: Tensors) -> Callable[..., Any] | None:
    """What becomes of a score, for FlexAttention and for PyTorch."""
    if w.family != "ALiBi and softcap":
        return None
    slope = tensors[3]

    def score(s: Any, b: Any, h: Any, m: Any, n: Any) -> Any:
        return CAP * torch.tanh(s / CAP) - slope[h] * (m - n)

    return score


def _flex(w: Workload, tensors: Tensors, notes: dict[str, float]) -> Call:
    score, condition, mask = _score(w, tensors), seen(w, tensors), None
    if condition is not None:
        batch = w.batch if w.family == "documents" else None
        create_block_mask(condition, batch, None, 1, 1, device="cpu")  # what it imports is no cost
        start = time.perf_counter()
        mask = create_block_mask(condition, batch, None, w.queries, w.keys, device="cpu")
        notes["mask"] = (time.perf_counter() - start) * 1e3
    options = {"score_mod": score, "block_mask": mask, "enable_gqa": w.case.group > 1}

    def one(q: Any, k: Any, v: Any) -> Any:
        return flex_attention(q, k, v, **options)

    attention = compiled(one, dry=False)
    if w.family != "differential":
        return partial(attention, *tensors[:3])
    q, r, k, s, v, weight = tensors

    def two() -> Any:
        """The difference is outside: for CPUs, nothing that follows can be compiled along."""
        return attention(q, k, v) - weight[:, None, None] * attention(r, s, v)

    return two


def _dense(w: Workload, tensors: Tensors) -> torch.Tensor | None:
    """The condition as a mask of all pairs."""
    condition = seen(w, tensors)
    if condition is None:
        return None
    m, n = torch.arange(w.queries)[:, None], torch.arange(w.keys)
    batches, heads = torch.arange(w.batch)[:, None, None, None], torch.zeros((), dtype=torch.int64)
    found: torch.Tensor = condition(batches, heads, m, n)
    return found


def _sdpa(w: Workload, tensors: Tensors) -> Call:
    options: dict[str, Any] = {"enable_gqa": True} if w.case.group > 1 else {}
    if w.case.mask:
        options["attn_mask"] = _dense(w, tensors)
    else:
        options["is_causal"] = w.case.pattern == "causal"
    attention = partial(torch.nn.functional.scaled_dot_product_attention, **options)
    if w.family != "differential":
        return partial(attention, *tensors[:3])
    q, r, k, s, v, weight = tensors

    def two() -> torch.Tensor:
        return attention(q, k, v) - weight[:, None, None] * attention(r, s, v)

    return two


def _eager(w: Workload, tensors: Tensors) -> Call:
    mask, score = _dense(w, tensors), _score(w, tensors)
    absent = None if mask is None else ~mask
    heads = torch.arange(w.heads)[:, None, None]
    m, n = torch.arange(w.queries)[:, None], torch.arange(w.keys)

    def weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        k = k.repeat_interleave(w.case.group, 1) if w.case.group > 1 else k
        s = q @ k.mT / math.sqrt(w.size)
        if score is not None:
            s = score(s, None, heads, m, n).to(q.dtype)
        if w.family == "sigmoid":
            return torch.sigmoid(s - math.log(w.keys))
        return torch.softmax(s if absent is None else s.masked_fill(absent, -math.inf), -1)

    def one() -> torch.Tensor:
        q, k, v = tensors[:3]
        return weights(q, k) @ (v.repeat_interleave(w.case.group, 1) if w.case.group > 1 else v)

    def two() -> torch.Tensor:
        q, r, k, s, v, weight = tensors
        return (weights(q, k) - weight[:, None, None] * weights(r, s)) @ v

    return two if w.family == "differential" else one
