"""A derivation as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from attnc.ir import printer
from attnc.ir.expr import Expr
from attnc.passes.running.build import total
from attnc.passes.running.checks import renamed
from attnc.passes.running.derive import Derivation, Extreme, Plain, Running, Sum


def shown(found: Derivation) -> str:
    """Each state with its basis, how it is carried when earlier results change, and the result.

    `'` marks results of before.
    """
    results = frozenset(one.tensor for one in found.running)
    lines = [line for one in found.running for line in _running(one, results)]
    for refusal in found.refusals:
        term = printer.expression(refusal.term)
        lines.append(f"{refusal.tensor}: another pass: {term}: {refusal.reason}")
    return "\n".join(lines) + "\n"


def _running(one: Running, results: frozenset[str]) -> Iterator[str]:
    text = printer.expression
    match one:
        case Plain(tensor=tensor, op=op, body=body):
            yield f"{tensor}: {op} of {text(body)}"
        case Extreme(tensor=tensor, op=op, inner=inner, result=result):
            yield f"{tensor}: {op} of {text(inner)}"
            yield f"  result {text(result)}"
        case Sum(tensor=tensor, basis=basis):
            yield f"{tensor}: sums"
            old = renamed(results, "'")
            for i, phi in enumerate(basis.functions):
                guard = "".join(f" where {text(c)}" for c in phi.where)
                yield f"  {_name(i)} of {text(phi.expr())}{guard}"
            for i, row in enumerate(basis.transition):
                carried = [_carried(total(e.expr(old) for e in es), k) for k, es in row.items()]
                if carried != [_name(i)]:
                    yield f"  {_name(i)} <- {' + '.join(carried)}"
            terms = [_carried(c, i) for i, c in one.result]
            yield f"  result {' + '.join(terms)}"
        case _:
            assert_never(one)


def _name(index: int) -> str:
    return f"s{index + 1}"


def _carried(entry: Expr, index: int) -> str:
    shown_ = printer.expression(entry, printer.PRODUCT)
    return _name(index) if shown_ == "1" else f"{shown_} * {_name(index)}"
