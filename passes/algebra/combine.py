"""What is made of several results at once becomes an Einsum of its own.

A kernel that makes all of them can then store that, and not each of them: a mean, and not a sum and
a count. Where it is not stored, it is put where it is read, and nothing has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum, Statement
from attnc.ir.expr import Apply, Arg, Binary, Expr, Read, Reduce, Scan, TopK, Unary, Var
from attnc.ir.facts import Facts
from attnc.ir.walk import children, free_variables, rebuild, subexpressions
from attnc.passes.algebra.cse import LABELS
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
class Combine:
    """Separates largest expressions over two or more results, one of which has all of the ranks.

    What it reads it reads at variables. Recurrence groups are left as they are.
    """

    name: str = field(default="combine", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        alone = singles(facts)
        names = Names(facts.cascade)
        results = {e.tensor for e in facts.cascade.einsums if e.tensor in alone and _observes(e)}
        found: list[Statement] = []
        known: dict[Expr, str] = {}
        for statement in facts.cascade.statements:
            if isinstance(statement, Einsum) and statement.tensor in alone:
                made: list[Einsum] = []
                value = _parted(statement, statement.value, results, names, known, made)
                found += [*made, replace(statement, value=value)]
            else:
                found.append(statement)
        return rewritten(facts, found)


def _observes(einsum: Einsum) -> bool:
    """Whether an Einsum is more than a map."""
    return any(isinstance(n, Reduce | Scan | Arg | TopK) for n in subexpressions(einsum.value))


def _parted(
    einsum: Einsum,
    expr: Expr,
    results: set[str],
    names: Names,
    known: dict[Expr, str],
    made: list[Einsum],
) -> Expr:
    """An expression with what is made of results read from tensors."""
    if _is_combined(expr, results):
        if expr is einsum.value:
            return expr  # it has a name
        variables = tuple(sorted(free_variables(expr)))
        if expr not in known:
            label = LABELS.get(expr.op, "part") if isinstance(expr, Binary) else "part"
            known[expr] = names(f"{stem(einsum)}_{label}")
            made.append(definition(known[expr], variables, expr, einsum))
        return point(known[expr], variables, expr.span)
    inner = (_parted(einsum, c, results, names, known, made) for c in children(expr))
    return rebuild(expr, tuple(inner))


def _is_combined(expr: Expr, results: set[str]) -> bool:
    """Whether an expression is made of several results and nothing that has more ranks."""
    if not isinstance(expr, Binary | Unary | Apply):
        return False
    nodes = list(subexpressions(expr))
    if not all(
        isinstance(n, Binary | Unary | Apply | Read | Var) or not children(n) for n in nodes
    ):
        return False
    reads = [n for n in nodes if isinstance(n, Read)]
    if len({r.tensor for r in reads}) < 2 or not all(r.tensor in results for r in reads):
        return False
    axes = {i.name for r in reads for i in r.index if isinstance(i, Var)}
    points = all(isinstance(i, Var) for r in reads for i in r.index)
    distinct = all(len({*r.index}) == len(r.index) for r in reads)
    largest = any({i.name for i in r.index if isinstance(i, Var)} == axes for r in reads)
    return points and distinct and largest and free_variables(expr) == axes
