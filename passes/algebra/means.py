"""Means as sums and counts, which run: `mean[n](x)` is `sum[n](x) / count[n](present(x))`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum
from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Read,
    Reduce,
    Unary,
    Value,
    Var,
)
from attnc.ir.facts import Facts
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.algebra.program import Tell, ignore, rewritten, singles


@dataclass(frozen=True)
class Means:
    """Rewrites every mean outside of recurrence groups.

    Both are absent where nothing is present; the quotient is the mean's own type.
    """

    name: str = field(default="means", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        alone = singles(facts)
        return rewritten(
            facts,
            (
                replace(
                    s,
                    value=_written_out(s.value, facts),
                    where=tuple(_written_out(c, facts) for c in s.where),
                )
                if isinstance(s, Einsum) and s.tensor in alone
                else s
                for s in facts.cascade.statements
            ),
        )


def _written_out(expr: Expr, facts: Facts) -> Expr:
    inner = rebuild(expr, tuple(_written_out(c, facts) for c in children(expr)))
    match inner:
        case Reduce(op="mean", variables=variables, body=body):
            total = Reduce("sum", variables, body, inner.span)
            here = present(body, facts)
            if here == Bool(True):  # a count that has the sum's own ranks runs beside it
                here = Apply("present", (body,))
            count = Reduce("count", variables, here, inner.span)
            return Binary("/", total, count, inner.span)
        case _:
            return inner


def present(expr: Expr, facts: Facts) -> Expr:
    """That an expression is present, without what it reads of inputs.

    What only an index decides is so counted for that index alone.
    """
    match expr:
        case Int() | Float() | Bool() | Value() | Var():
            return Bool(True)
        case Read(tensor=tensor, index=index) if facts.tensors[tensor].input and not any(
            isinstance(n, Read) for i in index for n in subexpressions(i)
        ):
            found: Expr = Bool(True)
            for at, dimension in zip(index, facts.tensors[tensor].dimensions, strict=True):
                if not (isinstance(at, Var) and facts.variables[at.name] == dimension.range):
                    inside = Compare(("<=", "<"), (Int(0), at, dimension.range))
                    found = inside if found == Bool(True) else Logical("and", found, inside)
            return found
        case Unary(operand=operand):
            return present(operand, facts)
        case Binary(op="+" | "-" | "*" | "/", left=left, right=right):
            a, b = present(left, facts), present(right, facts)
            if Bool(True) in (a, b):
                return b if a == Bool(True) else a
            return Logical("and", a, b)
        case _:
            return Apply("present", (expr,))
