"""What follows from what a full range says of its lanes.

A condition that is given holds for every row that exists, so for the first and the last one of the
tile as well: what was derived for a whole tile, `M + n <= high(m) + N`, follows from what is said
of its rows, `n <= m + (N - M)`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Final

from attnc.ir.assumed import assumed
from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    CompareOp,
    Expr,
    Int,
    Logical,
    Name,
    Unary,
    Value,
    Var,
)
from attnc.ir.integers import Integers
from attnc.ir.tiles import Axis, Kernel, Let, Loop
from attnc.ir.tiles_walk import conjuncts, statements
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild, subexpressions

TRUE: Final = Bool(True)
MOST_CASES: Final = 16
"""The most cases that disjunctions are split into for one question."""
MOST_CORNERS: Final = 8
"""The most rows of a tile that a condition is asked of."""


@dataclass(frozen=True)
class Round:
    """A round of full ranges: of which loops, and what is given there."""

    loops: tuple[str, ...] = ()
    given: tuple[Expr, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.loops)

    def inside(self, loop: Loop) -> Round:
        """A round of a full range of a loop in it."""
        parts = (p for condition in loop.given for p in conjuncts(condition))
        return Round((*self.loops, loop.axis), (*self.given, *parts))


@dataclass
class Full:
    """Tells which conditions of one kernel hold in rounds of full ranges.

    They hold for rows within parallel extents; that a row is, is never said to follow.
    """

    known: Integers
    axes: Mapping[str, Axis]
    coords: Mapping[str, Expr]
    kind: Callable[[Expr], Kind]
    varies: Callable[[Expr], Collection[str]]
    """The axes along which an expression varies."""
    _numbers: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Tiles of integers that conditions speak of, as values, and the axes of each."""
    _answers: dict[tuple[Round, Expr], bool] = field(default_factory=dict[tuple[Round, Expr], bool])

    @classmethod
    def of(
        cls,
        known: Integers,
        kernel: Kernel,
        kind: Callable[[Expr], Kind],
        varies: Callable[[Expr], Collection[str]],
    ) -> Full:
        """That of a kernel, whose expressions are of these kinds and vary along these axes."""
        lets = {s.name for s in statements(kernel.body) if isinstance(s, Let) if s.kind is Kind.I64}
        axes = {a.name: a for a in kernel.axes}
        coords = {c.name: c.value for c in kernel.coords}
        return cls(replace(known, whole=known.whole | lets), axes, coords, kind, varies)

    def holds(self, around: Round, condition: Expr) -> bool:
        """Whether a condition holds in a round; each question is answered once."""
        if condition in around.given:
            return True
        match condition:
            case Apply(function="within", arguments=(Var(name=name),)):
                return name in around.loops
            case Compare() | Logical(op="or"):
                pass
            case _:
                return False
        key = around, condition
        if key not in self._answers:
            own = self.concerns(around, condition)
            self._answers[key] = own and self._follows(around, condition)
        return self._answers[key]

    def assumed(self, around: Round, expr: Expr) -> Expr:
        """An expression without the conditions that hold in a round."""
        return assumed(expr, lambda e: self.holds(around, e)) if around else expr

    def mask(self, around: Round, predicate: Expr) -> Expr:
        """A predicate on memory without the conditions that hold in a round.

        They hold for rows that exist, and others reach memory as well: a condition on a row stays
        where no other that stays is on it.
        """
        if not around:
            return predicate
        parts = [(part, self.assumed(around, part)) for part in conjuncts(predicate)]
        on = {axis for _, rest in parts for axis in self.varies(rest)}
        found: Expr = TRUE
        for part, rest in parts:
            rows = {a for a in self.varies(part) if self.axes[a].kind == "par"}
            found = _both(found, rest if rows <= on else part)
        return found

    def some(self, around: Round, over: Iterable[str], conditions: Iterable[Expr]) -> bool:
        """Whether some lane along axes has what is asked for: that it exists.

        Each program has rows, and each round of a full range has lanes.
        """
        rows = [self.axes[a] for a in over]
        tests = {TRUE, *(Compare(("<",), (Var(a.name), a.size)) for a in rows)}
        asked = {part for c in conditions for part in conjuncts(c)}
        here = all(a.kind == "par" or a.name in around.loops for a in rows)
        return here and asked <= tests

    def concerns(self, around: Round, condition: Expr) -> bool:
        """Whether a condition speaks of the lanes of a loop whose round it is, and is plain."""
        along = variables(self._of_axes(condition))
        return self._plain(condition) and any(_axis(v) in around.loops for v in along)

    def _plain(self, condition: Expr) -> bool:
        """Whether a condition is about integers, without a choice, and nothing in it wraps around.

        Tiles may be of 32 bits: arithmetic on these alone is none of all integers.
        """
        for node in subexpressions(condition):
            match node:
                case Choice():
                    return False
                case Name() if not self.kind(node).integral:
                    return False
                case Binary() | Unary(op="-") | Apply() if _of_tiles(node):
                    if self.kind(node) is not Kind.I64:
                        return False
                case _:
                    pass
        return True

    def _follows(self, around: Round, condition: Expr) -> bool:
        claim = self._of_axes(condition)
        asked = variables(claim)
        given = [self._of_axes(g) for g in around.given if self._plain(g)]
        rows = [r for g in given for r in self._rows(g, asked)]
        facts: list[Expr] = [r for r in rows if not isinstance(r, Logical)]
        facts += self._places(around, {v for e in (claim, *rows) for v in variables(e)})
        known = replace(self.known, whole=self.known.whole.union(self._numbers))
        if known.knowing(facts).shows(claim):
            return True
        ors = [list(_disjuncts(r)) for r in dict.fromkeys(rows) if isinstance(r, Logical)]
        while prod(map(len, ors)) > MOST_CASES:
            ors.pop()
        cases = list(product(*ors)) if ors else []
        return bool(cases) and all(known.knowing((*facts, *c)).shows(claim) for c in cases)

    def _rows(self, condition: Expr, asked: frozenset[str]) -> Iterator[Expr]:
        """A condition of the rows that a question is about."""
        axes = sorted(variables(condition))
        options = []
        for axis in axes:
            every = (axis, edge("low", axis).name, edge("high", axis).name)
            options.append([v for v in every if v in asked] or list(every[1:]))
        if prod(map(len, options)) > MOST_CORNERS:
            return
        of_tiles = {a for n in _values(condition) for a in self._numbers.get(n, ())}
        for chosen in product(*options):
            swap = {a: b for a, b in zip(axes, chosen, strict=True) if a != b}
            if not of_tiles & swap.keys():  # what a tile is in another lane is another number
                yield _swapped(condition, swap)

    def _places(self, around: Round, names: Iterable[str]) -> Iterator[Expr]:
        """That coordinates, and those of edges, are within their extents and in order."""
        for axis in sorted({_axis(n) for n in names} & self.axes.keys()):
            size, kind = self.axes[axis].size, self.axes[axis].kind
            if kind == "par" or axis in around.loops:
                here = [edge("low", axis), Var(axis), edge("high", axis)]
                here = [v for v in here if v.name in names]
                ops: list[CompareOp] = ["<="] * len(here)
                yield Compare((*ops, "<"), (Int(0), *here, size))
            elif kind == "whole":
                yield Compare(("<=",), (Int(0), Var(axis)))

    def _of_axes(self, expr: Expr) -> Expr:
        """A condition of axes alone, edges of tiles as coordinates like any other."""
        match expr:
            case Apply(function="low" | "high" as which, arguments=(Var(name=name),)):
                return self._edge(which, Var(name))
            case Var(name=name) if name in self.coords:
                return self._of_axes(self.coords[name])
            case Name(name=name) if self.kind(expr).integral:
                value = f"tile {name}"
                self._numbers[value] = frozenset(self.varies(expr))
                return Value(value)
            case _:
                parts = children(expr)
                return rebuild(expr, tuple(map(self._of_axes, parts))) if parts else expr

    def _edge(self, which: str, expr: Expr) -> Expr:
        """The edge of a coordinate, which grows with each axis in it."""
        match expr:
            case Var(name=name) if name in self.coords and self._grows(self.coords[name]):
                return self._edge(which, self.coords[name])
            case Var(name=name):
                return edge(which, name)
            case Binary(op=op, left=left, right=right):
                return Binary(op, self._edge(which, left), self._edge(which, right))
            case _:
                return expr

    def _grows(self, expr: Expr) -> bool:
        """Whether a coordinate at an edge is made of the edges of what it is made of."""
        match expr:
            case Binary(op="+" | "*", left=left, right=right):
                return self._grows(left) and self._grows(right)
            case Binary(op="//", left=left, right=right):
                return self._grows(left) and not variables(right)
            case Var(name=name):
                return name not in self.coords or self._grows(self.coords[name])
            case _:
                return isinstance(expr, Int | Value)


def edge(which: str, axis: str) -> Var:
    """The coordinate of an edge of a tile, as one like any other; no name of a plan has a blank."""
    return Var(f"{which} {axis}")


def _axis(name: str) -> str:
    """The axis or coordinate of what may be an edge of it."""
    return name.split()[-1]


def variables(expr: Expr) -> frozenset[str]:
    """The coordinates in an expression."""
    return frozenset(n.name for n in subexpressions(expr) if isinstance(n, Var))


def _swapped(expr: Expr, names: Mapping[str, str]) -> Expr:
    if isinstance(expr, Var):
        return Var(names.get(expr.name, expr.name))
    parts = children(expr)
    return rebuild(expr, tuple(_swapped(p, names) for p in parts)) if parts else expr


def _of_tiles(expr: Expr) -> bool:
    return any(isinstance(n, Name) for n in subexpressions(expr))


def _values(expr: Expr) -> frozenset[str]:
    return frozenset(n.name for n in subexpressions(expr) if isinstance(n, Value))


def _both(left: Expr, right: Expr) -> Expr:
    if TRUE in (left, right):
        return right if left == TRUE else left
    return Logical("and", left, right)


def _disjuncts(expr: Expr) -> Iterator[Expr]:
    match expr:
        case Logical(op="or", left=left, right=right):
            yield from _disjuncts(left)
            yield from _disjuncts(right)
        case _:
            yield expr
