"""Conditions of the gallery as FlexAttention is told them, with their parameters and data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

TOKENS: Final = 65_536
"""Batch times length."""
WIDTH: Final = 2_048
"""Heads times head size."""
LENGTHS: Final = (4_096, 16_384, 65_536)
SIZE: Final = 128
DRY: Final = 48
"""Keys of a dry run."""

Parameters = Mapping[str, int]
Seen = Callable[[Any, Any, Any, Any], Any]
"""Whether query m sees key n, of a batch and a head."""


@dataclass(frozen=True)
class Masked:
    """One call: so many queries as keys, where some pairs are absent."""

    pattern: str
    kind: str
    size: int
    batch: int
    heads: int
    key_heads: int
    keys: int
    parameters: Parameters
    share: str = ""
    """What share of the tiles this is to visit, about; of others no share is asked for."""

    @property
    def queries(self) -> int:
        """As many as keys."""
        return self.keys

    @property
    def label(self) -> str:
        """Of all of them this one's."""
        return f"{self.pattern}{self.share and ' ' + self.share} {self.keys}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "queries": self.queries, "family": self.pattern}


@dataclass(frozen=True)
class Pattern:
    """`seen` says it with the parameters and the tensors of data that a kernel takes."""

    example: str
    seen: Callable[[Parameters, Sequence[Any]], Seen]
    usual: Parameters = field(default_factory=dict[str, int])
    tiny: Parameters = field(default_factory=dict[str, int])
    data: Callable[[Masked, torch.device], list[torch.Tensor]] = lambda *_: []
    group: int = 1
    """Query heads of one key head."""
    each: str = ""
    """Whether every batch has a mask of its own (`b`), or every head (`h`)."""
    dry: bool = False
    """Whether a dry run has it, too."""


def _causal(p: Parameters, data: Sequence[Any]) -> Seen:
    return lambda b, h, m, n: n <= m


def _window(p: Parameters, data: Sequence[Any]) -> Seen:
    left, right = p["left"], p["right"]
    return lambda b, h, m, n: (n >= m - left) & (n <= m + right)


def _sinks(p: Parameters, data: Sequence[Any]) -> Seen:
    window, sinks = p["window"], p["sinks"]
    return lambda b, h, m, n: (n <= m) & ((m - n < window) | (n < sinks))


def _heads(p: Parameters, data: Sequence[Any]) -> Seen:
    (window,), sinks = data, p["sinks"]
    return lambda b, h, m, n: (n <= m) & ((n < sinks) | (m - n < window[h]))


def _documents(p: Parameters, data: Sequence[Any]) -> Seen:
    (doc,) = data
    return lambda b, h, m, n: (doc[b, m] == doc[b, n]) & (n <= m)


def _prefix(p: Parameters, data: Sequence[Any]) -> Seen:
    (prefix,) = data
    return lambda b, h, m, n: (n <= m) | (n < prefix[b])


def _chunks(p: Parameters, data: Sequence[Any]) -> Seen:
    r = p["R"]
    return lambda b, h, m, n: (n <= m) & (n // r == m // r)


def _blocks(p: Parameters, data: Sequence[Any]) -> Seen:
    r = p["R"]
    return lambda b, h, m, n: n // r <= m // r


def _longformer(p: Parameters, data: Sequence[Any]) -> Seen:
    radius, leading = p["radius"], p["leading"]
    return lambda b, h, m, n: ((m - n).abs() <= radius) | (n < leading) | (m < leading)


def _dilated(p: Parameters, data: Sequence[Any]) -> Seen:
    reach, gap = p["radius"] * p["gap"], p["gap"]
    return lambda b, h, m, n: ((m - n).abs() <= reach) & ((m - n) % gap == 0)


def _grid(p: Parameters, data: Sequence[Any]) -> Seen:
    width, rows, columns, (height,) = p["width"], p["rows"], p["columns"], data

    def near(x: Any, y: Any, window: int, length: int) -> Any:
        first = (x - window // 2).clamp(0, max(length - window, 0))
        return (y >= first) & (y < first + window)

    def seen(b: Any, h: Any, m: Any, n: Any) -> Any:
        row = near(m // width, n // width, rows, height)
        return row & near(m % width, n % width, columns, width)

    return seen


def _numbers(w: Masked, device: torch.device, values: Sequence[int]) -> list[torch.Tensor]:
    import torch

    return [torch.tensor(values, dtype=torch.int32, device=device)]


def _labels(w: Masked, device: torch.device) -> list[torch.Tensor]:
    """Documents of 1/32 to 1/4 of the length, others in each sequence."""
    import torch

    generator = torch.Generator().manual_seed(5)
    parts = [x * w.keys // 64 for x in (16, 12, 10, 8, 6, 5, 3, 2, 2)]
    rows = []
    for _ in range(w.batch):
        order = torch.randperm(len(parts), generator=generator).tolist()
        lengths = torch.tensor([parts[i] for i in order])
        labels = torch.repeat_interleave(torch.arange(len(parts)), lengths)
        rest = torch.full((w.keys - len(labels),), len(parts))
        rows.append(torch.cat([labels, rest]))
    return [torch.stack(rows).to(torch.int32).to(device)]


def _widths(w: Masked, device: torch.device) -> list[torch.Tensor]:
    """A quarter of the heads see all, a quarter 1/64 of the length, half 1/8."""
    widths = [max(1, w.keys // (1, 8, 64, 8)[h % 4]) for h in range(w.heads)]
    return _numbers(w, device, widths)


def _prefixes(w: Masked, device: torch.device) -> list[torch.Tensor]:
    return _numbers(w, device, [w.keys // (2, 4)[b % 2] for b in range(w.batch)])


PATTERNS: Final[Mapping[str, Pattern]] = {
    "window": Pattern(
        "sliding_window", _window, {"left": 1_023, "right": 0}, {"left": 9, "right": 3}, group=4
    ),
    "window with sinks": Pattern(
        "sliding_window_sinks",
        _sinks,
        {"window": 1_024, "sinks": 4},
        {"window": 10, "sinks": 3},
        group=4,
        dry=True,
    ),
    "causal": Pattern("causal", _causal),
    "documents": Pattern("packed_documents", _documents, data=_labels, each="b"),
    "windows of heads": Pattern(
        "moa_heads", _heads, {"sinks": 64}, {"sinks": 2}, _widths, each="h"
    ),
    "grid": Pattern(
        "neighbourhood_2d_flat",
        _grid,
        {"width": 64, "rows": 13, "columns": 13},
        {"width": 8, "rows": 3, "columns": 3},
    ),
    "chunks": Pattern("chunked", _chunks, {"R": 2_048}, {"R": 16}, group=4),
    "prefix": Pattern("prefix_lm", _prefix, data=_prefixes, group=4, each="b"),
    "block-causal": Pattern("block_causal", _blocks, {"R": 256}, {"R": 6}),
    "longformer": Pattern(
        "longformer", _longformer, {"radius": 512, "leading": 64}, {"radius": 5, "leading": 2}
    ),
    "dilated": Pattern("dilated", _dilated, {"radius": 256, "gap": 4}, {"radius": 3, "gap": 3}),
}
"""The most telling first: what there is no time for comes last."""
SHARES: Final = "shares"
PARTS: Final = (1, 4, 16, 64)
"""Parts of the keys that a window takes, to see whether its time is that part, too."""


def seen(w: Masked, data: Sequence[Any]) -> Seen:
    """The condition of a call; `data` are the tensors behind queries, keys and values."""
    more = [w.keys // w.parameters["width"]] if w.pattern == "grid" else data
    return pattern(w.pattern).seen(w.parameters, more)


def pattern(name: str) -> Pattern:
    """The one of that name; shares are those of windows."""
    return PATTERNS["window" if name == SHARES else name]


def calls(name: str, *, dry: bool) -> Iterator[Masked]:
    """All of a pattern, shorter ones first; of shares the longest one first."""
    found = pattern(name)
    if name == SHARES:
        for keys in (DRY,) if dry else LENGTHS[1:]:
            for part in PARTS[:2] if dry else PARTS:
                reach = keys if part == 1 else keys // (2 * part)
                yield _call(name, found, keys, {"left": reach, "right": reach}, f"1/{part}")
        return
    for keys in (DRY,) if dry else LENGTHS:
        yield _call(name, found, keys, found.tiny if dry else found.usual)


def _call(name: str, found: Pattern, keys: int, parameters: Parameters, share: str = "") -> Masked:
    dry = keys == DRY
    size = 16 if dry else SIZE
    heads = max(found.group, 2 if dry else WIDTH // size)
    batch = 2 if dry else TOKENS // keys
    kind = "f32" if dry else "bf16"
    return Masked(
        name, kind, size, batch, heads, heads // found.group, keys, dict(parameters), share
    )


def arguments(w: Masked, device: torch.device) -> list[torch.Tensor]:
    """Normal queries, keys and values, and what the condition reads."""
    import torch

    from benchmarks.gpu.devices import KINDS

    generator = torch.Generator(device).manual_seed(3)

    def normal(heads: int) -> torch.Tensor:
        shape = (w.batch, heads, w.keys, w.size)
        return torch.randn(shape, dtype=KINDS[w.kind], device=device, generator=generator)

    key, value = normal(w.key_heads), normal(w.key_heads)
    return [normal(w.heads), key, value, *pattern(w.pattern).data(w, device)]
