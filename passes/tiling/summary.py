"""Which tiles hold a point, where only lanes tell: looked at once, before, for all who ask.

A loop that looks at its predicate in each round does so in each program, and nothing is loaded
ahead behind a test. Where parallel axes play no part in the predicate, as heads in a mask of
queries and keys, one look serves all of their programs. A kernel before looks at each pair of
tiles, another lists for each tile of rows those that have a point, and behind them those in which
no lane lacks one. So the loop goes through a list, tests no round, and in full tiles no lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Choice, Expr, Int, Name, Value
from attnc.ir.tiles import (
    Axis,
    Buffer,
    Fold,
    Kernel,
    Let,
    Listed,
    Load,
    Plan,
    Range,
    Statement,
)
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.tiling import naming
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.presence import TRUE, both, conjuncts
from attnc.passes.tiling.summary_again import Again
from attnc.passes.tiling.summary_kernels import Lists, listing, looking, number
from attnc.passes.tiling.summary_look import Look, shared


@dataclass(frozen=True)
class Summary:
    """Looks at rounds go into a kernel before, where several programs share what they find.

    The tiles of a list are those of the axis that have a point at all, each once: what the loop
    went through, less what it left out. In the full ones the predicate holds in each lane.
    """

    name: str = field(default="summary", init=False)

    def __call__(self, plan: Plan) -> Plan:
        for kernel in plan.kernels:
            for loop in kernel.body:
                now = next(k for k in plan.kernels if k.name == kernel.name)
                found = shared(Context(plan, now), loop)
                if found is not None:
                    plan = _listed(plan, now, found)
        return plan


def _listed(plan: Plan, kernel: Kernel, look: Look) -> Plan:
    """The plan in which a loop of a kernel goes through lists that others before make."""
    stream = look.loop.axis
    axes = tuple(replace(a, tile=a.tile or naming.value(plan, f"{a.name}_tile")) for a in look.axes)
    look = replace(look, axes=axes)
    tiles = dict.fromkeys((*plan.tiles, *(a.tile for a in axes)))
    lists = Lists(
        *(naming.tensor(plan, f"{stream}_{n}") for n in ("kinds", "list", "partial", "end"))
    )
    rows = tuple(_count(a) for a in axes if a.name != stream)
    every = (*rows, *(_count(a) for a in axes if a.name == stream))
    buffers = (
        Buffer(lists.kinds, every, Kind.I32, "all"),
        Buffer(lists.tiles, every, Kind.I32, "all"),
        Buffer(lists.partial, rows, Kind.I32, "all"),
        Buffer(lists.end, rows, Kind.I32, "all"),
    )
    plan = replace(plan, buffers=(*plan.buffers, *buffers), tiles=tuple(tiles))
    place = plan.kernels.index(kernel)
    first = looking(naming.kernel(plan, f"{kernel.name}_look"), look, lists)
    second = listing(naming.kernel(plan, f"{kernel.name}_list"), look, lists)
    main = _through(plan, _sharing(kernel, axes), look, lists)
    kernels = (*plan.kernels[:place], first, second, main, *plan.kernels[place + 1 :])
    return replace(plan, kernels=kernels)


def _count(axis: Axis) -> Expr:
    """The number of tiles of an axis."""
    return Apply("ceildiv", (axis.size, Value(axis.tile)))


def _sharing(kernel: Kernel, axes: Iterable[Axis]) -> Kernel:
    """A kernel with axes whose tiles have sizes that others know."""
    known = {a.name: a for a in axes}
    return replace(kernel, axes=tuple(known.get(a.name, a) for a in kernel.axes))


def _through(plan: Plan, kernel: Kernel, look: Look, lists: Lists) -> Kernel:
    """The kernel whose loop goes through the tiles of a list, and tests nothing in full ones."""
    context = Context(plan, kernel)
    rows = tuple(number(a.name) for a in look.axes if a.name != look.loop.axis)
    partial = Load(context.fresh(lists.partial), (), Kind.I32, lists.partial, rows, TRUE)
    end = Load(context.fresh(lists.end), (), Kind.I32, lists.end, rows, TRUE)
    before: list[Statement] = [partial, end]
    context.add(before)
    bounds: tuple[Expr, Expr] = Name(partial.target), Name(end.target)
    if look.rows:
        more, bounds = _for_rows(context, look, *bounds)
        before += more
    of = Listed(lists.tiles, rows)
    ranges = (Range(Int(0), bounds[0], of=of), Range(*bounds, full=True, of=of))
    own = conjuncts(context.valid([look.loop.axis]))
    given = (*own, *look.parts, *look.rows)
    loop = replace(look.loop, ranges=ranges, where=TRUE, given=given, present=())
    place = kernel.body.index(look.loop)
    again = Again(context, look, Range(Int(0), bounds[1], of=of))
    after = again(kernel.body[place + 1 :])
    body = (*kernel.body[:place], *before, loop, *after)
    return without_dead(replace(kernel, body=_used(body)))


def _for_rows(
    context: Context, look: Look, partial: Expr, end: Expr
) -> tuple[list[Statement], tuple[Expr, Expr]]:
    """Bounds for programs that have conditions of their own on rows.

    Where these hold for no row, there is no round; where not for all, no tile is full.
    """
    asked = both(*look.rows)
    over = context.sorted(context.varies(asked))
    valid = context.valid(over)
    filled = Choice(valid, asked, TRUE) if over else asked
    some = Fold(context.fresh("some"), (), Kind.BOOL, "any", over, both(valid, asked), TRUE)
    every = Fold(context.fresh("every"), (), Kind.BOOL, "all", over, filled, TRUE)
    if not over:
        last = Choice(asked, end, Int(0))
        cut = Choice(asked, partial, Int(0))
        found: list[Statement] = []
    else:
        last = cut = Choice(Name(some.target), end, Int(0))
        found = [some, every]
    context.add(found)
    base = look.loop.axis
    names = context.fresh(f"{base}_last"), context.fresh(f"{base}_cut")
    if over:  # which is the end, where all are partial
        cut = Choice(Name(every.target), partial, Value(names[0]))
    found += [Let(n, v, Kind.I32) for n, v in zip(names, (last, cut), strict=True)]
    return found, (Value(names[1]), Value(names[0]))


def _used(body: Iterable[Statement]) -> tuple[Statement, ...]:
    """Statements without the numbers that nothing is made of."""
    found: list[Statement] = []
    for item in reversed(tuple(body)):
        later = (e for s in statements(found) for e in expressions(s))
        values = {n.name for e in later for n in subexpressions(e) if isinstance(n, Value)}
        if not isinstance(item, Let) or item.name in values:
            found.append(item)
    return tuple(found[::-1])
