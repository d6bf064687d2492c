"""Which tiles are full by what is loaded: told for a loop whose look several programs share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnc.ir.expr import Apply, Binary, Compare, Expr, Name, Var
from attnc.ir.tiles import Fold, Kernel, Plan
from attnc.ir.types import Kind
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, both
from attnc.passes.tiling.summary_look import Look, shared


@dataclass(frozen=True)
class Told:
    """A kernel with numbers of rounds behind its loops, and when these are full, by axis.

    It is what the lists of a summary are made by, for those who count what will be in them.
    """

    kernel: Kernel
    full: dict[str, Expr]


def told(plan: Plan, kernel: Kernel) -> Told:
    """The kernel with what tells of rounds whether they are full, where a summary lists them."""
    full: dict[str, Expr] = {}
    body = list(kernel.body)
    for loop in kernel.body:
        context = Context(plan, replace(kernel, body=tuple(body)))
        look = shared(Context(plan, kernel), loop)
        if look is not None:
            every = _every(context, look)
            edge = Apply("low", (Var(look.loop.axis),))
            end = Binary("+", edge, Apply("tile", (Var(look.loop.axis),)))
            size = kernel.axis(look.loop.axis).size
            full[look.loop.axis] = both(Name(every.target), Compare(("<=",), (end, size)))
            body.append(every)  # no observer of the loop: it asks for no tile
    return Told(replace(kernel, body=tuple(body)), full)


def _every(context: Context, look: Look) -> Fold:
    """Whether the predicate holds in each lane."""
    asked = both(*look.parts, *look.rows)
    over = context.sorted(context.varies(asked))
    name = context.fresh(f"{look.loop.axis}_every")
    return Fold(name, (), Kind.BOOL, "all", over, asked, both(context.valid(over), TRUE))
