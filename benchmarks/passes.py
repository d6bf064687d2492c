"""What the passes make of each example, and how long they take.

    python benchmarks/passes.py [--runs 5] [--most 1000] [--json FILE]

For each example: passes over its ranks as written and as compiled, kernels, traffic as written
over traffic as compiled at the sizes of the gallery, and the time from checked facts to the plan:
cold in a process of its own, with what that has to import told apart, and warm. Growth is the time
against the number of statements; `ratio` is the time per statement over that of 100 statements, so
1 is linear.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LENGTHS = (10, 100, 1_000)
BASE = 100
COLD = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from attnc.api import check
facts = check(sys.stdin.read()).select()
start = time.perf_counter()
from attnc.passes.tiling.lower import NotLowered
from attnc.planning import planned
imported = time.perf_counter()
try:
    planned(facts)
except NotLowered:
    pass
print(imported - start, time.perf_counter() - imported)
"""


def cold(text: str, runs: int) -> tuple[float, float]:
    """Seconds in fresh processes: to import the passes, and to run them; medians."""
    found = []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-c", COLD], input=text, text=True, capture_output=True, check=True
        )
        found.append([float(word) for word in done.stdout.split()])
    imports, passes = zip(*found, strict=True)
    return statistics.median(imports), statistics.median(passes)


def seconds(run: Callable[[], object], times: int) -> float:
    """The shortest of several runs."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def plan(text: str) -> Callable[[], object]:
    """The passes on a text, from checked facts; it gives what stopped them, if anything did."""
    from attnc.api import check
    from attnc.passes.tiling.lower import NotLowered
    from attnc.planning import planned

    facts = check(text).select()

    def run() -> object:
        try:
            planned(facts)
        except NotLowered as error:
            return f"not tiled: {error.reason}"
        except RecursionError:
            return "too deep"
        return None

    return run


def example(path: Path, runs: int, read: Callable[[Path], Any]) -> dict[str, Any]:
    """The figures of one example; `read` is how the gallery reads it."""
    found = read(path)
    text = path.read_text(encoding="utf-8")
    imports, passes = cold(text, runs)
    compiled = found.plan or {"passes": None, "kernels": [], "ratio": {"traffic": None}}
    return {
        "example": found.name,
        "written": dict(found.passes),
        "compiled": compiled["passes"],
        "shown": found.repeated,
        "kernels": len(compiled["kernels"]),
        "traffic": compiled["ratio"]["traffic"],
        "reason": found.why,
        "sizes": dict(found.sizes),
        "seconds": {
            "import": imports,
            "cold": passes,
            "together": imports + passes,
            "warm": seconds(plan(text), max(runs, 3)),
        },
    }


def examples(runs: int) -> list[dict[str, Any]]:
    """Prints and gives the figures of all examples."""
    read = runpy.run_path(str(ROOT / "docs" / "make_gallery.py"))["read"]
    head = f"{'example':<21}{'passes':<28}{'kernels':>7}{'traffic':>9}"
    print(f"{head}{'import':>8}{'cold':>7}{'warm':>7}   ms; {runs} processes each")
    rows = []
    for path in sorted((ROOT / "examples").glob("*.attn")):
        row = example(path, runs, read)
        rows.append(row)
        traffic = "" if row["traffic"] is None else f"{row['traffic']:.3g}"
        times = [row["seconds"][k] * 1e3 for k in ("import", "cold", "warm")]
        shown = "".join(f"{t:>{w}.0f}" for t, w in zip(times, (8, 7, 7), strict=True))
        head = f"{row['example']:<21}{row['shown']:<28}{row['kernels'] or '-':>7}{traffic:>9}"
        print(f"{head}{shown}", flush=True)
    for key in ("cold", "together", "warm"):
        spent = {row["example"]: row["seconds"][key] * 1e3 for row in rows}
        worst = max(spent, key=spent.__getitem__)
        middle = statistics.median(spent.values())
        print(f"{key}: median {middle:.0f} ms, most {spent[worst]:.0f} ms ({worst})")
    return rows


# Cascades of any length


def maps(length: int) -> str:
    """A chain of maps that end in one softmax."""
    lines = ["cascade maps(X[M,N], V[N,F]) -> O[M,F]:", "    T0[m,n] = X[m,n]"]
    lines += [f"    T{i + 1}[m,n] = T{i}[m,n] * 0.5 + X[m,n]" for i in range(length - 2)]
    lines.append(f"    O[m,f] = softmax[n](T{length - 2}[m,n]) * V[n,f]")
    return "\n".join(lines) + "\n"


def sums(length: int) -> str:
    """Many reductions of one stream, each of which reads a running maximum."""
    lines = ["cascade sums(S[M,N], V[N,F]) -> O[M,F]:", "    G[m] = max[n](S[m,n])"]
    count, each = length - 3, 32
    lines += [f"    D{i}[m] = sum[n](exp(S[m,n] - G[m]) ** {i + 1})" for i in range(count)]
    parts = range(0, count, each)
    for part in parts:
        terms = " + ".join(f"D{i}[m]" for i in range(part, min(part + each, count)))
        lines.append(f"    P{part}[m] = {terms}")
    total = " + ".join(f"P{part}[m]" for part in parts)
    lines.append(f"    O[m,f] = sum[n](exp(S[m,n] - G[m]) * V[n,f]) / ({total})")
    return "\n".join(lines) + "\n"


def layers(length: int) -> str:
    """A chain of products and softmaxes, none of which fuses with the next."""
    lines = ["cascade layers(X[M,N], W[N,N]) -> O[M,N]:", "    var k in N", "    T0[m,n] = X[m,n]"]
    forms = ("T{new}[m,n] = T{old}[m,k] * W[k,n]", "T{new}[m,n] = softmax[n](T{old}[m,n])")
    lines += ["    " + forms[i % 2].format(new=i + 1, old=i) for i in range(length - 2)]
    lines.append(f"    O[m,n] = T{length - 2}[m,n]")
    return "\n".join(lines) + "\n"


def growth(lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Prints and gives the time of the passes against the number of statements."""
    rows = []
    for spec in (maps, sums, layers):
        print(f"{spec.__name__}: statements, seconds, microseconds per statement, ratio to linear")
        base = 0.0
        for length in lengths:
            run = plan(spec(length))
            stopped = run()
            spent = seconds(run, 3 if length < BASE else 1)
            if length <= BASE:
                base = spent / length
            ratio = spent / length / base
            note = f"  {stopped}" if stopped else ""
            print(
                f"  {length:>6} {spent:8.3f} {spent / length * 1e6:8.0f} {ratio:6.2f}{note}",
                flush=True,
            )
            rows.append(
                {"spec": spec.__name__, "length": length, "seconds": spent, "stopped": stopped}
            )
    return rows


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="processes to take the median of")
    parser.add_argument("--most", type=int, default=1_000, help="statements of the longest cascade")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    found: dict[str, Any] = {"examples": examples(options.runs) if options.runs else []}
    found["growth"] = growth([n for n in LENGTHS if n <= options.most])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
