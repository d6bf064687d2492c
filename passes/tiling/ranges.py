"""Loops go through the tiles in which a point may be present, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Int, Name, Value, Var
from attnc.ir.integers import Integers
from attnc.ir.tiles import If, Kernel, Let, Loop, Plan, Range, Scan, Statement
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import expressions, names, statements, targets
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.conditions.cover import Cover
from attnc.passes.conditions.forms import Forms
from attnc.passes.conditions.normal import Case, Many, Normal
from attnc.passes.conditions.spans import Solver, Span
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, conjuncts
from attnc.passes.tiling.rounds import Rounds, effects


MOST: Final = 3
"""Most alternatives that one becomes where functions of several pieces are in it."""


@dataclass(frozen=True)
class Ranges:
    """The predicates of a loop, solved for its axis, become its ranges.

    Rounds in which no predicate has a lane change nothing and are left out; those in which all hold
    for each lane test nothing. Both are told before the loop, by sizes, parameters and the edges of
    tiles. What cannot be solved is tested in each round as before.
    """

    name: str = field(default="ranges", init=False)

    def __call__(self, plan: Plan) -> Plan:
        kernels = tuple(_kernel(plan, kernel) for kernel in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _kernel(plan: Plan, kernel: Kernel) -> Kernel:
    context = Context(plan, kernel)
    known = known_of(plan, context.facts.values)
    body = _body(context, known, kernel.body, ())
    return kernel if body == kernel.body else replace(kernel, body=body)


def _body(
    context: Context, known: Integers, body: Sequence[Statement], around: tuple[str, ...]
) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for item in body:
        match item:
            case Loop(axis=axis) if context.kernel.axis(axis).kind == "stream":
                before, loop = _ranged(context, known, item, around)
                inner = _body(context, known, loop.body, (*around, axis))
                found += [*before, replace(loop, body=inner)]
            case Loop() | If():
                found.append(replace(item, body=_body(context, known, item.body, around)))
            case _:
                found.append(item)
    return tuple(found)


def _ranged(
    context: Context, known: Integers, loop: Loop, around: tuple[str, ...]
) -> tuple[list[Statement], Loop]:
    """What tells the ranges of a loop, and the loop with them."""
    axis = context.kernel.axis(loop.axis)
    if loop.ranges != (Range(Int(0), axis.size),):
        return [], loop
    rounds = Rounds(context, loop, around, known)
    predicates = [_parts(rounds, p) for p in dict.fromkeys(effects(loop))]
    if not predicates:
        return [], loop
    present = _present(rounds, predicates)
    given: dict[Expr, None] = {}
    absent = None
    if not _in_order(loop):
        absent, given = _absent(rounds, predicates)
    cover = Cover(loop.axis, axis.size, rounds.known, rounds.let, whole=bool(rounds.inner))
    pieces, where = cover(present, absent)
    kept = [p for p in pieces if not rounds.known.at_most(p.high, p.low)]
    ranges = tuple(Range(p.low, p.high, full=p.full) for p in kept) or (Range(Int(0), Int(0)),)
    full = any(r.full for r in ranges)
    found = replace(loop, ranges=ranges, given=tuple(given) if full else (), where=where)
    return _needed(rounds.before, found), found


def _needed(before: Sequence[Statement], loop: Loop) -> list[Statement]:
    """What the ranges of a loop need."""
    bounds = [e for r in loop.ranges for e in (r.low, r.high)]
    stack: list[Expr] = [*bounds, *loop.given, loop.where]
    kept: list[Statement] = []
    wanted: set[str] = set()
    for item in reversed(before):
        wanted |= {n.name for e in stack for n in subexpressions(e) if isinstance(n, Name | Value)}
        stack = []
        name = item.name if isinstance(item, Let) else targets(item)[0]
        if name in wanted:
            kept.append(item)
            stack += expressions(item)
    return kept[::-1]


def _in_order(loop: Loop) -> bool:
    """Whether tiles come in order."""
    scans = (s for s in statements(loop.body) if isinstance(s, Scan))
    return loop.ordered or loop.backward or any(s.over == loop.axis for s in scans)


def _parts(rounds: Rounds, predicate: Expr) -> list[Expr]:
    """What a predicate says beside the extents of axes that have a tile or are whole."""
    extents = set(conjuncts(rounds.context.valid(rounds.context.order)))
    return [p for p in conjuncts(predicate) if p not in extents and p != TRUE]


def _normal(rounds: Rounds) -> Normal:
    forms = Forms(lambda e: rounds.kind(e) is not Kind.I64)
    return Normal(rounds, forms)


def _opened(rounds: Rounds, parts: Iterable[Expr]) -> list[Expr]:
    """Conditions, each by itself, of coordinates that are no longer computed."""
    found = {c: None for p in parts for c in sorted(rounds.context.conditions(p), key=repr)}
    return [rounds.opened(c) for c in found]


def _present(rounds: Rounds, predicates: Sequence[Sequence[Expr]]) -> list[Span]:
    """Where along the stream any of some predicates may hold."""
    found: list[Span] = []
    sets = [frozenset(p) for p in predicates]
    for i, parts in enumerate(predicates):
        if any(s < sets[i] or (s == sets[i] and j < i) for j, s in enumerate(sets) if j != i):
            continue  # which hold nowhere else
        normal = _normal(rounds)
        try:
            cases = normal.all(_opened(rounds, parts))
        except Many:
            return [Span()]
        found += _solved(rounds, normal, cases)
    return list(dict.fromkeys(found))


def _solved(rounds: Rounds, normal: Normal, cases: Iterable[Case]) -> list[Span]:
    solver = Solver(rounds, normal.forms)
    found: list[Span] = []
    for case in cases:
        try:
            refined = normal.refined(case)
        except Many:
            refined = [case]
        if len(refined) > MOST:
            refined = [case]
        found += [span for span in map(solver, refined) if span is not None]
    return found


def _absent(
    rounds: Rounds, predicates: Sequence[Sequence[Expr]]
) -> tuple[list[Span] | None, dict[Expr, None]]:
    """Where any predicate may not hold, and what holds elsewhere; None where that is not known."""
    found: list[Span] = []
    given: dict[Expr, None] = {
        Compare(("<",), (Var(rounds.stream), _size(rounds, rounds.stream))): None
    }
    for axis in rounds.around:  # tiles of loops around this one may reach beyond the extent
        size, edge = _size(rounds, axis), Apply("low", (Var(axis),))
        end = Binary("+", edge, Apply("tile", (Var(axis),)))
        found.append(Span(guards=(Compare(("<",), (size, end)),)))
        given[Compare(("<",), (Var(axis), size))] = None
    whole = {a.name for a in rounds.context.kernel.axes if a.kind == "whole"} | rounds.inner
    for part in dict.fromkeys(p for parts in predicates for p in parts):
        if rounds.depends(part) & whole:
            continue  # which is tested in full tiles, too
        normal = _normal(rounds)
        for condition in _opened(rounds, [part]):
            try:
                cases = normal.cases(condition, holds=False)
            except Many:
                return None, {}
            found += _solved(rounds, normal, cases)
        said = part if not names(part) & rounds.inside else rounds.opened(part)
        if names(said) & rounds.inside:
            return None, {}  # which no condition before the loop can say
        given[said] = None
    return list(dict.fromkeys(found)), given


def _size(rounds: Rounds, axis: str) -> Expr:
    return rounds.context.kernel.axis(axis).size
