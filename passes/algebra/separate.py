"""Every reduction is an Einsum of its own: `R[...] = op[n](F)`, without conditions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum, Statement
from attnc.ir.expr import Arg, Expr, Read, Reduce, Scan, TopK
from attnc.ir.facts import Facts
from attnc.ir.walk import FreeVariables, children, in_order, rebuild
from attnc.passes.algebra.program import (
    Names,
    Tell,
    definition,
    ignore,
    point,
    rewritten,
    singles,
    stem,
)


@dataclass(frozen=True)
class Separate:
    """Reductions, scans and `argtopk` inside of expressions become tensors.

    Such a node has one value, or none, at each point of its free variables. The tensor holds it at
    these points, and is read at variables, which never leave its bounds: it is present where the
    node was. The tensor takes no condition of the statement it comes from; where that does not
    hold, nothing reads it. A reduction that is itself conditioned, `T[m] = sum[n](X[m,n]) where c`,
    becomes a tensor and the map `T[m] = T_sum[m] where c`.

    Members of recurrence groups are left as they are: what they reduce may not be computed yet.
    """

    name: str = field(default="separate", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        alone, names = singles(facts), Names(facts.cascade)
        statements: list[Statement] = []
        for statement in facts.cascade.statements:
            if isinstance(statement, Einsum) and statement.tensor in alone:
                statements += _Separation(statement, names).run()
            else:
                statements.append(statement)
        return rewritten(facts, statements)


class _Separation:
    """One statement. A reduction that it holds twice becomes one tensor."""

    def __init__(self, einsum: Einsum, names: Names) -> None:
        self.einsum = einsum
        self.names = names
        self.free = FreeVariables()
        self.made: dict[Expr, Einsum] = {}

    def run(self) -> list[Einsum]:
        """The tensors it needs, then the statement."""
        where = tuple(self._walk(c) for c in self.einsum.where)
        value = self.einsum.value
        if isinstance(value, Reduce | Scan | Arg | TopK) and not where:
            value = self._inside(value)
        else:
            value = self._walk(value)
        return [*self.made.values(), replace(self.einsum, value=value, where=where)]

    def _inside(self, expr: Expr) -> Expr:
        return rebuild(expr, tuple(self._walk(c) for c in children(expr)))

    def _walk(self, expr: Expr) -> Expr:
        inner = self._inside(expr)
        if not isinstance(inner, Reduce | Scan | Arg | TopK):
            return inner
        return self._tensor(inner)

    def _tensor(self, node: Reduce | Scan | Arg | TopK) -> Read:
        made = self.made.get(node)
        if made is None:
            free = self.free(node)
            first = (*self.einsum.variables, *in_order(node))
            variables = [v for v in dict.fromkeys(first) if v in free]
            op = "argtopk" if isinstance(node, TopK) else node.op
            name = self.names(f"{stem(self.einsum)}_{op}")
            made = self.made[node] = definition(name, variables, node, self.einsum)
        return point(made.tensor, made.variables, node.span)
