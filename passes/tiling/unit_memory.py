"""What was made of expressions at some units, remembered for as long as units are looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attnc.ir.expr import Choice, Expr, Float, Int, Name
from attnc.ir.tiles import Map
from attnc.ir.tiles_walk import names
from attnc.ir.types import Kind
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.scalars import ONE, Scalar
from attnc.passes.tiling.unit_nodes import Made, Place

Key = tuple[int, Scalar]


class Memory:
    """What expressions become, by the units of those tiles alone that each depends on.

    A search changes the units of a few tiles at a time, and most of what a statement is made of
    stays what it was.
    """

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self.best: dict[Key, Made | None] = {}
        self.exact: dict[Key, Made | None] = {}
        self.truths: dict[int, Made] = {}
        self._known: dict[int, tuple[int, tuple[str, ...]]] = {}
        self._tokens: dict[tuple[int, int, Kind, tuple[Scalar, ...]], int] = {}

    def token(self, expr: Expr, place: Place, labels: Mapping[str, Scalar]) -> int:
        """A number for an expression at a place and at the units that it depends on."""
        found = self._known.get(id(expr))
        if found is None:
            tiles = behind(self.context, names(expr))
            found = self._known[id(expr)] = len(self._known), tiles
        number, tiles = found
        key = number, place.depth, place.kind, tuple([labels.get(n, ONE) for n in tiles])
        return self._tokens.setdefault(key, len(self._tokens))


def behind(context: Context, tiles: Iterable[str]) -> tuple[str, ...]:
    """The tiles whose units something depends on that reads some: these, and where one may be
    defined in another unit, those that it is then made of."""
    found, stack = set[str](), [*tiles]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            item = context.defined.get(name)
            if isinstance(item, Map) and guards(item.value):
                stack += names(item.value)
    return tuple([n for n in sorted(found) if context.kinds[n].floating])


def guards(value: Expr) -> bool:
    """Whether a value is a choice between a tile and a constant, made by that tile."""
    match value:
        case Choice(condition=condition, then=Name(name=name), other=Int() | Float()):
            return names(condition) == {name}
        case Choice(condition=condition, then=Int() | Float(), other=Name(name=name)):
            return names(condition) == {name}
        case _:
            return False
