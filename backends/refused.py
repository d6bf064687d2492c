"""What a kernel of this backend cannot do yet."""

from __future__ import annotations

from attnc.ir.expr import Expr, Int


class NotPrinted(Exception):
    """A term that this backend cannot print; holds it, where there is one, and says what it is."""

    def __init__(self, reason: str, expr: Expr | None = None) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.expr: Expr = expr if expr is not None else Int(0)
