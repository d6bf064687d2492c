"""The units in which tiles are held, so that loops multiply as little as can be."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Expr, Name, Value
from attnc.ir.tiles import Dot, If, Kernel, Loop, Map, Plan, Statement, Store
from attnc.ir.tiles_walk import expressions, mapped, names, statements
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.tiling.context import TILES, Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.scalars import Scalar
from attnc.passes.tiling.unit_nodes import Made
from attnc.passes.tiling.unit_search import Labels, Search, read
from attnc.passes.tiling.unit_statements import Names, Written


@dataclass(frozen=True)
class Units:
    """Holds tiles in units of their own: `v = u * v_u`, where `u` is a positive number.

    A maximum, a choice, a sum of tiles of one unit have that unit, so that a number that scales
    scores need not be multiplied with each of them. An exponential of base 2 wants its exponent in
    the unit `log(2)`, a logarithm gives it. Where operands of different units meet, they are
    multiplied, and what is stored has the unit 1. So a softmax of scaled scores has one
    multiply-add for each score, `exp2(t * c - r)`.

    A unit is positive, for what a maximum chooses is the same then, and infinities stay. Of a
    number that is not proved to be, nothing is put off beyond that.
    """

    name: str = field(default="units", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    search = Search(Context(plan, kernel), kernel)
    return _held(search, frozenset(search.context.taken), search())


def held(plan: Plan, kernel: Kernel, labels: Labels) -> Kernel:
    """A kernel with its tiles in such units."""
    search = Search(Context(plan, kernel), kernel)
    return _held(search, frozenset(search.context.taken), labels)


def _held(search: Search, taken: frozenset[str], labels: Labels) -> Kernel:
    first = _written(search, taken, labels, None)
    used = {
        n.name for e in _all(first.kernel) for n in subexpressions(e) if isinstance(n, Name | Value)
    }
    again = _names(search, taken)
    again.take(first.names, used)
    if again.named(used) == first.names.named(used):
        return first.kernel
    return _written(search, taken, labels, (first.names, used)).kernel


def _names(search: Search, taken: frozenset[str]) -> Names:
    """No names yet, beside those of the kernel."""
    context = copy(search.context)
    context.taken = {*taken}
    return Names(context)


@dataclass(frozen=True)
class _Result:
    kernel: Kernel
    names: Names


def _written(
    search: Search, taken: frozenset[str], labels: Labels, before: tuple[Names, set[str]] | None
) -> _Result:
    """A kernel rewritten; `taken` are its own names, `before` those of another run, and those of
    them that are used."""
    kernel, context, given = search.kernel, search.context, _names(search, taken)
    if before is not None:
        given.take(*before)
    writer = search.writer(labels, given)
    written = {id(c.item): writer(c) for c in search.cells}
    tiles = read(writer, {t for w in written.values() for t in w.tiles})
    body = tuple(_body(context, kernel.body, written, tiles, given))
    found = without_dead(replace(kernel, body=body))
    found = _inlined(found, {given.tile(*key) for key in tiles})
    used = {n.name for e in _all(found) for n in subexpressions(e) if isinstance(n, Value)}
    found = replace(found, body=(*given.lets(used), *found.body))
    return _Result(kernel if found == kernel else found, given)


def _body(
    context: Context,
    body: tuple[Statement, ...],
    written: dict[int, Written],
    tiles: dict[tuple[str, Scalar], Made],
    given: Names,
) -> Iterator[Statement]:
    for item in body:
        for new in written[id(item)].items:
            if isinstance(item, Loop | If) and isinstance(new, Loop | If):
                inner = tuple(_body(context, item.body, written, tiles, given))
                yield item if new == item and inner == item.body else replace(new, body=inner)
            else:
                yield new
        if isinstance(item, TILES):
            for (name, unit), made in tiles.items():
                if name == item.target:
                    target = given.tile(name, unit)
                    yield Map(target, context.axes[name], context.kinds[name], made.expr)


def _all(kernel: Kernel) -> Iterator[Expr]:
    return (e for item in statements(kernel.body) for e in expressions(item))


def _inlined(kernel: Kernel, names_: set[str]) -> Kernel:
    """Tiles of these names that one statement reads once, beside them, are written there."""
    made: dict[str, Map] = {}

    def walk(expr: Expr) -> Expr:
        if isinstance(expr, Name) and expr.name in made:
            return made[expr.name].value
        return rebuild(expr, tuple(map(walk, children(expr))))

    def of_body(body: tuple[Statement, ...]) -> Iterator[Statement]:
        here = [s.target for s in body if isinstance(s, Map) and s.target in names_]
        for item in body:
            if isinstance(item, Map) and item.target in here and once(item, body):
                made[item.target] = item
            elif isinstance(item, Loop | If):
                yield replace(item, body=tuple(of_body(item.body)))
            elif isinstance(item, Dot):
                yield item
            else:
                yield mapped(item, walk)

    def once(tile: Map, body: tuple[Statement, ...]) -> bool:
        count = sum(_all_names(e).count(tile.target) for e in _all(kernel))
        readers = [s for s in body if tile.target in names(*expressions(s))]
        match readers:
            case [Map(axes=axes)]:
                return count == 1 and axes == tile.axes
            case [Store()]:
                return count == 1
            case _:
                return False

    return replace(kernel, body=tuple(of_body(kernel.body)))


def _all_names(expr: Expr) -> list[str]:
    return [n.name for n in subexpressions(expr) if isinstance(n, Name)]
