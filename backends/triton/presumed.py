"""What is known to hold where a statement is printed, and so is not asked again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from attnc.backends.triton.expressions import Expressions
from attnc.backends.triton.needless import Needless
from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import Term
from attnc.ir.expr import Expr, Name
from attnc.ir.tiles import Fold, Loop, Range
from attnc.ir.tiles_full import Round
from attnc.ir.types import Kind


@dataclass
class Presumed:
    """Expressions of a kernel, without the conditions that hold in the ranges around them."""

    scope: KernelScope
    around: Round = field(default_factory=Round, kw_only=True)
    """The full ranges whose rounds are printed."""
    _aliases: dict[str, str] = field(default_factory=dict[str, str], kw_only=True)
    """Tiles that go by the name of what is carried."""
    _true: set[str] = field(default_factory=set[str], kw_only=True)
    """Tiles that are true in all lanes of the range that is printed."""

    def __post_init__(self) -> None:
        self.expression: Expressions = self.scope.text
        self.needless: Needless = Needless(self.scope.context)

    @contextmanager
    def _within(self, item: Loop, parts: tuple[Range, ...]) -> Iterator[None]:
        """While the rounds through ranges of one class are printed, what these say holds."""
        before = self.around
        if parts[0].full:
            self.around = before.inside(item)
        yield
        self.around = before

    def _truth(self, predicate: Expr) -> Term:
        return self.expression(self._folded(predicate))

    def _value(self, expr: Expr, kind: Kind) -> Term:
        return self.expression.in_kind(self._folded(expr), kind)

    def _folded(self, expr: Expr) -> Expr:
        """An expression without the conditions that are known to hold here."""
        return self.scope.folded(expr, self._holds)

    def _holds(self, condition: Expr) -> bool:
        here = bool(self.around) and self.needless.full.holds(self.around, condition)
        return here or self._is_true(condition)

    def _is_true(self, condition: Expr) -> bool:
        """Whether a condition is a tile that is true in all lanes of the range."""
        return isinstance(condition, Name) and condition.name in self._true

    def _is_some(self, item: Fold) -> bool:
        """Whether a fold asks for a row, and all that exist will do: a program has one."""
        if not self.around or item.op != "any" or item.target in self._aliases:
            return False
        lanes = (self._folded(item.value), self._folded(item.where))
        return self.needless.full.some(self.around, item.over, lanes)

    def _mask(self, predicate: Expr) -> Term:
        """A predicate on memory."""
        return self.expression(self._masked(predicate))

    def _masked(self, predicate: Expr) -> Expr:
        """A predicate on memory without what is known to hold."""
        found = self.needless.mask(predicate, self.around)
        return self.scope.folded(found, self._is_true)
