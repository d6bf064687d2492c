"""What sizes alone decide is decided before any kernel runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.comparisons import pairs
from attnc.ir.expr import Compare, Expr, Int
from attnc.ir.tiles import Kernel, Load, Plan
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
        settling = _Settling(Proofs(known))
        found = replace(plan, given=tuple(given))
        while True:  # a kernel may be known to store all of what the next ones read
            before, found = found, settling(found)
            if found == before:
                return plan if found == plan else found


@dataclass
class _Settling:
    """Settles the kernels of a plan again and again."""

    proofs: Proofs
    done: dict[int, tuple[Kernel, set[str]]] = field(
        default_factory=dict[int, tuple[Kernel, "set[str]"]]
    )
    """Kernels in which nothing is left to settle, with what they read that is full."""

    def __call__(self, plan: Plan) -> Plan:
        """The plan without what is known to hold, and the presence of buffers that have all."""
        full = everywhere(plan)
        kernels = tuple(self._kernel(plan, kernel, full) for kernel in plan.kernels)
        if any(a is not b for a, b in zip(kernels, plan.kernels, strict=True)):
            plan = replace(plan, kernels=kernels)
        full = full.difference(*map(_asked, kernels))
        buffers = tuple(
            replace(b, presence="all") if b.name in full and b.presence != "all" else b
            for b in plan.buffers
        )
        return plan if buffers == plan.buffers else replace(plan, buffers=buffers)

    def _kernel(self, plan: Plan, kernel: Kernel, full: frozenset[str]) -> Kernel:
        read = _asked(kernel) & full
        if self.done.get(id(kernel)) == (kernel, read):
            return kernel
        found = settled(plan, kernel, self.proofs, full)
        if found is kernel:
            self.done[id(kernel)] = kernel, read
        return found


def _asked(kernel: Kernel) -> set[str]:
    """The buffers whose presence a kernel reads."""
    read = {s.tensor for s in statements(kernel.body) if isinstance(s, Load)}
    return {tensor.removesuffix("?") for tensor in read if tensor.endswith("?")}


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
