"""Types of expressions over tiles: the rules of the language, a tile counting as a tensor."""

from __future__ import annotations

from collections.abc import Mapping

from attnc.ir.expr import Expr, Name
from attnc.ir.facts import Facts
from attnc.ir.types import Kind, Origin, Type
from attnc.ir.typing import Types


class TileTypes(Types):
    """Types where `Name` is a tile, whose kind is in `tiles`."""

    def __init__(self, facts: Facts, tiles: Mapping[str, Kind]) -> None:
        super().__init__(facts.values, facts.types)
        self.tiles: Mapping[str, Kind] = tiles

    def _type(self, expr: Expr) -> Type:
        if isinstance(expr, Name):
            return Type(self.tiles[expr.name], Origin.TENSOR)
        return super()._type(expr)
