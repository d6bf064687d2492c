"""What is timed: kernels of the gallery at sizes of models, and what they compute at least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

TOKENS: Final = 16_384
"""Batch times length."""
WIDTH: Final = 2_048
"""Heads times head size."""
LENGTHS: Final = (1_024, 2_048, 4_096, 8_192, 16_384)
FEW: Final = (1_024, 4_096, 16_384)
LONG: Final = (1_024, 4_096, 16_384, 65_536)


@dataclass(frozen=True)
class Family:
    """Workloads of one kernel.

    `share` is the share of pairs of query and key that are present, `products` how many products of
    their size there are, two multiplications and additions each.
    """

    example: str
    share: float = 1.0
    products: int = 2
    group: int = 1
    """Query heads of one key head."""
    decoding: bool = False
    lengths: tuple[int, ...] = FEW


FAMILIES: Final[Mapping[str, Family]] = {
    "dense": Family("dense", lengths=LENGTHS),
    "causal": Family("causal", 0.5, lengths=LENGTHS),
    "grouped causal": Family("gqa_causal", 0.5, group=4),
    "decode": Family("gqa_causal", group=4, decoding=True, lengths=LONG),
    "softcap": Family("softcap", 0.5),
    "alibi": Family("alibi", 0.5),
    "sink logits": Family("sink_logits", 0.5, group=4),
    "sigmoid": Family("sigmoid"),
    "differential": Family("differential", 0.5, products=3),
    "paged decode": Family("paged_decode", group=4, decoding=True, lengths=LONG),
}
PAGE: Final = 16
"""Slots of a page."""


@dataclass(frozen=True)
class Workload:
    """One call."""

    family: str
    kind: str
    size: int
    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int

    @property
    def label(self) -> str:
        """Of all workloads this one's."""
        return f"{self.family} {self.kind} {self.size} {self.keys}"

    @property
    def flops(self) -> float:
        """Of products alone, where pairs that are absent do not count."""
        found = FAMILIES[self.family]
        pairs = self.batch * self.heads * self.queries * self.keys * found.share
        return 2.0 * found.products * pairs * self.size

    @property
    def bytes(self) -> float:
        """What must be read and written at least."""
        width = 4 if self.kind == "f32" else 2
        twice = FAMILIES[self.family].example == "differential"
        queries = self.heads * self.queries * (3 if twice else 2)
        keys = self.key_heads * self.keys * (3 if twice else 2)
        return float(width * self.batch * self.size * (queries + keys))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "label": self.label, "flops": self.flops, "bytes": self.bytes}


def workloads(family: str, *, dry: bool) -> Iterator[Workload]:
    """All of a family; the largest in one type more."""
    found = FAMILIES[family]
    if dry:
        yield _workload(
            family, found, "f32", 16, 32, tokens=32 // (4 if found.decoding else 1), width=32
        )
        return
    for size in (128, 64):
        for length in found.lengths:
            yield _workload(family, found, "bf16", size, length)
    if len(found.lengths) == len(LENGTHS):
        for length in found.lengths[2::2]:
            yield _workload(family, found, "f16", 128, length)


def _workload(
    family: str,
    found: Family,
    kind: str,
    size: int,
    length: int,
    *,
    tokens: int = TOKENS,
    width: int = WIDTH,
) -> Workload:
    heads = max(found.group, width // size)
    batch = max(1, tokens // length)
    if found.decoding:
        batch, queries = max(1, min(64, 4 * tokens // length)), 1
    else:
        queries = length
    return Workload(family, kind, size, batch, heads, heads // found.group, queries, length)


def arguments(w: Workload, device: torch.device) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Normal inputs of a workload, in the order of its kernel, and its parameters."""
    import torch

    from benchmarks.gpu.devices import KINDS

    generator = torch.Generator(device).manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=KINDS[w.kind], device=device, generator=generator)

    def small(*shape: int) -> torch.Tensor:
        values = torch.rand(*shape, device=device, generator=generator) * 0.1
        return values.to(KINDS[w.kind])

    query = (w.batch, w.heads, w.queries, w.size)
    key = (w.batch, w.key_heads, w.keys, w.size)
    example = FAMILIES[w.family].example
    if example == "differential":
        shapes = (query, query, key, key, key)
        return [*(normal(*s) for s in shapes), small(w.heads) * 8], {}
    if example == "paged_decode":
        return _paged(w, normal, device, generator), {}
    tensors = [normal(*query), normal(*key), normal(*key)]
    if example in ("alibi", "sink_logits"):
        tensors.append(small(w.heads))
    if example == "sigmoid":
        import math

        return tensors, {"bias": -math.log(w.keys)}
    return tensors, {}


def _paged(
    w: Workload,
    normal: Callable[..., torch.Tensor],
    device: torch.device,
    generator: torch.Generator,
) -> list[torch.Tensor]:
    """Pages in any order, all of them full."""
    import torch

    each = w.keys // PAGE
    pages = torch.randperm(w.batch * each, generator=generator, device=device)
    pool = (w.batch * each, PAGE, w.key_heads, w.size)
    lengths = torch.full((w.batch,), w.keys, dtype=torch.int32, device=device)
    table = pages.reshape(w.batch, each).to(torch.int32)
    return [normal(w.batch, w.heads, w.size), normal(*pool), normal(*pool), table, lengths]
