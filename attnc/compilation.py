"""Runs passes on a cascade in order, lets others watch, and verifies what each gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from attnc.errors import AttncError, Report, Source
from attnc.grammar.check import check
from attnc.ir import printer
from attnc.ir.cascade import Binding, Require
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop
from attnc.passes.algebra.pipeline import ALGEBRA
from attnc.passes.algebra.program import Pass, Tell, ignore


class BrokenPass(AttncError):
    """A pass gave what it must not give: a fault of the compiler, not of the spec."""


After: TypeAlias = Callable[[Pass, Facts, Facts], None]
"""Told of each pass: the pass, the cascade before it and after it."""


def algebra(
    facts: Facts,
    passes: Iterable[Pass] = ALGEBRA,
    *,
    after: After | None = None,
    tell: Tell = ignore,
) -> Facts:
    """The cascade after all passes; remarks go to `tell`."""
    for step in passes:
        before, facts = facts, step(facts, tell)
        if after is not None:
            after(step, before, facts)
    return facts


def verify(step: Pass, before: Facts, after: Facts) -> None:
    """Raises `BrokenPass` unless the cascade after a pass is sound.

    It prints as the language and parses back to an equal value. Checking that finds no error, and
    what the pass said of variables, tensors, types and order. Header, bindings, variables and
    requirements are those of before, and so are the types of all tensors that were there.
    """
    text = printer.cascade(after.cascade)
    report = Report(Source("cascade", text))
    found = check(report)
    if report.errors:
        listed = "\n".join(d.render() for d in report.errors)
        raise BrokenPass(f"after {step.name} the cascade is not valid:\n{listed}")
    (again,) = found
    same = {
        "the text": again.cascade == after.cascade,
        "the variables": again.variables == after.variables,
        "the types": again.types == after.types,
        "the values": again.values == after.values,
        "the tensors": _shapes(again) == _shapes(after),
        "the order": _order(again) == _order(after),
        "what stays": _fixed(before) == _fixed(after),
        "the types of before": all(
            after.types[t] == before.types[t] for t in before.types.keys() & after.types.keys()
        ),
    }
    wrong = [what for what, holds in same.items() if not holds]
    if wrong:
        raise BrokenPass(f"after {step.name}, not right: {', '.join(wrong)}\n{text}")


def _shapes(facts: Facts) -> dict[str, object]:
    return {t: (i.dimensions, i.input, i.element) for t, i in facts.tensors.items()}


def _order(facts: Facts) -> list[object]:
    """The stages, each group with what it runs over."""
    return [
        (s.variable, s.initial, s.steps) if isinstance(s, Loop) else s.einsum for s in facts.stages
    ]


def _fixed(facts: Facts) -> object:
    """What no pass may change."""
    cascade = facts.cascade
    kept = tuple(s for s in cascade.statements if isinstance(s, Binding | Require))
    return replace(cascade, statements=kept)
