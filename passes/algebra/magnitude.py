"""Which factors may be of any size: two such may balance each other, and stay together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Binary, Expr, Int, Read, Reduce, Unary, Var
from attnc.ir.walk import free_variables, substitute

EXPONENTIALS: Final = frozenset(("exp", "exp2", "expm1"))


@dataclass(frozen=True)
class Magnitude:
    """Tells exponentials, and powers that are like them, given the Einsums that maps are read from.

    A product of two may be moderate where each is near what a float can hold.
    """

    einsums: Mapping[str, Einsum]
    ranges: Mapping[str, Expr]

    def unbounded(self, expr: Expr) -> bool:
        """Whether a factor of an expression is an exponential that may be of any size."""
        match expr:
            case Apply(function=name, arguments=(exponent,)) if name in EXPONENTIALS:
                return not self._at_most_zero(exponent)
            case Apply(function="pow"):
                return True
            case Binary(op="**", right=exponent):
                return not isinstance(exponent, Int)
            case Binary(op="*" | "/", left=left, right=right):
                return self.unbounded(left) or self.unbounded(right)
            case Unary(op="-", operand=operand):
                return self.unbounded(operand)
            case Apply(function="only" | "detach", arguments=(value, *_)):
                return self.unbounded(value)
            case Read(tensor=tensor) if tensor in self.einsums:
                return self.unbounded(self.einsums[tensor].value)
            case _:
                return False

    def _at_most_zero(self, exponent: Expr) -> bool:
        """Whether this is a value minus the maximum over it and others."""
        match exponent:
            case Binary(op="-", left=value, right=Read(tensor=tensor) as read):
                einsum = self.einsums.get(tensor)
            case _:
                return False
        if einsum is None or not isinstance(einsum.value, Reduce) or einsum.value.op != "max":
            return False
        maximum = einsum.value
        index = dict(zip(einsum.variables, read.index, strict=True))
        known = sorted(free_variables(value))
        for chosen in itertools.islice(itertools.permutations(known, len(maximum.variables)), 64):
            pairs = list(zip(maximum.variables, chosen, strict=True))
            if all(self.ranges[a] == self.ranges[b] for a, b in pairs):
                at = index | {a: Var(b) for a, b in pairs}
                if substitute(maximum.body, at, lambda v: v) == value:
                    return True
        return False
