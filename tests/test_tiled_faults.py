"""Seeded faults in plans: each is seen by the instruments that are named beside it.

`f32` and `half`: the bound, on random inputs, in half types also on long rows with a mean. `hard`:
the bound on large, growing, and infinite scores. `exact`: no bit may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
import pytest

import attnc
from attnc.errors import InternalError
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
from attnc.ir.facts import Facts
from attnc.ir.tiles import Dot, Fold, Load, Loop, Map, Plan, Scan, Statement, Store
from attnc.ir.tiles_walk import mapped, rewritten
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.lower import NotLowered
from attnc.planning import planned
from tests.acceptance.exact import exact_inputs, stand_in
from tests.acceptance.judge import judge
from tests.test_acceptance import TYPES
from tests.tiled import of_plan, outputs, written

TEXTS = {
    "attend": """cascade attend(
    Q[M,E], K[N,E], V[N,F], P[M,N], w: int = 9
) -> O[M,F] empty 7, L[M] empty -inf:
    S[m,n] = Q[m,e] * K[n,e] / sqrt(E) + P[m,n] where n <= m + (N - M), m + (N - M) - n < w
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m] = logsumexp[n](S[m,n])
""",
    "vary": """cascade vary(P[M,N], V[N,F]) -> U[M,F], W[M,F]:
    U[m,f] = softmax[n](P[m,n]) * V[n,f]
    W[m,f] = softmax[n](P[m,n]) * (V[n,f] - U[m,f]) ** 2
""",
    "least": """cascade least(P[M,N], V[N,F]) -> O[M,F], G[M]:
    G[m] = min[n](P[m,n])
    D[m] = sum[n](exp(G[m] - P[m,n]))
    O[m,f] = exp(G[m] - P[m,n]) / D[m] * V[n,f]
""",
    "twice": """cascade twice(P[M,N], V[N,F]) -> O[M,F] empty 7:
    T[m,n] = P[m,n] where n < 3 * m
    U[m] = mean[n](T[m,n])
    O[m,f] = sum[n](max(P[m,n] - U[m], 0) * V[n,f])
""",
    "scan": """cascade scan(P[M,N], V[N,F]) -> O[M,F]:
    C[m,n] = cumsum[n](P[m,n])
    O[m,f] = relu(C[m,n]) * V[n,f]
""",
}
SIZES = {"M": 6, "N": 21, "E": 5, "F": 3}
SHORT = {**SIZES, "M": 9, "N": 5}
"""With rows of which no key counts."""
FEW = {**SIZES, "M": 3, "N": 9}
TILES = ({"m": 4, "n": 4, "e": 2, "f": 2}, {"m": 1, "n": 3, "e": 8, "f": 8}, {"m": 8, "n": 64})
ORDERS = (None, 0, 1)
LONG = 1500

Change = Callable[[Plan], Plan]


# Instruments


@cache
def facts(text: str, exact: bool = False) -> Facts:
    found = attnc.check(TEXTS[text]).select()
    return stand_in(found) if exact else found


def random_inputs(text: str, seed: int, sizes: dict[str, int] = SIZES) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    items = facts(text).cascade.inputs
    return {i.name: rng.standard_normal([sizes[str(s)] for s in i.sizes]) for i in items}


def hard_inputs(text: str) -> Iterator[dict[str, Any]]:
    """Scores that are large, grow or fall, or are -inf for the first keys."""
    rng = np.random.default_rng(9)
    for change in (
        lambda p: p - 1e4,
        lambda p: p + 1e4,
        lambda p: np.sort(80 * p),
        lambda p: -np.sort(80 * p),
        lambda p: np.where(np.arange(21) < 12 + 9 * rng.integers(0, 2, (6, 1)), -np.inf, p),
    ):
        inputs = random_inputs(text, 9)
        inputs["P"] = change(inputs["P"])
        if text != "vary" or np.isfinite(inputs["P"]).all():  # see tests/test_stability.py
            yield inputs


def within(text: str, plan: Plan, kind: str, inputs: Mapping[str, Any], *, window: int = 9) -> bool:
    """Whether a plan's results are within their bounds at some tiles."""
    call = of_plan(facts(text), plan)
    narrow = {k: v.astype(TYPES[kind]) for k, v in inputs.items()}
    long = inputs["V"].shape[0] > 100
    parameters = {"w": window} if text == "attend" else {}
    ways = [({"m": 4, "n": 64}, 0)] if long else zip(TILES, ORDERS, strict=True)
    for tiles, shuffle in ways:
        found = call(narrow, parameters, tiles, shuffle)
        full = {a.name: tiles.get(a.name, 64) for k in plan.kernels for a in k.axes}
        verdict = judge(
            facts(text),
            narrow,
            parameters,
            found,
            matrix_type=kind,
            tiles=call.streamed(full),
            undecided=1.0,
        )
        if not verdict.ok:
            return False
    return True


def f32(text: str, change: Change) -> bool:
    plan = change(planned(facts(text))[1].plan)
    return all(
        within(text, plan, "f32", random_inputs(text, seed, sizes))
        for seed, sizes in enumerate((SIZES, SHORT))
    )


def half(text: str, change: Change) -> bool:
    plan = change(planned(facts(text))[1].plan)
    large, long = random_inputs(text, 3), random_inputs(text, 4, {**SIZES, "N": LONG})
    large = {k: 8 * v if k == "Q" else v for k, v in large.items()}
    long["V"] += 2.0
    return all(
        within(text, plan, kind, inputs, window=LONG)
        for kind in ("f16", "bf16")
        for inputs in (large, long)
    )


def hard(text: str, change: Change) -> bool:
    plan = change(planned(facts(text))[1].plan)
    return all(within(text, plan, "f32", inputs, window=LONG) for inputs in hard_inputs(text))


def exact(text: str, change: Change) -> bool:
    found = facts(text, exact=True)
    call = of_plan(found, change(planned(found)[1].plan))
    for kind in ("f32", "bf16"):
        inputs = exact_inputs(found, FEW if text == "vary" else SIZES, 2, kind)
        expected = outputs(written(found, inputs, {}))
        for tiles, shuffle in zip(TILES, ORDERS, strict=True):
            got = outputs(call(inputs, {}, tiles, shuffle))
            for a, b in zip(got, expected, strict=True):
                if not np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True):
                    return False
    return True


INSTRUMENTS: Final = {"f32": f32, "half": half, "hard": hard, "exact": exact}


def seen(text: str, change: Change) -> set[str]:
    """The instruments that a fault turns red."""
    found = set()
    for name, instrument in INSTRUMENTS.items():
        try:
            good = instrument(text, change)
        except (ArithmeticError, AssertionError, IndexError, InternalError, KeyError, ValueError):
            good = False
        if not good:
            found.add(name)
    return found


# Faults


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
    Fault("a state of nothing counts", "vary", exprs(state_of_nothing), "f32 half hard"),
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


@pytest.mark.parametrize("text", TEXTS)
def test_no_fault(text: str) -> None:
    try:
        assert seen(text, lambda plan: plan) == set()
    except NotLowered:
        pytest.skip("tiles cannot do it yet")


@pytest.mark.parametrize("fault", [pytest.param(f, id=f.name) for f in FAULTS])
def test_faults_are_seen(fault: Fault) -> None:
    try:
        plan = planned(facts(fault.text))[1].plan
    except NotLowered:
        pytest.skip("tiles cannot do it yet")
    assert fault.change(plan) != plan, "the fault changes nothing"
    assert fault.by
    assert set(fault.by.split()) <= seen(fault.text, fault.change)
