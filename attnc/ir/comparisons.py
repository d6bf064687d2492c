"""Chains of comparisons, and what does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attnc.ir.expr import Compare, CompareOp, Expr

TURNED: Final[dict[CompareOp, CompareOp]] = {
    "<": ">=",
    "<=": ">",
    ">": "<=",
    ">=": "<",
    "==": "!=",
    "!=": "==",
}


def pairs(condition: Compare) -> Iterator[tuple[CompareOp, Expr, Expr]]:
    """The comparisons of a chain."""
    operands = condition.operands
    yield from zip(condition.ops, operands, operands[1:], strict=False)


def chain(run: Sequence[tuple[CompareOp, Expr, Expr]]) -> Compare:
    """The chain of some comparisons, each of which goes on where the one before ends."""
    ops = tuple(op for op, _, _ in run)
    return Compare(ops, (run[0][1], *(right for _, _, right in run)))


def turned(condition: Compare) -> Compare:
    """The comparison of two integers that holds just if another does not."""
    (op,) = condition.ops
    return Compare((TURNED[op],), condition.operands)
