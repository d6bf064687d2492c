"""New names for what passes add to a plan."""

from __future__ import annotations

from collections.abc import Collection

from attnc.ir.tiles import Plan
from attnc.passes.tiling.context import Context


def value(plan: Plan, base: str) -> str:
    """A name of a number that no kernel has."""
    taken = set(plan.tiles)
    for kernel in plan.kernels:
        taken |= Context(plan, kernel).taken
    return new(base, taken)


def tensor(plan: Plan, base: str) -> str:
    """A name of a tensor."""
    taken = {i.name for i in plan.inputs} | {o.name for o in plan.outputs}
    return new(base, taken | {b.name for b in plan.buffers})


def kernel(plan: Plan, base: str) -> str:
    """A name of a kernel."""
    return new(base, {k.name for k in plan.kernels})


def new(base: str, taken: Collection[str]) -> str:
    """A name that is not taken and begins like `base`."""
    found, count = base, 1
    while found in taken:
        count += 1
        found = f"{base}{count}"
    return found
