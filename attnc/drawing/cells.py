"""Many points as few rectangles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rectangles(
    cells: NDArray[np.bool_], x: float, y: float, cell: float
) -> Iterator[tuple[float, float, float, float]]:
    """The points that exist as few rectangles: runs in a row, with equal ones below."""
    waiting: dict[tuple[int, int], int] = {}
    for i in range(len(cells) + 1):
        runs = set(_runs(cells[i])) if i < len(cells) else set[tuple[int, int]]()
        for run in sorted(waiting.keys() - runs):
            first = waiting.pop(run)
            start, end = run
            size = (end - start) * cell, (i - first) * cell
            yield x + start * cell, y + first * cell, *size
        for run in runs:
            waiting.setdefault(run, i)


def _runs(row: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Where a row is true, as half-open ranges."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
