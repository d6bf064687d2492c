"""Along which axes the expressions of a kernel vary."""

from __future__ import annotations

from collections.abc import Mapping

from attnc.ir.expr import Expr, Name, Value, Var
from attnc.ir.tiles import If, Kernel, Loop, Tile
from attnc.ir.tiles_walk import statements
from attnc.ir.walk import subexpressions


class Reach:
    """The axes along which expressions of a kernel vary."""

    def __init__(self, kernel: Kernel) -> None:
        self._coords: Mapping[str, Expr] = {c.name: c.value for c in kernel.coords}
        self._sizes: Mapping[str, Expr] = {a.name: a.size for a in kernel.axes}
        self._tiles: dict[str, tuple[str, ...]] = {}
        for item in statements(kernel.body):
            if isinstance(item, Loop | If):
                self._tiles |= {c.name: c.axes for c in item.carries}
            elif isinstance(item, Tile):
                self._tiles[item.target] = item.axes

    def along(self, index: Expr, size: object) -> set[str]:
        """The axes by which an index goes over a rank: of `n - r`, only n, if that is all of it."""
        if not isinstance(size, str):
            return set()
        axes = self.of(index)
        whole = {a for a in axes if self._sizes.get(a) == Value(size)}
        return whole or axes

    def of(self, expr: Expr) -> set[str]:
        """The axes of one expression."""
        found: set[str] = set()
        for node in subexpressions(expr):
            match node:
                case Var(name=name) if name in self._coords:
                    found |= self.of(self._coords[name])
                case Var(name=name):
                    found.add(name)
                case Name(name=name):
                    found |= set(self._tiles.get(name, ()))
                case _:
                    pass
        return found
