"""Searches in what is sorted, by counting: for devices to which a loop is nothing to wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.comparisons import TURNED
from attnc.ir.expr import Apply, Binary, Compare, Int, Name, Var
from attnc.ir.tiles import Axis, Carry, Find, Fold, Kernel, Load, Loop, Plan, Range, Statement
from attnc.ir.tiles_facts import loaded_types, tensor_sizes
from attnc.ir.tiles_walk import statements, with_body
from attnc.ir.types import Kind
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import both


@dataclass(frozen=True)
class Counted:
    """Each `find` becomes a loop that counts the elements before the place."""

    name: str = field(default="counted", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    items = [s for s in statements(kernel.body) if isinstance(s, Find)]
    context = Context(plan, kernel)
    axes: dict[str, str] = {}
    more: list[Axis] = []
    for item in items:
        size = tensor_sizes(plan)[item.tensor][item.rank]
        own = [a.name for a in kernel.axes if a.kind == "stream" and a.size == size]
        if item not in kernel.body or not own:  # loops around go along those
            own = [a.name for a in more if a.size == size]
        if not own:
            more.append(Axis(context.fresh("place"), size, "stream"))
            own = [more[-1].name]
        axes[item.target] = own[0]
    wider = replace(kernel, axes=(*kernel.axes, *more))
    context = Context(plan, wider)

    def change(item: Statement) -> Iterator[Statement]:
        if isinstance(item, Find):
            yield _loop(context, item, axes[item.target])
        else:
            yield item

    return with_body(wider, change) if items else kernel


def _loop(context: Context, item: Find, axis: str) -> Loop:
    plan, size = context.plan, context.kernel.axis(axis).size
    inside = Compare(("<",), (Var(axis), size))
    index = (*item.index[: item.rank], Var(axis), *item.index[item.rank :])
    load = Load(
        context.fresh(f"{item.target}_of"),
        context.sorted({*context.varies(*index, item.where), axis}),
        loaded_types(plan)[item.tensor].kind,
        item.tensor,
        index,
        both(item.where, inside),
    )
    before = Compare((TURNED[item.op],), (Name(load.target), item.value))
    count = Fold(
        context.fresh(f"{item.target}_count"),
        item.axes,
        Kind.I64,
        "sum",
        (axis,),
        Apply("i64", (before,)),
        inside,
    )
    after = Binary("+", Name(item.target), Name(count.target))
    carry = Carry(item.target, item.axes, Kind.I64, Int(0), after)
    return Loop(axis, (Range(Int(0), size),), (carry,), (load, count))
