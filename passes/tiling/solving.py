"""The predicates of a loop's rounds, solved for its axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attnc.ir.expr import Apply, Binary, Compare, Expr, Var
from attnc.ir.tiles_walk import names
from attnc.ir.types import Kind
from attnc.passes.conditions.forms import Forms
from attnc.passes.conditions.normal import Case, Many, Normal
from attnc.passes.conditions.spans import Solver, Span
from attnc.passes.tiling.presence import TRUE, conjuncts
from attnc.passes.tiling.rounds import Rounds

MOST: Final = 3
"""Most alternatives that one becomes where functions of several pieces are in it."""


def parts_of(rounds: Rounds, predicate: Expr) -> list[Expr]:
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


def present(rounds: Rounds, predicates: Sequence[Sequence[Expr]]) -> list[Span]:
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
            return [Span(open=True)]
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


def absent(
    rounds: Rounds, predicates: Sequence[Sequence[Expr]]
) -> tuple[list[Span] | None, tuple[Expr, ...]]:
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
            return None, ()  # a tile of this axis alone does not tell
        normal = _normal(rounds)
        for condition in _opened(rounds, [part]):
            try:
                cases = normal.cases(condition, holds=False)
            except Many:
                return None, ()
            found += _solved(rounds, normal, cases)
        said = part if not names(part) & rounds.inside else rounds.opened(part)
        if names(said) & rounds.inside - rounds.loaded:
            return None, ()  # which is no condition on what a round begins with
        given[said] = None
    return list(dict.fromkeys(found)), tuple(given)


def _size(rounds: Rounds, axis: str) -> Expr:
    return rounds.context.kernel.axis(axis).size
