"""What a kernel's text knows where rows are few: vectors go along what is streamed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from attnc.backends.names import Names
from attnc.backends.triton.schedule import tiled
from attnc.backends.tvm.scope import RESERVED, LaneScope
from attnc.ir.expr import Apply, Binary, Expr, Int, Value, Var
from attnc.ir.tiles import Carry, Fold, Kernel, Let, Load, Loop, Map, Plan, Statement
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.context import Context

ROWS: Final = 4
"""So many rows a product takes at once, where they are few: tiles have no more."""
PIECES: Final = 16
"""The least number of pieces that are merged at once."""


@dataclass
class FewScope(LaneScope):
    """Names and terms of a kernel for few rows.

    What has no rows lies as in memory. Of other tiles, that axis is last which is streamed, else
    one that is held whole, else rows. Each statement has vectors along the last axis of its lanes.
    """

    dense: dict[str, int] = field(default_factory=dict[str, int])
    """Tensors of which vectors are read in memory, if neighbours along a rank lie next to each
    other, and that rank."""

    @property
    def whole(self) -> Kernel:
        """The kernel without the axes along which it has the parts of a stream."""
        apart = _apart(self.kernel)
        return replace(self.kernel, axes=tuple(a for a in self.kernel.axes if a.name not in apart))

    @property
    def pieces(self) -> list[Expr]:
        """How many parts each stream has."""
        apart = _apart(self.kernel)
        return [a.size for a in self.kernel.axes if a.name in apart]

    def least(self, axis: str) -> int:
        """The least tile along an axis: several pieces, lest lengths that grow build often."""
        found = self.axis(axis)
        return PIECES if found.kind == "stream" and not isinstance(found.size, Value) else 1

    def _vector(self) -> str | None:
        return None

    def _layout(self, item: Statement | Carry) -> tuple[str, ...]:
        found = LaneScope._layout(self, item)
        if isinstance(item, Load) and not any(self.axis(a).kind == "par" for a in found):
            return found
        return self.in_order(found)

    def in_order(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        """Axes with that last along which vectors go, whatever the order they are given in."""
        last: str | None = None
        for kind in ("par", "whole", "stream"):
            own = (a.name for a in self.kernel.axes if a.kind == kind and a.name in axes)
            last = next(own, last)
        return (*(a for a in axes if a != last), *(a for a in axes if a == last))

    def loops_of(self, item: Map | Fold) -> tuple[str, ...]:
        """The axes of a statement's loops, the one of vectors last."""
        axes = self.layouts[item.target]
        if not isinstance(item, Fold):
            return axes
        together = (*self.dimensions(item.over), *axes)
        for name in sorted(names(*expressions(item))):
            if set(self.layouts.get(name, ())) == set(together):
                return self.layouts[name]
        return self.in_order(together)


def few_scope(plan: Plan, kernel: Kernel) -> FewScope:
    """What is known of a kernel before it is printed for few rows."""
    context, names_ = Context(plan, kernel), Names(set(RESERVED))
    return FewScope(plan, kernel, context, tiled(context, _apart(kernel)), names=names_)


def _apart(kernel: Kernel) -> frozenset[str]:
    """Parallel axes whose neighbours go through parts of a stream that are many points apart."""
    found: set[str] = set()
    told = [s for s in statements(kernel.body) if isinstance(s, Let | Loop)]
    for node in (n for s in told for e in expressions(s) for n in subexpressions(e)):
        match node:
            case Binary(op="*", left=Int(value=by), right=Apply() as edge) if by > 1:
                found |= _edged(edge)
            case Binary(op="*", left=Apply() as edge, right=Int(value=by)) if by > 1:
                found |= _edged(edge)
            case _:
                pass
    return frozenset(found) & {a.name for a in kernel.axes if a.kind == "par"}


def _edged(edge: Apply) -> set[str]:
    """The axis of which something is the first or last coordinate."""
    within = edge.function in ("low", "high")
    return {v.name for v in edge.arguments if isinstance(v, Var)} if within else set()
