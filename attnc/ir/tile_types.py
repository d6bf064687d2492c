"""Types of expressions over tiles: the rules of the language, a tile counting as a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attnc.ir.expr import Apply, Expr, Name
from attnc.ir.types import INDEX_INT, Kind, Origin, Type, type_of
from attnc.ir.typing import Types

NONE: Final[Mapping[str, Origin]] = {}
WITHIN: Final = type_of(Kind.BOOL, Origin.INDEX)


class TileTypes(Types):
    """Types where `Name` is a tile, whose kind is in `tiles`.

    `origins` are those of tiles that were computed without any tensor. A plan has none: what such a
    tile meets has been made of one kind with it.
    """

    def __init__(
        self,
        values: Mapping[str, Type],
        tensors: Mapping[str, Type | None],
        tiles: Mapping[str, Kind],
        origins: Mapping[str, Origin] = NONE,
    ) -> None:
        super().__init__(values, tensors)
        self.tiles: Mapping[str, Kind] = tiles
        self.origins: Mapping[str, Origin] = origins

    def _type(self, expr: Expr) -> Type:
        if isinstance(expr, Name):
            return type_of(self.tiles[expr.name], self.origins.get(expr.name, Origin.TENSOR))
        return Types._type(self, expr)

    def _apply(self, expr: Apply) -> Type:
        match expr.function:
            case "low" | "high" | "tile":
                return INDEX_INT
            case "within":
                return WITHIN
            case "float":
                return type_of(Kind.FLOAT, Origin.TENSOR)
            case "rounded":
                return self(expr.arguments[0])
            case _:
                return Types._apply(self, expr)
