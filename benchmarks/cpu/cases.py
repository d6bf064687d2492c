"""What is timed on a CPU: specs, and the sizes at which they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from benchmarks.gpu.patterns import Seen

ROOT: Final = Path(__file__).resolve().parents[2]
CAP: Final = 50.0
SINKS: Final = 4
PART: Final = 16
"""What part of the keys a window has."""
WIDTH: Final = 512
"""Heads times head size."""
CHUNK: Final = 1_024
"""Queries whose pairs are counted at once."""


@dataclass(frozen=True)
class Case:
    """A spec. Of the conditions of `benchmarks.gpu.patterns` it has that of `pattern`.

    `mask`: `scaled_dot_product_attention` is told the condition as a dense mask; else it has an
    option for it. `products`: how many products of their size there are.
    """

    spec: str
    pattern: str = ""
    products: int = 2
    group: int = 1
    """Query heads of one key head."""
    decoding: bool = False
    mask: bool = False


CASES: Final[Mapping[str, Case]] = {
    "dense": Case("examples/dense.attn"),
    "causal": Case("examples/causal.attn", "causal"),
    "grouped causal": Case("examples/gqa_causal.attn", "causal", group=4),
    "window with sinks": Case("examples/sliding_window_sinks.attn", "window with sinks", mask=True),
    "ALiBi and softcap": Case("benchmarks/cpu/alibi_softcap.attn", "causal"),
    "documents": Case("benchmarks/cpu/documents.attn", "documents", mask=True),
    "sigmoid": Case("examples/sigmoid.attn"),
    "differential": Case("examples/differential.attn", "causal", products=3),
    "decode": Case("examples/gqa_causal.attn", group=4, decoding=True),
}


@dataclass(frozen=True)
class Workload:
    """One call."""

    family: str
    kind: str
    size: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    batch: int = 1

    @property
    def label(self) -> str:
        """Of all workloads this one's."""
        return f"{self.family} {self.kind} {self.size} {self.keys}"

    @property
    def case(self) -> Case:
        """What it calls."""
        return CASES[self.family]

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of its spec."""
        import math

        if self.family == "window with sinks":
            return {"window": max(1, self.keys // PART), "sinks": SINKS}
        return {"bias": -math.log(self.keys)} if self.family == "sigmoid" else {}

    def flops(self, share: float) -> float:
        """Of products alone, where that share of the pairs is present."""
        pairs = self.batch * self.heads * self.queries * self.keys * share
        return 2.0 * self.case.products * pairs * self.size

    @property
    def bytes(self) -> float:
        """What must be read and written at least."""
        width = 4 if self.kind == "f32" else 2
        more = self.case.products - 2
        queries = self.heads * self.queries * (2 + more)
        keys = self.key_heads * self.keys * (2 + more)
        return float(width * self.batch * self.size * (queries + keys))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "label": self.label, "bytes": self.bytes}


def workload(family: str, kind: str, size: int, keys: int) -> Workload:
    """The call of a case with so many keys."""
    case = CASES[family]
    heads = WIDTH // size
    queries = 1 if case.decoding else keys
    return Workload(family, kind, size, heads, heads // case.group, queries, keys)


def workloads(families: Iterable[str], *, quick: bool) -> Iterator[Workload]:
    """All calls; each case has its turn, so that a run that is cut short has something of each."""
    lists = [list(_of(family, quick=quick)) for family in families]
    for turn in zip_longest(*lists):
        yield from (w for w in turn if w is not None)


def _of(family: str, *, quick: bool) -> Iterator[Workload]:
    """Calls of a case, the most telling first."""
    if quick:
        yield workload(family, "f32", 64, 4_096 if CASES[family].decoding else 512)
        if family in ("dense", "decode"):
            yield workload(family, "bf16", 64, 4_096 if CASES[family].decoding else 512)
        return
    far = family in ("causal", "window with sinks", "documents", "decode")
    long = 16_384 if far else 8_192
    for kind, size, keys in (
        ("f32", 64, 2_048),
        ("bf16", 64, 2_048),
        ("f32", 64, long),
        ("f32", 128, 4_096),
        ("bf16", 128, 4_096),
        ("f32", 64, 512),
        ("bf16", 64, long if family in ("window with sinks", "decode") else 0),
    ):
        if keys:
            yield workload(family, kind, size, keys)


def arguments(w: Workload) -> list[torch.Tensor]:
    """Normal inputs, in the order of the spec."""
    import torch

    from benchmarks.gpu.devices import KINDS

    generator = torch.Generator().manual_seed(3)
    kind = KINDS[w.kind]

    def normal(heads: int, length: int) -> torch.Tensor:
        shape = (w.batch, heads, length, w.size)
        return torch.randn(shape, generator=generator).to(kind)

    def query() -> torch.Tensor:
        return normal(w.heads, w.queries)

    def key() -> torch.Tensor:
        return normal(w.key_heads, w.keys)

    if w.family == "differential":
        weights = torch.rand(w.heads, generator=generator) * 0.8
        return [query(), query(), key(), key(), key(), weights.to(kind)]
    found = [query(), key(), key()]
    if w.family == "ALiBi and softcap":
        slope = 2.0 ** (-8 * torch.arange(1, w.heads + 1) / w.heads)
        found.append(slope.to(kind))
    if w.family == "documents":
        found += _documents(w)
    return found


def _documents(w: Workload) -> list[torch.Tensor]:
    """Nine documents of 1/32 to 1/4 of the length, one behind the other."""
    import torch

    from benchmarks.gpu.patterns import PATTERNS, Masked

    same = Masked(w.family, w.kind, w.size, w.batch, w.heads, w.key_heads, w.keys, parameters={})
    return PATTERNS["documents"].data(same, torch.device("cpu"))


def seen(w: Workload, tensors: Sequence[torch.Tensor]) -> Seen | None:
    """Its condition on batch, head, query and key; none where all keys are seen."""
    from benchmarks.gpu.patterns import PATTERNS

    if not w.case.pattern:
        return None
    data = tensors[3:] if w.family == "documents" else []
    return PATTERNS[w.case.pattern].seen(w.parameters, data)


def share(w: Workload, tensors: Sequence[torch.Tensor]) -> float:
    """The share of pairs of query and key that are present."""
    import torch

    condition = seen(w, tensors)
    if condition is None:
        return 1.0
    zero, keys = torch.zeros((), dtype=torch.int64), torch.arange(w.keys)
    pairs = 0
    for first in range(0, w.queries, CHUNK):
        queries = torch.arange(first, min(w.queries, first + CHUNK))[:, None]
        pairs += int(condition(zero, zero, queries, keys).sum())
    return pairs / (w.queries * w.keys)
