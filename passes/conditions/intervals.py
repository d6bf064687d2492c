"""The least and the greatest value of an expression over the lanes of a tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Unary, Var
from attnc.passes.conditions.knowledge import Knowledge
from attnc.passes.running.build import added, multiplied, subtracted

Bounds = tuple[Expr, Expr]


@dataclass
class Intervals:
    """Bounds by arithmetic of intervals: exact where each coordinate occurs once.

    `of` gives those of coordinates, `moves` says whether an expression varies at all.
    """

    of: Callable[[str], Bounds]
    moves: Callable[[Expr], bool]
    known: Knowledge

    def __call__(self, expr: Expr) -> Bounds | None:
        """The bounds, as numbers of the whole tile; None if they are not known."""
        if not self.moves(expr):
            return expr, expr
        match expr:
            case Var(name=name):
                return self.of(name)
            case Unary(op="-", operand=operand):
                found = self(operand)
                return None if found is None else (Unary("-", found[1]), Unary("-", found[0]))
            case Binary(op="+" | "-", left=left, right=right):
                return self._sum(expr.op, left, right)
            case Binary(op="*", left=left, right=right):
                if self.moves(left) and self.moves(right):
                    return None
                return (
                    self._product(left, right) if self.moves(left) else self._product(right, left)
                )
            case Binary(op="//" | "%", right=divisor) if self._positive(divisor):
                return self._divided(expr)
            case Binary(op=">>", left=left, right=right) if not self.moves(right):
                found = self(left)
                return (
                    None
                    if found is None
                    else (
                        Binary(">>", found[0], right),
                        Binary(">>", found[1], right),
                    )
                )
            case Apply(function="min" | "max" | "clip" as function, arguments=arguments):
                parts = [self(a) for a in arguments]
                if any(p is None for p in parts):
                    return None
                low, high = zip(*(p for p in parts if p is not None), strict=True)
                return Apply(function, low), Apply(function, high)
            case Apply(function="abs", arguments=(operand,)):
                found = self(operand)
                if found is None:
                    return None
                below, above = found
                least = Apply("max", (below, Unary("-", above), Int(0)))
                return least, Apply("max", (Unary("-", below), above))
            case Choice(then=then, other=other):
                a, b = self(then), self(other)
                if a is None or b is None:
                    return None
                return Apply("min", (a[0], b[0])), Apply("max", (a[1], b[1]))
            case _:
                return None

    def _positive(self, number: Expr) -> bool:
        return not self.moves(number) and self.known.shows(Compare(("<",), (Int(0), number)))

    def _sum(self, op: str, left: Expr, right: Expr) -> Bounds | None:
        a, b = self(left), self(right)
        if a is None or b is None:
            return None
        if op == "+":
            return added(a[0], b[0]), added(a[1], b[1])
        return subtracted(a[0], b[1]), subtracted(a[1], b[0])

    def _product(self, moving: Expr, number: Expr) -> Bounds | None:
        found = self(moving)
        if found is None:
            return None
        low, high = (multiplied(f, number) for f in found)
        if self.known.at_most(Int(0), number):
            return low, high
        if self.known.at_most(number, Int(0)):
            return high, low
        return Apply("min", (low, high)), Apply("max", (low, high))

    def _divided(self, expr: Binary) -> Bounds | None:
        found = self(expr.left)
        if found is None:
            return None
        low, high = found
        first, last = (Binary("//", f, expr.right) for f in found)
        if expr.op == "//":
            return first, last
        same = Compare(("==",), (first, last))  # no period begins between them
        return (
            Choice(same, Binary("%", low, expr.right), Int(0)),
            Choice(same, Binary("%", high, expr.right), subtracted(expr.right, Int(1))),
        )
