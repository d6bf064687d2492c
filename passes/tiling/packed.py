"""A kernel with two parallel axes as one axis of rows: the substitution, and where it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Logical, Name, Var
from attnc.ir.tiles import (
    Axis,
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
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import mapped
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.context import varying
from attnc.passes.tiling.packing import Packing
from attnc.passes.tiling.presence import both, conjuncts

IDEMPOTENT: Final = frozenset(("any", "all", "max", "min"))
"""Reductions that may meet a value several times."""


class Unpackable(Exception):
    """That a kernel has something which holds for its own axes alone."""


@dataclass(frozen=True)
class Packed:
    """A kernel with axes packed, and what its tiles are."""

    kernel: Kernel
    axes: Mapping[str, frozenset[str]]
    """The axes of each tile."""
    needs: Mapping[str, frozenset[str]]
    """The old axes that each tile tells apart; `shared // G` does not tell all of `shared`."""


def packed(kernel: Kernel, packing: Packing) -> Packed:
    """The kernel with the axes packed; raises `Unpackable`."""
    outer, inner = packing.axes(kernel)
    places: dict[str | None, tuple[Axis, ...]] = {packing.rows: (inner,)}
    places[packing.shared] = (outer, inner) if packing.rows is None else (outer,)
    axes = tuple(new for old in kernel.axes for new in places.get(old.name, (old,)))
    new = packing.coords(kernel)
    values = {c.name: c.value for c in new}
    rewriter = _Rewriter(kernel, packing, axes, values)
    coords = tuple(replace(c, value=rewriter.made_of_axes(c.value)) for c in kernel.coords)
    values |= {c.name: c.value for c in coords}
    names = {packing.shared: packing.outer, packing.rows: packing.inner}
    last = tuple(names.get(n, n) for n in kernel.reversed)
    body = rewriter.body(kernel.body)
    found = replace(kernel, axes=axes, coords=(*coords, *new), reversed=last, body=body)
    return Packed(found, rewriter.axes, rewriter.needs)


class _Rewriter:
    """Rewrites the statements of one kernel in their order."""

    def __init__(
        self, kernel: Kernel, packing: Packing, axes: tuple[Axis, ...], coords: dict[str, Expr]
    ) -> None:
        self.kernel, self.packing = kernel, packing
        self.coords = coords
        self.order = [a.name for a in axes]
        self.along = frozenset(a.name for a in axes if a.kind != "step")
        self.old = packing.old
        self.exists = {
            axis.name: Compare(("<",), (Var(axis.name), axis.size)) for axis in packing.axes(kernel)
        }
        self.valid: dict[Expr, Expr] = {}
        """What the old axes' extents are tested by."""
        for name in self.old:
            old = Compare(("<",), (Var(name), kernel.axis(name).size))
            self.valid[old] = self.exists[packing.inner]
            if name == packing.shared:
                self.last = old
                self.valid[old] = both(*self.exists.values(), old)
        self.axes: dict[str, frozenset[str]] = {}
        self.needs: dict[str, frozenset[str]] = {}

    # Expressions

    def expr(self, expr: Expr) -> Expr:
        """An expression over the new axes; old ones stay as coordinates."""
        packing = self.packing
        if expr in self.valid:
            return self.valid[expr]
        match expr:
            case Logical(op="and", left=left, right=right):
                return both(self.expr(left), self.expr(right))
            case Binary(op="//", left=Var(name=packing.shared), right=divisor) if packing.quotient(
                divisor
            ):
                return Binary("//", Binary("*", Var(packing.outer), packing.count), divisor)
            case Apply(function="low" | "high" as which, arguments=(Var(name=name),)) if (
                name in self.old
            ):
                return packing.bound(self.kernel, which, name)
            case Apply(function="tile" | "within", arguments=(Var(name=name),)) if name in self.old:
                raise Unpackable(name)
            case Apply(function="low" | "high", arguments=(Var(name=name),)) if (
                name in self.coords and self.varies(Var(name)) & self.exists.keys()
            ):
                raise Unpackable(name)  # which lanes beyond the last of a group may widen
            case _:
                return rebuild(expr, tuple(map(self.expr, children(expr))))

    def made_of_axes(self, expr: Expr) -> Expr:
        """The value of a coordinate that was there before, which stands on axes alone."""

        def opened(node: Expr) -> Expr:
            if isinstance(node, Var) and node.name in self.old:
                return self.coords[node.name]
            return rebuild(node, tuple(map(opened, children(node))))

        return opened(self.expr(expr))

    def varies(self, *exprs: Expr) -> frozenset[str]:
        """The new axes along which new expressions vary."""
        return varying(exprs, self.along, self.coords, self.axes)

    def needed(self, *exprs: Expr) -> frozenset[str]:
        """Which old axes new expressions tell apart."""
        found: set[str] = set()
        stack = list(exprs)
        while stack:
            node = stack.pop()
            match node:
                case Var(name=name) if name in self.old:
                    found.add(name)
                case Var(name=name) if name in self.coords:
                    stack.append(self.coords[name])
                case Var(name=name) if name == self.packing.inner:
                    pass  # as a test of its extent, which tells nothing of lanes that exist
                case Name(name=name):
                    found |= self.needs[name]
                case _:
                    stack += children(node)
        return frozenset(found)

    def guard(self, predicate: Expr, *others: Expr) -> Expr:
        """A predicate of who looks at lanes, which tests the new axes that these have."""
        tests = {*self.exists.values(), self.last}
        parts = conjuncts(self.expr(predicate))
        read = *(p for p in parts if p not in tests), *others
        lanes = self.varies(*read)
        own = [test for name, test in self.exists.items() if name in lanes]
        if self.packing.shared in self.needed(*read):
            own.append(self.last)
        return both(*(p for p in parts if p not in tests or p in own), *own)

    # Statements

    def body(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """Some statements."""
        return tuple(map(self.statement, body))

    def statement(self, item: Statement) -> Statement:
        """One statement, and what it defines."""
        match item:
            case Load():
                index = tuple(map(self.expr, item.index))
                where = self.guard(item.where, *index)
                found = self.defined(replace(item, index=index, where=where), *index, where)
            case Find():
                index, value = tuple(map(self.expr, item.index)), self.expr(item.value)
                where = self.guard(item.where, *index, value)
                place = replace(item, index=index, value=value, where=where)
                found = self.defined(place, *index, value, where)
            case Map():
                value = self.expr(item.value)
                found = self.defined(replace(item, value=value), value)
            case Dot(over=over):
                self.apart(over)
                where = self.expr(item.where)
                read = Name(item.left), Name(item.right), where
                found = self.defined(replace(item, where=where), *read, over=over)
            case Fold():
                found = self.fold(item)
            case Scan(over=along):
                self.apart((along,))
                value, where = self.expr(item.value), self.expr(item.where)
                found = self.defined(replace(item, value=value, where=where), value, where)
            case TopK(over=along, into=into):
                self.apart((along,))
                value, where = self.expr(item.value), self.expr(item.where)
                new = replace(item, value=value, where=where)
                found = self.defined(new, value, where, over=(along,), into=(into,))
            case Let():
                found = replace(item, value=self.expr(item.value))
            case Loop() | If():
                found = self.block(item)
            case Store():
                found = self.store(item)
        return found

    def apart(self, over: Iterable[str]) -> None:
        """Refuses what goes along the old axes."""
        for name in self.old & set(over):
            raise Unpackable(name)

    def defined(
        self,
        item: Load | Map | Dot | Fold | Scan | TopK | Find,
        *read: Expr,
        over: tuple[str, ...] = (),
        into: tuple[str, ...] = (),
    ) -> Statement:
        """A tile with its axes, which is read of some expressions and combined along axes."""
        axes = self.varies(*read) - set(over) | set(into)
        self.axes[item.target] = axes
        self.needs[item.target] = self.needed(*read) - set(over)
        return replace(item, axes=self.sorted(axes))

    def sorted(self, axes: Iterable[str]) -> tuple[str, ...]:
        """Axes in the order of the kernel."""
        return tuple(sorted(axes, key=self.order.index))

    def fold(self, item: Fold) -> Statement:
        """A reduction; along `inner` it meets all that is packed there."""
        packing, gone = self.packing, self.old & set(item.over)
        value, where = self.expr(item.value), self.expr(item.where)
        over = tuple(n for n in item.over if n not in self.old)
        if gone:
            varies, needed = self.varies(value, where), self.needed(value, where)
            combined = {packing.inner}
            if packing.shared in gone:
                combined.add(packing.outer)
            combined &= varies
            # what is told apart along `inner` is combined, and what is not may be met again
            if not needed <= gone or (item.op not in IDEMPOTENT and needed != self.old):
                raise Unpackable(item.target)
            over = self.sorted({*over, *combined})
        if not over:  # it is the same for all that it was combined of
            raise Unpackable(item.target)
        new = replace(item, over=over, value=value, where=where)
        self.defined(new, value, where, over=over)
        self.needs[item.target] -= gone
        return replace(new, axes=self.sorted(self.axes[item.target]))

    def block(self, item: Loop | If) -> Statement:
        """A loop or an `if`; what it carries varies along all that it did."""
        carries: list[Carry] = []
        for carry in item.carries:
            axes = set(carry.axes) - self.old
            if self.packing.shared in carry.axes:
                axes.add(self.packing.outer)
            if self.old & set(carry.axes):
                axes.add(self.packing.inner)
            self.axes[carry.name] = frozenset(axes)
            self.needs[carry.name] = frozenset(self.old & set(carry.axes))
            carries.append(replace(carry, axes=self.sorted(axes)))
        body = self.body(item.body)
        found = mapped(replace(item, carries=tuple(carries), body=body), self.expr)
        if isinstance(found, Loop):
            given = tuple(p for e in found.given for p in conjuncts(e))
            return replace(found, given=given)
        return found

    def store(self, item: Store) -> Statement:
        """A store, which has a place, or a value to combine, for each pair of coordinates."""
        index = tuple(map(self.expr, item.index))
        value, where = self.expr(item.value), self.expr(item.where)
        guard = self.guard(item.guard, *index, value, where)
        lanes = index if item.combine is None else (*index, value, where, guard)
        if self.needed(*lanes) != self.old:
            raise Unpackable(item.tensor)
        return replace(item, index=index, value=value, where=where, guard=guard)
