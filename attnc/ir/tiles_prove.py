"""What follows from predicates of tile programs, whatever the sizes are: a small prover.

It reads what is written and tries nothing: where it says no, the claim may still be true, and is
then to be tested by the predicate itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Int,
    Logical,
    Name,
    Unary,
    Value,
    Var,
)
from attnc.ir.integers import Integers
from attnc.ir.tiles import Axis, Range
from attnc.ir.tiles_walk import conjuncts
from attnc.ir.walk import children, rebuild

ZERO: Final = Int(0)
FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}


@dataclass
class Prover:
    """Proves what holds within one kernel."""

    axes: Mapping[str, Axis]
    coords: Mapping[str, tuple[Expr, Expr]]
    """The value and the size of each coordinate."""
    sizes: frozenset[Expr]
    """Sizes of axes and tensors, never negative."""
    meanings: dict[Expr, Expr] = field(default_factory=dict)
    """What values and tiles stand for that are defined by an expression."""
    integers: Callable[[], Integers] | None = None
    """What is known of values."""
    given: tuple[Expr, ...] = ()
    """Conditions of values alone that hold."""
    ranges: dict[str, tuple[Range, ...]] = field(default_factory=dict)
    """The ranges of the loops around, by axis."""

    def exists(self, axis: str, predicate: Expr) -> bool:
        """Whether lanes for which a predicate holds lie within the extent of an axis."""
        return self.tests(axis, predicate) and (
            self.begins(axis) or self._always(predicate, partial(self._least, Var(axis)))
        )

    def tests(self, axis: str, condition: Expr) -> bool:
        """Whether a condition is what says that lanes end where the extent of an axis does."""
        return self._always(condition, partial(self._below, axis))

    def inside(self, index: Expr, size: Expr, predicate: Expr) -> bool:
        """Whether an index lies within a size, for lanes that exist and a predicate holds for."""
        for condition in self.given:
            predicate = Logical("and", predicate, condition)
        forms = {index, self._value(index)}
        ends = any(self._ends_within(form, size, predicate) for form in forms)
        begins = any(
            self.nonnegative(form) or self._always(predicate, partial(self._least, form))
            for form in forms
        )
        if ends and begins:
            return True
        index = self._made_of_axes(index)
        below, least = Compare(("<",), (index, size)), Compare(("<=",), (ZERO, index))
        return (ends or self._follows(below, predicate)) and (
            begins or self._follows(least, predicate)
        )

    def _follows(self, claim: Compare, predicate: Expr) -> bool:
        """Whether a claim on integers follows from what is known of values, and a predicate."""
        if self.integers is None:
            return False
        parts = [*self._opened(predicate), *map(self._from_zero, self.axes.values())]
        for axis in self.axes.values():
            parts += in_program(axis, self.ranges.get(axis.name, ()))
        return self.integers().knowing(parts).shows(claim)

    def _opened(self, predicate: Expr) -> Iterator[Expr]:
        """The conditions that a predicate joins, what tiles stand for in their place."""
        for part in conjuncts(predicate):
            meaning = self.meanings.get(part) if isinstance(part, Name) else None
            if meaning is None:
                yield part
            else:
                yield from self._opened(meaning)

    def _made_of_axes(self, expr: Expr) -> Expr:
        """An expression with what coordinates are computed from."""
        if isinstance(expr, Var) and expr.name in self.coords:
            return self.coords[expr.name][0]
        parts = children(expr)
        return rebuild(expr, tuple(map(self._made_of_axes, parts))) if parts else expr

    def _from_zero(self, axis: Axis) -> Expr:
        if axis.kind == "par" or axis.kind == "whole" or self.begins(axis.name):
            return Compare(("<=",), (ZERO, Var(axis.name)))
        return Bool(True)

    def _ends_within(self, index: Expr, size: Expr, predicate: Expr) -> bool:
        less = partial(self._less, index, size)
        return self._fits(index, size) or self._always(predicate, less)

    def _fits(self, index: Expr, size: Expr) -> bool:
        """Whether an index is less than a size because of what it is."""
        axis = self.axes.get(numbered(index) or "")
        if axis is not None and axis.tile:
            return size == Apply("ceildiv", (axis.size, Value(axis.tile)))
        (inner, more), (least, extra) = _shifted(index), _shifted(size)
        match inner:
            case Int():
                return more < extra and self.nonnegative(least)
            case Var(name=name) if name in self.axes:
                own, less = _shifted(self.axes[name].size)
                steady = self.axes[name].kind != "step" or self.ends(name)
                return own == least and more + less <= extra and steady
            case Binary(op="//", left=Var(name=name), right=divisor) if name in self.axes:
                products = (Binary("*", size, divisor), Binary("*", divisor, size))
                return more <= 0 and self._meaning(self.axes[name].size) in products
            case Binary(op="%", right=divisor):
                return divisor == size and more <= 0
            case _:
                return False

    # One condition of a conjunction

    def _always(self, predicate: Expr, holds: Callable[[Expr], bool]) -> bool:
        """Whether one of the conditions that a predicate joins shows a claim."""
        match predicate:
            case Bool(value=False):
                return True
            case Logical(op="and", left=left, right=right):
                return self._always(left, holds) or self._always(right, holds)
            case Logical(op="or", left=left, right=right):
                return self._always(left, holds) and self._always(right, holds)
            case Name() | Value() if predicate in self.meanings:
                return self._always(self.meanings[predicate], holds)
            case _:
                return holds(predicate)

    def _below(self, axis: str, condition: Expr) -> bool:
        """Whether a condition shows that an axis' lanes end where its extent does."""
        size = self.axes[axis].size
        if condition == Apply("within", (Var(axis),)):
            return self.ends(axis)
        if self._less(Var(axis), size, condition):
            return True
        for a, op, b in _relations(condition):
            match self._value(a), op:  # p // W < H says p < H * W
                case Binary(op="//", left=Var(name=name), right=divisor), "<" if name == axis:
                    if self._meaning(size) in (Binary("*", b, divisor), Binary("*", divisor, b)):
                        return True
                case _:
                    pass
        return False

    def _meaning(self, expr: Expr) -> Expr:
        return self.meanings.get(expr, expr)

    def _value(self, expr: Expr) -> Expr:
        if isinstance(expr, Var) and expr.name in self.coords:
            return self.coords[expr.name][0]
        return expr

    def _less(self, a: Expr, b: Expr, condition: Expr) -> bool:
        """Whether a condition shows that something is less than a number."""
        for x, op, y in _relations(condition):
            if x == a and op == "<" and self.at_most(y, b):
                return True
            match op, y:
                case "<=", Binary(op="-", left=most, right=Int(value=value)) if x == a:
                    if value > 0 and self.at_most(most, b):
                        return True
                case _:
                    pass
        return False

    def _least(self, expr: Expr, condition: Expr) -> bool:
        """Whether a condition shows that something is not negative."""
        return any(
            a == expr and op in (">=", ">") and self.nonnegative(b)
            for a, op, b in _relations(condition)
        )

    # Numbers of the whole tile

    def ends(self, axis: str) -> bool:
        """Whether what is gone through of an axis ends within its extent."""
        size = self.axes[axis].size
        return all(r.of is None and self.at_most(r.high, size) for r in self.ranges.get(axis, ()))

    def begins(self, axis: str) -> bool:
        """Whether what is gone through of an axis begins at 0, or later."""
        return all(r.of or self.nonnegative(r.low) for r in self.ranges.get(axis, ()))

    def at_most(self, expr: Expr, most: Expr) -> bool:
        """Whether a number is at most another."""
        if expr == most:
            return True
        match expr:
            case Apply(function="min", arguments=arguments):
                return any(self.at_most(a, most) for a in arguments)
            case Apply(function="max", arguments=arguments):
                return all(self.at_most(a, most) for a in arguments)
            case Binary(op="-", left=left, right=right):
                return self.at_most(left, most) and self.nonnegative(right)
            case Choice(then=then, other=other):
                return self.at_most(then, most) and self.at_most(other, most)
            case Int(value=0):
                return self.nonnegative(most)
            case Int(value=value):
                return isinstance(most, Int) and value <= most.value
            case Name() | Value() if expr in self.meanings:
                return self.at_most(self.meanings[expr], most)
            case _:
                return False

    def nonnegative(self, expr: Expr) -> bool:
        """Whether a number is never negative."""
        if expr in self.sizes:
            return True
        match expr:
            case Int():
                return True
            case Var(name=name) if name in self.axes:
                return self.begins(name)
            case Var(name=name):
                return self.nonnegative(self.coords[name][0])
            case Apply(function="tile"):
                return True
            case Apply(function="low" | "high", arguments=(Var() as variable,)):
                return self.nonnegative(variable)
            case Apply(function="max", arguments=arguments):
                return any(map(self.nonnegative, arguments))
            case Apply(function="min" | "ceildiv", arguments=arguments):
                return all(map(self.nonnegative, arguments))
            case Binary(op="%", right=right) if self._positive(right):
                return True
            case Binary(op="+" | "*" | "//" | "%", left=left, right=right):
                return self.nonnegative(left) and self.nonnegative(right)
            case Choice(then=then, other=other):
                return self.nonnegative(then) and self.nonnegative(other)
            case Name() | Value() if expr in self.meanings:
                return self.nonnegative(self.meanings[expr])
            case Unary(op="-") | Binary(op="-") | Value() if self.integers is not None:
                return self.integers().shows(Compare(("<=",), (ZERO, expr)))
            case _:
                return False

    def _positive(self, expr: Expr) -> bool:
        known = self.integers
        return known is not None and known().shows(Compare(("<",), (ZERO, expr)))


def numbered(expr: Expr) -> str | None:
    """The axis whose tiles a number counts: `low(m) // tile(m)`."""
    match expr:
        case Binary(
            op="//",
            left=Apply(function="low", arguments=(Var(name=name),)),
            right=Apply(function="tile", arguments=(Var(name=other),)),
        ) if name == other:
            return name
        case _:
            return None


def in_program(axis: Axis, ranges: tuple[Range, ...]) -> Iterator[Expr]:
    """What holds of an axis where a program runs, in a round of the loops around."""
    if axis.kind == "par":
        yield Compare(("<",), (ZERO, axis.size))
    if len(ranges) == 1:
        (part,) = ranges
        yield Compare(("<",), (part.low, part.high))
        if axis.kind == "step" and part.of is None:
            yield Compare(("<=", "<"), (part.low, Var(axis.name), part.high))


def bare(size: Expr) -> Expr:
    """A size without a number that is added to it: a rank of `C + 1` goes from -1 on."""
    return _shifted(size)[0]


def _shifted(expr: Expr) -> tuple[Expr, int]:
    """An expression as another and a number that is added to it."""
    match expr:
        case Int(value=value):
            return ZERO, value
        case Binary(op="+" | "-" as op, left=left, right=Int(value=value)):
            inner, more = _shifted(left)
            return inner, more + (value if op == "+" else -value)
        case _:
            return expr, 0


def _relations(condition: Expr) -> Iterator[tuple[Expr, str, Expr]]:
    """What a comparison says, each way round."""
    if isinstance(condition, Compare):
        operands = condition.operands
        for op, a, b in zip(condition.ops, operands, operands[1:], strict=False):
            yield a, op, b
            yield b, FLIPPED[op], a
