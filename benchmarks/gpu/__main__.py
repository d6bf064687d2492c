"""Everything that only a GPU can tell: is it right, is it steady, how fast is it.

    python -m benchmarks.gpu [--dry-run] [--out FOLDER] [--kernels FOLDER] [--tutorial FILE]

Writes gpu.json after each section, gpu.txt and gpu.png. Ends with 1 if a check failed.
See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu import (
    edges,
    emitting,
    gallery,
    machine,
    report,
    sparse,
    speed,
    steady,
    sweep,
)
from benchmarks.gpu.patterns import PATTERNS, SHARES, pattern
from benchmarks.gpu.plot import plot
from benchmarks.gpu.pool import PATIENCE, Pool, Record
from benchmarks.gpu.settings import ROOT, Settings, Task
from benchmarks.gpu.store import read_index
from benchmarks.gpu.worker import plain, records
from benchmarks.gpu.workloads import FAMILIES

KERNELS: Final = ROOT / "build" / "gpu" / "kernels"
BUDGETS: Final = {
    "machine": 60,
    "edges": 40,
    "gallery": 150,
    "steady": 80,
    "building": 90,
    "speed": 110,
    "sparse": 80,
    "sweep": 1_000,
}
"""Seconds that each section may take, in the order in which they are done."""
SWEPT: Final = 4
"""How many workloads are tried with other tiles, as far as time allows."""
DRY: Final = ("causal", "sigmoid")
"""Examples whose cases a dry run checks."""


@dataclass
class Run:
    """A run on its way."""

    settings: Settings
    seconds: float
    jobs: int
    head: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    sections: dict[str, list[Record]] = field(default_factory=dict[str, list[Record]])
    spent: dict[str, float] = field(default_factory=dict[str, float])

    def section(
        self, name: str, tasks: Sequence[Task], jobs: int, patience: float = PATIENCE
    ) -> list[Record]:
        """Does the tasks within the budget, and writes what is known after them."""
        began = time.monotonic()
        deadline = min(began + BUDGETS[name], self.started + self.seconds)
        if self.jobs == 0:
            found = [record for task in tasks for record in map(plain, records(task))]
        else:
            found = Pool(min(jobs, self.jobs), deadline, patience).run(tasks)
        self.sections[name] = found
        self.spent[name] = round(time.monotonic() - began, 1)
        self.write()
        bad = sum("error" in r or not r.get("ok", True) for r in found)
        print(f"{name}: {len(found)} records, {bad} bad, {self.spent[name]} s", flush=True)
        return found

    def write(self) -> None:
        """Writes what there is."""
        for record in (*self.sections.get("sparse", ()), *self.sections.get("speed", ())):
            record["ratios"] = report.ratios(record)
        about = (self.sections.get("machine") or [{}])[0]
        checks = {n: report.counts(self.sections[n]) for n in report.CHECKS if n in self.sections}
        found = {
            "schema": report.SCHEMA,
            **self.head,
            "machine": about,
            "seconds": self.spent,
            "checks": checks,
            "sections": self.sections,
        }
        out = Path(self.settings.out)
        report.write(out / "gpu.json", report.to_json(found))
        report.write(out / "gpu.txt", self.text(about))

    def text(self, about: Record) -> str:
        """All tables."""
        s = self.sections
        keys = ("device", "torch", "triton", "cuda", "date")
        parts = [", ".join(f"{k} {about[k]}" for k in keys if k in about) + "\n"]
        parts.append(report.check_table(s))
        parts.append(report.failures(report.failed(s)))
        if "sparse" in s:
            parts.append("pairs are absent: share of tiles of 128 x 64 with a pair, ms, TFLOP/s")
            parts.append(report.sparse_table(s["sparse"]))
            parts.append("windows: their time against that of all tiles, and their share of these")
            parts.append(report.share_table(s["sparse"]))
        if "speed" in s:
            parts.append("TFLOP/s of products; ~: computes something else of that size")
            parts.append(report.speed_table(s["speed"]))
        if "sweep" in s:
            parts.append("tiles: rows, others, warps, stages")
            parts.append(report.sweep_table(s["sweep"]))
        return "\n".join(p for p in parts if p)


def main(arguments: Sequence[str] | None = None) -> int:
    """All sections; 1 if a check failed."""
    options = _parser().parse_args(arguments)
    if options.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"
    kernels = options.kernels or (options.out / "dry-kernels" if options.dry_run else KERNELS)
    given = options.kernels is not None and (kernels / "index.json").exists()
    fresh = _prepare(kernels, dry=options.dry_run, given=given and options.dry_run)
    settings = Settings(
        str(kernels.resolve()), str(options.out.resolve()), options.dry_run, options.tutorial
    )
    if options.dry_run:
        settings = Settings(settings.kernels, settings.out, True, None, 2, 1.0)
    shutil.rmtree(settings.scratch, ignore_errors=True)
    jobs = options.jobs if options.jobs is not None else _jobs(dry=options.dry_run)
    head = {"dry": options.dry_run, "sources": read_index(settings.kernels).sources, "fresh": fresh}
    run = Run(settings, options.seconds, jobs, head)
    chosen = ["machine", *(options.sections or BUDGETS)]
    for name, work in _sections(run).items():
        if name in chosen:
            work()
        if name == "machine" and "device" not in run.sections[name][0]:
            print(f"no GPU: {run.sections[name][0]}; --dry-run does without", file=sys.stderr)
            return 2
    timed = run.sections.get("speed", [])
    drawn = plot(timed, Path(settings.out) / "gpu.png", _title(run))
    if not options.keep:
        shutil.rmtree(settings.scratch, ignore_errors=True)
    print(run.text((run.sections.get("machine") or [{}])[0]))
    print(f"wrote gpu.json, gpu.txt{', gpu.png' if drawn else ''} in {settings.out}")
    return int(bool(report.failed(run.sections)))


def _sections(run: Run) -> dict[str, Callable[[], object]]:
    settings, most = run.settings, run.jobs
    return {
        "machine": lambda: run.section("machine", list(machine.tasks(settings)), 1),
        "edges": lambda: run.section("edges", list(edges.tasks(settings)), most),
        "gallery": lambda: run.section("gallery", list(gallery.tasks(settings)), most),
        "steady": lambda: run.section("steady", list(steady.tasks(settings)), most),
        "building": lambda: run.section("building", _built(settings), most),
        "speed": lambda: run.section("speed", list(speed.tasks(settings, warm=False)), 4, 300),
        "sparse": lambda: run.section("sparse", list(sparse.tasks(settings, warm=False)), 4, 300),
        "sweep": lambda: _sweep(run),
    }


def _built(settings: Settings) -> list[Task]:
    """What is built before anything is timed; of dry runs one task, since they build nothing."""
    found = [*speed.tasks(settings, warm=True), *sparse.tasks(settings, warm=True)]
    return found[:1] if settings.dry else found


def _sweep(run: Run) -> None:
    """The slowest workload, then the next; each is built by many and timed by one."""
    found: list[Record] = []
    spent = 0.0
    slow = sweep.slowest(run.sections.get("speed", ()))[: 1 if run.settings.dry else SWEPT]
    for workload in slow:
        for warm in (True, False):
            tasks = list(sweep.tasks(run.settings, [workload], warm=warm))
            records = run.section("sweep", tasks, run.jobs if warm else 1)
            spent += run.spent["sweep"]
            found += [] if warm else records
            run.sections["sweep"], run.spent["sweep"] = found, round(spent, 1)
            run.write()


def _prepare(kernels: Path, *, dry: bool, given: bool) -> bool:
    """Makes the data unless it is there, or given; whether it is of these sources."""
    sources = emitting.fingerprint()
    if (kernels / "index.json").exists() and read_index(str(kernels)).sources == sources:
        return True
    if emitting.able() and not given:
        print(f"making {kernels}", flush=True)
        if dry:
            small = emitting.Wide(
                "odd", {"B": 1, "H": 2, "M": 5, "N": 19, "E": 6, "F": 3}, ("f32",)
            )
            timed = [f.example for f in FAMILIES.values()]
            timed += [p.example for p in PATTERNS.values() if p.dry]
            timed.append(pattern(SHARES).example)
            emitting.emit(kernels, list(dict.fromkeys([*DRY, *timed])), [small], cases=DRY)
        else:
            emitting.emit(kernels)
        read_index.cache_clear()
        return True
    if not (kernels / "index.json").exists():
        needs = ", ".join(emitting.NEEDED)
        raise SystemExit(
            f"{kernels} holds no kernels, and this Python lacks some of {needs}: run "
            "`make gpu-kernels` where they are, and bring that folder along"
        )
    print(f"warning: {kernels} was made from other sources", file=sys.stderr)
    return False


def _jobs(*, dry: bool) -> int:
    return 0 if dry else max(1, min(14, (os.cpu_count() or 2) - 1))


def _title(run: Run) -> str:
    about = (run.sections.get("machine") or [{}])[0]
    device, torch, triton = (about.get(key, "") for key in ("device", "torch", "triton"))
    return f"{device}, torch {torch}, Triton {triton}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path(os.environ.get("OUT") or ROOT / "build" / "gpu")
    parser.add_argument("--out", type=Path, default=default, help="where results go")
    parser.add_argument("--kernels", type=Path, help="the data (default: build/gpu/kernels)")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, interpreted, no GPU")
    parser.add_argument("--seconds", type=float, default=570, help="all sections together")
    parser.add_argument("--jobs", type=int, help="processes at once; 0: all in this one")
    parser.add_argument("--tutorial", metavar="FILE", help="Triton's fused-attention tutorial")
    parser.add_argument("--keep", action="store_true", help="keep what workers printed")
    parser.add_argument("--sections", nargs="+", choices=list(BUDGETS), help="only these")
    return parser


if __name__ == "__main__":
    sys.exit(main())
