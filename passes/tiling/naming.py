"""New names for what passes add to a plan."""

from __future__ import annotations

from attnc.ir.tiles import Plan
from attnc.ir.tiles_facts import facts_of, tensor_sizes
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.unused import unused


def every(plan: Plan) -> set[str]:
    """All names of a plan."""
    found = {*facts_of(plan).values, *tensor_sizes(plan)}
    found |= {name for name, _ in plan.variables}
    for kernel in plan.kernels:
        found |= Context(plan, kernel).taken
    return found


def value(plan: Plan, base: str) -> str:
    """A name of a number that no kernel has."""
    taken = set(plan.tiles)
    for kernel in plan.kernels:
        taken |= Context(plan, kernel).taken
    return unused(base, taken)


def tensor(plan: Plan, base: str) -> str:
    """A name of a tensor."""
    taken = {i.name for i in plan.inputs} | {o.name for o in plan.outputs}
    return unused(base, taken | {b.name for b in plan.buffers})


def kernel(plan: Plan, base: str) -> str:
    """A name of a kernel."""
    return unused(base, {k.name for k in plan.kernels})
