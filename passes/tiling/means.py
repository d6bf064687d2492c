"""Means as sums and counts, which run: `mean[n](x)` is `sum[n](x) / count[n](present(x))`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Binary, Expr, Reduce
from attnc.ir.facts import Facts
from attnc.ir.walk import children, rebuild
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
                replace(s, value=_written_out(s.value), where=tuple(map(_written_out, s.where)))
                if isinstance(s, Einsum) and s.tensor in alone
                else s
                for s in facts.cascade.statements
            ),
        )


def _written_out(expr: Expr) -> Expr:
    inner = rebuild(expr, tuple(_written_out(c) for c in children(expr)))
    match inner:
        case Reduce(op="mean", variables=variables, body=body):
            total = Reduce("sum", variables, body, inner.span)
            count = Reduce("count", variables, Apply("present", (body,)), inner.span)
            return Binary("/", total, count, inner.span)
        case _:
            return inner
