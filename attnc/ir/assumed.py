"""Expressions without conditions that are known to hold where they stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from attnc.ir.expr import Apply, Binary, Bool, Choice, Expr, Logical, Unary


def assumed(expr: Expr, holds: Callable[[Expr], bool]) -> Expr:
    """An expression where conditions that hold are true, and what is then constant is folded."""
    if holds(expr):
        return Bool(True)
    match expr:
        case Logical(op=op, left=left, right=right):
            return _joined(expr, op == "and", assumed(left, holds), assumed(right, holds))
        case Unary(op=op, operand=operand):
            inner = assumed(operand, holds)
            if op == "not" and isinstance(inner, Bool):
                return Bool(not inner.value)
            return replace(expr, operand=inner)
        case Choice(condition=condition, then=then, other=other):
            test = assumed(condition, holds)
            if isinstance(test, Bool):
                return assumed(then if test.value else other, holds)
            then, other = assumed(then, holds), assumed(other, holds)
            return replace(expr, condition=test, then=then, other=other)
        case Binary(left=left, right=right):
            return replace(expr, left=assumed(left, holds), right=assumed(right, holds))
        case Apply(arguments=arguments):
            return replace(expr, arguments=tuple(assumed(a, holds) for a in arguments))
        case _:
            return expr


def _joined(expr: Logical, neutral: bool, left: Expr, right: Expr) -> Expr:
    if left == Bool(neutral):
        return right
    if right == Bool(neutral):
        return left
    if Bool(not neutral) in (left, right):
        return Bool(not neutral)
    return replace(expr, left=left, right=right)
