"""Reductions of tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from attnc.backends.triton.nans import without_nan
from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import HELD, Held, Term, permuted, spread
from attnc.ir import printer
from attnc.ir.expr import Expr
from attnc.ir.tiles import Fold, TopK
from attnc.ir.types import Kind

FLOATS: Final = {"sum": "0.0", "prod": "1.0", "max": 'float("-inf")', "min": 'float("inf")'}
"""What changes nothing, of floats."""


@dataclass
class Reductions:
    """Prints reductions along axes that tiles have; along others there is one point."""

    scope: KernelScope

    def __post_init__(self) -> None:
        self.shown: frozenset[str] = without_nan(self.scope.kernel)

    def fold(
        self, item: Fold, truth: Callable[[Expr], Term], value: Callable[[Expr, Kind], Term]
    ) -> Term:
        """The term of a reduction."""
        text = self.scope.text
        if item.op in ("any", "all"):
            term, mask = truth(item.value), truth(item.where)
            if not mask.true:
                sign, level = "&", printer.BIT_AND
                if item.op == "all":
                    sign, level = "|", printer.BIT_OR
                    mask = Term(f"({mask.text} == 0)", mask.axes, Held.BOOL)
                term = text.infix(sign, level, term, mask, Held.BOOL)
            return self.reduced(term, item.op, item.over, Kind.BOOL)
        term = value(item.value, item.kind)
        if item.op in ("argmax", "argmin"):
            return self._first(item, term, truth(item.where))
        term = self.filtered(term, truth(item.where), item.op, item.kind)
        shown = item.target in self.shown
        return self.reduced(term, item.op, item.over, item.kind, shown=shown)

    def filtered(self, term: Term, mask: Term, op: str, kind: Kind) -> Term:
        """A term with what changes nothing where a predicate does not hold."""
        if mask.true:
            return term
        if kind is Kind.I64 and op in ("max", "min"):
            term = self.scope.text.held(term, Held.I64)
        fill = Term(self._identity(op, kind), (), term.held, literal=True)
        return self.scope.text.call("tl.where", term.held, mask, term, fill)

    def _identity(self, op: str, kind: Kind) -> str:
        if kind.floating:
            return FLOATS[op]
        if op in ("sum", "prod"):
            return "0" if op == "sum" else "1"
        bits = 31 if kind is Kind.I32 else 63
        return str(-(2**bits) if op == "max" else 2**bits - 1)

    def reduced(
        self, term: Term, op: str, over: tuple[str, ...], kind: Kind, *, shown: bool = False
    ) -> Term:
        """A reduction along some axes, one after the other, the last one first.

        `shown`: extremes need not pass NaN on.
        """
        scope = self.scope
        over = scope.dimensions(over)
        if not over:
            return term
        term = self._everywhere(term, over, kind)
        if op in ("any", "all"):
            term = scope.text.held(term, Held.I32)
        elif kind is Kind.I64:
            term = scope.text.held(term, Held.I64)
        functions = {
            "sum": "tl.sum",
            "max": "_largest" if kind.floating and not shown else "tl.max",
            "min": "_smallest" if kind.floating and not shown else "tl.min",
            "any": "tl.max",
            "all": "tl.min",
            "prod": "_product",
        }
        for axis in reversed([a for a in term.axes if a in over]):
            place = term.axes.index(axis)
            rest = tuple(a for a in term.axes if a != axis)
            term = Term(f"{functions[op]}({term.text}, {place})", rest, term.held)
        if op in ("any", "all"):
            return Term(f"{term.text} != 0", term.axes, Held.BOOL, printer.COMPARE)
        return term

    def running(self, term: Term, op: str, axis: str, kind: Kind, *, reverse: bool) -> Term:
        """What combines the lanes up to each one along an axis."""
        if not self.scope.is_tile(axis):
            return term
        term = self._everywhere(term, (axis,), kind)
        if op in ("any", "all"):
            term = self.scope.text.held(term, Held.I32)
        elif kind is Kind.I64:
            term = self.scope.text.held(term, Held.I64)
        functions = {
            "sum": "tl.cumsum",
            "prod": "tl.cumprod",
            "max": "_running_max",
            "min": "_running_min",
            "any": "_running_max",
            "all": "_running_min",
        }
        text = f"{functions[op]}({term.text}, {term.axes.index(axis)}, {reverse})"
        if op in ("any", "all"):
            return Term(f"{text} != 0", term.axes, Held.BOOL, printer.COMPARE)
        return Term(text, term.axes, term.held)

    def _everywhere(self, term: Term, over: tuple[str, ...], kind: Kind) -> Term:
        """A term that has all axes that are reduced."""
        axes = tuple(a for a in self.scope.context.order if a in {*term.axes, *over})
        if set(axes) == set(term.axes):
            return term
        return Term(self.scope.full(term, axes, kind), axes, HELD[kind])

    def ranked(self, item: TopK, term: Term, mask: Term) -> Term:
        """The coordinates of the largest values, in order."""
        scope = self.scope
        rest = tuple(a for a in scope.dimensions(item.axes) if a != item.into)
        axes = (*rest, item.over)
        kind = _kind_of(term)
        value = scope.full(permuted(term, tuple(a for a in axes if a in term.axes)), axes, kind)
        here = scope.full(permuted(mask, tuple(a for a in axes if a in mask.axes)), axes, Kind.BOOL)
        coordinate = scope.variable(item.over).text
        text = f"_ranked({value}, {here}, {coordinate}, {scope.size_of(item.into)})"
        found = Term(text, (*rest, item.into), Held.INT)
        return permuted(found, scope.dimensions(item.axes))

    def _first(self, item: Fold, term: Term, mask: Term) -> Term:
        """The first coordinate where a value is extreme; NaN is more extreme than any number."""
        scope, (over,) = self.scope, item.over
        if not scope.is_tile(over):
            return scope.variable(over)
        term = self._everywhere(term, (over,), _kind_of(term))
        place = term.axes.index(over)
        rest = tuple(a for a in term.axes if a != over)
        coordinate = spread(scope.variable(over), term.axes).text
        where = spread(mask, term.axes).text
        if not (mask.axes or mask.literal):
            where = f"tl.where({where}, True, False)"
        function = "_first_largest" if item.op == "argmax" else "_first_smallest"
        text = f"{function}({term.text}, {where}, {coordinate}, {place})"
        return Term(text, rest, Held.INT)


def _kind_of(term: Term) -> Kind:
    return next((k for k, h in HELD.items() if h is term.held), Kind.I64)
