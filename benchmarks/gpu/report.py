"""What a run found: JSON after each section, tables, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.pool import Record

SCHEMA: Final = 1
OURS: Final = "attnc"
CHECKS: Final = ("gallery", "steady", "edges", "building", "sparse", "speed")


def write(path: Path, text: str) -> None:
    """Writes a file that is there whole, or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def to_json(found: Mapping[str, Any]) -> str:
    """Strict JSON: no numbers that are not finite."""
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def counts(records: Iterable[Record]) -> dict[str, int]:
    """How many items of a section of checks came out how."""
    found = dict.fromkeys(("ok", "wrong", "error", "refused", "skipped", "unfinished"), 0)
    for record in records:
        found[_state(record)] += 1
    return found


def _state(record: Record) -> str:
    for state in ("error", "refused", "skipped", "unfinished"):
        if state in record:
            return state
    return "ok" if record.get("ok", True) else "wrong"


def failed(sections: Mapping[str, Sequence[Record]]) -> list[Record]:
    """The checks that are wrong, or died."""
    found = [r for name in CHECKS for r in sections.get(name, ())]
    return [r for r in found if _state(r) in ("wrong", "error")]


# Ratios


def ratios(record: Record) -> dict[str, float]:
    """How fast we are beside FlexAttention and beside the best: more than 1 is faster."""
    contestants = record.get("contestants", {})
    times = {n: c["median"] for n, c in contestants.items() if c.get("median")}
    ours = times.get(OURS)
    if ours is None:
        return {}
    same = [t for n, t in times.items() if n != OURS and contestants[n]["same"]]
    found = {}
    if "FlexAttention" in times and contestants["FlexAttention"]["same"]:
        found["flex"] = times["FlexAttention"] / ours
    mask = contestants.get("FlexAttention", {}).get("mask")
    if mask is not None and "flex" in found:
        found["flex with mask"] = (times["FlexAttention"] + mask) / ours
    if same:
        found["best"] = min(same) / ours
    return found


# Tables


def speed_table(records: Sequence[Record]) -> str:
    """A row for each workload, a column for each contestant."""
    timed = [r for r in records if r.get("timed")]
    names = list(dict.fromkeys(n for r in timed for n in r["contestants"]))
    head = ["workload", "batch", "heads", *names, "to flex", "to best"]
    rows = []
    for record in timed:
        w, found = record["workload"], record["contestants"]
        small = w["queries"] == 1
        cells = [_rate(found.get(n), decoding=small) for n in names]
        ratio = record.get("ratios", {})
        ends = [f"{ratio[k]:.2f}" if k in ratio else "" for k in ("flex", "best")]
        heads = f"{w['heads']}/{w['key_heads']}"
        rows.append([w["label"], str(w["batch"]), heads, *cells, *ends])
    return table(head, rows)


def _rate(contestant: Mapping[str, Any] | None, *, decoding: bool) -> str:
    if contestant is None:
        return ""
    if "error" in contestant:
        return "error"
    if "median" not in contestant:
        return ""
    sign = "" if contestant["same"] else "~"
    if decoding:
        return f"{sign}{contestant['gbs']:.0f} GB/s"
    return f"{sign}{contestant['tflops']:.1f}"


def sparse_table(records: Sequence[Record]) -> str:
    """A row for each call with absent pairs: ours, FlexAttention, and what its mask takes."""
    head = ["pattern", "tiles", OURS, "ms", "flex", "ms", "mask ms", "to flex", "with mask"]
    rows = []
    for record in records:
        if record.get("timed") and not record["workload"]["share"]:
            w, found = record["workload"], record["contestants"]
            flex = found.get("FlexAttention", {})
            ratio = record.get("ratios", {})
            cells = [cell for one in (found[OURS], flex) for cell in _speed(one)]
            cells.append(f"{flex['mask']:.2f}" if "mask" in flex else "")
            ends = [f"{ratio[k]:.2f}" if k in ratio else "" for k in ("flex", "flex with mask")]
            rows.append([w["label"], f"{100 * w['tiles']:.2f} %", *cells, *ends])
    return table(head, rows)


def _speed(contestant: Mapping[str, Any]) -> tuple[str, str]:
    if "error" in contestant:
        return "error", ""
    if "median" not in contestant:
        return "", ""
    return f"{contestant['tflops']:.1f}", f"{contestant['median']:.3f}"


def shares(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Of each window: its share of the tiles, and of the time of all tiles of that length."""
    timed = [r for r in records if r.get("timed") and r["workload"]["share"]]
    timed = [r for r in timed if "median" in r["contestants"][OURS]]
    whole = {r["workload"]["keys"]: r for r in timed if r["workload"]["share"] == "1/1"}
    found = []
    for record in timed:
        w = record["workload"]
        if w["keys"] in whole:
            median = record["contestants"][OURS]["median"]
            share = median / whole[w["keys"]]["contestants"][OURS]["median"]
            found.append({"label": w["label"], "ms": median, "tiles": w["tiles"], "time": share})
    return found


def share_table(records: Sequence[Record]) -> str:
    """`times`: how many times as long as its share of the tiles a window takes."""
    head = ["window", "ms", "tiles", "time", "times"]
    rows = [
        [
            str(one["label"]),
            f"{one['ms']:.3f}",
            f"{100 * one['tiles']:.2f} %",
            f"{100 * one['time']:.2f} %",
            f"{one['time'] / one['tiles']:.2f}",
        ]
        for one in shares(records)
    ]
    return table(head, rows)


def check_table(sections: Mapping[str, Sequence[Record]]) -> str:
    """How many checks came out how."""
    rows = []
    for name in CHECKS:
        if name in sections:
            found = counts(sections[name])
            rows.append([name, *(str(n) for n in found.values())])
    return table(["section", "ok", "wrong", "error", "refused", "skipped", "unfinished"], rows)


def sweep_table(records: Sequence[Record]) -> str:
    """Tiles of each workload, the fastest first; its own choice is marked."""
    head = ["workload", "tiles", "ms", "TFLOP/s", "registers", "spills", "shared"]
    rows = []
    timed = [r for r in records if r.get("timed") and "median" in r]
    for record in sorted(timed, key=lambda r: (r["workload"], r["median"])):
        tiles = record["tiles"]
        shown = "its own choice" if tiles is None else " ".join(f"{v}" for v in tiles.values())
        last = record["compiled"][-1] if record["compiled"] else {}
        ends = [str(last.get(k, "")) for k in ("registers", "spills", "shared")]
        time = [f"{record['median']:.3f}", f"{record['tflops']:.1f}"]
        rows.append([record["workload"], shown, *time, *ends])
    return table(head, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "  ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])

    rule = "  ".join("-" * w for w in widths)
    return "\n".join(x.rstrip() for x in (line(head), rule, *map(line, rows))) + "\n"


def _blamed(record: Record) -> str:
    """What the contestants of a workload say."""
    parts = [
        f"{name} {one['error']}" if "error" in one else f"{name} is {one['apart']} apart"
        for name, one in record.get("contestants", {}).items()
        if "error" in one or "apart" in one
    ]
    return "; ".join(parts)


def failures(records: Sequence[Record]) -> str:
    """A line for each check that failed, with what is known of it."""
    lines = []
    for r in records:
        about = (
            r.get("error")
            or _blamed(r)
            or ", ".join(
                f"{k} {r[k]}"
                for k in (
                    "case",
                    "kind",
                    "ratio",
                    "over",
                    "different",
                    "same",
                    "off",
                    "new",
                    "problem",
                )
                if r.get(k) not in (None, "")
            )
        )
        first = str(about).strip().splitlines()[-1] if about else ""
        lines.append(f"{r['section']} {r['subject']} {r.get('item', '')}: {first}")
    return "\n".join(lines) + "\n" if lines else ""
