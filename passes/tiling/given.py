"""What sizes alone decide is decided before any kernel runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.comparisons import pairs
from attnc.ir.expr import Compare, Expr, Int
from attnc.ir.tiles import Plan
from attnc.ir.tiles_facts import facts_of, tensor_sizes
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.implied import required
from attnc.passes.tiling.settled import settled


@dataclass(frozen=True)
class Given:
    """Conditions of values alone that any point of any output needs are given for the plan.

    Where one does not hold, nothing is present: no kernel runs. So they hold in all kernels, and so
    does what follows from them, from requirements, from bindings and from the coordinates of lanes
    that exist: it is not tested any more. A condition that one output needs and another does not
    stays where it is.
    """

    name: str = field(default="given", init=False)

    def __call__(self, plan: Plan) -> Plan:
        values = facts_of(plan).values
        tensors = tensor_sizes(plan)
        known = known_of(plan, values)
        own = {_positive(size) for o in plan.outputs for size in tensors[o.name]}
        tested = set(_tested(plan))
        given = list(plan.given)
        for condition in required(plan, known):
            # an output of size 0 has no point, whatever runs
            if condition in own and condition not in tested:
                continue
            if condition not in given and not known.shows(condition):
                given.append(condition)
                known = known.knowing([condition])
        found = replace(plan, given=tuple(given))
        kernels = tuple(settled(found, kernel, known) for kernel in plan.kernels)
        found = replace(found, kernels=kernels)
        return plan if found == plan else found


def _positive(size: Expr) -> Expr:
    return Compare(("<",), (Int(0), size))


def _tested(plan: Plan) -> Iterator[Expr]:
    """The comparisons in kernels."""
    for kernel in plan.kernels:
        for item in statements(kernel.body):
            for expr in expressions(item):
                for node in subexpressions(expr):
                    if isinstance(node, Compare):
                        for op, left, right in pairs(node):
                            yield Compare((op,), (left, right))
