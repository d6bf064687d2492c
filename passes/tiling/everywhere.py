"""Whether a buffer is stored at each of its points, so that its presence need not be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attnc.ir.expr import Compare, Expr, Int, Var
from attnc.ir.tiles import Kernel, Loop, Plan, Statement, Store
from attnc.ir.tiles_walk import statements
from attnc.passes.tiling.presence import TRUE, conjuncts


def everywhere(plan: Plan) -> frozenset[str]:
    """The buffers, outputs aside, all of whose points are stored and present."""
    outputs = {o.name for o in plan.outputs}
    sizes = {b.name: b.sizes for b in plan.buffers if b.name not in outputs}
    stores = [s.tensor for k in plan.kernels for s in statements(k.body) if isinstance(s, Store)]
    found: set[str] = set()
    for kernel in plan.kernels:
        for item, loops in _stores(kernel.body, ()):
            once = item.tensor in sizes and stores.count(item.tensor) == 1
            if once and _covers(kernel, item, loops, sizes[item.tensor]):
                found.add(item.tensor)
    return frozenset(found)


def _stores(
    body: Iterable[Statement], loops: tuple[Loop, ...]
) -> Iterator[tuple[Store, tuple[Loop, ...]]]:
    """The stores that no condition is around, with their loops."""
    for item in body:
        match item:
            case Store():
                yield item, loops
            case Loop():
                yield from _stores(item.body, (*loops, item))
            case _:
                pass


def _covers(kernel: Kernel, item: Store, loops: tuple[Loop, ...], sizes: tuple[Expr, ...]) -> bool:
    """Whether a store, in all rounds and programs, sets each point, and all are present."""
    names = [i.name for i in item.index if isinstance(i, Var)]
    axes = {a.name: a for a in kernel.axes}
    if item.where != TRUE or item.combine is not None or not axes.keys() >= {*names}:
        return False
    if len({*names}) < len(sizes) or [axes[n].size for n in names] != [*sizes]:
        return False
    if any(x.axis not in names for x in loops):
        return False  # a loop without a round would store nothing
    parallel = {a.name for a in kernel.axes if a.kind == "par"}
    tests = {Compare(("<",), (Var(n), axes[n].size)) for n in names}
    spans = all(
        [(r.low, r.high, r.step) for r in x.ranges] == [(Int(0), axes[x.axis].size, Int(1))]
        and x.where == TRUE
        for x in loops
    )
    others = set(conjuncts(item.guard)) - tests - {TRUE}
    return spans and not others and parallel <= {*names}
