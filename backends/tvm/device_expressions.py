"""Expressions as the text of one lane of a kernel for a device."""

from __future__ import annotations

from dataclasses import dataclass

from attnc.backends.triton.terms import Held, Term
from attnc.backends.tvm.expressions import LaneExpressions


@dataclass
class DeviceExpressions(LaneExpressions):
    """Prints expressions of which every lane is a number."""

    def infix(self, sign: str, level: int, left: Term, right: Term, held: Held) -> Term:
        """Two terms with an operator between them.

        A quotient is cut off, which devices do: what may be negative has a function of its own.
        """
        if sign in ("//", "%"):
            return self.call("_quotient_of" if sign == "//" else "_left", held, left, right)
        return super().infix(sign, level, left, right, held)
