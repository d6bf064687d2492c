"""Operations on integers and bools: exact unless an operand is undecided, wrapped to their kind."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any, Final

import numpy as np

from attnc.ir.types import Kind
from tests.acceptance.estimate import Budget, Estimate, contagious, converted, doubt

OPERATIONS: Final = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "&": np.bitwise_and,
    "|": np.bitwise_or,
    "^": np.bitwise_xor,
    "max": np.maximum,
    "min": np.minimum,
}
WRAPPING: Final = Budget("f64", "f64")
"""Nothing of integers depends on the types of an execution."""


def integer(value: Any, kind: Kind, *operands: Estimate) -> Estimate:
    """A result of operands, wrapped to its kind."""
    value = np.asarray(value)
    wide = contagious(value, doubt(*operands), np.abs(value * 1.0), Kind.I64, *operands)
    return replace(converted(wide, kind, WRAPPING), kind=kind)


def combined(op: str, a: Estimate, b: Estimate) -> Estimate:
    """A binary operation on operands of one kind."""
    kind = a.kind
    if kind is Kind.BOOL and op in "&|^":
        return integer(OPERATIONS[op](a.value != 0, b.value != 0), kind, a, b)
    if op in ("//", "%"):
        divisor = np.where(b.value == 0, 1, b.value)
        value = a.value // divisor if op == "//" else a.value % divisor
        return integer(value, kind, a, _where(b, b.value != 0))
    return integer(OPERATIONS[op](a.value, b.value), kind, a, b)


def ceildiv(a: Estimate, b: Estimate) -> Estimate:
    """The quotient, rounded up; absent where the divisor is 0."""
    value = -(-a.value // np.where(b.value == 0, 1, b.value))
    return integer(value, a.kind, a, _where(b, b.value != 0))


def shifted(op: str, x: Estimate, by: Estimate, kind: Kind) -> Estimate:
    """A shift; absent for counts outside of 0 to 63."""
    count = np.clip(by.value, 0, 63)
    value = x.value << count if op == "<<" else x.value >> count
    return integer(value, kind, x, _where(by, (by.value >= 0) & (by.value <= 63)))


def narrowed(x: Estimate, kind: Kind) -> Estimate:
    """An integer cast of an integer; absent where it does not fit."""
    bits = 31 if kind is Kind.I32 else 63
    fits = (x.value >= -(2**bits)) & (x.value <= 2**bits - 1)
    return integer(x.value, kind, x, _where(x, fits))


def function(name: str, xs: list[Estimate]) -> Estimate:
    """A built-in function of integers of one kind."""
    x = xs[0].value
    match name:
        case "max" | "min":
            value = reduce(OPERATIONS[name], (i.value for i in xs))
        case "clip":
            value = np.minimum(np.maximum(x, xs[1].value), xs[2].value)
        case "relu":
            value = np.maximum(x, 0)
        case "abs" | "sign":
            value = np.abs(x) if name == "abs" else np.sign(x)
        case "floor" | "ceil" | "round":
            value = x
        case _:
            raise TypeError(f"{name} of integers")
    return integer(value, xs[0].kind, *xs)


def _where(x: Estimate, condition: Any) -> Estimate:
    return replace(x, present=x.present & condition)
