"""What is the same in all of a kernel: conditions of values alone, and what is proved of axes."""

from __future__ import annotations

from attnc.ir.expr import Apply, Expr, Name, Read, Value, Var
from attnc.ir.tiles import FUNCTIONS, Loop, Range
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.tiles_prove import Prover
from attnc.ir.tiles_walk import statements
from attnc.ir.walk import children
from attnc.passes.tiling.context import Context


def uniform(expr: Expr, values: frozenset[str]) -> bool:
    """Whether an expression is of the plan's values alone."""
    match expr:
        case Value(name=name):
            return name in values
        case Var() | Name() | Read():
            return False
        case Apply(function=function) if function in FUNCTIONS:
            return False
        case _:
            return all(uniform(child, values) for child in children(expr))


def prover_of(context: Context) -> Prover:
    """What is proved of the axes of a kernel, whatever the round."""
    kernel = context.kernel
    ranges: dict[str, tuple[Range, ...]] = {}
    for item in statements(kernel.body):
        if isinstance(item, Loop):
            ranges[item.axis] = (*ranges.get(item.axis, ()), *item.ranges)
    axes = {a.name: a for a in kernel.axes}
    sizes = {size for tensor in tensor_sizes(context.plan).values() for size in tensor}
    sizes |= {a.size for a in kernel.axes}
    meanings: dict[Expr, Expr] = {Value(x.name): x.value for x in context.plan.lets}
    meanings |= {Value(name): value for name, value in context.lets.items()}
    coords = {c.name: (c.value, c.size) for c in kernel.coords}
    return Prover(axes, coords, frozenset(sizes), meanings, ranges=ranges)
