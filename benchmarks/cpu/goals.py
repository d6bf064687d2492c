"""What the kernels are to reach beside others, and whether they did: of each ratio the least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.gpu.report import OURS

Record = Mapping[str, Any]
FLEX: Final = "FlexAttention"
SDPA: Final = "SDPA"
TILES: Final = 1 << 20
"""Bytes of a thread that count as a few tiles."""


@dataclass(frozen=True)
class Ratio:
    """Time of another over ours, in workloads of one element type."""

    against: str
    kind: str
    must: float
    aim: float
    families: tuple[str, ...] = ()
    """Of these cases; of all where none is named."""

    @property
    def text(self) -> str:
        """What a reader is shown."""
        where = " and ".join(self.families) or "every case"
        return f"{self.against}, {where}, {self.kind}"

    def ratios(self, records: Sequence[Record]) -> Iterator[tuple[float, str]]:
        """Each with the workload that it is from."""
        for record in records:
            w = record["workload"]
            ratio = record["contestants"].get(self.against, {}).get("ratio")
            wanted = not self.families or w["family"] in self.families
            if ratio is not None and w["kind"] == self.kind and wanted:
                yield ratio, w["label"]


RATIOS: Final = (
    Ratio(FLEX, "f32", 2, 4),
    Ratio(SDPA, "f32", 0.6, 1, ("dense", "causal")),
    Ratio(SDPA, "f32", 6, 12, ("window with sinks",)),
    Ratio(FLEX, "bf16", 1, 2),
    Ratio(SDPA, "bf16", 0.5, 1, ("dense",)),
)
FIRST: Final = "first call with compilation, FlexAttention"
FIRST_MUST, FIRST_AIM = 20.0, 50.0
MEMORY: Final = "peak memory beyond inputs and outputs, MiB per thread"


def verdicts(
    records: Sequence[Record], cold: Sequence[Record], threads: int
) -> list[dict[str, Any]]:
    """A row for each goal: what was wanted, the least that was found and where, how it stands."""
    rows = [_row(goal.text, goal.must, goal.aim, list(goal.ratios(records))) for goal in RATIOS]
    rows.append(_row(FIRST, FIRST_MUST, FIRST_AIM, list(_first(cold))))
    rows.append(_memory(cold, threads))
    return rows


def _row(text: str, must: float, aim: float, found: list[tuple[float, str]]) -> dict[str, Any]:
    row = {"goal": text, "must": must, "aim": aim, "of": len(found)}
    if not found:
        return row | {"state": "not measured"}
    least, where = min(found)
    reached = sum(ratio >= must for ratio, _ in found)
    state = "aim met" if least >= aim else "met" if least >= must else "missed"
    return row | {"least": least, "where": where, "reached": reached, "state": state}


def _first(cold: Sequence[Record]) -> Iterator[tuple[float, str]]:
    """FlexAttention's first call over ours, of each case that has both."""
    times = {(r["family"], r["contestant"]): r["first"] for r in cold if "first" in r}
    for (family, contestant), spent in times.items():
        if contestant == FLEX and (family, OURS) in times:
            yield spent / times[family, OURS], family


def _memory(cold: Sequence[Record], threads: int) -> dict[str, Any]:
    """Whether it stays below a bound at all lengths; here the most is what counts."""
    bound = TILES / 2**20
    found = [
        (size / threads / 2**20, f"{r['family']} {keys}")
        for r in cold
        if r["contestant"] == OURS
        for keys, size in r.get("memory", {}).items()
    ]
    row = {"goal": MEMORY, "must": bound, "aim": bound, "of": len(found)}
    if not found:
        return row | {"state": "not measured"}
    most, where = max(found)
    reached = sum(size <= bound for size, _ in found)
    state = "met" if most <= bound else "missed"
    return row | {"least": most, "where": where, "reached": reached, "state": state}
