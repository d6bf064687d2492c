"""What a run found, as tables for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.gpu.report import OURS

Rows = tuple[str, list[str], list[list[str]]]
"""A title, a head, and rows."""
MIB = 2**20


def tables(run: Mapping[str, Any]) -> list[Rows]:
    """Those of a run that have rows."""
    return [found for found in (_times(run), _cold(run), _goals(run)) if found[2]]


def _times(run: Mapping[str, Any]) -> Rows:
    """Milliseconds of each call; how many times as long as ours others take."""
    names = [n for n in run["contestants"] if n != OURS]
    head = ["workload", f"{OURS} ms", "GFLOP/s"]
    head += [cell for name in names for cell in (f"{name} ms", "ratio")] + ["mask ms"]
    rows = []
    for record in run["records"]:
        found = record["contestants"]
        cells = [record["workload"]["label"], _time(found[OURS])]
        cells.append(f"{found[OURS]['gflops']:.1f}" if "gflops" in found[OURS] else "")
        for name in names:
            one = found.get(name, {})
            cells += [_time(one), f"{one['ratio']:.2f}" if "ratio" in one else ""]
        mask = [one["mask"] for one in found.values() if "mask" in one]
        rows.append([*cells, f"{mask[0]:.0f}" if mask else ""])
    return "Medians, and others over ours", head, rows


def _time(one: Mapping[str, Any]) -> str:
    if "error" in one:
        return "error"
    if "median" not in one:
        return ""
    mark = "WRONG " if one.get("wrong") else "" if one["same"] else "~"
    return f"{mark}{one['median']:.2f}"


def _cold(run: Mapping[str, Any]) -> Rows:
    """A row for each process."""
    lengths = list(dict.fromkeys(str(n) for r in run["cold"] for n in r["keys"]))
    head = ["case", "contestant", "imports s", "first call s"]
    head += [f"MiB at {n} keys" for n in lengths]
    rows = []
    for record in run["cold"]:
        cells = [record["family"], record["contestant"]]
        if "error" in record:
            rows.append([*cells, "error", "", *("" for _ in lengths)])
            continue
        cells += [f"{record['imports']:.1f}", f"{record['first']:.2f}"]
        memory = record["memory"]
        rows.append([*cells, *(f"{memory[n] / MIB:.2f}" if n in memory else "" for n in lengths)])
    return "First calls, and peak memory beyond inputs and outputs", head, rows


def _goals(run: Mapping[str, Any]) -> Rows:
    """What was to be reached; of ratios the least is found, of memory the most."""
    head = ["goal", "must", "aim", "found", "where", "reached", "state"]
    rows = []
    for row in run["goals"]:
        cells = [row["goal"], f"{row['must']:g}", f"{row['aim']:g}"]
        if row["of"]:
            cells += [f"{row['least']:.2f}", row["where"], f"{row['reached']} of {row['of']}"]
        else:
            cells += ["", "", ""]
        rows.append([*cells, row["state"]])
    return "Goals", head, rows


def wrong(run: Mapping[str, Any]) -> list[str]:
    """A line for each result that is wrong, and for each contestant that failed."""
    lines = []
    for record in run["records"]:
        for name, one in record["contestants"].items():
            if "error" in one:
                lines.append(f"{record['workload']['label']}, {name}: {_first(one['error'])}")
            elif one.get("wrong"):
                apart = f"{one['apart']:.2g} apart from {OURS}"
                lines.append(f"{record['workload']['label']}, {name}: WRONG, {apart}")
    lines += [
        f"first call of {r['family']}, {r['contestant']}: {_first(r['error'])}"
        for r in run["cold"]
        if "error" in r
    ]
    return lines


def _first(text: str) -> str:
    """The line of an error that says most."""
    return (text.strip().splitlines() or ["no message"])[0]


def for_terminal(rows: Rows) -> Table:
    """The first column to the left, numbers to the right."""
    title, head, body = rows
    found = Table(title=title, title_justify="left")
    for i, name in enumerate(head):
        found.add_column(name, justify="left" if i == 0 else "right")
    for row in body:
        found.add_row(*row)
    return found


def page(run: Mapping[str, Any]) -> str:
    """All tables in Markdown, with the machine."""
    about = run["machine"]
    versions = ", ".join(f"{name} {about[name]}" for name in ("torch", "tvm", "attnc"))
    lines = [
        f"# attnc beside PyTorch on {about['cpu']}, {about['date']}",
        "",
        f"{about['threads']} threads, load {about['load']:.1f} at the start, {versions}.",
    ]
    for title, head, body in tables(run):
        bars = ["", f"## {title}", "", _line(head), _line(["---"] * len(head))]
        lines += [*bars, *map(_line, body)]
    found = wrong(run)
    if found:
        lines += ["", "## What went wrong", "", *(f"- {line}" for line in found)]
    if run["unfinished"]:
        listed = ", ".join(run["unfinished"])
        lines += ["", f"No time was left for: {listed}."]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
