"""Numbers for expressions: two have the same number if they have the same value at every point.

Names of bound variables do not matter, only their ranges do. Neither does the order of operands of
a commutative operation.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, assert_never

from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
    Var,
)
from attnc.ir.walk import FreeVariables, bound, children, subexpressions

COMMUTATIVE: Final = frozenset("+*&|^")
TURNED: Final = {">": "<", ">=": "<="}

Place = int | str
"""What a variable stands for: how many variables were bound after it, or a name of the caller's."""


class Numbering:
    """Numbers of expressions, given the ranges of all variables."""

    def __init__(self, ranges: Mapping[str, Expr]) -> None:
        self.ranges = ranges
        self.free: FreeVariables = FreeVariables()
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[Hashable, tuple[Expr, int]] = {}

    def __call__(self, expr: Expr, places: Mapping[str, Place] | None = None) -> int:
        """The number of an expression; free variables in `places` count as what they stand for."""
        if places:
            return self._number(expr, places)
        known = self._known.get((id(expr), ()))
        if known is None:
            for node in subexpressions(expr):
                self._number(node, {})  # from the leaves up, so that little is left to recur into
            known = self._known[id(expr), ()]
        return known[1]

    def _number(self, expr: Expr, places: Mapping[str, Place]) -> int:
        used = places
        if places:
            free = self.free(expr)
            used = {v: p for v, p in places.items() if v in free}
        key = id(expr), tuple(sorted(used.items())) if used else ()
        known = self._known.get(key)
        if known is None:
            data = self._data(expr, used)
            known = expr, self._numbers.setdefault(data, len(self._numbers))
            self._known[key] = known
        return known[1]

    def _data(self, expr: Expr, places: Mapping[str, Place]) -> Hashable:
        """What tells a node from others: its kind, what it holds itself, its operands' numbers."""
        new = [v for v in _in_order(expr) if v in bound(expr)]
        inside = places
        if new:
            inside = {
                v: p + len(new) if isinstance(p, int) else p
                for v, p in places.items()
                if v not in new
            } | {v: i for i, v in enumerate(new)}
        numbers = [self._number(child, inside) for child in children(expr)]
        ranges = [self._number(self.ranges[v], {}) for v in new]
        return type(expr).__name__, *_own(expr, places), *ranges, *_sorted(expr, numbers)


def _in_order(expr: Expr) -> tuple[str, ...]:
    """The variables that a node binds, as written."""
    match expr:
        case Reduce(variables=variables):
            return variables
        case Arg(variable=variable) | TopK(variable=variable):
            return (variable,)
        case _:
            return ()


def _own(expr: Expr, places: Mapping[str, Place]) -> tuple[Hashable, ...]:
    """What a node holds apart from its operands and bound variables."""

    def place(variable: str) -> tuple[Hashable, ...]:
        found = places.get(variable)
        return ("variable", variable) if found is None else ("place", found)

    match expr:
        case Int(value=value) | Float(value=value) | Bool(value=value):
            return (value,)
        case Absent():
            return ()
        case Name(name=name) | Value(name=name):
            return (name,)
        case Var(name=name):
            return place(name)
        case Read(tensor=tensor):
            return (tensor,)
        case Unary(op=op) | Binary(op=op) | Logical(op=op):
            return (op,)
        case Compare(ops=(op,)):
            return (TURNED.get(op, op),)
        case Compare(ops=ops):
            return ops
        case Choice():
            return ()
        case Apply(function=function):
            return (function,)
        case Reduce(op=op) | Arg(op=op):
            return (op,)
        case Scan(op=op, variable=variable, reverse=reverse):
            return op, reverse, *place(variable)
        case TopK(into=into):
            return place(into)
        case Call():
            raise TypeError("an unresolved expression has no number")
        case _:
            assert_never(expr)


def _sorted(expr: Expr, numbers: list[int]) -> list[int]:
    """The operands' numbers, in one order where their order does not matter."""
    match expr:
        case Binary(op=op) if op in COMMUTATIVE:
            return sorted(numbers)
        case Logical() | Compare(ops=("==" | "!=",)) | Apply(function="max" | "min"):
            return sorted(numbers)
        case Compare(ops=(">" | ">=",)):
            return numbers[::-1]
        case _:
            return numbers
