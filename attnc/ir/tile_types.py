"""Types of expressions over tiles: the rules of the language, a tile counting as a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attnc.ir.expr import Apply, Expr, Name
from attnc.ir.types import INDEX_INT, Kind, Origin, Type
from attnc.ir.typing import Types

NONE: Final[Mapping[str, Origin]] = {}
WITHIN: Final = Type(Kind.BOOL, Origin.INDEX)


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
        match expr:
            case Name(name=name):
                return Type(self.tiles[name], self.origins.get(name, Origin.TENSOR))
            case Apply(function="low" | "high" | "tile"):
                return INDEX_INT
            case Apply(function="within"):
                return WITHIN
            case Apply(function="float"):
                return Type(Kind.FLOAT, Origin.TENSOR)
            case Apply(function="rounded", arguments=(operand,)):
                return self(operand)
            case _:
                return super()._type(expr)
