"""Loops over the lanes of tiles: which statements share one, and in which order axes go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from attnc.backends.tvm.scope import LaneScope
from attnc.ir.expr import Binary, Name
from attnc.ir.tiles import Dot, Fold, Load, Map, Statement
from attnc.ir.tiles_walk import reads


@dataclass
class Nest:
    """Statements that one nest of loops computes, lane by lane."""

    loops: tuple[str, ...]
    items: list[Load | Map | Fold] = field(default_factory=list[Load | Map | Fold])

    @property
    def folded(self) -> set[str]:
        """What is known only behind the loops."""
        return {i.target for i in self.items if isinstance(i, Fold)}


def nests(body: Sequence[Statement], scope: LaneScope) -> Iterator[Nest | Statement]:
    """Statements in order, those next to each other with the same loops together."""
    open_: Nest | None = None
    for item in body:
        if not isinstance(item, Load | Map | Fold):
            if open_ is not None:
                yield open_
            open_ = None
            yield item
            continue
        loops = loops_of(item, scope)
        apart = (
            open_ is None
            or open_.loops != loops
            or reads(item) & open_.folded
            or isinstance(item, Load) != isinstance(open_.items[0], Load)
            or across(item, scope) != across(open_.items[0], scope)
        )
        if apart:
            if open_ is not None:
                yield open_
            open_ = Nest(loops)
        assert open_ is not None
        open_.items.append(item)
    if open_ is not None:
        yield open_


def across(item: Load | Map | Fold, scope: LaneScope) -> bool:
    """Whether lanes of a vector are combined, so that loops are no vectors."""
    return isinstance(item, Fold) and scope.vector in item.over


def loops_of(item: Load | Map | Fold, scope: LaneScope) -> tuple[str, ...]:
    """The axes of a statement's loops, outermost first."""
    if isinstance(item, Load):
        return scope.natural(item, scope.dimensions(item.axes))
    return scope.loops_of(item)


def as_fold(item: Dot) -> Fold:
    """A product of tiles as the sum that it is."""
    value = Binary("*", Name(item.left), Name(item.right))
    return Fold(item.target, item.axes, item.kind, "sum", item.over, value, item.where)
