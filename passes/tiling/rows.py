"""How a row's presence is told: without a flag in the loop, where that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Logical, Name
from attnc.ir.tiles import (
    Carry,
    Fold,
    If,
    Kernel,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Statement,
    Store,
)
from attnc.ir.tiles_walk import expressions, mapped, names, statements
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling import classes
from attnc.passes.tiling.classes import EXACT
from attnc.passes.tiling.context import TILES, Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.evaluate import Evaluator
from attnc.passes.tiling.identities import identity, literal
from attnc.passes.tiling.known import constant, within
from attnc.passes.tiling.presence import FALSE, TRUE, both, conjuncts, either, negation
from attnc.passes.tiling.projection import of_extent, solved


@dataclass(frozen=True)
class Rows:
    """A flag that a loop carries, whether a point of the row was present, is told otherwise.

    By the row alone where the predicate can be solved for what is streamed: a range that is not
    empty. By a count of the same points. Else by a maximum or minimum of them that is not its
    identity; rows still there look at the predicate again, in a loop of its own that hardly ever
    runs. Where none of this tells, the flag stays. It goes, too, where the first value of a state
    stays what it is: `T * state if seen else 0`, as long as T is finite then.
    """

    name: str = field(default="rows", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    flags = [c.name for s in kernel.body if isinstance(s, Loop) for c in s.carries]
    for name in flags:
        context = Context(plan, kernel)
        flag = _flag(context, name)
        if flag is not None:
            kernel = _Teller(context, flag).told()
    return kernel


@dataclass(frozen=True)
class _Flag:
    """A carried tile that says whether a point was present in an earlier round."""

    loops: tuple[Loop, ...]
    """From the outermost inwards, each with its own name for the flag."""
    names: tuple[str, ...]
    some: Fold
    now: str | None
    """The tile that takes this round into account, if it is one."""
    where: Expr

    @property
    def own(self) -> set[str]:
        """The tiles that exist for the flag."""
        return {*self.names, self.some.target, *([self.now] if self.now else [])}


def _flag(context: Context, name: str) -> _Flag | None:
    """The flag of that name, if the tile is one."""
    traced = _innermost(context, name)
    if traced is None:
        return None
    found, loops, last = traced
    now = last.next.name if isinstance(last.next, Name) else None
    after = _opened(context, last.next)
    if last.kind is not Kind.BOOL or context.carried[name][0].start != FALSE:
        return None
    match after:
        case Logical(op="or", left=Name(name=old), right=Name(name=some)) if old == last.name:
            fold = context.defined.get(some)
        case _:
            return None
    axes = {loop.axis for loop in loops}
    if not isinstance(fold, Fold) or fold.op != "any" or not axes <= set(fold.over):
        return None
    return _Flag(loops, found, fold, now, both(fold.where, fold.value))


def _innermost(
    context: Context, name: str
) -> tuple[tuple[str, ...], tuple[Loop, ...], Carry] | None:
    """The names of a carried tile in nested loops, the loops, and the innermost carry."""
    found: list[str] = []
    loops: list[Loop] = []
    while True:
        carry, loop = context.carried[name]
        if not isinstance(loop, Loop):
            return None
        found.append(name)
        loops.append(loop)
        inner = [
            c.name
            for s in loop.body
            if isinstance(s, Loop)
            for c in s.carries
            if c.start == Name(name) and carry.next == Name(c.name)
        ]
        if not inner:
            return tuple(found), tuple(loops), carry
        (name,) = inner


def _opened(context: Context, expr: Expr) -> Expr:
    """What a tile that is mapped holds."""
    item = context.defined.get(expr.name) if isinstance(expr, Name) else None
    return item.value if isinstance(item, Map) else expr


class _Teller:
    """Rewrites one kernel for one flag."""

    def __init__(self, context: Context, flag: _Flag) -> None:
        self.context: Context = context
        self.flag: _Flag = flag
        self.conditions: frozenset[Expr] = context.conditions(flag.where)
        away = frozenset(flag.some.over)
        unseen = Evaluator(context, away, self.conditions, row=True)
        self.first: Evaluator = Evaluator(context, away, starts=within(context, unseen).starts)
        """Knows the tiles that have their first value while no point was present."""

    def told(self) -> Kernel:
        """The kernel without the flag, or with fewer uses of it."""
        kernel = self._changed(self.context.kernel, self._unguarded)
        if self._used_inside(kernel):
            swap = self._counts()
            if swap is None:
                return kernel
            return without_dead(self._changed(kernel, _replacing(swap)))
        extra: tuple[Statement, ...] = ()
        row = self._by_row() or self._by_count()
        if row is None:
            again = self._by_state()
            if again is None:
                return kernel
            extra, row = again
        outermost = self.flag.loops[0].axis, self.flag.names[0]
        body: list[Statement] = []
        behind = False
        for item in kernel.body:
            if behind:
                body.append(self._statement(item, _replacing({outermost[1]: row})))
            else:
                body.append(item)
            if isinstance(item, Loop) and any(c.name == outermost[1] for c in item.carries):
                behind = True
                body += extra
        return without_dead(replace(kernel, body=tuple(body)))

    def _changed(self, kernel: Kernel, change: Callable[[Expr], Expr]) -> Kernel:
        body = tuple(self._statement(s, change) for s in kernel.body)
        return kernel if body == kernel.body else replace(kernel, body=body)

    def _statement(self, item: Statement, change: Callable[[Expr], Expr]) -> Statement:
        """A statement and what is inside of it, but for what keeps the flag itself."""
        if isinstance(item, Loop | If):
            inner = tuple(self._statement(s, change) for s in item.body)
            item = replace(item, body=inner)
            kept = {c.name: c for c in item.carries if c.name in self.flag.own}
            item = mapped(item, change)
            assert isinstance(item, Loop | If)
            return replace(item, carries=tuple(kept.get(c.name, c) for c in item.carries))
        if isinstance(item, TILES) and item.target in self.flag.own:
            return item
        return mapped(item, change)

    def _unguarded(self, expr: Expr) -> Expr:
        """`x` for `x if seen else c`, where `x` is `c` from the start.

        And `(t if seen else 0) * x` for `t * x if seen else 0`, where `x` is 0 from the start and
        `t` has fewer axes, so that there is less to choose.
        """
        inner = rebuild(expr, tuple(self._unguarded(c) for c in children(expr)))
        match inner:
            case Choice(condition=Name(name=name), then=then, other=other) if (
                name == self.flag.names[-1]
            ):
                fill = constant(other)
                kinds = 0 if fill is None else classes.of_constant(fill)
                if kinds in EXACT and self.first(then) == kinds:
                    return then
                return (self._within(name, then) if other == Int(0) else None) or inner
            case _:
                return inner

    def _within(self, flag: str, product: Expr) -> Expr | None:
        """A product that is 0 while nothing was seen, by its factor with fewer axes; or None."""
        match product:
            case Binary(op="*", left=left, right=right):
                zero, varies = classes.of_constant(0), self.context.varies
                for narrow, wide in ((left, right), (right, left)):
                    if varies(narrow) < varies(wide) and self.first(wide) == zero:
                        chosen = Choice(Name(flag), narrow, Int(0))
                        pair = (chosen, wide) if narrow is left else (wide, chosen)
                        return Binary("*", *pair)
                return None
            case _:
                return None

    def _used_inside(self, kernel: Kernel) -> bool:
        """Whether anything in the loop still asks for the flag."""
        for loop in (s for s in kernel.body if isinstance(s, Loop)):
            if not any(c.name in self.flag.own for c in loop.carries):
                continue
            for item in (loop, *statements(loop.body)):
                if isinstance(item, TILES) and item.target in self.flag.own:
                    continue
                read = names(*expressions(item))
                if isinstance(item, Loop):
                    others = [c for c in item.carries if c.name not in self.flag.own]
                    read = names(*expressions(replace(item, carries=tuple(others))))
                if read & (self.flag.own - {self.flag.some.target}):
                    return True
        return False

    # Ways to tell

    def _by_row(self) -> Expr | None:
        """The predicate solved for the streamed coordinates."""
        context = self.context
        parts = [p for p in conjuncts(self.flag.where) if p != TRUE]
        away = context.sorted(self.flag.some.over)
        found = solved(context, _alone(context, parts), away, of_extent(context), empty=True)
        if found is None or names(found) & self._inner():
            return None
        return found

    def _inner(self) -> set[str]:
        """The tiles that are defined in the loops, or carried."""
        inside = [self.flag.loops[0], *statements(self.flag.loops[0].body)]
        found = {s.target for s in inside if isinstance(s, TILES)}
        return found | {c.name for s in inside if isinstance(s, Loop | If) for c in s.carries}

    def _carries(self) -> Iterable[tuple[tuple[str, ...], Carry, Expr]]:
        """The other tiles that the same loops carry, with what they become in a round."""
        for carry in self.flag.loops[0].carries:
            traced = _innermost(self.context, carry.name)
            if traced is not None and traced[1] == self.flag.loops:
                yield traced[0], traced[2], _opened(self.context, traced[2].next)

    def _folded(self, name: str) -> Fold | None:
        item = self.context.defined.get(name)
        return item if isinstance(item, Fold) else None

    def _by_count(self) -> Expr | None:
        """A count of the same points that is not 0."""
        counts = self._counts()
        return None if counts is None else counts[self.flag.names[0]]

    def _counts(self) -> dict[str, Expr] | None:
        """For each name of the flag, that a count of the same points is not 0."""
        for tiles, carry, after in self._carries():
            match after:
                case Binary(op="+", left=Name(name=old), right=Name(name=new)) if old == carry.name:
                    fold = self._folded(new)
                case _:
                    continue
            if fold is None or fold.op != "sum" or fold.value != Int(1):
                continue
            same = self.context.conditions(fold.where) == self.conditions
            same = same and set(fold.over) == set(self.flag.some.over)
            zero = self.context.carried[tiles[0]][0].start == Int(0)
            if same and zero and set(carry.axes) <= self._room():
                pairs = zip(self.flag.names, tiles, strict=True)
                return {flag: Compare(("<",), (Int(0), Name(t))) for flag, t in pairs}
        return None

    def _by_state(self) -> tuple[tuple[Statement, ...], Expr] | None:
        """A state that is not its identity; statements that look again where it is."""
        for tiles, carry, after in self._carries():
            match after:
                case Apply(
                    function="max" | "min" as op, arguments=(Name(name=old), Name(name=new))
                ):
                    fold = self._folded(new)
                case _:
                    continue
            first = literal(identity(op, carry.kind))
            if old != carry.name or fold is None or fold.op != op:
                continue
            if self.context.carried[tiles[0]][0].start != first:
                continue
            lanes = self.context.conditions(fold.where)
            if not set(carry.axes) <= self._room():
                continue
            if set(fold.over) == set(self.flag.some.over) and lanes >= self.conditions:
                return self._rescan(Compare(("!=",), (Name(tiles[0]), first)))
        return None

    def _room(self) -> set[str]:
        """The axes that all who ask for the flag have."""
        room = set(self.context.order)
        for item in statements(self.context.kernel.body):
            if not names(*expressions(item)) & set(self.flag.names):
                continue
            match item:
                case Store(index=index):
                    room &= self.context.varies(*index)
                case Fold(axes=axes, over=over):
                    room &= {*axes, *over}
                case Map(axes=axes, target=target) if target != self.flag.now:
                    room &= set(axes)
                case Map() | Loop():
                    pass  # which keeps it
                case _:
                    return set()
        return room

    def _rescan(self, left: Expr) -> tuple[tuple[Statement, ...], Expr] | None:
        context = self.context
        needed = self._slice(names(self.flag.where))
        if needed is None:
            return None
        some = self.flag.some
        stands = context.map("left", left)
        axes = context.sorted({*stands.axes, *some.axes})
        valid = context.valid(axes)
        rest = Fold(
            context.fresh("rest"),
            (),
            Kind.BOOL,
            "any",
            axes,
            negation(Name(stands.target)),
            valid,
        )
        missing: Expr = Name(rest.target) if axes else negation(Name(stands.target))
        if not set(axes) <= self._room():
            return None
        flag = Carry(context.fresh("found"), axes, Kind.BOOL, Name(stands.target), FALSE)
        new = {name: context.fresh(name) for name in needed}
        swap = _replacing({old: Name(name) for old, name in new.items()})
        inner = flag.name
        body: tuple[Statement, ...] = ()
        for loop in reversed(self.flag.loops):
            own = [_renamed(s, new, swap) for s in loop.body if _target(s) in needed]
            if loop is self.flag.loops[-1]:
                again = replace(
                    some,
                    target=context.fresh("again"),
                    where=swap(some.where),
                    value=swap(some.value),
                )
                own.append(again)
                carry = replace(flag, name=context.fresh(flag.name))
                last: Expr = either(Name(carry.name), Name(again.target))
            else:
                carry = replace(flag, name=context.fresh(flag.name))
                body = _started(body, carry.name)
                last = Name(inner)
            carry = replace(carry, next=last)
            turn = Loop(loop.axis, loop.ranges, (carry,), (*own, *body))
            if loop is self.flag.loops[0]:  # else what tells its ranges is in the loop around it
                given, where = tuple(map(swap, loop.given)), swap(loop.where)
                where = TRUE if names(where) & self._inner() else where
                turn = replace(turn, given=given, where=where)
            else:
                size = context.kernel.axis(loop.axis).size
                turn = replace(turn, ranges=(Range(Int(0), size),))
            body, inner = (turn,), carry.name
        block = If(missing, _started(body, flag.name), (replace(flag, next=Name(inner)),))
        statements_: tuple[Statement, ...] = (stands, *([rest] if axes else []), block)
        return statements_, Name(flag.name)

    def _slice(self, wanted: set[str]) -> set[str] | None:
        """What is to be computed again to know some tiles; None if that is more than loads."""
        inner, found = self._inner(), set[str]()
        stack = [n for n in wanted if n in inner]
        while stack:
            name = stack.pop()
            item = self.context.defined.get(name)
            if name in found:
                continue
            match item:
                case Map():
                    pass
                case Load(tensor=tensor) if tensor.removesuffix("?") not in self.context.stored:
                    pass
                case Fold(op="any" | "all"):
                    pass
                case _:
                    return None
            if not any(s is item for loop in self.flag.loops for s in loop.body):
                return None
            found.add(name)
            stack += [n for n in names(*expressions(item)) if n in inner]
        return found


def _alone(context: Context, parts: Iterable[Expr]) -> list[Expr]:
    """Conditions with tiles that are predicates opened."""
    return sorted((c for p in parts for c in context.conditions(p)), key=repr)


def _target(item: Statement) -> str | None:
    return item.target if isinstance(item, TILES) else None


def _started(body: tuple[Statement, ...], name: str) -> tuple[Statement, ...]:
    """The one loop with what it carries begun by another tile."""
    found: list[Statement] = []
    for item in body:
        if isinstance(item, Loop):
            (carry,) = item.carries
            item = replace(item, carries=(replace(carry, start=Name(name)),))
        found.append(item)
    return tuple(found)


def _renamed(item: Statement, new: Mapping[str, str], swap: Callable[[Expr], Expr]) -> Statement:
    """A copy of a definition under another name."""
    found = mapped(item, swap)
    assert isinstance(found, TILES)
    return replace(found, target=new[found.target])


def _replacing(new: Mapping[str, Expr]) -> Callable[[Expr], Expr]:
    """Puts expressions where tiles are read."""

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Name):
            return new.get(expr.name, expr)
        return rebuild(expr, tuple(change(c) for c in children(expr)))

    return change
