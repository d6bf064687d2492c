"""What kernels become on devices that are not there: registers, spills, instructions.

    python -m benchmarks.devices [--only NAMES] [--head 64,128] [--targets cuda:90] [--json FILE]

Each kernel that an example launches is compiled in a process that is ended after `--timeout`
seconds. `--python` is an interpreter with another Triton: attnc need not be installed there, since
texts are handed over as files. `--tutorial FILE` compiles the forward kernels of Triton's tutorial
of fused attention, too, with several sizes of tiles. `device_tables.py` makes a page of results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attnc.api import check
from attnc.backends.numpy.layout import NUMPY_NAMES
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.ir.tiles import Plan
from attnc.planning import for_device
from benchmarks.device_tables import line_of, per_score

ROOT: Final = Path(__file__).resolve().parents[1]
TARGETS: Final = ("cuda:80", "cuda:90", "cuda:100", "hip:gfx942")
HEAD: Final = frozenset("DEF")
"""The ranks of examples that are features of a head."""
MAIN: Final = (
    *("dense", "causal", "gqa_causal", "sliding_window_sinks", "alibi", "softcap", "sigmoid"),
    *("differential", "sink_logits", "entropy", "paged_decode", "rotary"),
)
"""Without `--only`: what is compiled for each target and head size, and first."""
ONCE: Final = ("cuda:90",)
"""Without `--only`: what all others are compiled for, with the first head size."""
SIZES: Final[Mapping[str, int]] = {
    **dict.fromkeys("MNT", 1024),
    **dict.fromkeys("LPK", 64),
    **dict(zip("BHJCSGXYZR", (2, 8, 2, 8, 8, 4, 3, 3, 4, 16), strict=True)),
}
OWN: Final[Mapping[str, Mapping[str, int]]] = {
    "fusemax_one_pass": {"M0": 64, "M1": 8, "P": 512, "M": 512},
    "fusemax_three_pass": {"P": 512, "M": 512},
    "latent": {"L": 128, "R": 64},
    "packed_documents": {"M": 512, "N": 512},
    "paged_decode": {"R": 16, "C": 64, "P": 128},
    "slot": {"N": 256},
    "t5_bias": {"R": 32},
    "triangular": {"T": 64},
}
"""Sizes of examples that differ from those above."""
TILES: Final = ((128, 64, 4, 3), (128, 64, 8, 3), (128, 128, 8, 3))
"""Of the tutorial's kernels: rows, keys, warps and stages."""


def emitted(names: Iterable[str], folder: Path) -> Iterator[tuple[str, Any, Path]]:
    """Examples, their plans, and files of their modules."""
    for name in dict.fromkeys(names):
        facts = check((ROOT / "examples" / f"{name}.attn").read_text()).select()
        plan = for_device(facts)
        path = folder / f"{name}.py"
        path.write_text(emit_plan(plan, Options()))
        yield name, (facts.cascade, plan), path


def tensors_of(
    plan: Plan, name: str, head: int, dtype: str, sizes: Mapping[str, int]
) -> list[tuple[list[int], str]]:
    """Shapes and element types of the inputs of an example; `sizes` are others than usual."""
    known = {**SIZES, **dict.fromkeys(HEAD, head), **OWN.get(name, {}), **sizes}
    return [
        (
            [s if isinstance(s, int) else known[s] for s in i.sizes],
            NUMPY_NAMES[i.element] if i.element else dtype,
        )
        for i in plan.inputs
    ]


def jobs_of(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """The calls whose kernels are to be compiled."""
    everything = sorted(p.stem for p in (ROOT / "examples").glob("*.attn"))
    for name, (cascade, plan), path in emitted(args.only or [*MAIN, *everything], folder):
        required = [p for p in cascade.parameters if p.default is None]
        parameters = {p.name: 4 if p.type == "int" else 0.5 for p in required}
        once = not args.only and name not in MAIN
        sized = any(s in HEAD for i in plan.inputs for s in i.sizes)
        for head in args.head if sized and not once else args.head[:1]:
            tensors = tensors_of(plan, name, head, args.dtype, {})
            for target in ONCE if once else args.targets:
                yield {
                    "kind": "example",
                    "name": name,
                    "path": str(path),
                    "head": head,
                    "dtype": args.dtype,
                    "target": target,
                    "function": plan.name,
                    "tensors": tensors,
                    "parameters": parameters,
                }
    if args.tutorial:
        path = folder / "tutorial.py"
        shutil.copy(args.tutorial, path)
        choices = itertools.product(args.targets, args.head, (False, True), TILES)
        for target, head, causal, tiles in choices:
            yield {
                "kind": "tutorial",
                "name": "tutorial",
                "path": str(path),
                "head": head,
                "dtype": args.dtype,
                "target": target,
                "tiles": tiles,
                "causal": causal,
            }


class Compiler:
    """A process that compiles; one that takes too long is ended, and the next started."""

    def __init__(self, python: str, folder: Path, timeout: float) -> None:
        self.line = [python, str(folder / "compiling.py")]
        self.timeout = timeout
        self.process: subprocess.Popen[str] | None = None
        self.versions: dict[str, str] = {}

    def start(self) -> subprocess.Popen[str]:
        """The process, which tells its versions first."""
        if self.process is None or self.process.poll() is not None:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(self.line, stdin=pipe, stdout=pipe, text=True)
            assert self.process.stdout is not None
            self.versions = json.loads(self.process.stdout.readline())
        return self.process

    def answer(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """What became of a job."""
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(self.timeout, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        process.wait()
        return {"error": f"ended after {self.timeout:.0f} s at most"}

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def measured(jobs: list[dict[str, Any]], compilers: list[Compiler]) -> list[dict[str, Any]]:
    """All kernels of all jobs, in their order."""
    waiting: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
    for place, job in enumerate(jobs):
        waiting.put((place, job))
    rows: dict[tuple[int, int], dict[str, Any]] = {}

    def work(compiler: Compiler) -> None:
        while True:
            try:
                place, job = waiting.get_nowait()
            except queue.Empty:
                return
            counted = compiler.answer(job)
            for number in range(counted.get("count", 1)):
                one = compiler.answer({**job, "number": number}) if "count" in counted else counted
                rows[place, number] = row_of(job, number, counted.get("count", 1), one)
                print(line_of(rows[place, number]), flush=True)

    threads = [threading.Thread(target=work, args=(c,)) for c in compilers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [row for _, row in sorted(rows.items())]


def row_of(
    job: Mapping[str, Any], number: int, count: int, found: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of the results: what was asked for, and what was found."""
    row = {k: job[k] for k in ("kind", "name", "target", "head", "dtype")}
    row |= {"number": number, "count": count}
    if "causal" in job:
        row["causal"] = job["causal"]
        found = {**found, "tiles": dict(zip("MN", job["tiles"], strict=False)), "whole": []}
    row |= found
    if "error" not in row:
        row["per_score"] = per_score(row)
    return row


def written(found: Mapping[str, Any]) -> str:
    """Results as JSON, with a line for each row."""
    head = json.dumps({**found, "rows": []})
    rows = ",\n".join(map(json.dumps, found["rows"]))
    return head.removesuffix("]}") + "\n" + rows + "\n]}\n"


def main() -> None:
    """Compiles, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", type=lambda t: t.split(","), help="examples, by name")
    parser.add_argument("--head", type=lambda t: [*map(int, t.split(","))], default=[64, 128])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--targets", type=lambda t: t.split(","), default=[*TARGETS])
    parser.add_argument("--python", default=sys.executable, help="another interpreter")
    parser.add_argument("--tutorial", type=Path, help="a file of Triton's tutorial")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where results go")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = folder / "attnc" / "backends" / "triton"
        package.mkdir(parents=True)
        for file in ("inspect.py", "disassembly.py"):
            shutil.copy(ROOT / "backends" / "triton" / file, package)
        shutil.copy(ROOT / "benchmarks" / "compiling.py", folder)
        modules = folder / "modules"
        modules.mkdir()
        jobs = [*jobs_of(args, modules)]
        compilers = [Compiler(args.python, folder, args.timeout) for _ in range(args.processes)]
        try:
            rows = measured(jobs, compilers)
        finally:
            for compiler in compilers:
                compiler.stop()
    now = datetime.now(UTC).strftime("%Y-%m-%d")
    line = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip()
    versions = next((c.versions for c in compilers if c.versions), {})
    found = {"schema": 1, "date": now, "commit": commit, **versions, "rows": rows}
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(written(found))


if __name__ == "__main__":
    main()
