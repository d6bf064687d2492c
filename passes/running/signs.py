"""Signs of expressions, and how results move while a reduction runs.

All are proved or unknown. `sign` is 1 for what is positive, -1 for what is negative, None where
neither is known. `least` is a number that something is never below. `direction` is 1 for what
never decreases from one prefix of a stream to a longer one, -1 for what never increases, 0 for
what does not change, None where none is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Final

from attnc.ir.expr import Apply, Binary, Expr, Float, Int, Read, Unary, Value, Var
from attnc.ir.walk import subexpressions

POSITIVE: Final = frozenset("exp exp2 sigmoid softplus rsqrt".split())
"""Functions whose finite values are positive; `rsqrt` where it is defined."""

RISING: Final = frozenset(
    "exp exp2 expm1 log log2 log1p sqrt tanh sigmoid relu softplus erf".split()
)

TINY: Final = 1e-37
"""A number that is no less than this stays one in a float of 32 bits."""


@dataclass
class Signs:
    """Knows the results met so far.

    `directions`, `signs` and `bounds`, which are their least values, are those of tensors that are
    results; `extents` are never negative. `values` are least values of parameters,
     `definitions` says what bound values are.
    """

    directions: Mapping[str, int | None] = field(default_factory=dict)
    signs: Mapping[str, int | None] = field(default_factory=dict)
    extents: frozenset[str] = frozenset()
    bounds: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    definitions: Mapping[str, Expr] = field(default_factory=dict)

    def sign(self, expr: Expr) -> int | None:
        """1, -1, or None; zero counts as neither."""
        match expr:
            case Int(value=value) | Float(value=value):
                return 1 if value > 0 else None
            case Value(name=name) if name in self.definitions:
                return self.sign(self.definitions[name])
            case Value(name=name):
                return 1 if name in self.extents or self.values.get(name, -inf) > 0 else None
            case Read(tensor=tensor):
                return self.signs.get(tensor)
            case Unary(op="-", operand=operand):
                found = self.sign(operand)
                return None if found is None else -found
            case Binary(op="+", left=left, right=right):
                a, b = self.sign(left), self.sign(right)
                if (self.nonnegative(left) and b == 1) or (self.nonnegative(right) and a == 1):
                    return 1
                return a if a == b else None
            case Binary(op="*" | "/", left=left, right=right):
                a, b = self.sign(left), self.sign(right)
                return None if a is None or b is None else a * b
            case Binary(op="**", left=left):
                return 1 if self.sign(left) == 1 else None
            case Apply(function=name) if name in POSITIVE:
                return 1
            case Apply(function="sqrt", arguments=(argument,)):
                return self.sign(argument)
            case Apply(function="abs", arguments=(argument,)):
                return None if self.sign(argument) is None else 1
            case Apply(function="max", arguments=arguments):
                return 1 if any(self.sign(a) == 1 for a in arguments) else None
            case _:
                return None

    def nonnegative(self, expr: Expr) -> bool:
        """Whether an expression is proved to be zero or more."""
        match expr:
            case Int(value=value) | Float(value=value):
                return value >= 0
            case Apply(function="abs" | "sqrt" | "relu"):
                return True
            case Binary(op="**", left=_, right=Int(value=value)) if value % 2 == 0:
                return True
            case Binary(op="*", left=left, right=right) if left == right:
                return True
            case Binary(op="*" | "/" | "+", left=left, right=right):
                return self.nonnegative(left) and self.nonnegative(right)
            case Apply(function="max", arguments=arguments):
                return any(self.nonnegative(a) for a in arguments)
            case Var():
                return True
            case Read(tensor=tensor) if self.bounds.get(tensor, -1.0) >= 0:
                return True
            case Unary(op="-", operand=operand):
                return self.sign(operand) == -1
            case Apply(function="detach" | "only", arguments=(value, *_)):
                return self.nonnegative(value)
            case _:
                return self.sign(expr) == 1

    def least(self, expr: Expr) -> float:
        """A number that an expression is never below, however it is rounded."""
        match expr:
            case Int(value=value) | Float(value=value):
                return float(value)
            case Value(name=name) if name in self.definitions:
                return self.least(self.definitions[name])
            case Value(name=name):
                return 1.0 if name in self.extents else self.values.get(name, -inf)
            case Read(tensor=tensor) if tensor in self.bounds:
                return self.bounds[tensor]
            case Binary(op="+", left=left, right=right):
                return self.least(left) + self.least(right)
            case Binary(op="*", left=left, right=right) if (
                min(self.least(left), self.least(right)) > 0
            ):
                return self.least(left) * self.least(right)
            case Apply(function="sqrt", arguments=(argument,)):
                return sqrt(max(self.least(argument), 0.0))
            case Apply(function="max", arguments=arguments):
                return max(map(self.least, arguments))
            case Apply(function="min", arguments=arguments):
                return min(map(self.least, arguments))
            case Apply(function="exp" | "exp2", arguments=(argument,)):
                return 1.0 if self.least(argument) >= 0 else 0.0
            case Apply(function="detach" | "only", arguments=(value, *_)):
                return self.least(value)
            case _:
                return 0.0 if self.nonnegative(expr) else -inf

    def solid(self, expr: Expr) -> bool:
        """Whether an expression is never 0, not even when rounded."""
        return self.least(expr) >= TINY

    def direction(self, expr: Expr) -> int | None:
        """How a steady expression moves while the stream goes on."""
        match expr:
            case Read(tensor=tensor) if tensor in self.directions:
                return self.directions[tensor]
            case Unary(op="-", operand=operand):
                found = self.direction(operand)
                return None if found is None else -found
            case Binary(op="+", left=left, right=right):
                return _together(self.direction(left), self.direction(right))
            case Binary(op="-", left=left, right=right):
                below = self.direction(right)
                return _together(self.direction(left), None if below is None else -below)
            case Binary(op="*", left=left, right=right):
                return self._product(left, right)
            case Binary(op="/", left=left, right=right):
                return self._quotient(left, right)
            case Apply(function=name, arguments=(argument,)) if name in RISING:
                return self.direction(argument)
            case Apply(function="abs", arguments=(argument,)) if self.sign(argument) is not None:
                found, sign = self.direction(argument), self.sign(argument)
                return None if found is None or sign is None else found * sign
            case Apply(function="max" | "min", arguments=arguments):
                found = self.direction(arguments[0])
                for argument in arguments[1:]:
                    found = _together(found, self.direction(argument))
                return found
            case _:
                return 0 if self._still(expr) else None

    def _product(self, left: Expr, right: Expr) -> int | None:
        a, b = self.direction(left), self.direction(right)
        if a == 0 and b == 0:
            return 0
        if a == 0 and b is not None:
            sign = self.sign(left)
            return None if sign is None else sign * b
        if b == 0 and a is not None:
            sign = self.sign(right)
            return None if sign is None else sign * a
        if a == b and self.nonnegative(left) and self.nonnegative(right):
            return a
        return None

    def _quotient(self, left: Expr, right: Expr) -> int | None:
        a, b = self.direction(left), self.direction(right)
        if a is None or b is None or (b != 0 and self.sign(right) is None):
            return None
        if b == 0:
            sign = self.sign(right)
            return a if a == 0 else (None if sign is None else sign * a)
        # 1 / r falls where r rises, on either side of zero
        if not self.nonnegative(left):
            return None
        return _together(a, -b) if self.sign(right) == 1 else None

    def _still(self, expr: Expr) -> bool:
        """Whether an expression holds no result that moves."""
        reads = (e.tensor for e in subexpressions(expr) if isinstance(e, Read))
        return all(self.directions.get(t, 0) == 0 for t in reads)


def _together(a: int | None, b: int | None) -> int | None:
    """The direction of a sum."""
    if a is None or b is None:
        return None
    if a == 0:
        return b
    return a if b in (0, a) else None
