"""What sizes alone decide is decided before any kernel runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.comparisons import pairs
from attnc.ir.expr import Compare, Expr, Int
from attnc.ir.tiles import Load, Plan
from attnc.ir.tiles_facts import facts_of, tensor_sizes
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.everywhere import everywhere
from attnc.passes.tiling.implied import required
from attnc.passes.tiling.proofs import Proofs
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
        own = {_positive(size) for o in plan.outputs for size in tensors[o.name]} | _run(plan)
        tested = set(_tested(plan))
        given = list(plan.given)
        for condition in required(plan, known):
            # an output of size 0 has no point, whatever runs, and no program runs on such an axis
            if condition in own and condition not in tested:
                continue
            if condition not in given and not known.shows(condition):
                given.append(condition)
                known = known.knowing([condition])
        found, proofs = replace(plan, given=tuple(given)), Proofs(known)
        while True:  # a kernel may be known to store all of what the next ones read
            before, found = found, _settled(found, proofs)
            if found == before:
                return plan if found == plan else found


def _settled(plan: Plan, proofs: Proofs) -> Plan:
    """The plan with what is known to hold left out, and the presence of buffers that have all."""
    full = everywhere(plan)
    kernels = tuple(settled(plan, kernel, proofs, full) for kernel in plan.kernels)
    plan = replace(plan, kernels=kernels)
    read = {s.tensor for k in kernels for s in statements(k.body) if isinstance(s, Load)}
    full -= {tensor.removesuffix("?") for tensor in read if tensor.endswith("?")}
    buffers = tuple(replace(b, presence="all") if b.name in full else b for b in plan.buffers)
    return replace(plan, buffers=buffers)


def _run(plan: Plan) -> set[Expr]:
    """That parallel axes which all kernels have have coordinates."""
    found = [{_positive(a.size) for a in k.axes if a.kind == "par"} for k in plan.kernels]
    return set.intersection(*found) if found else set()


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
