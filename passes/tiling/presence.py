"""Values of level-1 expressions together with the predicate of their presence.

Absence is contagious, with the exceptions of the language: a ternary needs its condition and the
chosen branch, `and` and `or` may be decided by one side, `default` is present where either of its
operands is, `present` always. What is not present may have any value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from attnc.ir.expr import Binary, Bool, Choice, Compare, Expr, Int, Logical, Unary

TRUE: Final = Bool(True)
FALSE: Final = Bool(False)
MANY: Final = 16
"""Predicates beyond which a conjunction is nested evenly."""


@dataclass(frozen=True, slots=True)
class Valued:
    """An expression over tiles and where it is present."""

    value: Expr
    here: Expr = TRUE


def both(*predicates: Expr) -> Expr:
    """The conjunction of predicates, each once."""
    parts: dict[Expr, None] = {}
    for predicate in predicates:
        for part in conjuncts(predicate):
            if not isinstance(part, Bool):
                parts[part] = None
            elif not part.value:
                return FALSE
    return balanced([*parts])


def balanced(parts: Sequence[Expr]) -> Expr:
    """All of some predicates, without nesting deeply where there are many."""
    if not parts:
        return TRUE
    if len(parts) <= MANY:
        found = parts[0]
        for part in parts[1:]:
            found = Logical("and", found, part)
        return found
    half = len(parts) // 2
    return Logical("and", balanced(parts[:half]), balanced(parts[half:]))


def conjuncts(predicate: Expr) -> list[Expr]:
    """The parts of a conjunction."""
    match predicate:
        case Logical(op="and", left=left, right=right):
            return [*conjuncts(left), *conjuncts(right)]
        case _:
            return [predicate]


def either(a: Expr, b: Expr) -> Expr:
    """The disjunction of two predicates.

    What needs more than another part does is left out, and what all need stands once, outside.
    """
    parts: list[list[Expr]] = []
    for part in (*disjuncts(a), *disjuncts(b)):
        if part == TRUE:
            return TRUE
        needs = conjuncts(part)
        if part == FALSE or any(set(p) <= set(needs) for p in parts):
            continue
        parts = [p for p in parts if not set(needs) <= set(p)]
        parts.append(needs)
    if not parts:
        return FALSE
    common = [p for p in parts[0] if all(p in others for others in parts[1:])]
    rest = [both(*(p for p in needs if p not in common)) for needs in parts]
    if len(rest) == 1:
        return both(*common, *rest)
    found = rest[0]
    for part in rest[1:]:
        found = Logical("or", found, part)
    return both(*common, found)


def disjuncts(predicate: Expr) -> list[Expr]:
    """The parts of a disjunction."""
    match predicate:
        case Logical(op="or", left=left, right=right):
            return [*disjuncts(left), *disjuncts(right)]
        case _:
            return [predicate]


def negation(a: Expr) -> Expr:
    """`not a`."""
    match a:
        case Bool(value=value):
            return Bool(not value)
        case Unary(op="not", operand=operand):
            return operand
        case Logical(op="or", left=left, right=right):
            return both(negation(left), negation(right))
        case _:
            return Unary("not", a)


def chosen(condition: Expr, then: Expr, other: Expr) -> Expr:
    """`then if condition else other`."""
    if then == other or condition == TRUE:
        return then
    return other if condition == FALSE else Choice(condition, then, other)


def nonzero(divisor: Expr) -> Expr:
    """That an integer divisor is not 0."""
    match divisor:
        case Int(value=value):
            return Bool(value != 0)
        case _:
            return Compare(("!=",), (divisor, Int(0)))


def conjunction(a: Valued, b: Valued) -> Valued:
    """`a and b`: false if either is present and false."""
    if a.here == b.here == TRUE:
        return Valued(both(a.value, b.value))
    no_a, no_b = both(a.here, negation(a.value)), both(b.here, negation(b.value))
    here = either(both(a.here, b.here), either(no_a, no_b))
    value = both(either(negation(a.here), a.value), either(negation(b.here), b.value))
    return Valued(value, here)


def disjunction(a: Valued, b: Valued) -> Valued:
    """`a or b`: true if either is present and true."""
    yes_a, yes_b = both(a.here, a.value), both(b.here, b.value)
    here = either(both(a.here, b.here), either(yes_a, yes_b))
    return Valued(either(yes_a, yes_b), here)


def quotient_guard(expr: Binary, divisor: Expr, integral: bool) -> Expr:
    """Where an integer `//` or `%` is defined, or a shift."""
    if expr.op in ("//", "%") and integral:
        return nonzero(divisor)
    if expr.op in ("<<", ">>") and not isinstance(divisor, Int):
        return Compare(("<=", "<"), (Int(0), divisor, Int(64)))
    return TRUE
