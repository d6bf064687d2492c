"""Seeded faults in plans and in passes: each is seen by the instruments that are named beside it.

`tests/instruments.py` says what these are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import pytest

from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Unary,
    Var,
)
from attnc.ir.tiles import Dot, Fold, Load, Loop, Map, Plan, Scan, Statement, Store
from attnc.ir.tiles_walk import mapped, rewritten
from attnc.ir.walk import children, rebuild
from attnc.planning import planned
from tests.instruments import TEXTS, Planner, facts, red, seen

Change = Callable[[Plan], Plan]


def each(plan: Plan, change: Callable[[Statement], Statement | tuple[Statement, ...]]) -> Plan:
    """Every statement changed, those inside of a loop first."""

    def listed(item: Statement) -> tuple[Statement, ...]:
        new = change(item)
        return new if isinstance(new, tuple) else (new,)

    kernels = tuple(replace(k, body=rewritten(k.body, listed)) for k in plan.kernels)
    return replace(plan, kernels=kernels)


def exprs(change: Callable[[Expr], Expr]) -> Change:
    """Every expression changed, its parts first."""

    def walk(expr: Expr) -> Expr:
        return change(rebuild(expr, tuple(walk(c) for c in children(expr))))

    return lambda plan: each(plan, lambda s: mapped(s, walk))


def _is_exp(expr: Expr) -> bool:
    return isinstance(expr, Apply) and expr.function in ("exp", "exp2")


def _at_rest(expr: Expr) -> Choice | None:
    """`0 if a == b else a - b`, a change of results."""
    match expr:
        case Choice(condition=Compare(ops=("==",)), then=Int(value=0), other=Binary(op="-")):
            return expr
        case _:
            return None


def rescaled(new: Callable[[Binary], Expr]) -> Change:
    """The exponent of each rescale replaced."""

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Apply) and _is_exp(expr):
            rest = _at_rest(expr.arguments[0])
            if rest is not None:
                assert isinstance(rest.other, Binary)
                return replace(expr, arguments=(new(rest.other),))
        return expr

    return exprs(change)


def unguarded(expr: Expr) -> Expr:
    rest = _at_rest(expr)
    return expr if rest is None else rest.other


def finite_anyway(expr: Expr) -> Expr:
    """`0 if abs(x) == inf else y` as `y`."""
    match expr:
        case Choice(condition=Compare(operands=(Apply(function="abs"), _)), then=Int(value=0)):
            return expr.other
        case _:
            return expr


def state_of_nothing(expr: Expr) -> Expr:
    """`x if seen else 0` as `x`."""
    match expr:
        case Choice(condition=Name(), other=Int(value=0)):
            return expr.then
        case _:
            return expr


def _carried(item: Map) -> tuple[Choice, Expr] | None:
    """The state that is brought along, and what is added to it."""
    match item.value:
        case Binary(op="+", left=Choice(condition=Name(), other=Int(value=0)) as old, right=new):
            return old, new
        case _:
            return None


def updates(new: Callable[[Choice, Expr], Expr]) -> Change:
    """Each `(T * state if seen else 0) + tile` replaced."""

    def change(item: Statement) -> Statement:
        if isinstance(item, Map) and (parts := _carried(item)) is not None:
            return replace(item, value=new(*parts))
        return item

    return lambda plan: each(plan, change)


def wrong_way(old: Choice, new: Expr) -> Expr:
    """The tile is rescaled, and not the state."""
    match old.then:
        case Binary(op="*", left=factor, right=state):
            return Binary("+", replace(old, then=state), Binary("*", factor, new))
        case _:
            return Binary("+", old, new)


def carries(change: Callable[[Any], Any], axes: bool | None = None) -> Change:
    """What loops carry, changed; floats alone, and with `axes` those of one or more axes."""

    def loop(item: Statement) -> Statement:
        if not isinstance(item, Loop):
            return item
        return replace(
            item,
            carries=tuple(
                change(c) if c.kind.floating and (axes is None or (len(c.axes) > 1) == axes) else c
                for c in item.carries
            ),
        )

    return lambda plan: each(plan, loop)


def rounded(expr: Expr) -> Expr:
    return Apply("rounded", (expr,))


def predicates(change: Callable[[Expr], Expr], *of: type) -> Change:
    """The predicates of some statements changed."""

    def one(item: Statement) -> Statement:
        return replace(item, where=change(item.where)) if isinstance(item, of) else item  # type: ignore[call-arg,attr-defined]

    return lambda plan: each(plan, one)


def parts(predicate: Expr) -> list[Expr]:
    match predicate:
        case Logical(op="and", left=left, right=right):
            return [*parts(left), *parts(right)]
        case _:
            return [predicate]


def without(dropped: Callable[[Expr], bool]) -> Callable[[Expr], Expr]:
    """A predicate without some of its conditions."""

    def change(predicate: Expr) -> Expr:
        found: Expr = Bool(True)
        for part in parts(predicate):
            if not dropped(part):
                found = part if found == Bool(True) else Logical("and", found, part)
        return found

    return change


def bounds(name: str) -> Callable[[Expr], bool]:
    """Whether a condition is that an axis' lanes exist."""
    return lambda part: (
        isinstance(part, Compare)
        and part.ops == ("<",)
        and part.operands[0] == Var(name)
        and not any(isinstance(c, Var) for c in children(part.operands[1]))
    )


def weaker(name: str) -> Callable[[Expr], Expr]:
    """`n <= N` for `n < N`."""

    def change(predicate: Expr) -> Expr:
        match predicate:
            case Logical(left=left, right=right):
                return Logical(predicate.op, change(left), change(right))
            case Compare(operands=operands) if bounds(name)(predicate):
                return Compare(("<=",), operands)
            case _:
                return predicate

    return change


def causal(part: Expr) -> bool:
    """Whether a condition compares keys with queries as a prefix."""
    match part:
        case Compare(ops=("<=",), operands=(Var(name="n"), _)):
            return True
        case _:
            return False


def window(part: Expr) -> bool:
    """Whether a condition is that of the window."""
    match part:
        case Compare(ops=("<",), operands=(Binary(), _)):
            return True
        case _:
            return False


def wider(predicate: Expr) -> Expr:
    """A window of one key more."""
    match predicate:
        case Logical(left=left, right=right):
            return Logical(predicate.op, wider(left), wider(right))
        case Compare(operands=operands) if window(predicate):
            return Compare(("<=",), operands)
        case _:
            return predicate


def ranges(change: Callable[[Any], Any]) -> Change:
    """The ranges of all loops changed."""

    def loop(item: Statement) -> Statement:
        return (
            replace(item, ranges=tuple(map(change, item.ranges)))
            if isinstance(item, Loop)
            else item
        )

    return lambda plan: each(plan, loop)


def whole_tiles(part: Any) -> Any:
    tile = Apply("tile", (Var("n"),))
    high = Binary("*", Binary("//", part.high, tile), tile)
    return replace(part, high=high)


def loads(tensor: str, change: Callable[[Load], Load]) -> Change:
    """The loads of one tensor changed."""
    return lambda plan: each(
        plan, lambda s: change(s) if isinstance(s, Load) and s.tensor == tensor else s
    )


def next_key(item: Load) -> Load:
    index = tuple(Binary("+", i, Int(1)) if i == Var("n") else i for i in item.index)
    return replace(item, index=index)


def stores(change: Callable[[Store], Store]) -> Change:
    return lambda plan: each(plan, lambda s: change(s) if isinstance(s, Store) else s)


def chain(*changes: Change) -> Change:
    def all_of(plan: Plan) -> Plan:
        for change in changes:
            plan = change(plan)
        return plan

    return all_of


def extremes(new: Callable[[Expr, Expr], Expr]) -> Change:
    """Each `max(old, new)` of tiles replaced."""

    def change(expr: Expr) -> Expr:
        match expr:
            case Apply(function="max" | "min", arguments=(Name() as old, Name() as tile)):
                return new(old, tile)
            case _:
                return expr

    return exprs(change)


def scores(item: Statement) -> Statement:
    """Scores rounded to the inputs' type: the products of queries and keys."""
    if isinstance(item, Map) and _is_exp(item.value) and _at_rest(item.value.arguments[0]) is None:  # type: ignore[attr-defined]
        (y,) = item.value.arguments  # type: ignore[attr-defined]
        if isinstance(y, Binary):
            rounded_ = Binary(y.op, rounded(y.left), y.right)
            return replace(item, value=replace(item.value, arguments=(rounded_,)))  # type: ignore[type-var]
    return item


def without_last(old: Choice, new: Expr) -> Expr:
    """A state of which T has lost its last term."""
    match old.then:
        case Binary(op="+", left=Binary(op="+") as left):
            return Binary("+", replace(old, then=left), new)
        case _:
            return Binary("+", old, new)


def scan_alone(expr: Expr) -> Expr:
    """What is carried into a scan left out: `carry + scan` as `scan`."""
    match expr:
        case Binary(op="+", left=Name(name=carry), right=Name(name=tile)) if tile.startswith("c"):
            return expr.right if carry.startswith("c") else expr
        case _:
            return expr


@dataclass(frozen=True)
class Fault:
    """A change of the plan of a text, and the instruments that see it."""

    name: str
    text: str
    change: Change
    by: str


EVERY: Final = "f32 half hard exact"
FAULTS = [
    Fault("no rescale", "attend", rescaled(lambda d: Float(0.0)), EVERY),
    Fault(
        "a rescale by new over new",
        "vary",
        rescaled(lambda d: Binary("-", d.right, d.right)),
        EVERY,
    ),
    Fault(
        "a rescale the other way", "attend", rescaled(lambda d: Binary("-", d.right, d.left)), EVERY
    ),
    Fault("a rescale of a state that is at rest", "attend", exprs(unguarded), "hard"),
    Fault("weights that are relative to infinity", "attend", exprs(finite_anyway), "hard"),
    Fault("the tile is rescaled, not the state", "attend", updates(wrong_way), EVERY),
    Fault("the state is dropped", "attend", updates(lambda old, new: new), EVERY),
    Fault("the tile is dropped", "attend", updates(lambda old, new: old), EVERY),
    Fault(
        "the tile is subtracted", "attend", updates(lambda old, new: Binary("-", old, new)), EVERY
    ),
    Fault("a term of T is dropped", "vary", updates(without_last), "f32 half hard"),
    Fault("a maximum of the last tile alone", "attend", extremes(lambda old, new: new), EVERY),
    Fault("a maximum of the first tile alone", "attend", extremes(lambda old, new: old), EVERY),
    Fault("a minimum for a maximum", "attend", extremes(lambda a, b: Apply("min", (a, b))), EVERY),
    Fault(
        "a maximum starts from 0",
        "attend",
        carries(lambda c: replace(c, start=Int(0)) if isinstance(c.start, Unary) else c),
        "hard",
    ),
    Fault(
        "a minimum starts from 0",
        "least",
        carries(lambda c: replace(c, start=Int(0)) if c.start == Float(np.inf) else c),
        "hard",
    ),
    Fault(
        "sums start from 1",
        "attend",
        chain(
            exprs(state_of_nothing),
            carries(lambda c: replace(c, start=Int(1)) if c.start == Int(0) else c),
        ),
        "hard",
    ),
    Fault(
        "outputs are never carried on",
        "attend",
        carries(lambda c: replace(c, next=Name(c.name)), True),
        EVERY,
    ),
    Fault(
        "outputs in half precision",
        "attend",
        carries(lambda c: replace(c, next=rounded(c.next)), True),
        "half exact",
    ),
    Fault(
        "denominators in half precision",
        "attend",
        carries(lambda c: replace(c, next=rounded(c.next)) if c.start == Int(0) else c, False),
        "half",
    ),
    Fault("scores in half precision", "attend", lambda plan: each(plan, scores), "half"),
    Fault("<= for < at the last key", "least", predicates(weaker("n"), Load, Dot, Fold), EVERY),
    Fault(
        "<= for < at the last feature",
        "attend",
        predicates(weaker("e"), Load, Dot),
        "f32 half hard",
    ),
    Fault(
        "lanes beyond the keys count", "least", predicates(without(bounds("n")), Dot, Fold), EVERY
    ),
    Fault(
        "products are summed beyond their features",
        "attend",
        predicates(without(bounds("e")), Load, Dot),
        "f32 half hard",
    ),
    Fault("a prefix is forgotten by products", "attend", predicates(without(causal), Dot), EVERY),
    Fault("a prefix is forgotten by sums", "attend", predicates(without(causal), Fold), EVERY),
    Fault("a window is forgotten", "attend", predicates(without(window), Dot, Fold), "f32 exact"),
    Fault("a window of one key more", "attend", predicates(wider, Dot, Fold), "f32 exact"),
    Fault(
        "the last key is left out",
        "least",
        ranges(lambda r: replace(r, high=Binary("-", r.high, Int(1)))),
        EVERY,
    ),
    Fault("the first key is left out", "least", ranges(lambda r: replace(r, low=Int(1))), EVERY),
    Fault("a ragged last tile is left out", "least", ranges(whole_tiles), EVERY),
    Fault("the next key's values", "attend", loads("V", next_key), EVERY),
    Fault(
        "rows with nothing are not told",
        "attend",
        stores(lambda s: replace(s, where=Bool(True))),
        "f32",
    ),
    Fault(
        "rows beyond the last are stored",
        "attend",
        chain(
            predicates(weaker("m"), Load), stores(lambda s: replace(s, guard=weaker("m")(s.guard)))
        ),
        EVERY,
    ),
    Fault(
        "absent rows of a buffer count",
        "twice",
        predicates(without(lambda p: isinstance(p, Name)), Dot, Fold),
        EVERY,
    ),
    Fault(
        "kernels in the wrong order", "twice", lambda p: replace(p, kernels=p.kernels[::-1]), EVERY
    ),
    Fault("a scan without its carry", "scan", exprs(scan_alone), EVERY),
    Fault(
        "a scan from the other end",
        "scan",
        lambda p: each(
            p, lambda s: replace(s, reverse=not s.reverse) if isinstance(s, Scan) else s
        ),
        EVERY,
    ),
]


def changed(change: Change) -> Planner:
    """A planner that makes a fault."""
    return lambda facts: change(planned(facts)[1].plan)


@pytest.mark.parametrize("text", TEXTS)
def test_no_fault(text: str) -> None:
    assert seen(text, changed(lambda plan: plan)) == set()


@pytest.mark.parametrize("fault", [pytest.param(f, id=f.name) for f in FAULTS])
def test_faults_are_seen(fault: Fault) -> None:
    plan = planned(facts(fault.text))[1].plan
    assert fault.change(plan) != plan, "the fault changes nothing"
    assert fault.by
    for name in fault.by.split():
        assert red(fault.text, changed(fault.change), name), name


# Faults in passes


@dataclass(frozen=True)
class Wrong:
    """A piece of the passes' text, wherever it stands, and what is put in its place.

    `by` are the instruments that see it in the plan of a text; `planning`: there is no plan, for
    what is derived is checked.
    """

    name: str
    old: str
    new: str
    text: str
    by: str


WRONG = [
    Wrong(
        "a change at rest",
        'return Choice(Compare(("==",), (left, right)), Int(0), entry)',
        "return entry",
        "attend",
        "hard",
    ),
    Wrong(
        "weights that are relative to infinity",
        "chosen(infinite, Int(0), one.value)",
        "one.value",
        "attend",
        "hard",
    ),
    Wrong(
        "what was before is dropped",
        'carried = Binary("+", self._carried(state, j), tile)',
        "carried = tile",
        "attend",
        EVERY,
    ),
    Wrong(
        "the first round's seen is kept",
        'either(Name(state.seen), some), "now"',
        'some, "now"',
        "attend",
        EVERY,
    ),
    Wrong(
        "T of a state is that of another",
        "Name(state.tiles[k])))",
        "Name(state.tiles[j])))",
        "vary",
        "f32 half hard",
    ),
    Wrong(
        "results of before are those of now",
        'renamed(self.names, "\'")',
        'renamed(frozenset(), "\'")',
        "attend",
        EVERY,
    ),
    Wrong("a maximum is the last tile's", "return Apply(op, (a, b))", "return b", "attend", EVERY),
    Wrong(
        "a maximum is a minimum's identity",
        'return float("-inf") if op == "max" else float("inf")',
        "return 0.0",
        "attend",
        "hard",
    ),
    Wrong(
        "a term's presence is forgotten",
        "return product(p.value for p in parts), both(whole, holds)",
        "return product(p.value for p in parts), holds",
        "attend",
        EVERY,
    ),
    Wrong(
        "changes have the wrong sign",
        "change = subtracted(now, old(now))",
        "change = subtracted(old(now), now)",
        "attend",
        "planning",
    ),
    Wrong("binomials are forgotten", "comb(count, j),", "1,", "vary", "planning"),
    Wrong(
        "an addition theorem with the wrong sign",
        'sign = 1 if factor.function == "sin" else -1',
        "sign = 1",
        "turns",
        "planning",
    ),
    Wrong(
        "terms of one function are not added",
        "coefficients[i] = term.coefficient if before is None else added(before, term.coefficient)",
        "coefficients[i] = term.coefficient",
        "branches",
        "planning",
    ),
    Wrong(
        "a monotone function does not turn",
        'op = {"max": "min", "min": "max"}[value.op] if outer.turned else value.op',
        "op = value.op",
        "extreme",
        EVERY,
    ),
    Wrong(
        "a definition's conditions are forgotten",
        'value = Apply("only", (value, balanced([self(c) for c in einsum.where])))',
        "pass",
        "attend",
        EVERY,
    ),
    Wrong(
        "lanes beyond an extent count",
        'return both(*(Compare(("<",), (Var(v), self.size(v)))',
        'return both(*(Compare(("<=",), (Var(v), self.size(v)))',
        "least",
        EVERY,
    ),
    Wrong(
        "a default is present where its value is",
        "here = either(value.here, other.here)",
        "here = value.here",
        "branches",
        EVERY,
    ),
    Wrong(
        "a choice is present where both branches are",
        "here = both(c.here, chosen(c.value, a.here, b.here))",
        "here = both(c.here, a.here, b.here)",
        "branches",
        EVERY,
    ),
    Wrong(
        "what is carried alone is dead", " & needed - wanted", " & set()", "vary", "f32 half hard"
    ),
    Wrong(
        "rows of buffers are all there",
        "here = both(here, self._presence(",
        "both(here, self._presence(",
        "twice",
        EVERY,
    ),
]


ROOT = Path(__file__).parent.parent / "passes"
PLACES = [
    (f"attnc.passes.{folder}.{path.stem}", path)
    for folder in ("running", "tiling")
    for path in sorted((ROOT / folder).glob("*.py"))
]


def planner(wrong: Wrong | None, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """A planner of passes that are read anew, one of them with a fault."""
    for name in [*(n for n, _ in PLACES), "attnc.planning"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    if wrong is not None:
        places = [
            (name, path)
            for name, path in PLACES
            for _ in range(path.read_text("utf-8").count(wrong.old))
        ]
        assert len(places) == 1, "the text that this fault changes has moved"
        ((name, path),) = places
        made = ModuleType(name)
        made.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, made)
        text = path.read_text("utf-8").replace(wrong.old, wrong.new)
        exec(compile(text, str(path), "exec"), made.__dict__)
    fresh = import_module("attnc.planning").planned
    return lambda facts: fresh(facts)[1].plan


@pytest.mark.parametrize("text", TEXTS)
def test_no_fault_in_passes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not red(text, planner(None, monkeypatch), "f32")


@pytest.mark.parametrize("wrong", [pytest.param(w, id=w.name) for w in WRONG])
def test_faults_in_passes_are_seen(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planner(wrong, monkeypatch)
    assert wrong.by
    if wrong.by == "planning":
        with pytest.raises(Exception, match=r"T |terms add up"):
            plan(facts(wrong.text))
        return
    for name in wrong.by.split():
        assert red(wrong.text, plan, name), name


def test_there_are_many() -> None:
    assert len(FAULTS) + len(WRONG) >= 50
