"""Parallel ranks that share what is streamed become one axis of rows.

A device runs a tile of rows against a tile of what is streamed, and one coordinate of all other
parallel axes at a time. Rows are those of an axis which nothing that is streamed varies along. If
they are few, as where one query at a time is decoded, most of a tile is empty, and what is streamed
is loaded once more for each coordinate of another axis, even of one along which it does not vary
either: `K[b, h // G, n, e]` is the same for `G` consecutive `h`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Name, Value, Var
from attnc.ir.tiles import Dot, Fold, If, Kernel, Let, Load, Loop, Plan, Statement
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.tiling import naming
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.packed import Packed, Unpackable, packed
from attnc.passes.tiling.packing import Packing
from attnc.passes.tiling.presence import both, chosen, nonzero
from attnc.passes.tiling.unused import unused

ROWS: Final = 64
"""The rows that fill a tile: a matrix unit of a device takes 64 at once, or 16 several times. With
so many, what is streamed is used often enough without others."""


@dataclass(frozen=True)
class Pack:
    """Packs into the rows of a kernel another parallel axis that shares what is streamed.

    How many of its coordinates go into a row is a number that is known when the kernel is called:
    as many as share, if rows are few, else 1. At most one axis of a kernel is packed, the innermost
    that can be. Where all coordinates of one share, but its tile decides what loops go through, it
    stays.
    """

    rows: int = ROWS
    name: str = field(default="pack", init=False)

    def __call__(self, plan: Plan) -> Plan:
        taken = naming.every(plan)
        lets: dict[Expr, Let] = {}
        kernels: list[Kernel] = []
        for kernel in plan.kernels:
            context = Context(plan, kernel)
            outer, inner = context.fresh("y"), context.fresh("x")
            ranged = _ranged(context)
            for choice in _choices(kernel):
                if choice[2] is None and choice[0] in ranged:
                    continue
                number = self._count(kernel, choice)
                if context.kind(number) is not Kind.I64:
                    continue
                let = lets.get(number) or Let(unused("P", taken), number, Kind.I64)
                found = _packed(kernel, Packing(*choice, Value(let.name), outer, inner))
                if found is not None:
                    lets[number] = let
                    taken.add(let.name)
                    kernel = found
                    break
            kernels.append(kernel)
        if not lets:
            return plan
        return replace(plan, lets=(*plan.lets, *lets.values()), kernels=tuple(kernels))

    def _count(self, kernel: Kernel, choice: _Choice) -> Expr:
        """How many coordinates go into a row: what shares, or 1."""
        shared, rows, divisor = choice
        share = kernel.axis(shared).size if divisor is None else divisor
        pays = [] if rows is None else [Compare(("<",), (kernel.axis(rows).size, Int(self.rows)))]
        # a value that divides by 0 refuses the call, and a coordinate that does is in no point
        exists = [nonzero(e.right) for e in subexpressions(share) if _divides(e)]
        return chosen(both(*pays, *exists), Apply("max", (share, Int(1))), Int(1))


_Choice = tuple[str, str | None, Expr | None]
"""An axis that may share, one of rows, and how many consecutive coordinates share."""


def _choices(kernel: Kernel) -> Iterator[_Choice]:
    """What could be packed, in the order of preference."""
    parallel = [a.name for a in reversed(kernel.axes) if a.kind == "par"]
    streamed = [
        item
        for loop in _streams(kernel)
        for item in statements(loop.body)
        if isinstance(item, Load)
    ]
    for shared in parallel:
        rows = [a for a in parallel if a != shared]
        for divisor in dict.fromkeys(d for load in streamed for d in _divisors(load, shared)):
            yield from ((shared, other, divisor) for other in rows)
            yield shared, None, divisor
        # one that nothing streamed varies along holds the rows already, if no other is inside
        yield from ((shared, other, None) for other in rows[: parallel.index(shared)])


def _ranged(context: Context) -> set[str]:
    """The axes whose tile decides what loops go through.

    With all coordinates of one in each row, loops go through what any of them needs.
    """
    stack = [
        bound
        for loop in statements(context.kernel.body)
        if isinstance(loop, Loop)
        for part in loop.ranges
        for bound in (part.low, part.high)
    ]
    found: set[str] = set()
    seen: set[str] = set()
    while stack:
        expr = stack.pop()
        found |= context.mentions(expr)
        for node in subexpressions(expr):
            if isinstance(node, Value | Name) and node.name not in seen:
                seen.add(node.name)
                if node.name in context.lets:
                    stack.append(context.lets[node.name])
                elif node.name in context.defined:
                    stack += expressions(context.defined[node.name])
    return found


def _divisors(load: Load, axis: str) -> Iterator[Expr]:
    """The numbers of the whole call that a coordinate is divided by, in what is loaded."""
    for expr in load.index:
        for node in subexpressions(expr):
            match node:
                case Binary(op="//", left=Var(name=name), right=divisor) if name == axis:
                    if all(map(_whole, subexpressions(divisor))):
                        yield divisor
                case _:
                    pass


def _whole(expr: Expr) -> bool:
    """Whether an expression is a number of the whole call, or made of its parts by arithmetic."""
    arithmetic = isinstance(expr, Binary) and expr.op in ("+", "-", "*", "//", "%")
    return arithmetic or isinstance(expr, Int | Value)


def _divides(expr: Expr) -> TypeGuard[Binary]:
    return isinstance(expr, Binary) and expr.op in ("//", "%")


def _streams(kernel: Kernel) -> Iterator[Loop]:
    """The loops over tiles of what is streamed, outermost ones."""

    def within(body: tuple[Statement, ...]) -> Iterator[Loop]:
        for item in body:
            if isinstance(item, Loop) and kernel.axis(item.axis).kind == "stream":
                yield item
            elif isinstance(item, Loop | If):
                yield from within(item.body)

    yield from within(kernel.body)


def _packed(kernel: Kernel, packing: Packing) -> Kernel | None:
    """The kernel with its axes packed, if what is streamed is then shared by rows."""
    try:
        found = packed(kernel, packing)
    except Unpackable:
        return None
    return found.kernel if _shares(found, packing) else None


def _shares(found: Packed, packing: Packing) -> bool:
    """Whether some product of matrices takes rows with what is streamed, and none is spoilt.

    A product both of whose operands vary along the rows is none of matrices, and one that needs but
    one of the axes would be computed once more for each coordinate of the other.
    """
    axes, inner = found.axes, packing.inner
    for item in statements(found.kernel.body):
        if isinstance(item, Dot):
            sides = [s for s in (item.left, item.right) if inner in axes[s]]
            if len(sides) == 2 or (sides and found.needs[item.target] != packing.old):
                return False
    streams = {a.name for a in found.kernel.axes if a.kind == "stream"}
    others = {a.name for a in found.kernel.axes if a.kind == "par"} - {inner}
    for item in (s for loop in _streams(found.kernel) for s in statements(loop.body)):
        operands = [axes[name] for name in _operands(item)]
        columns = [one for one in operands if inner not in one and one & streams]
        for rows in (one for one in operands if inner in one):
            # without an axis of rows to pack into, none may be there that holds them already
            if any(
                column - rows - _over(item) and (packing.rows or not (rows - column) & others)
                for column in columns
            ):
                return True
    return False


def _operands(item: Statement) -> tuple[str, ...]:
    """The tiles of a sum of products; nothing if it is none."""
    match item:
        case Dot(left=left, right=right):
            return left, right
        case Fold(op="sum", value=Binary(op="*") | Choice(then=Binary(op="*")) as value):
            return tuple(sorted(names(value)))
        case _:
            return ()


def _over(item: Statement) -> frozenset[str]:
    return frozenset(item.over) if isinstance(item, Dot | Fold) else frozenset()
