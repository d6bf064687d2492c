"""The benchmark as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.pool import Record
from benchmarks.gpu.report import OURS

COLUMNS = 3
UNITS = {"gbs": "GB/s", "gflops": "GFLOP/s", "tflops": "TFLOP/s"}


def plot(records: Sequence[Record], path: Path, title: str, rate: str = "tflops") -> bool:
    """One panel for each family, type and head size; whether there is anything to draw with.

    `rate` is what is drawn of calls with many queries; with one, it is bytes per second.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        if record.get("timed"):
            w = record["workload"]
            panels.setdefault((w["family"], w["kind"], w["size"]), []).append(record)
    if not panels:
        return False
    rows = -(-len(panels) // COLUMNS)
    figure, grid = plt.subplots(
        rows, COLUMNS, figsize=(13, 2.9 * rows), squeeze=False, layout="constrained"
    )
    names = list(dict.fromkeys(n for r in records for n in r.get("contestants", {})))
    colours = {n: "black" if n == OURS else f"C{i}" for i, n in enumerate(names)}
    for axes, (key, found) in zip(grid.flat, panels.items(), strict=False):
        unit = "gbs" if found[0]["workload"]["queries"] == 1 else rate
        for name in names:
            points = sorted(
                (r["workload"]["keys"], r["contestants"][name][unit])
                for r in found
                if unit in r["contestants"].get(name, {})
            )
            if points:
                style = "o-" if name == OURS else "."
                axes.plot(
                    *zip(*points, strict=True),
                    style + "-" * (name != OURS),
                    color=colours[name],
                    label=name,
                    linewidth=2 if name == OURS else 1,
                )
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{key[0]}, {key[1]}, head size {key[2]}", fontsize=9)
        axes.set_ylabel(UNITS[unit], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6)
    for axes in list(grid.flat)[len(panels) :]:
        axes.axis("off")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
