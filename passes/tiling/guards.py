"""Guards of infinities that are implied by others, or that one choice for a row stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Name
from attnc.ir.tiles import Fold, Kernel, Map, Plan, Statement
from attnc.ir.tiles_walk import expressions, mapped, names, statements, with_body
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling import classes
from attnc.passes.tiling.classes import EXACT, NINF, NO, PINF, WHOLE, YES, ZERO
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.evaluate import Evaluator
from attnc.passes.tiling.identities import identity, literal
from attnc.passes.tiling.known import within
from attnc.passes.tiling.presence import TRUE


@dataclass(frozen=True)
class Guards:
    """Leaves out choices that guard against the difference of two infinities.

    - `0 if r is infinite else exp(x - r)`, for `r` the maximum of `x`: where `r` is minus infinity
      so is each `x`, and `exp(x - s)` with `s = 0 if r == -inf else r` is 0. A choice for each row
      stands for one in each lane.
    - `exp(0 if a == r else a - r)`, for `a` the maximum before, is `exp(a - s)`, but where both are
      minus infinity: there it is 0 in place of 1, and what it is multiplied with is still 0.
    - `0 if a == b else a - b` is `a - b` where `a` is no infinity at first: it becomes one by what
      was read alone.
    """

    name: str = field(default="guards", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


@dataclass(frozen=True)
class _Extreme:
    """`result = max(old, fold)`, where `fold` is the maximum of `value`; or the least."""

    result: str
    old: str
    fold: Fold
    value: Name

    @property
    def first(self) -> Expr:
        """What it is where nothing counted."""
        return literal(identity(self.fold.op, self.fold.kind))

    @property
    def kinds(self) -> int:
        """The class of that."""
        return classes.of_constant(identity(self.fold.op, self.fold.kind))

    def at_first(self, safe: str) -> dict[Expr, int]:
        """What is known where the result is its identity: so is all that it was made from."""
        same = (Name(self.result), Name(self.old), Name(self.fold.target), self.value)
        return {**dict.fromkeys(same, self.kinds), Name(safe): ZERO}


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    context = Context(plan, kernel)
    kernel = with_body(kernel, lambda item: [mapped(item, lambda e: _still(context, e))])
    for extreme in list(_extremes(context)):
        kernel = _Safe(Context(plan, kernel), extreme).rewritten()
    found = without_dead(kernel)
    return context.kernel if found == context.kernel else found


def _extremes(context: Context) -> Iterator[_Extreme]:
    """The running maxima and minima of tiles, all of whose lanes are combined."""
    for name, item in context.defined.items():
        match item:
            case Map(
                value=Apply(function="max" | "min" as op, arguments=(Name() as a, Name() as b))
            ):
                fold = context.defined.get(b.name)
                if a.name not in context.carried or not isinstance(fold, Fold) or fold.op != op:
                    continue
                if fold.where == TRUE and isinstance(fold.value, Name) and fold.kind.floating:
                    yield _Extreme(name, a.name, fold, fold.value)
            case _:
                pass


def _still(context: Context, expr: Expr) -> Expr:
    """`a - b` for `0 if a == b else a - b`, where `a` is no infinity at first."""
    inner = rebuild(expr, tuple(_still(context, c) for c in children(expr)))
    rest = _at_rest(inner)
    if rest is None:
        return inner
    start = Evaluator(context, frozenset(), starts=frozenset(context.carried))
    a, b = rest.left, rest.right
    fixed = [x for x in (a, b) if names(x) and names(x) <= set(context.carried)]
    if any(not start(x) & (NINF | PINF) for x in fixed):
        return rest
    return inner


def _at_rest(expr: Expr) -> Binary | None:
    """The difference in `0 if a == b else a - b`."""
    match expr:
        case Choice(
            condition=Compare(ops=("==",), operands=(a, b)),
            then=Int(value=0),
            other=Binary(op="-", left=left, right=right) as rest,
        ) if {a, b} == {left, right}:
            return rest
        case _:
            return None


class _Safe:
    """Rewrites what one extreme guards."""

    def __init__(self, context: Context, extreme: _Extreme) -> None:
        self.context: Context = context
        self.extreme: _Extreme = extreme
        self.safe: str = context.fresh(f"{extreme.result}_s")
        same = Compare(("==",), (Name(extreme.result), extreme.first))
        item = context.defined[extreme.result]
        value = Choice(same, Int(0), Name(extreme.result))
        self.map: Map = Map(self.safe, item.axes, item.kind, value)
        context.add([self.map])
        self.away: frozenset[str] = frozenset(extreme.fold.over)
        self.used: bool = False

    def rewritten(self) -> Kernel:
        """The kernel, with a tile that is never the identity, if anything takes it."""
        kernel = with_body(self.context.kernel, self._weights)
        if not self.used:
            return self.context.kernel
        self.context = Context(self.context.plan, self._with_safe(kernel))
        return with_body(self.context.kernel, self._changes)

    def _with_safe(self, kernel: Kernel) -> Kernel:
        def after(item: Statement) -> Iterator[Statement]:
            yield item
            if isinstance(item, Map) and item.target == self.extreme.result:
                yield self.map

        return with_body(kernel, after)

    def _weights(self, item: Statement) -> Iterator[Statement]:
        match item:
            case Map(value=Choice(condition=condition, then=Int(value=0), other=other)) if (
                self.extreme.result in names(condition)
            ):
                value = self._unguarded(condition, other)
                if value is not None:
                    self.used = True
                    item = replace(item, value=value)
                yield item
            case _:
                yield item

    def _unguarded(self, condition: Expr, other: Expr) -> Expr | None:
        """A value without its guard, if that asks whether the extreme is infinite."""
        extreme, result = self.extreme, Name(self.extreme.result)
        evaluate = Evaluator(self.context, self.away)
        if evaluate.assuming({result: extreme.kinds})(condition) != YES:
            return None
        if evaluate.assuming({result: WHOLE})(condition) != NO:
            return None
        inner = self.context.defined.get(other.name) if isinstance(other, Name) else None
        if isinstance(inner, Map):
            other = inner.value
        value = replaced(other, {result: Name(self.safe)})
        if evaluate.assuming(extreme.at_first(self.safe))(value) != ZERO:
            return None
        return value

    # What changes states

    def _changes(self, item: Statement) -> Iterator[Statement]:
        match item:
            case Map(value=value):
                new = self._from_old(value)
                if new != value and self._idle(item, new):
                    item = replace(item, value=new)
                yield item
            case _:
                yield item

    def _from_old(self, expr: Expr) -> Expr:
        """An expression with the change of the extreme taken from the safe tile."""
        result, old = Name(self.extreme.result), Name(self.extreme.old)
        rest = _at_rest(expr)
        if rest is not None and {rest.left, rest.right} == {result, old}:
            return replaced(rest, {result: Name(self.safe)})
        return rebuild(expr, tuple(self._from_old(c) for c in children(expr)))

    def _idle(self, item: Map, new: Expr) -> bool:
        """Whether both values give the same wherever the extreme is still its identity."""
        start = Evaluator(self.context, self.away, row=True, finite=True)
        idle = within(self.context, start.assuming(self.extreme.at_first(self.safe)))
        before, after = idle(item.value), idle(new)
        if before == after and before in EXACT:
            return True
        for other in statements(self.context.kernel.body):
            if other is item or item.target not in names(*expressions(other)):
                continue
            if not isinstance(other, Map):
                return False
            one, two = (
                idle.assuming({Name(item.target): kinds})(other.value) for kinds in (before, after)
            )
            if one != two or one not in EXACT:
                return False
        return True


def replaced(expr: Expr, new: Mapping[Expr, Expr]) -> Expr:
    """An expression with some parts replaced by others."""
    if expr in new:
        return new[expr]
    return rebuild(expr, tuple(replaced(c, new) for c in children(expr)))
