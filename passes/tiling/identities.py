"""What leaves every value as it is under an operation: the fill of lanes that do not count."""

from __future__ import annotations

from attnc.ir.cascade import Constant
from attnc.ir.expr import Binary, Bool, Expr, Float, Int, Unary
from attnc.ir.types import Kind


def identity(op: str, kind: Kind) -> Constant:
    """The identity of a reduction, a scan or a sort by that operation, in that kind."""
    match op:
        case "sum" | "count":
            return 0
        case "prod":
            return 1
        case "any":
            return False
        case "all":
            return True
        case "max" | "min" if kind.floating:
            return float("-inf") if op == "max" else float("inf")
        case "max" | "min":
            most = 2**31 - 1 if kind is Kind.I32 else 2**63 - 1
            return -most - 1 if op == "max" else most
        case _:
            raise ValueError(f"{op} has no identity")


def literal(value: Constant) -> Expr:
    """A constant as an expression."""
    if isinstance(value, bool):
        return Bool(value)
    if value in (-(2**31), -(2**63)):  # whose magnitude has another type, or none
        return Binary("-", Unary("-", Int(-int(value) - 1)), Int(1))
    magnitude = Float(abs(value)) if isinstance(value, float) else Int(abs(value))
    return Unary("-", magnitude) if value < 0 else magnitude
