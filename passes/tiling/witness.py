"""Whether there is a point, as a product of matrices of zeros and ones.

`any[e](p[l,e] and q[k,e])` has three axes lane by lane. The number of points, a sum of products, is
what a matrix unit computes; there is one if that is not 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Choice, Compare, Expr, Float, Int, Logical, Name
from attnc.ir.tiles import Dot, Fold, Kernel, Map, Plan, Statement
from attnc.ir.tiles_walk import conjuncts, expressions, names, statements, with_body
from attnc.ir.types import Kind
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, both


@dataclass(frozen=True)
class Witness:
    """Turns reductions `any` of conditions that part into two sides into products."""

    name: str = field(default="witness", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_counted(Context(plan, kernel)) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _counted(context: Context) -> Kernel:
    kernel = context.kernel
    uses = Counter(n for s in statements(kernel.body) for e in expressions(s) for n in names(e))

    def change(item: Statement) -> Iterator[Statement]:
        if not (isinstance(item, Fold) and item.op == "any" and len(item.over) == 1):
            yield item
            return
        value = item.value
        made = context.defined.get(value.name) if isinstance(value, Name) else None
        if isinstance(made, Map) and uses[made.target] == 1:
            value = made.value
        sides = _sides(context, both(value, item.where), item.over[0])
        if sides is None:
            yield item
            return
        operands = []
        for side in sides:
            axes = context.sorted({*context.varies(side), item.over[0]})
            name = context.fresh(f"{item.target}_of")
            one = Apply("float", (Choice(side, Float(1.0), Float(0.0)),))
            yield Map(name, axes, Kind.FLOAT, one)
            operands.append(name)
        count = context.fresh(f"{item.target}_n")
        left, right = operands
        yield Dot(count, item.axes, Kind.FLOAT, item.over, left, right, TRUE)
        yield Map(item.target, item.axes, Kind.BOOL, Compare((">",), (Name(count), Int(0))))

    return with_body(kernel, change)


def _sides(context: Context, condition: Expr, over: str) -> tuple[Expr, Expr] | None:
    """Two conditions, each with axes of its own, that hold together where one does.

    What does not vary along the reduced axis is no side: it goes along with one.
    """
    parts = list(conjuncts(condition))
    if any(isinstance(p, Logical) for p in parts):
        return None
    axes = [context.varies(p) for p in parts]
    along = [a for a in axes if over in a]
    first = max(along, key=len, default=frozenset())
    second = next((a for a in along if a - first), None)
    if second is None or not first - second or not all(a <= first or a <= second for a in axes):
        return None
    one = [p for p, a in zip(parts, axes, strict=True) if a <= first]
    other = [p for p, a in zip(parts, axes, strict=True) if not a <= first]
    return both(*one), both(*other)
