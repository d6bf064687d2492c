"""What the requirements of a cascade say of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, nextafter
from typing import Final

from attnc.ir.expr import Compare, Expr, Float, Int, Logical, Unary, Value

TURNED: Final[Mapping[str, str]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


def limits(requires: Iterable[Expr]) -> tuple[dict[str, float], dict[str, float]]:
    """The least and the greatest values of what requirements compare with numbers.

    `k > 1` makes the least value the next float above 1.
    """
    least: dict[str, float] = {}
    most: dict[str, float] = {}

    def compare(value: Expr, op: str, limit: Expr) -> None:
        number = _number(limit)
        if not isinstance(value, Value) or number is None:
            return
        if op in (">", ">=", "=="):
            found = nextafter(number, inf) if op == ">" else number
            least[value.name] = max(least.get(value.name, -inf), found)
        if op in ("<", "<=", "=="):
            found = nextafter(number, -inf) if op == "<" else number
            most[value.name] = min(most.get(value.name, inf), found)

    def walk(condition: Expr) -> None:
        match condition:
            case Logical(op="and", left=left, right=right):
                walk(left)
                walk(right)
            case Compare(ops=ops, operands=operands):
                for op, left, right in zip(ops, operands, operands[1:], strict=False):
                    if op in TURNED:
                        compare(left, op, right)
                        compare(right, TURNED[op], left)
            case _:
                pass

    for condition in requires:
        walk(condition)
    return least, most


def _number(expr: Expr) -> float | None:
    match expr:
        case Int(value=value) | Float(value=value):
            return float(value)
        case Unary(op="-", operand=operand):
            found = _number(operand)
            return None if found is None else -found
        case _:
            return None
