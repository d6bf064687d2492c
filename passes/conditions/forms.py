"""Integer expressions as sums of products of atoms, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from attnc.ir import printer
from attnc.ir.expr import Apply, Binary, Expr, Int, Unary
from attnc.ir.polynomials import ONE, Product, Sum, divided, less, number, plus, times
from attnc.passes.running.build import added, multiplied, subtracted


@dataclass
class Forms:
    """Sums over atoms: coordinates, values, tiles, and what is no sum or product itself.

    `narrow` says of arithmetic that it may wrap around: then it is an atom as a whole.
    """

    narrow: Callable[[Expr], bool]
    atoms: dict[str, Expr] = field(default_factory=dict[str, Expr])
    _known: dict[Expr, Sum] = field(default_factory=dict[Expr, Sum])

    def of(self, expr: Expr) -> Sum:
        """The sum that an integer expression is."""
        found = self._known.get(expr)
        if found is None:
            found = self._known[expr] = self._of(expr)
        return found

    def _of(self, expr: Expr) -> Sum:
        """The sum that an integer expression is."""
        match expr:
            case Int(value=value):
                return number(value)
            case _ if not isinstance(expr, Unary | Binary | Apply) or self.narrow(expr):
                return self.atom(expr)
            case Unary(op="-", operand=operand):
                return less({}, self.of(operand))
            case Binary(op="+", left=left, right=right):
                return plus(self.of(left), self.of(right))
            case Binary(op="-", left=left, right=right):
                return less(self.of(left), self.of(right))
            case Binary(op="*", left=left, right=right):
                return times(self.of(left), self.of(right))
            case Binary(op="//" | "%" as op, left=left, right=right):
                return self._divided(op, self.of(left), self.of(right))
            case Apply(function="ceildiv", arguments=(left, right)):
                return less({}, self._divided("//", less({}, self.of(left)), self.of(right)))
            case Apply(function="i64", arguments=(operand,)):
                return self.of(operand)
            case _:
                return self.atom(expr)

    def _divided(self, op: Literal["//", "%"], left: Sum, right: Sum) -> Sum:
        if right == {ONE: 1}:
            return left if op == "//" else {}
        a, b = left.get(ONE, 0), right.get(ONE, 0)
        if left.keys() <= {ONE} and right.keys() == {ONE}:
            return number(a // b if op == "//" else a % b)
        return self.atom(Binary(op, self.expr(left), self.expr(right)))

    def atom(self, expr: Expr) -> Sum:
        """An expression as an atom."""
        text = printer.expression(expr)
        self.atoms[text] = expr
        return {(text,): 1}

    def expr(self, form: Sum) -> Expr:
        """A sum as an expression; what is taken away comes last."""
        found: Expr = Int(0)
        terms = sorted(form.items(), key=lambda item: (item[1] < 0, item[0] == ONE))
        if not any(f > 0 for f in form.values()):
            terms.reverse()
        for product, factor in terms:
            one = self._product(product, abs(factor))
            found = added(found, one) if factor > 0 else subtracted(found, one)
        return found

    def _product(self, product: Product, factor: int) -> Expr:
        found: Expr = Int(factor)
        for atom in product:
            found = multiplied(found, self.atoms[atom])
        return found

    def sides(self, form: Sum) -> tuple[Expr, Expr]:
        """What must be at most the other, if a sum is not to be negative."""
        left = {m: -c for m, c in form.items() if c < 0}
        return self.expr(left), self.expr({m: c for m, c in form.items() if c > 0})


def factor(form: Sum, atom: str) -> tuple[Sum, Sum] | None:
    """What an atom is multiplied by in a sum, and the rest; None where it is in a power."""
    found: dict[Product, int] = {}
    rest: dict[Product, int] = {}
    for product, number_ in form.items():
        without = divided(product, (atom,))
        if without is None:
            rest[product] = number_
        elif atom in without:
            return None
        else:
            found[without] = number_
    return found, rest


def mentioned(form: Sum) -> Iterator[str]:
    """The atoms of a sum, each once."""
    yield from dict.fromkeys(atom for product in form for atom in product)


def constant(form: Sum) -> int | None:
    """The number that a sum is, if it is one."""
    return form.get(ONE, 0) if form.keys() <= {ONE} else None
