"""A kernel whose streamed axis, and one of rows, go by a stride: the substitution."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from attnc.ir.expr import Apply, Binary, Compare, Expr, Int, Name, Var
from attnc.ir.tiles import (
    Axis,
    Carry,
    Coord,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.passes.running.build import added, multiplied, subtracted
from attnc.passes.tiling.context import varying
from attnc.passes.tiling.presence import both, conjuncts


@dataclass(frozen=True)
class Axes:
    """The axes that one of a stride becomes: `old = turn * stride + first`.

    `first` is a coordinate of its own for rows, `first < stride`; for what is streamed it is a
    remainder, which programs have.
    """

    old: Axis
    stride: Expr
    turn: str
    first: Expr

    def turns(self) -> Axis:
        """The axis of multiples of the stride."""
        return Axis(self.turn, Apply("ceildiv", (self.old.size, self.stride)), self.old.kind)

    def coord(self) -> Coord:
        """What the old axis is now."""
        value = added(multiplied(Var(self.turn), self.stride), self.first)
        return Coord(self.old.name, value, self.old.size)

    def within(self) -> Expr:
        """That a lane lies within the extent of the old axis."""
        last = subtracted(subtracted(self.old.size, self.first), Int(1))
        return Compare(("<=",), (Var(self.turn), Binary("//", last, self.stride)))


@dataclass(frozen=True)
class Strides:
    """What takes the places of a streamed axis and of one of rows, if there is one."""

    stream: Axes
    rows: Axes | None = None

    def classes(self) -> Axis | None:
        """The axis of the remainders of rows: as many as there are, and no more than rows."""
        if self.rows is None:
            return None
        assert isinstance(self.rows.first, Var)
        size = Apply("min", (self.rows.stride, self.rows.old.size))
        return Axis(self.rows.first.name, size, "par")

    def axes(self) -> dict[str, tuple[Axis, ...]]:
        """The new axes, by the old ones."""
        found: dict[str, tuple[Axis, ...]] = {self.stream.old.name: (self.stream.turns(),)}
        classes = self.classes()
        if self.rows is not None and classes is not None:
            found[self.rows.old.name] = (classes, self.rows.turns())
        return found

    def coords(self) -> tuple[Coord, ...]:
        """What the old axes are now."""
        rows = () if self.rows is None else (self.rows.coord(),)
        return (*rows, self.stream.coord())


def strided(kernel: Kernel, strides: Strides, conditions: Collection[Expr], rest: Expr) -> Kernel:
    """The kernel by strides; `rest` stands for conditions that then hold everywhere."""
    new = strides.axes()
    axes = tuple(a for old in kernel.axes for a in new.get(old.name, (old,)))
    coords = (*kernel.coords, *strides.coords())
    rewriter = _Rewriter(kernel, strides, axes, coords, frozenset(conditions), rest)
    last = tuple(new[n][-1].name if n in new else n for n in kernel.reversed)
    body = rewriter.body(kernel.body)
    return replace(kernel, axes=axes, coords=coords, reversed=last, body=body)


class _Rewriter:
    """Rewrites the statements of one kernel in their order."""

    def __init__(
        self,
        kernel: Kernel,
        strides: Strides,
        axes: tuple[Axis, ...],
        coords: tuple[Coord, ...],
        conditions: frozenset[Expr],
        rest: Expr,
    ) -> None:
        self.stream: str = strides.stream.old.name
        self.new: dict[str, tuple[str, ...]] = {
            old: tuple(a.name for a in found) for old, found in strides.axes().items()
        }
        self.conditions, self.rest = conditions, rest
        self.order: list[str] = [a.name for a in axes]
        self.along: frozenset[str] = frozenset(a.name for a in axes if a.kind != "step")
        self.turns: Axis = strides.stream.turns()
        self.coords: dict[str, Expr] = {c.name: c.value for c in coords}
        self.axes: dict[str, tuple[str, ...]] = {}
        self.exists: dict[str, Expr] = {
            a.name: _exists(a) for found in strides.axes().values() for a in found
        }
        self.within: dict[Expr, Expr] = {
            _exists(a.old): a.within() for a in (strides.stream, strides.rows) if a is not None
        }
        self.beside: tuple[Expr, ...] = ()
        """What is tested of rows, and matters to nobody who looks at what is streamed."""
        if strides.rows is not None:
            self.beside = (strides.rows.within(),)

    def body(self, body: Iterable[Statement]) -> tuple[Statement, ...]:
        """Some statements."""
        return tuple(map(self.statement, body))

    def statement(self, item: Statement) -> Statement:
        """One statement, and what it defines."""
        match item:
            case Load():
                where = self.exist(item.where, *item.index)
                return self.defined(replace(item, where=where), *item.index, where)
            case Find():
                where = self.exist(item.where, *item.index, item.value)
                return self.defined(replace(item, where=where), *item.index, item.value, where)
            case Map():
                return self.defined(item, item.value)
            case Dot(over=over):
                item = replace(item, where=self.looked(item.where, over), over=self.named(over))
                return self.defined(
                    item, Name(item.left), Name(item.right), item.where, over=item.over
                )
            case Fold(over=over):
                item = replace(item, where=self.looked(item.where, over), over=self.named(over))
                return self.defined(item, item.value, item.where, over=item.over)
            case Scan():
                return self.defined(item, item.value, item.where)
            case TopK(over=over, into=into):
                return self.defined(item, item.value, item.where, over=(over,), into=(into,))
            case Let():
                return item
            case Loop() | If():
                return self.block(item)
            case Store():
                guard = self.exist(item.guard, *item.index, item.value, item.where)
                return replace(item, guard=guard)

    def named(self, axes: Iterable[str]) -> tuple[str, ...]:
        """Axes with the new ones for the old."""
        found = {new for a in axes for new in self.new.get(a, (a,))}
        return tuple(sorted(found, key=self.order.index))

    def parts(self, predicate: Expr) -> list[Expr]:
        """What a predicate joins, with what the new axes make of it."""
        found = (self.within.get(p, p) for p in conjuncts(predicate))
        return [self.rest if p in self.conditions else p for p in found]

    def exist(self, predicate: Expr, *others: Expr) -> Expr:
        """A predicate on memory, which tests the new axes, too."""
        lanes = varying((predicate, *others), self.along, self.coords, self.axes)
        tests = (test for name, test in self.exists.items() if name in lanes)
        return both(*tests, *self.parts(predicate))

    def looked(self, predicate: Expr, over: Iterable[str]) -> Expr:
        """A predicate of who looks at lanes."""
        parts = self.parts(predicate)
        if self.stream not in over:
            return both(*parts)
        return both(self.exists[self.turns.name], *(p for p in parts if p not in self.beside))

    def defined(
        self,
        item: Load | Map | Dot | Fold | Scan | TopK | Find,
        *read: Expr,
        over: tuple[str, ...] = (),
        into: tuple[str, ...] = (),
    ) -> Statement:
        """A tile with its axes, which is read of some expressions and combined along axes."""
        axes = varying(read, self.along, self.coords, self.axes) - set(over) | set(into)
        self.axes[item.target] = tuple(sorted(axes, key=self.order.index))
        return replace(item, axes=self.axes[item.target])

    def block(self, item: Loop | If) -> Statement:
        """A loop or an `if`; what it carries varies along all that it did."""
        carries: list[Carry] = []
        for carry in item.carries:
            self.axes[carry.name] = self.named(carry.axes)
            carries.append(replace(carry, axes=self.axes[carry.name]))
        found = replace(item, carries=tuple(carries), body=self.body(item.body))
        if isinstance(found, Loop) and found.axis == self.stream:
            whole = (Range(Int(0), self.turns.size),)
            return replace(found, axis=self.turns.name, ranges=whole)
        return found


def _exists(axis: Axis) -> Expr:
    """That a lane lies within the extent of an axis."""
    return Compare(("<",), (Var(axis.name), axis.size))
