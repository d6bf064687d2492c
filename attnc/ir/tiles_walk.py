"""Walks over tile programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from attnc.ir.expr import Apply, Bool, Expr, Int, Logical, Name, Value, Var
from attnc.ir.nodes import changed
from attnc.ir.tiles import (
    Axis,
    AxisKind,
    Carry,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.walk import OPERANDS, subexpressions

BLOCKS: Final = (Loop, If)


def statements(body: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement, each before those inside of it."""
    found: list[Statement] = []
    _gather(body, found)
    return iter(found)


def _gather(body: Iterable[Statement], found: list[Statement]) -> None:
    for item in body:
        found.append(item)
        if isinstance(item, BLOCKS):
            _gather(item.body, found)


def expressions(item: Statement) -> tuple[Expr, ...]:
    """The expressions that a statement itself holds; operands of a `Dot` as names."""
    match item:
        case Load(index=index, where=where):
            return (*index, where)
        case Find(index=index, value=value, where=where):
            return (*index, value, where)
        case Map(value=value) | Let(value=value):
            return (value,)
        case Dot(left=left, right=right, where=where):
            return (Name(left), Name(right), where)
        case Fold(value=value, where=where) | Scan(value=value, where=where):
            return (value, where)
        case TopK(value=value, where=where):
            return (value, where)
        case Store(index=index, value=value, where=where, guard=guard):
            return (*index, value, where, guard)
        case If(condition=condition, carries=carries):
            return (condition, *(e for c in carries for e in (c.start, c.next)))
        case Loop(ranges=ranges, carries=carries, given=given, where=where, present=present):
            bounds = (e for r in (*ranges, *present) for e in bounds_of(r))
            return (*bounds, *given, where, *(e for c in carries for e in (c.start, c.next)))


def bounds_of(part: Range) -> tuple[Expr, ...]:
    """The expressions of a range."""
    return (part.low, part.high, part.step, *(part.of.index if part.of else ()))


def in_turn(loop: Loop, kind: AxisKind) -> tuple[tuple[Range, ...], ...]:
    """The ranges of a loop over an axis of a kind, as they are run: one class after the other.

    All ranges of a class can be gone through by one loop, the partial ones first. Where the order
    counts, or which range a lane is in, or steps are taken, each is a class of its own.
    """
    alone = tuple((part,) for part in loop.ranges)
    if loop.backward:
        return alone[::-1]
    body = tuple(statements(loop.body))
    ordered = loop.ordered or kind == "step" or scanned(loop)
    within = Apply("within", (Var(loop.axis),))
    exprs = (e for s in (loop, *body) for e in expressions(s))
    if (
        len(alone) < 2
        or ordered
        or any(part.step != Int(1) or part.of for part in loop.ranges)
        or any(node == within for e in exprs for node in subexpressions(e))
    ):
        return alone
    found = (tuple(r for r in loop.ranges if r.full is full) for full in (False, True))
    return tuple(group for group in found if group)


def scanned(loop: Loop) -> bool:
    """Whether a scan goes along the axis of a loop, so that each tile needs those before it."""
    return any(isinstance(s, Scan) and s.over == loop.axis for s in statements(loop.body))


def reads(item: Statement) -> set[str]:
    """The tiles that a statement reads, those inside of it included."""
    found = names(*expressions(item))
    if isinstance(item, BLOCKS):
        found = found.union(*map(reads, item.body))
    return found


def targets(item: Statement) -> tuple[str, ...]:
    """The tiles that a statement defines, or carries."""
    match item:
        case Loop(carries=carries) | If(carries=carries):
            return tuple(c.name for c in carries)
        case Let() | Store():
            return ()
        case _:
            return (item.target,)


def ahead(loop: Loop) -> int:
    """How many statements of a loop tell whether a round is left out; they come first."""
    wanted = names(loop.where)
    places = (i for i, s in enumerate(loop.body) if wanted.intersection(targets(s)))
    return max(places, default=-1) + 1


def last_with(plan: Plan, tile: str) -> tuple[Kernel, Axis]:
    """The kernel for which a size of tiles is chosen that several share, and the axis."""
    return next((k, a) for k in reversed(plan.kernels) for a in k.axes if a.tile == tile)


class Pieces(NamedTuple):
    """A stream in pieces: the kernel that goes through them, its axis of pieces, and what is cut.

    `points` names the value that tells how many points a piece has.
    """

    kernel: Kernel
    axis: Axis
    size: Expr
    points: str


def pieces_of(plan: Plan) -> Iterator[Pieces]:
    """The streams that kernels go through in pieces of a size that is told to them."""
    told = {*plan.tiles} - {a.tile for kernel in plan.kernels for a in kernel.axes}
    for kernel in plan.kernels:
        for axis in kernel.axes:
            match axis:
                case Axis(
                    size=Apply(function="ceildiv", arguments=(size, Value(name=name))), kind="par"
                ) if name in told:
                    yield Pieces(kernel, axis, size, name)
                case _:
                    pass


def in_full(loop: Loop) -> Loop:
    """A loop as its full ranges run it: none of its rounds is left out, and nothing tells so."""
    if loop.where == Bool(True):
        return loop
    first = ahead(loop)
    wanted = names(*loop.given, *(c.next for c in loop.carries))
    wanted = wanted.union(*map(reads, loop.body[first:]))
    kept: list[Statement] = []
    for item in reversed(loop.body[:first]):
        if wanted.intersection(targets(item)) or not targets(item):
            kept.append(item)
            wanted |= reads(item)
    return replace(loop, body=(*reversed(kept), *loop.body[first:]), where=Bool(True))


def names(*exprs: Expr) -> set[str]:
    """The tiles in some expressions."""
    found: set[str] = set()
    stack = [*exprs]
    while stack:
        node = stack.pop()
        if type(node) is Name:
            found.add(node.name)
        else:
            stack += OPERANDS[type(node)](node)
    return found


def conjuncts(predicate: Expr) -> Iterator[Expr]:
    """The conditions that a predicate joins."""
    match predicate:
        case Logical(op="and", left=left, right=right):
            yield from conjuncts(left)
            yield from conjuncts(right)
        case _:
            yield predicate


def mapped(item: Statement, change: Callable[[Expr], Expr]) -> Statement:
    """A statement with each of its own expressions changed; bodies stay, and so do operands of
    a `Dot`. The same object if nothing else is there."""
    match item:
        case Map() | Let():
            return changed(item, value=change(item.value))
        case Load():
            index = tuple(map(change, item.index))
            return changed(item, index=index, where=change(item.where))
        case Find():
            index = tuple(map(change, item.index))
            return changed(item, index=index, value=change(item.value), where=change(item.where))
        case Dot():
            return changed(item, where=change(item.where))
        case Fold() | Scan() | TopK():
            return changed(item, value=change(item.value), where=change(item.where))
        case Store():
            return changed(
                item,
                index=tuple(map(change, item.index)),
                value=change(item.value),
                where=change(item.where),
                guard=change(item.guard),
            )
        case If():
            return changed(
                item, condition=change(item.condition), carries=_carried(item.carries, change)
            )
        case Loop():
            ranges = tuple(_ranged(r, change) for r in item.ranges)
            return changed(
                item,
                ranges=ranges,
                carries=_carried(item.carries, change),
                given=tuple(map(change, item.given)),
                where=change(item.where),
                present=tuple(_ranged(r, change) for r in item.present),
            )


def _ranged(part: Range, change: Callable[[Expr], Expr]) -> Range:
    of = part.of
    if of is not None:
        of = changed(of, index=tuple(map(change, of.index)))
    low, high, step = map(change, (part.low, part.high, part.step))
    return changed(part, low=low, high=high, step=step, of=of)


def _carried(carries: tuple[Carry, ...], change: Callable[[Expr], Expr]) -> tuple[Carry, ...]:
    return tuple(changed(c, start=change(c.start), next=change(c.next)) for c in carries)


def rewritten(
    body: tuple[Statement, ...], change: Callable[[Statement], Iterable[Statement]]
) -> tuple[Statement, ...]:
    """Statements with each replaced by others, what is inside of one before itself."""
    found: list[Statement] = []
    for item in body:
        if isinstance(item, Loop | If):
            item = replace(item, body=rewritten(item.body, change))
        found += change(item)
    return tuple(found)


def with_body(kernel: Kernel, change: Callable[[Statement], Iterable[Statement]]) -> Kernel:
    """A kernel with each statement replaced by others."""
    return replace(kernel, body=rewritten(kernel.body, change))
