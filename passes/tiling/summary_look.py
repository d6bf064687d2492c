"""What a loop looks at in each round, where several programs would see the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnc.ir.expr import Apply, Choice, Compare, Expr, Int, Name, Value, Var
from attnc.ir.tiles import Axis, Coord, Find, Fold, Let, Load, Loop, Map, Range, Statement
from attnc.ir.tiles_walk import ahead, expressions, names, scanned, statements, targets
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, conjuncts


@dataclass(frozen=True)
class Look:
    """A look at a round, and what it needs."""

    loop: Loop
    parts: tuple[Expr, ...]
    """The conditions that lanes of a round are asked for, extents of axes left out."""
    rows: tuple[Expr, ...]
    """Those of them that are the same in each round, and not in all of the programs that share."""
    axes: tuple[Axis, ...]
    """The axes whose tiles the others depend on, in the kernel's order; the loop's own is one."""
    coords: tuple[Coord, ...]
    ranges: tuple[Range, ...]
    """Where there may be points, for all of these programs."""
    before: tuple[Statement, ...]
    """Statements before the loop that are needed."""
    inside: tuple[Statement, ...]
    """Statements of a round that are needed."""
    taken: frozenset[str]
    """The names of the kernel."""


def shared(context: Context, loop: Statement) -> Look | None:
    """The look of a loop of the kernel, if programs along some parallel axis share it.

    It has to be at what is loaded along the loop: else edges of tiles tell, but for rare values.
    """
    if not isinstance(loop, Loop):
        return None
    fold = next((s for s in conjuncts(loop.where) if isinstance(s, Name)), None)
    look = context.defined.get(fold.name) if fold else None
    kinds = (context.kernel.axis(s.axis).kind for s in statements(loop.body) if isinstance(s, Loop))
    inner = "stream" in kinds
    ordered = loop.ordered or loop.backward or scanned(loop)
    plain = all(r.step == Int(1) and r.of is None for r in loop.ranges)
    if not isinstance(look, Fold) or look.op != "any" or inner or ordered or not plain:
        return None
    return _Finder(context, loop).found(look)


@dataclass
class _Finder:
    context: Context
    loop: Loop

    def __post_init__(self) -> None:
        body = self.context.kernel.body
        self.around: tuple[Statement, ...] = body[: body.index(self.loop)]
        self.ahead: tuple[Statement, ...] = self.loop.body[: ahead(self.loop)]
        self.own: set[str] = {t for s in self.loop.body for t in targets(s)}
        self.lets: dict[str, Expr] = {s.name: s.value for s in self.around if isinstance(s, Let)}

    def found(self, look: Fold) -> Look | None:
        """What a loop looks at, if programs share it."""
        context, kernel, stream = self.context, self.context.kernel, self.loop.axis
        asked = self._asked(look)
        moving = [p for p in asked if self._moves(p)]
        needed = self._needed(moving)
        if needed is None or not any(isinstance(s, Load) and stream in s.axes for s in needed):
            return None
        axes = self._mentioned(moving, needed) | {stream}
        others = [a for a in kernel.axes if a.name not in axes and a.kind == "par"]
        chosen = tuple(a for a in kernel.axes if a.name in axes)
        fit = all(a.kind == "par" or a.name == stream for a in chosen)
        if not fit or all(a.size == Int(1) for a in others):
            return None
        rows = tuple(p for p in asked if p not in moving and not self._within(p, axes))
        parts = tuple(p for p in asked if p not in rows)
        ranges = tuple(Range(*self._widest(r, axes)) for r in self.loop.ranges)
        needed = self._needed([*parts, *(e for r in ranges for e in (r.low, r.high))])
        if needed is None:
            return None
        items = [e for s in needed for e in expressions(s)]
        items += [*parts, *(e for r in ranges for e in (r.low, r.high))]
        used = {n.name for e in items for n in subexpressions(e) if isinstance(n, Var)}
        coords = tuple(c for c in kernel.coords if c.name in used)
        if any(names(c.value) for c in coords):
            return None
        before = tuple(s for s in needed if s in self.around)
        inside = tuple(s for s in needed if s not in self.around)
        taken = frozenset(context.taken)
        return Look(self.loop, parts, rows, chosen, coords, ranges, before, inside, taken)

    def _asked(self, look: Fold) -> tuple[Expr, ...]:
        """The conditions of a look, without what says that rows and lanes exist."""
        kernel, stream = self.context.kernel, self.loop.axis
        rows = (c for c in kernel.coords if stream not in self.context.mentions(c.value))
        sizes = {a.name: a.size for a in kernel.axes} | {c.name: c.size for c in rows}
        exist = {Compare(("<",), (Var(name), size)) for name, size in sizes.items()}
        found = _opened(self.context, look.value, look.where)
        return tuple(dict.fromkeys(p for p in found if p not in exist and p != TRUE))

    def _moves(self, expr: Expr) -> bool:
        """Whether an expression is another in each round."""
        mentioned = self.context.mentions(expr) | self.context.varies(expr)
        return self.loop.axis in mentioned or bool(names(expr) & self.own)

    def _needed(self, asked: Iterable[Expr]) -> tuple[Statement, ...] | None:
        """The statements that expressions are made of; None if not all are of the plain kinds."""
        stack = list(asked)
        tiles, values = names(*stack), _values(stack)
        found: list[Statement] = []
        for item in reversed((*self.around, *self.ahead)):
            match item:
                case Let(name=name):
                    wanted = name in values
                case Load(target=name) | Map(target=name) | Fold(target=name) | Find(target=name):
                    wanted = name in tiles
                case _:
                    wanted = False
            if wanted:
                found.append(item)
                tiles |= names(*expressions(item))
                values |= _values(expressions(item))
        made = {t for s in found for t in targets(s)}
        return tuple(found[::-1]) if tiles <= made else None

    def _mentioned(self, asked: Iterable[Expr], needed: Iterable[Statement]) -> frozenset[str]:
        """The axes of whose tiles there is something in expressions and statements."""
        return self.context.mentions(*asked, *(e for s in needed for e in expressions(s)))

    def _within(self, expr: Expr, axes: frozenset[str]) -> bool:
        """Whether an expression is known where tiles of some axes are, and others are not."""
        needed = self._needed([expr])
        return needed is not None and self._mentioned([expr], needed) <= axes

    # Ranges that do for all programs

    def _widest(self, part: Range, axes: frozenset[str]) -> tuple[Expr, Expr]:
        """Bounds that do not depend on other axes; of all the axis if there are no others."""
        low = self._hull(part.low, "min", axes)
        high = self._hull(part.high, "max", axes)
        size = self.context.kernel.axis(self.loop.axis).size
        return Int(0) if low is None else low, size if high is None else high

    def _hull(self, bound: Expr, way: str, axes: frozenset[str]) -> Expr | None:
        """The least or the greatest that a bound may be, whatever other axes say."""
        if self._within(bound, axes):
            return bound
        match bound:
            case Value(name=name) if name in self.lets:
                return self._hull(self.lets[name], way, axes)
            case Choice(then=then, other=other):
                found = [self._hull(e, way, axes) for e in (then, other)]
                known = [e for e in found if e is not None]
                return Apply(way, tuple(dict.fromkeys(known))) if len(known) == 2 else None
            case Apply(function="min" | "max"):
                parts = [self._hull(e, way, axes) for e in children(bound)]
                known = [e for e in parts if e is not None]
                return rebuild(bound, tuple(known)) if len(known) == len(parts) else None
            case _:
                return None


def _opened(context: Context, *predicates: Expr) -> list[Expr]:
    """The conditions that some predicates join, what tiles of truths stand for in their place."""
    found: list[Expr] = []
    for part in (p for predicate in predicates for p in conjuncts(predicate)):
        item = context.defined.get(part.name) if isinstance(part, Name) else None
        if isinstance(item, Map):
            found += _opened(context, item.value)
        else:
            found.append(part)
    return found


def _values(exprs: Iterable[Expr]) -> set[str]:
    return {n.name for e in exprs for n in subexpressions(e) if isinstance(n, Value)}
