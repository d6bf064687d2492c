"""Tiles that are filled when they are loaded, where that was done afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Choice, Expr, Name, Unary
from attnc.ir.tiles import If, Kernel, Load, Loop, Map, Plan, Statement
from attnc.ir.tiles_walk import expressions, names, rewritten, statements
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.known import constant
from attnc.passes.tiling.presence import both


@dataclass(frozen=True)
class Preload:
    """Puts a fill into the load of what is filled, if nothing reads it without.

    `v = load V[...] where p; w = v if q else 0` becomes `w = load V[...] where p and q else 0`: the
    condition guards memory, too, and what is loaded stays in its own type.
    """

    name: str = field(default="preload", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_preloaded(Context(plan, kernel)) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _preloaded(context: Context) -> Kernel:
    kernel = context.kernel
    uses = Counter(n for s in statements(kernel.body) for e in expressions(s) for n in names(e))
    loads: dict[str, Load] = {}
    for block, item in _placed(kernel.body):
        match item:
            case Map(target=target, kind=kind, value=Choice(test, Name(name=name), other)):
                load = next((s for s in block if isinstance(s, Load) and s.target == name), None)
                fill = constant(other)
                known = _without_tiles(context, test)
                if (
                    load is not None
                    and load.fill is None
                    and uses[name] == 1
                    and load.kind is kind
                    and fill is not None
                    and known is not None
                    and context.varies(known) <= set(load.axes)
                ):
                    where = both(load.where, known)
                    loads[name] = replace(load, target=target, where=where, fill=fill)
            case _:
                pass
    if not loads:
        return kernel
    made = {load.target for load in loads.values()}

    def change(item: Statement) -> tuple[Statement, ...]:
        match item:
            case Load(target=target) if target in loads:
                return (loads[target],)
            case Map(target=target) if target in made:
                return ()
            case _:
                return (item,)

    return replace(kernel, body=rewritten(kernel.body, change))


def _placed(
    body: tuple[Statement, ...],
) -> Iterator[tuple[tuple[Statement, ...], Statement]]:
    """Each statement with the block in which it stands: conditions are known there."""
    for item in body:
        yield body, item
        if isinstance(item, Loop | If):
            yield from _placed(item.body)


def _without_tiles(context: Context, expr: Expr) -> Expr | None:
    """A condition with tiles replaced by what they are, if that is all of coordinates."""
    match expr:
        case Name(name=name):
            item = context.defined.get(name)
            if not isinstance(item, Map):
                return None
            return _without_tiles(context, item.value)
        case Unary(op="not", operand=operand):
            inner = _without_tiles(context, operand)
            return None if inner is None else replace(expr, operand=inner)
        case _:
            return None if names(expr) else expr
