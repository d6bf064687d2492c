"""A derivation as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from attnc.ir import printer
from attnc.ir.expr import Expr
from attnc.passes.running.build import total
from attnc.passes.running.checks import renamed
from attnc.passes.running.derive import Derivation, Extreme, Plain, Running, Sum


@dataclass(frozen=True)
class Shown:
    """A running reduction in words.

    Its states are `op` of each of `of`; `carried` says how those change when earlier results do,
    `result` what they stand for. `'` marks results of before. Two states of disjoint points merge
    by what `carried` says, each brought to the results of both, and then added.
    """

    tensor: str
    op: str
    of: tuple[str, ...]
    carried: tuple[str, ...] = ()
    result: str = ""

    def lines(self) -> list[str]:
        """What it is, then the rest indented."""
        if self.op != "sums":
            result = [f"  result {self.result}"] if self.result else []
            return [f"{self.tensor}: {self.op} of {', '.join(self.of)}", *result]
        states = [f"  {_name(i)} of {text}" for i, text in enumerate(self.of)]
        carried = [f"  {text}" for text in self.carried]
        return [f"{self.tensor}: sums", *states, *carried, f"  result {self.result}"]


def shown(found: Derivation) -> str:
    """Each state with its basis, how it is carried when earlier results change, and the result.

    `'` marks results of before.
    """
    lines = [line for one in described(found.running) for line in one.lines()]
    for refusal in found.refusals:
        term = printer.expression(refusal.term)
        lines.append(f"{refusal.tensor}: another pass: {term}: {refusal.reason}")
    return "\n".join(lines) + "\n"


def described(running: Iterable[Running]) -> list[Shown]:
    """The running reductions of one stream in words."""
    forms = tuple(running)
    results = frozenset(one.tensor for one in forms)
    return [_described(one, results) for one in forms]


def _described(one: Running, results: frozenset[str]) -> Shown:
    text = printer.expression
    match one:
        case Plain(tensor=tensor, op=op, body=body):
            return Shown(tensor, op, (text(body),))
        case Extreme(tensor=tensor, op=op, inner=inner, result=result):
            return Shown(tensor, op, (text(inner),), result=text(result))
        case Sum(tensor=tensor, basis=basis):
            old = renamed(results, "'")
            functions = [
                text(phi.expr()) + "".join(f" where {text(c)}" for c in phi.where)
                for phi in basis.functions
            ]
            carried = []
            for i, row in enumerate(basis.transition):
                terms = [_carried(total(e.expr(old) for e in es), k) for k, es in row.items()]
                if terms != [_name(i)]:
                    carried.append(f"{_name(i)} <- {' + '.join(terms)}")
            whole = " + ".join(_carried(c, i) for i, c in one.result)
            return Shown(tensor, "sums", tuple(functions), tuple(carried), whole)
        case _:
            assert_never(one)


def _name(index: int) -> str:
    return f"s{index + 1}"


def _carried(entry: Expr, index: int) -> str:
    shown_ = printer.expression(entry, printer.PRODUCT)
    return _name(index) if shown_ == "1" else f"{shown_} * {_name(index)}"
