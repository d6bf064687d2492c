"""What is asked of a picture of tiles, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnc.drawing.tiles_values import Values
from attnc.ir.cascade import Constant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TileRequest:
    """What to draw, and at what sizes; names are checked when it is used."""

    kernel: str | None = None
    at: Mapping[str, int] = field(default_factory=dict[str, int])
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    tiles: Mapping[str, int] = field(default_factory=dict[str, int])
    static: Mapping[str, Constant] = field(default_factory=dict[str, Constant])
    files: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Visit:
    """A tile that is visited: its rows and its columns, and the turn it has in its row of tiles.

    `columns` are runs as first and last but one; of a stride there are several.
    """

    rows: tuple[int, int]
    columns: tuple[tuple[int, int], ...]
    turn: int
    full: bool
    points: bool
    """Whether any point of it counts."""


@dataclass(frozen=True)
class TilePanel:
    """The tiles of some programs: `cells[row, column]` is true where a point counts."""

    label: str
    cells: Bools
    visits: tuple[Visit, ...]

    def missed(self) -> Bools:
        """The points that count in no tile that is visited: there must be none."""
        left = self.cells.copy()
        for visit in self.visits:
            for low, high in visit.columns:
                left[slice(*visit.rows), low:high] = False
        return left


@dataclass(frozen=True)
class LoopTiles:
    """One loop of a kernel: its sides with the sizes of their tiles, what counts, its panels."""

    rows: tuple[str, int] | None
    columns: tuple[str, int]
    conditions: str
    panels: tuple[TilePanel, ...]
    every: int
    """The tiles of a panel."""
    same: tuple[str, ...]
    """Variables that make no difference."""


@dataclass(frozen=True)
class TileDrawing:
    """The tiles of one kernel and what they were computed from."""

    name: str
    kernel: str
    loops: tuple[LoopTiles, ...]
    values: Values
