"""How long attnc takes: to be imported, to compile each example cold, and as cascades grow.

    python benchmarks/compile_time.py [--runs 5] [--most 10000]

Cold is a whole process. For devices it is one with nothing kept, and again with everything. Growth
is the cost of `check` and of `emit` in this process, against the number of lines; `ratio` is the
time per line over that of the cascade of 100 lines, so 1 is linear.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import attnc"
RUN = f"{START}.cli; sys.exit(attnc.cli.main(sys.argv[1:]))"
LENGTHS = (10, 100, 1_000, 10_000)
BASE = 100


# Whole processes


def median_of(runs: int, *arguments: str, cache: str = "off") -> float:
    """The median wall time of a Python process, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "ATTNC_CACHE": cache},
        )
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def processes(runs: int) -> None:
    """Prints the times of whole processes."""
    print(f"whole processes, median of {runs}, ms")
    print(f"  {'python -c pass':<34}{median_of(runs, 'pass') * 1e3:8.0f}")
    print(f"  {'import attnc':<34}{median_of(runs, START) * 1e3:8.0f}")
    print(f"  {'attnc --help':<34}{median_of(runs, RUN, '--help') * 1e3:8.0f}")
    times = {}
    for path in sorted((ROOT / "examples").glob("*.attn")):
        times[path.stem] = median_of(runs, RUN, "compile", str(path))
        print(f"  {'attnc compile ' + path.stem:<34}{times[path.stem] * 1e3:8.0f}")
    longest = max(times, key=times.__getitem__)
    middle = statistics.median(times.values())
    print(f"  examples: median {middle * 1e3:.0f}, most {times[longest] * 1e3:.0f} ({longest})")


def devices(runs: int) -> None:
    """Prints the times of whole processes that emit Triton: nothing kept, and all of it."""
    print(f"attnc compile --backend triton, median of {runs}, ms: cold, kept")
    cold: dict[str, float] = {}
    kept: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((ROOT / "examples").glob("*.attn")):
            line = (RUN, "compile", str(path), "--backend", "triton")
            cold[path.stem] = median_of(runs, *line)
            median_of(1, *line, cache=folder)
            kept[path.stem] = median_of(runs, *line, cache=folder)
            print(f"  {path.stem:<34}{cold[path.stem] * 1e3:8.0f}{kept[path.stem] * 1e3:8.0f}")
    for name, times in (("cold", cold), ("kept", kept)):
        longest = max(times, key=times.__getitem__)
        middle = statistics.median(times.values())
        print(f"  {name}: median {middle * 1e3:.0f}, most {times[longest] * 1e3:.0f} ({longest})")


# Cascades of any length


def products(length: int) -> str:
    """A chain of matrix products, of that many lines with its header."""
    lines = ["cascade chain(X[M,N], W[N,N]) -> O[M,N]:", "    var k in N", "    T0[m,n] = X[m,n]"]
    lines += [f"    T{i + 1}[m,n] = T{i}[m,k] * W[k,n]" for i in range(length - 4)]
    return "\n".join([*lines, f"    O[m,n] = T{length - 4}[m,n]"]) + "\n"


MIXED: tuple[str, ...] = (
    "{new}[m,n] = {old}[m,k] * W[k,n] / sqrt(N)",
    "{new}[m,n] = softmax[n]({old}[m,n])",
    "{new}[m,n] = {old}[m,n] where n <= m",
    "{new}[m,n] = exp({old}[m,n] - max[n]({old}[m,n]))",
    "{new}[m,n] = default({old}[m,n], 0) + X[m,n]",
    "{new}[m,n] = cumsum[n]({old}[m,n]) * 0.5",
    "{new}[m,n] = {old}[m, n % 7] if n < m else X[m,n]",
    "{new}[m,n] = rmsnorm[n]({old}[m,n], 1e-6) * g",
)


def mixed(length: int) -> str:
    """A chain of Einsums of several kinds."""
    lines = ["cascade mixed(X[M,N], W[N,N], g: float = 1.0) -> O[M,N]:", "    var k in N"]
    lines.append("    T0[m,n] = X[m,n]")
    for i in range(length - 4):
        form = MIXED[i % len(MIXED)]
        lines.append("    " + form.format(new=f"T{i + 1}", old=f"T{i}"))
    return "\n".join([*lines, f"    O[m,n] = T{length - 4}[m,n]"]) + "\n"


def recurrence(length: int) -> str:
    """One recurrence group of many tensors, each of which reads the one before it."""
    count = length - 3
    lines = ["cascade group(X[T,N]) -> O[T,N]:", "    Z0[-1,n] = 0"]
    lines.append(f"    Z0[t,n] = Z{count - 1}[t-1,n] * 0.5 + X[t,n]")
    lines += [f"    Z{i}[t,n] = Z{i - 1}[t,n] * 0.5 + X[t,n]" for i in range(1, count)]
    lines[1] = f"    Z{count - 1}[-1,n] = 0"
    return "\n".join([*lines, f"    O[t,n] = Z{count - 1}[t,n]"]) + "\n"


def seconds(run: Callable[[], object], times: int) -> float:
    """The shortest of several runs."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def growth(name: str, spec: Callable[[int], str], lengths: Sequence[int]) -> None:
    """Prints the cost of checking and emitting against the number of statements."""
    from attnc.api import check, emit

    print(f"{name}: seconds, microseconds per line, ratio to linear")
    first: tuple[float, float] | None = None
    for length in lengths:
        text, times = spec(length), 3 if length <= 1_000 else 1
        checking = seconds(lambda text=text: check(text), times)
        facts = check(text).select()
        emitting = seconds(
            lambda facts=facts: emit(facts, backend="numpy", dtype=None, static={}), times
        )
        each = checking / length, emitting / length
        if length <= BASE:
            first = each
        assert first is not None
        shown = [
            f"{what} {spent:8.3f} {one * 1e6:7.0f} {one / base:6.2f}"
            for what, spent, one, base in zip(
                ("check", "emit"), (checking, emitting), each, first, strict=True
            )
        ]
        print(f"  {length:>6}  " + "   ".join(shown), flush=True)


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="processes to take the median of")
    parser.add_argument("--most", type=int, default=10_000, help="lines of the longest cascade")
    options = parser.parse_args()
    if options.runs:
        processes(options.runs)
        devices(options.runs)
    lengths = [n for n in LENGTHS if n <= options.most]
    growth("a chain of matrix products", products, lengths)
    growth("a chain of mixed Einsums", mixed, lengths)
    growth("one recurrence group", recurrence, lengths)


if __name__ == "__main__":
    main()
