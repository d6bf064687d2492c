"""What is so of a plan when its predicates have become fills, and what is left over gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Constant
from attnc.ir.expr import Choice, Compare, Expr, Name, Var
from attnc.ir.tiles import Dot, Fold, Kernel, Load, Map, Plan, Scan, Statement, Store, TopK
from attnc.ir.tiles_walk import statements
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.identities import identity
from attnc.passes.tiling.known import constant, is_filled
from attnc.passes.tiling.presence import TRUE


@dataclass(frozen=True)
class Dead:
    """Leaves out tiles that no store needs."""

    name: str = field(default="dead", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(map(without_dead, plan.kernels))
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def predicates(plan: Plan) -> Iterator[Statement]:
    """The observers that have a predicate still; those of memory may."""
    outputs = {o.name for o in plan.outputs} - {b.name for b in plan.buffers}
    for item in (s for k in plan.kernels for s in statements(k.body)):
        match item:
            case Fold(op="argmax" | "argmin"):
                yield item
            case Dot(where=where) | Fold(where=where) | Scan(where=where) | TopK(where=where):
                if where != TRUE:
                    yield item
            case Store(where=where) if where != TRUE and item.tensor in outputs:
                yield item
            case _:
                pass


def unfilled(plan: Plan) -> Iterator[Statement]:
    """What combines lanes beyond an extent that are not proved to change nothing."""
    for kernel in plan.kernels:
        context = Context(plan, kernel)
        for item in statements(kernel.body):
            if _counts_more(context, kernel, item):
                yield item


def _counts_more(context: Context, kernel: Kernel, item: Statement) -> bool:
    match item:
        case Dot(over=over, where=where) if where == TRUE:
            sides = (item.left, item.right)
            values: list[tuple[str, Expr]] = [
                (a, Name(s)) for a in over for s in sides if a in context.axes[s]
            ]
            fill: Constant = 0
        case Fold(op=op, over=over, value=value, where=where) if where == TRUE:
            values = [(a, value) for a in over]
            fill = identity(op, item.kind)
        case Scan(op=op, over=axis, value=value, where=where) if where == TRUE:
            over, values = (axis,), [(axis, value)]
            fill = identity(op, item.kind)
        case _:
            return False
    for axis, value in values:
        exists = Compare(("<",), (Var(axis), kernel.axis(axis).size))
        if _chosen(context, value, exists, fill):
            continue
        if not is_filled(context, value, exists, fill, frozenset(over)):
            return True
    return False


def _chosen(context: Context, value: Expr, exists: Expr, fill: Constant) -> bool:
    """Whether a value is chosen, or loaded, and lanes that do not exist are filled so."""
    item = context.defined.get(value.name) if isinstance(value, Name) else None
    if isinstance(item, Map):
        value = item.value
    match item, value:
        case Load(where=where, fill=other), _ if other is not None:
            return other == fill and exists in context.conditions(where)
        case _, Choice(condition=condition, other=other):
            return constant(other) == fill and exists in context.conditions(condition)
        case _:
            return False
