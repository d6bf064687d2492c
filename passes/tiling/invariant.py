"""What a loop computes anew in each round, although it is the same, goes before the loop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.ir.tiles import Dot, Fold, If, Kernel, Load, Loop, Plan, Scan, Statement, TopK
from attnc.ir.tiles_walk import expressions, names
from attnc.passes.tiling.context import TILES, Context


@dataclass(frozen=True)
class Invariant:
    """Moves tiles out of loops that need neither what a loop carries nor its coordinates.

    Tiles have no effect, so that they may be computed where the loop has no round. A load stays
    where the kernel stores to its tensor.
    """

    name: str = field(default="invariant", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    body = _body(Context(plan, kernel), kernel.body)
    return kernel if body == kernel.body else replace(kernel, body=body)


def _body(context: Context, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for item in body:
        match item:
            case Loop():
                before, inner = _parted(context, item)
                found += [*before, inner]
            case If():
                found.append(replace(item, body=_body(context, item.body)))
            case _:
                found.append(item)
    return tuple(found)


def _parted(context: Context, loop: Loop) -> tuple[list[Statement], Loop]:
    """What goes before a loop, and the loop without it."""
    before: list[Statement] = []
    kept: list[Statement] = []
    inner = {c.name for c in loop.carries}
    for item in _body(context, loop.body):
        if isinstance(item, TILES) and not _varies(context, item, loop.axis, inner):
            before.append(item)
            continue
        kept.append(item)
        if isinstance(item, TILES):
            inner.add(item.target)
        elif isinstance(item, Loop | If):
            inner |= {c.name for c in item.carries}
    return before, replace(loop, body=tuple(kept))


def _varies(context: Context, item: Statement, axis: str, inner: set[str]) -> bool:
    """Whether a tile may be another in each round."""
    match item:
        case Load(tensor=tensor) if tensor.removesuffix("?") in context.stored:
            return True
        case Fold(over=over) | Dot(over=over) if axis in over:
            return True
        case Scan(over=over) | TopK(over=over) if axis == over:
            return True
        case _:
            read = expressions(item)
            return bool(names(*read) & inner) or axis in context.mentions(*read)
