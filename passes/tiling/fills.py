"""Predicates become fills: no reduction, product, scan or store has one of its own any more."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.cascade import Constant
from attnc.ir.expr import Apply, Choice, Compare, Expr, Int, Logical, Name, Var
from attnc.ir.tiles import (
    Dot,
    Fold,
    If,
    Kernel,
    Load,
    Loop,
    Map,
    Plan,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import names, reads, statements
from attnc.ir.types import Kind
from attnc.passes.tiling.context import TILES, Context
from attnc.passes.tiling.demand import Demand
from attnc.passes.tiling.identities import identity, literal
from attnc.passes.tiling.presence import TRUE, both, chosen, conjuncts, either, negation
from attnc.passes.tiling.projection import Projector

INTEGRAL: Final = (Kind.BOOL, Kind.I32)
"""What can be sorted as integers of 64 bits, all of which are above what fills."""


@dataclass(frozen=True)
class Fills:
    """Lanes that do not count are filled with what changes nothing.

    `reduce` and `scan` combine `x if p else identity`. In a product one operand is 0 where `p` does
    not hold; the other is 0 where `p` holds for no lane beside it, since 0 times NaN is NaN: by
    its load where that is possible. A store writes `x if p else empty`; into a buffer, `p` stays
    as what its bytes say. An index of an extreme is the least coordinate that has it. `topk` of
    numbers among which the least may occur keeps its predicate: no value comes after all of them.
    """

    name: str = field(default="fills", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_Filler(plan, kernel).filled() for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


class _Filler:
    """Fills the tiles of one kernel."""

    def __init__(self, plan: Plan, kernel: Kernel) -> None:
        self.kernel: Kernel = kernel
        self.context: Context = Context(plan, kernel)
        self.project: Projector = Projector(self.context)
        self.demand: Demand = Demand(self.context)
        buffers = {b.name for b in plan.buffers}
        self.outputs: frozenset[str] = frozenset(o.name for o in plan.outputs) - buffers
        self.users: dict[str, int] = {}
        self.places: dict[str, int] = {}
        for number, item in enumerate(statements(kernel.body)):
            if isinstance(item, TILES):
                self.places[item.target] = number
            for name in _operands(item):
                self.users[name] = self.users.get(name, 0) + 1
        self.loads: dict[str, tuple[Expr, Constant]] = {}
        """Loads that are narrowed, with their new predicate and fill."""
        self.before: dict[str, list[Statement]] = {}
        """What goes before a load."""
        self.made: list[dict[object, str]] = [{}]

    def filled(self) -> Kernel:
        """The kernel."""
        body = self._loaded(self._body(self.kernel.body))
        return self.kernel if body == self.kernel.body else replace(self.kernel, body=body)

    def _loaded(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The statements with what was found out about loads further down."""
        found: list[Statement] = []
        for item in body:
            match item:
                case Loop() | If():
                    item = replace(item, body=self._loaded(item.body))
                case Load(target=target) if target in self.loads:
                    where, fill = self.loads[target]
                    item = replace(item, where=where, fill=fill)
                case _:
                    pass
            found.append(item)
        return tuple(found)

    def _body(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        self.made.append({})
        outside = dict(self.project.known)
        for statement in body:
            item = self._of_lanes(statement)
            match item:
                case Fold() if item.op in ("argmax", "argmin"):
                    self._first(item, found)
                case Fold(where=where) | Scan(where=where) if where != TRUE:
                    value = self._chosen(item.op, item.value, where, item.kind, found)
                    found.append(replace(item, value=value, where=TRUE))
                case TopK(where=where) if where != TRUE:
                    found.append(self._sorted(item, found))
                case Dot(where=where) if where != TRUE:
                    self._dot(item, found)
                case Store(where=where):
                    found.append(self._store(item, where))
                case Loop() | If():
                    found.append(replace(item, body=self._body(item.body)))
                case _:
                    found.append(item)
                    if isinstance(item, Map) and item.kind is Kind.BOOL:
                        self.made[-1]["here", item.value] = item.target
        self.made.pop()
        self.project.known = outside  # tiles do not leave the block they are defined in
        return tuple(found)

    def _of_lanes(self, item: Statement) -> Statement:
        """An observer whose predicate says nothing of axes beside those it goes along."""
        match item:
            case Fold(over=over, value=value):
                own = self.context.varies(value)
            case Dot(over=over):
                own = frozenset((*self.context.axes[item.left], *self.context.axes[item.right]))
            case Scan(over=axis, value=value) | TopK(over=axis, value=value):
                own, over = self.context.varies(value), (axis,)
            case _:
                return item
        where = self.context.lanes(item.where, over)
        lost = self.context.varies(item.where) - self.context.varies(where) - own
        return replace(item, where=both(where, self.context.valid(lost)))

    # Values

    def _chosen(
        self, op: str, value: Expr, where: Expr, kind: Kind, found: list[Statement]
    ) -> Expr:
        """What an operation combines instead."""
        here = self._here(where, found)
        if op == "any":
            return here if value == TRUE else Logical("and", here, value)
        if op == "all":
            return Logical("or", negation(here), value)
        return Choice(here, self._number(value), literal(identity(op, kind)))

    def _number(self, value: Expr) -> Expr:
        """A value that may be chosen beside a number."""
        return Apply("i64", (value,)) if self.context.kind(value) is Kind.BOOL else value

    def _here(self, predicate: Expr, found: list[Statement]) -> Expr:
        """A predicate as a tile, so that it is evaluated once."""
        if not isinstance(predicate, Logical):
            return predicate
        return Name(self._once(("here", predicate), "here", predicate, found))

    def _once(self, key: object, base: str, value: Expr, found: list[Statement]) -> str:
        for known in self.made:
            if key in known:
                return known[key]
        item = self.context.map(base, value)
        found.append(item)
        self.made[-1][key] = item.target
        return item.target

    def _first(self, item: Fold, found: list[Statement]) -> None:
        """The least coordinate that has the extreme; 0 if nothing counts."""
        context, (over,) = self.context, item.over
        value, where = item.value, item.where
        axes = context.sorted({*context.varies(value, where), over})
        op, kind = item.op[3:], context.kind(value)
        best = Fold(
            context.fresh("best"),
            tuple(a for a in axes if a != over),
            Kind.I64 if kind is Kind.BOOL else kind,
            op,
            (over,),
            self._chosen(op, value, where, kind, found),
            TRUE,
        )
        context.add([best])
        found.append(best)
        hit: Expr = Compare(("==",), (self._number(value), Name(best.target)))
        if kind.floating:
            no = [Compare(("!=",), (x, x)) for x in (value, Name(best.target))]
            hit = either(hit, both(*no))
        most = literal(identity("min", Kind.I64))
        least = Choice(self._here(both(where, hit), found), Var(over), most)
        first = Fold(context.fresh("first"), best.axes, Kind.I64, "min", (over,), least, TRUE)
        context.add([first])
        none = Compare(("==",), (Name(first.target), most))
        value = Choice(none, Int(0), Name(first.target))
        found += [first, Map(item.target, item.axes, item.kind, value)]

    def _sorted(self, item: TopK, found: list[Statement]) -> Statement:
        """What is sorted last stands for what does not count, if nothing that counts is as low."""
        if self.context.kind(item.value) not in INTEGRAL:
            return item
        low = literal(identity("max", Kind.I64))
        wide = Apply("i64", (item.value,))
        return replace(item, value=chosen(self._here(item.where, found), wide, low), where=TRUE)

    # Stores

    def _store(self, item: Store, where: Expr) -> Store:
        if item.combine is not None:
            return replace(item, guard=both(item.guard, where), where=TRUE)
        if where == TRUE or item.tensor not in self.outputs:
            return item
        value, kind = item.value, self.context.kind(item.value)
        empty = bool(item.empty) if kind is Kind.BOOL else item.empty
        if not _fits(empty, kind):
            value = Apply("f64" if kind.floating else "i64", (value,))
        return replace(item, value=chosen(where, value, literal(empty)), where=TRUE)

    # Products

    def _dot(self, item: Dot, found: list[Statement]) -> None:
        """Each operand filled where it does not count, and what depends on neither is chosen."""
        context = self.context
        parts = [p for p in conjuncts(item.where) if p != TRUE]
        sides = [frozenset(context.axes[name]) for name in (item.left, item.right)]
        over = frozenset(item.over)
        of: list[list[Expr]] = [[p for p in parts if context.varies(p) <= axes] for axes in sides]
        joint = [p for p in parts if p not in of[0] and p not in of[1]]
        after = [p for p in joint if not context.varies(p) & over]
        joint = [p for p in joint if p not in after]
        operands = [item.left, item.right]
        axes = sides[0] | context.varies(*joint)
        before: list[Statement] = []
        lanes = [
            both(*of[0], *joint, self.project([p for p in of[1] if p not in of[0]], axes, before)),
            self.project(
                [*of[1], *(p for p in (*of[0], *joint) if p not in of[1])], sides[1], before
            ),
        ]
        for i, predicate in enumerate(lanes):
            operands[i] = self._operand(operands[i], predicate, before, found)
        found += before
        target = context.fresh(item.target) if after else item.target
        product = replace(item, target=target, left=operands[0], right=operands[1], where=TRUE)
        found.append(product)
        if after:
            context.add([product])
            value = chosen(both(*after), Name(target), Int(0))
            found.append(Map(item.target, item.axes, item.kind, value))

    def _operand(
        self, name: str, predicate: Expr, before: list[Statement], found: list[Statement]
    ) -> str:
        """An operand with 0 where a predicate does not hold."""
        conditions = self.context.conditions(predicate)
        item = self.context.defined.get(name)
        if isinstance(item, Load):
            where, fill = self.loads.get(name, (item.where, item.fill))
            zero = fill is None or fill == 0
            there = conditions <= self.context.conditions(where)
            if zero and (there or self._in_place(item, predicate, conditions)):
                self.loads[name] = where if there else both(where, predicate), 0
                return name
            if zero and self._movable(item, predicate, found):
                found.remove(item)
                narrow = replace(item, where=both(where, predicate), fill=0)
                self.context.add([narrow])
                before.append(narrow)
                return name
        if not conditions:
            return name
        value = Choice(self._here(predicate, before), Name(name), Int(0))
        return self._once(("fill", name, predicate), f"{name}_p", value, before)

    def _in_place(self, item: Load, predicate: Expr, conditions: frozenset[Expr]) -> bool:
        """Whether a load may take on a predicate where it stands."""
        context = self.context
        looped = {a.name for a in context.kernel.axes if a.kind in ("stream", "step")}
        place = self.places[item.target]
        return (
            all(self.places.get(n, place) < place for n in names(predicate))
            and context.varies(predicate) <= frozenset(item.axes)
            and context.mentions(predicate) & looped <= context.mentions(*item.index)
            and (self.users.get(item.target) == 1 or conditions <= self.demand(item.target))
        )

    def _movable(self, item: Load, predicate: Expr, found: list[Statement]) -> bool:
        """Whether a load may take on a predicate, at the place of the one product that reads it."""
        return (
            item in found
            and self.users.get(item.target) == 1
            and item.tensor.removesuffix("?") not in self.context.stored
            and self.context.varies(predicate) <= frozenset(item.axes)
        )


def _operands(item: Statement) -> Iterable[str]:
    """The tiles that a statement itself reads, each as often as it does."""
    if isinstance(item, Dot):
        return [item.left, item.right, *reads(replace(item, left="", right="")) - {""}]
    if isinstance(item, Loop | If):
        return reads(replace(item, body=()))
    return reads(item)


def _fits(value: Constant, kind: Kind) -> bool:
    """Whether a kind holds a number as it is."""
    if kind is Kind.I32:
        return -(2**31) <= value < 2**31
    if kind in (Kind.F32, Kind.FLOAT) and isinstance(value, float):
        try:
            return value != value or struct.unpack("f", struct.pack("f", value))[0] == value
        except OverflowError:
            return False
    return True
