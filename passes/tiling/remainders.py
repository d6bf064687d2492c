"""Conditions that hold for one remainder of a streamed coordinate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Int, Unary, Value, Var
from attnc.ir.polynomials import ONE, Sum, less, times
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.conditions.forms import Forms, factor, mentioned
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import both, nonzero

FUNCTIONS: Final = frozenset(("min", "max", "abs", "ceildiv"))


@dataclass(frozen=True, slots=True)
class Remainder:
    """That a streamed coordinate has the remainder of `at` by `period`, just where `rest` holds.

    `at` is a sum of values and parallel coordinates, as is `period` one of values. `rest` says
    that there is a remainder, and that what stands on the other side of the condition is one.
    """

    condition: Expr
    period: Expr
    at: Expr
    rest: Expr
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A parallel coordinate that `at` is, times `sign`, and what it is beside that."""

    axis: str
    sign: int
    beside: Expr


def remainders(context: Context, stream: str, conditions: Iterable[Expr]) -> Iterator[Remainder]:
    """Those of some conditions that say so of a streamed coordinate.

    `x % r == y % r` says that `x - y` is a multiple of `r`, and so does `x % r == y` where `y` is
    a remainder at all.
    """
    for condition in conditions:
        match condition:
            case Compare(ops=("==",), operands=(left, right)):
                for one, other in ((left, right), (right, left)):
                    found = _solved(context, stream, condition, one, other)
                    if found is not None:
                        yield found
                        break
            case _:
                pass


def _solved(
    context: Context, stream: str, condition: Expr, one: Expr, other: Expr
) -> Remainder | None:
    if not isinstance(one, Binary) or one.op != "%" or not _whole(context, one.right):
        return None
    period, rest = one.right, nonzero(one.right)
    match other:
        case Binary(op="%", left=left, right=right) if right == period:
            other = left
        case Int(value=0):
            pass
        case _:
            rest = both(rest, Compare(("==",), (Binary("%", other, period), other)))
    if any(context.kind(e) is not Kind.I64 for e in (one.left, other, period)):
        return None
    forms = Forms(lambda e: context.kind(e) is not Kind.I64)
    parted = factor(less(forms.of(one.left), forms.of(other)), stream)
    if parted is None or parted[0] not in ({ONE: 1}, {ONE: -1}):
        return None
    at = times(parted[1], {ONE: -parted[0][ONE]})
    if not all(_steady(context, forms.atoms[t]) for t in mentioned(at)):
        return None
    rows = tuple(_rows(context, forms, at))
    return Remainder(condition, period, forms.expr(at), rest, rows)


def _rows(context: Context, forms: Forms, at: Sum) -> Iterator[Row]:
    for axis in context.kernel.axes:
        parted = factor(at, axis.name) if axis.kind == "par" else None
        if parted is None or parted[0] not in ({ONE: 1}, {ONE: -1}):
            continue
        if all(Var(axis.name) not in subexpressions(forms.atoms[t]) for t in mentioned(parted[1])):
            yield Row(axis.name, parted[0][ONE], forms.expr(parted[1]))


def _whole(context: Context, expr: Expr) -> bool:
    """Whether an expression is made of the plan's values alone."""
    return _made_of(context, expr, frozenset())


def _steady(context: Context, expr: Expr) -> bool:
    """Whether an expression is made of the plan's values and parallel coordinates."""
    return _made_of(
        context, expr, frozenset(a.name for a in context.kernel.axes if a.kind == "par")
    )


def _made_of(context: Context, expr: Expr, axes: frozenset[str]) -> bool:
    for node in subexpressions(expr):
        match node:
            case Int() | Unary(op="-") | Binary(op="+" | "-" | "*" | "//" | "%"):
                pass
            case Apply(function=function) if function in FUNCTIONS:
                pass
            case Value(name=name) if name in context.facts.values:
                pass
            case Var(name=name) if name in axes:
                pass
            case _:
                return False
    return True
