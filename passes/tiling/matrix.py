"""Operands of matrix products, rounded as a device rounds them.

A matrix unit takes its operands in the element type of the inputs, and adds in a wider one. What a
kernel loads from such a tensor has that type already; what it computes is rounded here, by
`rounded`, which changes nothing in f32 and f64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Name
from attnc.ir.tiles import (
    Carry,
    Dot,
    Find,
    Fold,
    Kernel,
    Load,
    Loop,
    Map,
    Plan,
    Scan,
    Statement,
    TopK,
)
from attnc.ir.tiles_walk import statements, with_body
from attnc.ir.types import Kind
from attnc.passes.tiling.unused import unused


@dataclass(frozen=True)
class MatrixOperands:
    """Rounds each operand of a `Dot` that is computed in the inputs' own floating type.

    A tile is rounded once, where it is defined; one that a loop carries, before each product.
    """

    name: str = field(default="matrix", init=False)

    def __call__(self, plan: Plan) -> Plan:
        inputs = frozenset(i.name for i in plan.inputs if i.element is None)
        kernels = tuple(_rounded(kernel, inputs) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _rounded(kernel: Kernel, inputs: frozenset[str]) -> Kernel:
    """One kernel; `inputs` are the tensors that have the type already."""
    defined = {s.target: s for s in statements(kernel.body) if isinstance(s, _TILES)}
    carried = {c.name: c for s in statements(kernel.body) if isinstance(s, Loop) for c in s.carries}
    taken = set(defined) | set(carried)
    made: dict[str, str] = {}
    for item in statements(kernel.body):
        for name in (item.left, item.right) if isinstance(item, Dot) else ():
            tile = defined.get(name) or carried[name]
            if tile.kind is Kind.FLOAT and not _exact(tile, inputs) and name not in made:
                made[name] = _fresh(f"{name}_r", taken)
    if not made:
        return kernel

    def change(item: Statement) -> Iterator[Statement]:
        if isinstance(item, Dot):
            for name in dict.fromkeys((item.left, item.right)):
                if name in made and name in carried:
                    yield _map(made[name], carried[name].axes, name)
            left, right = (made.get(n, n) for n in (item.left, item.right))
            item = replace(item, left=left, right=right)
        yield item
        if isinstance(item, _TILES) and item.target in made:
            yield _map(made[item.target], item.axes, item.target)

    return with_body(kernel, change)


def _exact(item: Statement | Carry, inputs: frozenset[str]) -> bool:
    """Whether a tile has no more bits than an element of the inputs."""
    match item:
        case Load(tensor=tensor):
            return tensor in inputs
        case Map(value=Apply(function="rounded")):
            return True
        case _:
            return False


_TILES = (Load, Map, Dot, Fold, Scan, TopK, Find)


def _map(target: str, axes: tuple[str, ...], name: str) -> Map:
    return Map(target, axes, Kind.FLOAT, Apply("rounded", (Name(name),)))


def _fresh(base: str, taken: set[str]) -> str:
    """A name that no tile has, and none will."""
    name = unused(base, taken)
    taken.add(name)
    return name
