"""Runs passes on a cascade or a plan in order, lets others watch, and verifies what each gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from attnc.errors import InternalError, Report, Source
from attnc.grammar.check import check
from attnc.ir import printer, tiles_printer
from attnc.ir.cascade import Binding, Require
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop
from attnc.ir.tiles import Plan
from attnc.passes.algebra.pipeline import ALGEBRA
from attnc.passes.algebra.program import Pass, Remark, Tell, ignore
from attnc.passes.tiling.context import PlanPass
from attnc.passes.tiling.pipeline import TILING, filled

After: TypeAlias = Callable[[Pass, Facts, Facts], None]
"""Told of each pass: the pass, the cascade before it and after it."""

AfterPlan: TypeAlias = Callable[[PlanPass, Plan, Plan], None]
"""Told of each pass on a plan: the pass, the plan before it and after it."""


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
    """Raises `InternalError` unless the cascade after a pass is sound.

    It prints as the language and parses back to an equal value. Checking that finds no error, and
    what the pass said of variables, tensors, types and order. Header, bindings, variables and
    requirements are those of before, and so are the types of all tensors that were there.
    """
    text = printer.cascade(after.cascade)
    report = Report(Source("cascade", text))
    found = check(report)
    if report.errors:
        listed = "\n".join(d.render() for d in report.errors)
        raise InternalError(
            f"the cascade is not valid after the pass {step.name}", f"{text}{listed}"
        )
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
        raise InternalError(f"the pass {step.name} broke {', '.join(wrong)}", text)


def tiling(
    plan: Plan, passes: Iterable[PlanPass] = TILING, *, after: AfterPlan | None = None
) -> Plan:
    """The plan after all passes."""
    for step in passes:
        before, plan = plan, step(plan)
        if after is not None:
            after(step, before, plan)
    return plan


def verify_plan(
    step: PlanPass | None, before: Plan, after: Plan, *, legal: bool | None = None
) -> None:
    """Raises `InternalError` unless the plan after a pass is sound; without one, as it was made.

    It prints, and parses back to an equal plan. What tells about arguments, results and buffers is
    as before; a pass may add values, and what is given, and how presence is told is its own. Once
    predicates become fills, lanes beyond an extent are proved to change nothing; `legal` says
    whether they have, else the place of the pass does.
    """
    from attnc.grammar.tiles import parse
    from attnc.ir.tiles_verify import verify as sound
    from attnc.passes.tiling.legalise import unfilled

    if legal is None:
        legal = step is not None and filled(step)
    sound(after, filled=legal)
    text = tiles_printer.plan(after)
    what = "making it" if step is None else f"the pass {step.name}"
    if parse(Source("plan", text)) != after:
        raise InternalError(f"the plan does not parse back after {what}", text)
    kept = after.lets[: len(before.lets)]
    given = after.given[: len(before.given)]
    told = tuple(replace(b, presence="byte") for b in after.buffers[: len(before.buffers)])
    around = replace(after, kernels=(), lets=kept, given=given, buffers=told, tiles=before.tiles)
    around = replace(around, bounded=before.bounded)
    bytes_ = tuple(replace(b, presence="byte") for b in before.buffers)
    if replace(before, kernels=(), buffers=bytes_) != around:
        raise InternalError(f"{what} broke what is around kernels", text)
    wrong = next(unfilled(after), None) if legal else None
    if wrong is not None:
        line = next(tiles_printer.statement(wrong))
        raise InternalError(f"lanes that do not exist are not filled after {what}: {line}", text)


def shown_plan(head: str, before: Plan | None, after: Plan) -> str:
    """The plan after a pass, with what says so above it."""
    same = ": no change" if after is before else ""
    return f"# after {head}{same}\n{tiles_printer.plan(after)}"


def numbered(name: str, run: int, names: Iterable[str]) -> str:
    """The name of a pass, with its run where there are several."""
    runs = list(names).count(name)
    return f"{name}, run {run} of {runs}" if runs > 1 else name


@dataclass
class Dump:
    """Shows the cascade after some passes, as a text that is a spec itself.

    What the passes remark stands above it as comments. `chosen` are names of passes; one that runs
    several times is shown each time.
    """

    chosen: frozenset[str]
    show: Callable[[str], None]
    passes: tuple[Pass, ...] = ALGEBRA
    _remarks: list[Remark] = field(default_factory=list[Remark])
    _runs: Counter[str] = field(default_factory=Counter[str])

    def tell(self, remark: Remark) -> None:
        """Notes a remark of the pass that runs."""
        self._remarks.append(remark)

    def after(self, step: Pass, before: Facts, after: Facts) -> None:
        """Shows the cascade after a pass, if it was chosen."""
        self._runs[step.name] += 1
        if step.name in self.chosen:
            head = numbered(step.name, self._runs[step.name], (p.name for p in self.passes))
            same = ": no change" if after is before else ""
            lines = [f"# after {head}{same}\n"]
            lines += [f"#   {r.tensor} {r.text}\n" for r in self._remarks]
            self.show("".join(lines) + printer.cascade(after.cascade))
        self._remarks.clear()


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
