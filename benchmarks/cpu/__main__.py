"""Kernels for CPUs beside PyTorch, in turns.

    python -m benchmarks.cpu [--quick] [--only CASE...] [--out FILE]

Writes cpu.json, cpu.md and cpu.png, after each part. Ends with 1 if a result is wrong. See
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.cpu.cases import CASES, ROOT, workloads
from benchmarks.cpu.cold import Cold, measured
from benchmarks.cpu.goals import verdicts
from benchmarks.cpu.machine import cores, machine
from benchmarks.cpu.tables import for_terminal, page, tables, wrong
from benchmarks.gpu.plot import plot
from benchmarks.gpu.report import to_json, write
from benchmarks.gpu.worker import plain

SCHEMA: Final = 1
SECONDS: Final = {False: 1_120.0, True: 100.0}
"""For all of it, and for a quick run."""
PART: Final = 0.4
"""The share of the time in which processes for first calls are begun."""
ROUNDS: Final = {False: 6.0, True: 1.0}
"""Seconds for the rounds of one workload, beside the least that are done."""
LENGTHS: Final = {False: (1_024, 4_096), True: (256, 512)}
FEW: Final = ("dense",)
"""Cases whose first calls a quick run measures."""


def main(words: Sequence[str] | None = None) -> int:
    """Measures, writes, and says whether all results are right."""
    asked = _parser().parse_args(words)
    began, seconds = time.monotonic(), asked.seconds or SECONDS[asked.quick]
    os.environ["TVM_NUM_THREADS"] = str(asked.threads)
    import torch

    torch.set_num_threads(asked.threads)
    from benchmarks.cpu.contest import contest
    from benchmarks.cpu.contestants import NAMES

    run: dict[str, Any] = {"schema": SCHEMA, "quick": asked.quick, "contestants": list(NAMES)}
    run |= {"machine": machine(asked.threads), "records": [], "cold": [], "unfinished": []}
    console = Console(stderr=True)
    processes, calls = _cold(asked), list(workloads(asked.only, quick=asked.quick))
    shown = TextColumn("{task.description}")
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), shown)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(processes) + len(calls))

        def left(label: str, share: float = 1.0) -> bool:
            """Whether there is time for one more; its name is shown, or kept."""
            progress.update(bar, description=label)
            if time.monotonic() - began < share * seconds:
                return True
            run["unfinished"].append(label)
            progress.advance(bar)
            return False

        for one in processes:
            if left(f"first call: {one.label}", PART):
                run["cold"].append(measured(one, asked.threads))
                progress.advance(bar)
        for w in calls:
            if left(w.label):
                record = contest(w, ROUNDS[asked.quick])
                run["records"].append(record)
                _keep(run, asked)
                progress.advance(bar)
                if not console.is_terminal:
                    console.print(f"{w.label}: {_said(record)}", highlight=False)
    run["seconds"] = time.monotonic() - began
    _keep(run, asked)
    drawn = plot(run["records"], asked.out.with_suffix(".png"), _title(run), "gflops")
    _show(run, asked, drawn=drawn)
    fine = all(r["ok"] for r in run["records"])
    return (
        0
        if fine and not any("error" in r for r in run["cold"] if r["contestant"] == "attnc")
        else 1
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short lengths, under two minutes")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--seconds", type=float, help="what is not begun by then is left out")
    parser.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    parser.add_argument("--no-cold", action="store_true", help="no first calls, no memory")
    default = ROOT / "build" / "bench" / "cpu.json"
    parser.add_argument("--out", type=Path, default=default, help="beside it lie .md and .png")
    return parser


def _cold(asked: argparse.Namespace) -> list[Cold]:
    """The processes, all contestants of a case together."""
    from benchmarks.cpu.contestants import NAMES, takes_part

    if asked.no_cold:
        return []
    families = [f for f in asked.only if f in FEW or not asked.quick]
    lengths = LENGTHS[asked.quick]
    return [Cold(f, name, lengths) for f in families for name in NAMES if takes_part(f, name)]


def _keep(run: dict[str, Any], asked: argparse.Namespace) -> None:
    """Writes what there is by now."""
    run["goals"] = verdicts(run["records"], run["cold"], asked.threads)
    write(asked.out.with_suffix(".json"), to_json(plain(run)))
    write(asked.out.with_suffix(".md"), page(run))


def _said(record: dict[str, Any]) -> str:
    times = record["contestants"].items()
    return ", ".join(f"{n} {c['median']:.2f} ms" for n, c in times if "median" in c)


def _title(run: dict[str, Any]) -> str:
    about = run["machine"]
    start = f"{about['cpu']}, {about['threads']} threads"
    return f"{start}, torch {about['torch']}, {about['date'][:10]}"


def _show(run: dict[str, Any], asked: argparse.Namespace, *, drawn: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for rows in tables(run):
        console.print(for_terminal(rows))
    for line in wrong(run):
        console.print(line, style="red", markup=False, highlight=False)
    if run["unfinished"]:
        console.print(f"No time was left for {len(run['unfinished'])} parts, listed in the page.")
    ends = "json, .md, .png" if drawn else "json, .md"
    console.print(f"{run['seconds']:.0f} s; {asked.out.with_suffix('')}.{ends}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
