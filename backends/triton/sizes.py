"""The lines that choose the sizes of a kernel's tiles for a launch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from attnc.backends.triton.host import Host
from attnc.backends.triton.kernel import Printed
from attnc.backends.triton.model import COLUMNS, Shape
from attnc.ir.tiles_walk import pieces_of

CANDIDATES: Final = (
    "((128, 64, 4, 4), (128, 64, 8, 2), (64, 64, 4, 2), (128, 64, 8, 1), (64, 32, 4, 2), "
    "(64, 64, 4, 1), (64, 64, 8, 1), (64, 32, 4, 1), (64, 32, 8, 1), (32, 32, 4, 1), "
    "(32, 16, 4, 1), (16, 16, 4, 1))"
)
"""Rows, points of other axes, warps, and programs side by side, the best first.

While some warps of a multiprocessor multiply, others do the rest. On an H200, in 16 bits with rows
of 128, two programs of 4 warps and 64 rows took 3 to 9 % less time than one of 8 warps and 128
rows, and one of 4 warps 70 % more; two of 8 are best where registers suffice, as with rows of 64.
"""
SMALLEST: Final = "((16, 16, 4, 1),)"


@dataclass
class Sizes:
    """Prints the choice of one kernel."""

    kernel: Printed
    host: Host
    names: dict[str, str]
    """What the wrapper calls the sizes of tiles along axes."""

    def lines(self) -> list[str]:
        """Lines that set the sizes, `_warps` and `_stages`."""
        roles = self.kernel.model.roles
        lines = []
        for axis, name in self.names.items():
            if roles[axis] == "whole":
                least = ", 16" if axis in self.kernel.model.in_products() else ""
                lines.append(f"{name} = _power({self._extent(axis)}{least})")
            elif roles[axis] == "columns":
                lines.append(f"{name} = _power({self._extent(axis)}, 16, {COLUMNS})")
        free = [a for a in self.names if roles[a] in ("rows", "others")]
        live = self._sum(self.kernel.model.live())
        once, rounds = (self._sum(c) for c in self.kernel.model.operands())
        lines.append(f"for _rows, _others, _warps, _beside in {CANDIDATES if free else SMALLEST}:")
        for axis in free:
            most = "_rows" if roles[axis] == "rows" else "_others"
            size = most if self._counts(axis) else f"_power({self._extent(axis)}, 16, {most})"
            lines.append(f"    {self.names[axis]} = {size}")
        tile = next((self.names[a] for a in free if roles[a] == "rows"), "_rows")
        lines.append(f"    _live = {live}")
        lines.append(
            "    _stages = _fitting("
            f"_target, _type, _rows, {tile}, _warps, _beside, _live, {once}, {rounds})"
        )
        lines += ["    if _stages:", "        break", "else:"]
        whole = self._whole()
        return [*lines, f"    raise _too_large(_target{f', {whole}' if whole else ''})"]

    def _whole(self) -> str:
        """The extents of axes that are held whole, by keyword."""
        scope = self.kernel.scope
        whole = [a for a, role in self.kernel.model.roles.items() if role == "whole"]
        return ", ".join(f"{a}={self._extent(a)}" for a in whole if scope.is_tile(a))

    def _counts(self, axis: str) -> bool:
        """Whether an axis counts pieces: a tile of them is not cut, lest lengths compile anew."""
        scope = self.kernel.scope
        size = scope.axis(axis).size
        return any(size == piece.axis.size for piece in pieces_of(scope.plan))

    def _extent(self, axis: str) -> str:
        return self.host(self.kernel.scope.axis(axis).size)

    def _sum(self, shapes: Counter[Shape]) -> str:
        """The lanes of tiles together, rows and columns that stand alone left out."""
        parts = []
        for shape, count in shapes.items():
            if len(shape) < 2:
                continue
            lanes = " * ".join(self.names[a] for a in shape)
            parts.append(lanes if count == 1 else f"{count} * {lanes}")
        return " + ".join(parts) or "0"
