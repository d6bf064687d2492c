"""Rows that a program copies, and those that the thread's next program copies in their place.

These are asked for meanwhile, so that they are no further away than the second cache then.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnc.backends.tvm.memory import Memory
from attnc.backends.tvm.scope import LaneScope
from attnc.ir.expr import Expr
from attnc.ir.printer import SUM
from attnc.ir.tiles import Load
from attnc.ir.tiles_walk import names


@dataclass
class Ahead:
    """Tells where the rows of a thread's next program lie, if programs go along vectors.

    Threads take programs one after the other, so each its next one as many further as there are
    threads. Where another one takes it, or where it is behind the last, nothing is wrong but that
    what is asked for is of no use.
    """

    scope: LaneScope

    @property
    def start(self) -> str | None:
        """Where the tile of vectors begins there; None where programs go along another axis."""
        scope, vector = self.scope, self.scope.vector
        last = next((a.name for a in reversed(scope.kernel.axes) if a.kind == "par"), None)
        if not scope.workers or vector is None or vector != last or not scope.is_tile(vector):
            return None
        sign = "-" if vector in scope.kernel.reversed else "+"
        return f"({scope.start_of(vector)} {sign} {scope.size_of(vector)} * {scope.workers})"

    def row(self, item: Load, row: str, memory: Memory) -> tuple[list[str], str] | None:
        """Of a load, what tells how far its coordinates move, and the row there by its elements;
        None where none of them is known to move, or what was loaded tells some, lane by lane."""
        start, scope = self.start, self.scope
        if start is None or scope.vector is None:
            return None
        if any(scope.layouts[n] for n in names(*item.index, *scope.context.coords.values())):
            return None
        lines: list[str] = []
        index: list[str] = []
        moves = False
        for expr in item.index[:-1]:
            varies = scope.context.varies(expr)
            text = scope.text(expr)
            shifts = [scope.clipped[axis].ahead for axis in sorted(varies & scope.clipped.keys())]
            if scope.vector in varies:
                shifts = [scope.names.fresh(f"{scope.lane(scope.vector)}_ahead")]
                lines.append(f"{shifts[0]}: T.let = {self._shift(expr, start)}")
            moves = moves or any(shifts)
            index.append(" + ".join([text.at(SUM), *filter(None, shifts)]))
        near, lane = memory.tensor(item.tensor).near, scope.lane(row)
        found = f"(lambda {lane}: {near}[{', '.join([*index, lane])}])"
        return (lines, found) if moves else None

    def _shift(self, expr: Expr, start: str) -> str:
        """How far a coordinate moves."""
        scope, found = self.scope, list[str]()
        for place in (start, scope.start_of(scope.vector or "")):
            scope.moved = place
            found.append(scope.text(expr).at(SUM))
        scope.moved = ""
        return f"{found[0]} - ({found[1]})"
