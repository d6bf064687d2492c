"""Comparisons of what is sorted along the stream: they begin to hold at some place, or cease to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from attnc.ir.expr import CompareOp, Expr
from attnc.ir.polynomials import ONE, Sum, plus


@dataclass(frozen=True, slots=True)
class Order:
    """That an expression is an element of a tensor that is sorted along the stream."""

    place: Expr
    """Which element it is along that rank, of the stream alone."""
    down: bool
    """Whether later elements are less."""


PLACES: Final[dict[tuple[int, bool], CompareOp]] = {
    (1, False): ">=",
    (-1, False): ">",
    (1, True): "<",
    (-1, True): "<=",
}
"""What begins to hold where elements begin, or cease, to be at least a number (1), or at most (-1);
by whether they descend."""
STRICT: Final[dict[CompareOp, CompareOp]] = {">=": ">", ">": ">=", "<=": "<", "<": "<="}


def sought(op: CompareOp, number: Sum) -> tuple[CompareOp, Sum]:
    """The same comparison of integers with the lesser constant: `> x` for `>= x + 1`.

    So what is asked for in several ways is searched once.
    """
    step = 1 if op in (">=", "<") else -1
    if number.get(ONE, 0) * step > 0:
        return STRICT[op], plus(number, {ONE: -step})
    return op, number
