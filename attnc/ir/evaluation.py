"""Value expressions at known sizes and parameters: what a kernel computes before any tensor."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from attnc.ir.cascade import Constant
from attnc.ir.expr import (
    Absent,
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Unary,
    Value,
)

MAX_BITS: Final = 4096
"""Widest integer power computed; values have 64 bits."""


class Unknown(Exception):
    """A value that is not given, or an operation that is not evaluated."""


class Nothing(Exception):
    """A value that is absent."""


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int):
        if exponent < 0:
            return float(base) ** exponent
        if base.bit_length() * exponent > MAX_BITS:
            raise OverflowError
    return base**exponent


def _divided(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`//` or `%`, absent where it divides by zero."""

    def divide(a: Any, b: Any) -> Any:
        if b == 0:
            raise Nothing
        return operation(a, b)

    return divide


def _shifted(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`<<` or `>>`, absent for a shift outside 0..63."""

    def shift(a: Any, b: Any) -> Any:
        if not 0 <= b < 64:
            raise Nothing
        return operation(a, b)

    return shift


OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": _divided(operator.floordiv),
    "%": _divided(operator.mod),
    "**": _power,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": _shifted(operator.lshift),
    ">>": _shifted(operator.rshift),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "ceildiv": lambda a, b: -(-a // b),
    "clip": lambda x, low, high: min(max(x, low), high),
    "max": max,
    "min": min,
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "exp2": math.exp2,
    "log": math.log,
    "log2": math.log2,
    "pow": math.pow,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "sign": lambda x: (x > 0) - (x < 0),
    "i32": int,
    "i64": int,
    "f64": float,
    "bool": bool,
}


def evaluate(expr: Expr, values: Mapping[str, Constant]) -> Constant | None:
    """A value expression at known values; None where something is unknown or undefined."""
    try:
        found: Constant = computed(expr, values)
    except (Unknown, Nothing, ArithmeticError, ValueError):
        return None
    return found if isinstance(found, float) or -(2**63) <= found < 2**63 else None


def computed(expr: Expr, values: Mapping[str, Any]) -> Any:
    """A value expression computed with whatever numbers are given, symbolic ones too.

    Raises `Unknown` for a value or an operation that is not known, `Nothing` for one that is
    absent, and what Python raises for a division by zero or an overflow.
    """
    match expr:
        case Int(value=value) | Float(value=value) | Bool(value=value):
            return value
        case Value(name=name) if name in values:
            return values[name]
        case Unary(op="-", operand=operand):
            return -computed(operand, values)
        case Unary(op="not", operand=operand):
            return not computed(operand, values)
        case Logical(op=word, left=left, right=right):
            if bool(computed(left, values)) is (word == "or"):
                return word == "or"
            return computed(right, values)
        case Compare(ops=ops, operands=operands):
            found = [computed(o, values) for o in operands]
            pairs = zip(ops, found, found[1:], strict=False)
            return all(OPERATORS[op](a, b) for op, a, b in pairs)
        case Binary(op=op, left=left, right=right):
            return OPERATORS[op](computed(left, values), computed(right, values))
        case Apply(function="default", arguments=(value, other)):
            try:
                return computed(value, values)
            except Nothing:
                return computed(other, values)
        case Apply(function="only", arguments=(value, condition)):
            if not computed(condition, values):
                raise Nothing
            return computed(value, values)
        case Apply(function=name, arguments=arguments) if name in FUNCTIONS:
            return FUNCTIONS[name](*(computed(a, values) for a in arguments))
        case Choice(condition=condition, then=then, other=other):
            return computed(then if computed(condition, values) else other, values)
        case Absent():
            raise Nothing
        case _:
            raise Unknown
