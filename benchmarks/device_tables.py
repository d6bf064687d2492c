"""Results of `devices.py` as lines, and a page of several results.

python -m benchmarks.device_tables RESULTS.json [RESULTS.json ...] > PAGE.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

Row: TypeAlias = Mapping[str, Any]

MEASURES: Final = ("registers", "spills", "shared", "matrix", "inner", "per score")
INTRODUCTION: Final = """\
# Kernels on devices that are not there

Compiled without a GPU, in {dtype}, with {versions}; {dates}, at {commits}. Repeat it with

```sh
make devices ARGS="--json benchmarks/results/DATE-devices-triton-3.9.json --tutorial FILE"
make devices ARGS="--json ... --python PYTHON-WITH-TRITON-3.6 --tutorial FILE"
.venv/bin/python -m benchmarks.device_tables benchmarks/results/DATE-devices-*.json
```

`registers` of a thread; `spills`: bytes of a thread; `shared`: KiB of a program, with `!` where the
target has less; `matrix`: instructions of the whole kernel that multiply matrices; `inner`: all
instructions of the loop with most of these; `per score`: those, times lanes, over the scores of a
tile, where a tile is of scores. Where two numbers stand, they are of the versions, in that order.

`tutorial` is a copy of the forward kernel of Triton's tutorial of fused attention, with that one of
three sizes of tiles which spills least and then has the fewest instructions for a score. Of its two
causal loops the one without a mask is counted, of ours the only one.
"""


def per_score(row: Row) -> float | None:
    """Instructions of lanes in a round, by the scores of a tile; none where no tile is of scores.

    Scores have the two axes that are not held whole.
    """
    sides = [size for axis, size in row["tiles"].items() if axis not in row["whole"]]
    if len(sides) != 2 or not row["inner_matrix"]:
        return None
    lanes = 64 if row["target"].startswith("hip") else 32
    return round(row["inner"] * lanes * row["warps"] / (sides[0] * sides[1]), 2)


def called(row: Row) -> str:
    """What a row is of."""
    name = str(row["name"])
    if row["kind"] == "tutorial":
        return name + (" causal" if row["causal"] else " dense")
    return f"{name} {row['kernel']}" if row["count"] > 1 and "kernel" in row else name


def tiles(row: Row) -> str:
    """Sizes of tiles that are not held whole, warps and stages."""
    sizes = " ".join(f"{a}:{n}" for a, n in row["tiles"].items() if a not in row["whole"])
    return f"{sizes} w{row['warps']} s{row['stages']}".strip()


def measures(row: Row) -> list[str]:
    """The numbers of a row as text."""
    matrix = " ".join(f"{kind} {n}" for kind, n in row["matrix"].items())
    shared = f"{row['shared'] / 1024:.0f}" + ("!" if row["shared"] > row["most_shared"] else "")
    score = "" if row["per_score"] is None else f"{row['per_score']:.1f}"
    return [str(row["registers"]), str(row["spills"]), shared, matrix, str(row["inner"]), score]


def trouble(row: Row) -> str:
    """Why there is no kernel, in a line."""
    return " ".join(row["error"].split()).replace("|", "/")[:120]


def line_of(row: Row) -> str:
    """A row as a line."""
    first = [called(row).ljust(28), row["target"].ljust(11), str(row["head"]).ljust(4)]
    if "error" in row:
        return " ".join([*first, trouble(row)])
    found = zip(measures(row), (4, 6, 5, 18, 6, 6), strict=True)
    return " ".join([*first, tiles(row).ljust(22), *(t.ljust(w) for t, w in found)]).rstrip()


# The page


def key(row: Row) -> tuple[str, str, int, int]:
    """What rows of several results have in common."""
    return called({**row, "count": 1}), row["target"], row["head"], row["number"]


def best(rows: Iterable[Row]) -> dict[tuple[str, str, int, int], Row]:
    """One row of each kernel: of the tutorial's the best."""
    found: dict[tuple[str, str, int, int], Row] = {}
    for row in rows:
        old = found.get(key(row))
        if old is None or rank(row) < rank(old):
            found[key(row)] = row
    return found


def rank(row: Row) -> tuple[bool, int, float]:
    """The least is the best."""
    return "error" in row, row.get("spills", 0), row.get("per_score") or 0.0


def joined(texts: Iterable[str]) -> str:
    """Texts of several results: one if they are the same."""
    found = [*texts]
    return found[0] if len({*found}) == 1 else " / ".join(t or "-" for t in found)


def table(keys: Iterable[Any], results: list[dict[Any, Row]]) -> Iterator[str]:
    """A table of some kernels."""
    names = ("kernel", "head", "tiles", *MEASURES)
    yield "| " + " | ".join(names) + " |"
    yield "|---|---:|---|---:|---:|---:|---|---:|---:|"
    for each in keys:
        rows = [r[each] for r in results if each in r]
        good = [r for r in rows if "error" not in r]
        first = [called(rows[0]), str(rows[0]["head"])]
        if len(good) < len(rows):
            failed = joined(trouble(r) if "error" in r else tiles(r) for r in rows)
            numbers = zip(*map(measures, good), strict=True) if good else [("",)] * len(MEASURES)
            yield "| " + " | ".join([*first, failed, *map(joined, numbers)]) + " |"
        else:
            numbers = zip(*map(measures, rows), strict=True)
            yield (
                "| " + " | ".join([*first, joined(map(tiles, rows)), *map(joined, numbers)]) + " |"
            )


def page(found: list[Mapping[str, Any]]) -> Iterator[str]:
    """All results as a page, the longest first: what all have for each target, then the rest."""
    found = sorted(found, key=lambda f: -len(f["rows"]))
    results = [best(f["rows"]) for f in found]
    versions = " / ".join(f"Triton {f['triton']}" for f in found)
    dates = joined(f["date"] for f in found)
    commits = joined(f"`{f['commit']}`" for f in found)
    dtype = joined(f["rows"][0]["dtype"] for f in found)
    yield INTRODUCTION.format(dtype=dtype, versions=versions, dates=dates, commits=commits)
    shared = [k for k in results[0] if all(k in r for r in results)]
    for target in dict.fromkeys(k[1] for k in shared):
        yield f"## {target}\n"
        yield from table((k for k in shared if k[1] == target), results)
        yield ""
    rest = [k for k in results[0] if k not in shared]
    if rest:
        yield f"## Others, {', '.join(dict.fromkeys(k[1] for k in rest))}\n"
        yield from table(rest, results[:1])


def main() -> None:
    """Reads results, and prints the page."""
    found = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    print("\n".join(page(found)))


if __name__ == "__main__":
    main()
