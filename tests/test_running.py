"""Running forms of reductions: what is derived, that it holds, and what is refused by name.

Each spec of `running/` is a cascade whose reductions run over `n`; its golden is the derivation.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.ir import printer
from attnc.ir.cascade import Binding, Einsum, Require
from attnc.ir.expr import Expr, Reduce
from attnc.ir.facts import Facts
from attnc.ir.walk import free_variables
from attnc.passes.running.build import total
from attnc.passes.running.checks import Wrong, by_sympy, check, claims, renamed
from attnc.passes.running.closure import Basis, Entry
from attnc.passes.running.derive import Around, Derivation, Extreme, Plain, Running, Sum, derive
from attnc.passes.running.exact import equal
from attnc.passes.running.show import shown
from tests import golden
from tests.oracle.interpreter import Types, _Run

FOLDER = Path(__file__).parent / "running"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.attn"))]
DERIVED = [n for n in NAMES if not n.startswith("refused")]

Place = tuple[int, ...]


def einsums(name: str) -> tuple[Einsum, ...]:
    text = (FOLDER / f"{name}.attn").read_text(encoding="utf-8")
    return attnc.check(text, name).select().cascade.einsums


def namer(taken: Iterable[str]) -> Callable[[str], str]:
    """Gives names that are not in use."""
    used = set(taken)

    def fresh(base: str) -> str:
        name = next(
            n for i in itertools.count(1) if (n := f"{base}_{i}" if i > 1 else base) not in used
        )
        used.add(name)
        return name

    return fresh


def derived(facts: Facts, *, anchored: bool = False) -> Derivation:
    """The running forms of a cascade over `n`."""
    cascade = facts.cascade
    requires = tuple(s.condition for s in cascade.statements if isinstance(s, Require))
    bindings = {s.name: s.value for s in cascade.statements if isinstance(s, Binding)}
    names = {i.name for i in cascade.inputs} | {e.tensor for e in cascade.einsums}
    around = Around(requires, bindings)
    sizes = ["M", "N", "F"]
    return derive(cascade.einsums, ["n"], sizes, around, namer(names), anchored=anchored)


def checked(name: str) -> Facts:
    return attnc.check((FOLDER / f"{name}.attn").read_text("utf-8"), name).select()


def derivation(name: str) -> Derivation:
    return derived(checked(name))


def bodies(name: str) -> dict[str, Expr]:
    """What each reduction combines, those included that were added."""
    added = [one.einsum for one in derivation(name).added]
    return {e.tensor: body(e).body for e in (*einsums(name), *added)}


def body(einsum: Einsum) -> Reduce:
    assert isinstance(einsum.value, Reduce)
    return einsum.value


@pytest.mark.parametrize("name", NAMES)
def test_derivation(name: str, renew: bool) -> None:
    golden.compare("running", name, shown(derivation(name)), renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("running", NAMES)
    assert golden.orphans("running", NAMES) == []


def test_the_page_is_current() -> None:
    """What it shows is what is derived."""
    page = (Path(__file__).parents[1] / "docs" / "running.md").read_text("utf-8")
    for name in ("softmax", "variance", "refused"):
        assert f"```text\n{shown(derivation(name))}```" in page


@pytest.mark.parametrize("name", DERIVED)
def test_nothing_is_refused(name: str) -> None:
    assert derivation(name).refusals == ()


def test_each_refusal_has_its_own_reason() -> None:
    """All but the two harmless reductions at the head are refused, and named."""
    found = derivation("refused")
    assert [one.tensor for one in found.running] == ["U", "G"]
    reasons = [r.reason for r in found.refusals]
    assert len(reasons) == 10
    assert len(set(reasons)) >= 8


def test_what_fails_on_the_way_is_refused() -> None:
    """What closes, or nearly does, and is not safe on every prefix."""
    found = derivation("refused_on_the_way")
    assert [r.tensor for r in found.refusals] == list("ABCDEFIJKLOPQX")
    assert len({r.reason for r in found.refusals}) >= 11


@pytest.mark.parametrize("name", DERIVED)
def test_checks_hold(name: str) -> None:
    """By exact arithmetic, with numbers, and once more by SymPy."""
    written = bodies(name)
    results = frozenset(written)
    for one in derivation(name).running:
        if isinstance(one, Sum):
            check(one.basis, written[one.tensor], results)
            for claim, left, right in claims(one.basis, written[one.tensor], results):
                assert by_sympy(left, right), claim


# Faults that the checks must see


def faults(basis: Basis) -> list[Basis]:
    """A basis with one thing wrong, in several ways."""
    wrong = []
    for j, row in enumerate(basis.transition):
        for k, entries in row.items():
            for i, entry in enumerate(entries):
                others = [e for n, e in enumerate(entries) if n != i]
                changed = [Entry(-entry.number, entry.shifts)]
                if entry.shifts:
                    changed.append(Entry(entry.number, entry.shifts[1:]))
                    first = replace(entry.shifts[0], exponent=-entry.shifts[0].exponent)
                    if first.function in ("exp", "power"):
                        changed.append(Entry(entry.number, (first, *entry.shifts[1:])))
                for new in (None, *changed):
                    rows = list(basis.transition)
                    rows[j] = {**row, k: (*others, *([new] if new else []))}
                    wrong.append(replace(basis, transition=tuple(rows)))
    for i, coefficient in basis.coefficients.items():
        wrong.append(
            replace(basis, coefficients={**basis.coefficients, i: total([coefficient] * 2)})
        )
        wrong.append(
            replace(basis, coefficients={k: c for k, c in basis.coefficients.items() if k != i})
        )
    return wrong


@pytest.mark.parametrize("name", DERIVED)
def test_checks_see_faults(name: str) -> None:
    """Each fault is seen by exact arithmetic alone, and by numbers alone."""
    written = bodies(name)
    results = frozenset(written)
    for one in derivation(name).running:
        if isinstance(one, Sum) and not one.basis.constant:
            wrongs = faults(one.basis)
            assert len(wrongs) >= 3
            for wrong in wrongs:
                with pytest.raises(Wrong):
                    check(wrong, written[one.tensor], results, symbolic=False)
                said = claims(wrong, written[one.tensor], results)
                assert not all(equal(left, right) for _, left, right in said)


def term(text: str) -> Expr:
    head = "cascade c(X[M], Y[M], Z[M], k: float) -> O[M]:"
    return attnc.check(f"{head}\n    O[m] = {text}\n").select().cascade.einsums[0].value


EQUAL = [
    ("(X[m] + Y[m]) ** 2", "X[m] ** 2 + 2 * X[m] * Y[m] + Y[m] ** 2"),
    ("exp(X[m] - Y[m]) * exp(Y[m] - Z[m])", "exp(X[m] - Z[m])"),
    ("sin(X[m] - Y[m])", "sin(X[m]) * cos(Y[m]) - cos(X[m]) * sin(Y[m])"),
    ("sin(X[m]) ** 2 + cos(X[m]) ** 2", "1"),
    ("1 / sin(X[m]) ** 2 - 1", "cos(X[m]) ** 2 / sin(X[m]) ** 2"),
    ("1 / (X[m] + 1) + 1 / (Y[m] + 1)", "(X[m] + Y[m] + 2) / ((X[m] + 1) * (Y[m] + 1))"),
    ("1 / (1 / (X[m] + 1) + 1 / Y[m])", "(X[m] + 1) * Y[m] / (X[m] + Y[m] + 1)"),
    ("sqrt(X[m] + 1) ** 3", "(X[m] + 1) * sqrt(X[m] + 1)"),
    ("1 / sqrt(X[m] + 1)", "sqrt(X[m] + 1) / (X[m] + 1)"),
    ("1 / (X[m] - Y[m])", "-1 / (Y[m] - X[m])"),
    ("k ** (2 * X[m])", "(k ** X[m]) ** 2"),
    ("exp2(X[m] / 2)", "sqrt(2 ** X[m])"),
    ("sqrt(2 * X[m]) * sqrt(2)", "2 * sqrt(X[m])"),
    ("log(X[m] * 2)", "log(X[m] + X[m])"),
    ("abs(-2 * X[m])", "2 * abs(X[m])"),
    ("X[m] ** 2 - (X[m] + 1) * (X[m] - 1)", "1"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_exact_arithmetic(left: str, right: str) -> None:
    """Equal expressions are shown to be equal; with a little more on one side they are not."""
    assert equal(term(left), term(right))
    for more in ("X[m] / 1e6", "1e-9", "exp(-X[m])", "log(X[m])", "sin(Y[m])"):
        assert not equal(term(f"{left} + {more}"), term(right))
    assert not equal(term(f"({left}) * 1.5"), term(right))


# Running it, in any split and order


@dataclass
class State:
    """The states of all reductions over some points, and the results at them."""

    sums: dict[tuple[str, Place], list[float]] = field(default_factory=dict)
    results: dict[str, dict[Place, float]] = field(default_factory=dict)


class Machine:
    """Computes tiles and merges them, point by point, with the interpreter of the tests."""

    def __init__(
        self, name: str, seed: int, count: int, scale: float, offset: float, *, anchored: bool
    ) -> None:
        facts = checked(name)
        sizes = {"M": 2, "N": count, "F": 2}
        rng = np.random.default_rng(seed)
        inputs = {
            i.name: offset + scale * rng.normal(size=[sizes[str(s)] for s in i.sizes])
            for i in facts.cascade.inputs
        }
        self.run = _Run(facts, inputs, {}, "f64")
        self.written = {t: dict(points) for t, points in self.run.tensors.items()}
        found = derived(facts, anchored=anchored)
        self.forms = found.running
        added = {one.einsum.tensor: one for one in found.added}
        self.left = {e.tensor: e.variables for e in facts.cascade.einsums}
        self.left |= {t: one.einsum.variables for t, one in added.items()}
        names = frozenset(form.tensor for form in self.forms)
        self.old = renamed(names, "'")
        types = {**facts.types, **{t: facts.types[one.owner] for t, one in added.items()}}
        types |= {f"{n}'": types[n] for n in names}
        self.run.tensors |= {t: {} for t in added}
        self.run.types = Types(facts.values, types)

    def eval(self, expr: Expr, place: Mapping[str, int]) -> Any:
        return self.run.eval(expr, dict(place))

    def places(self, form: Running) -> Iterator[dict[str, int]]:
        return self.run.places(self.left[form.tensor])

    def tile(self, points: Sequence[int]) -> State:
        """The state of some points, as a tile computes it from nothing."""
        state = State()
        for form in self.forms:
            for place in self.places(form):
                at = [{**place, "n": n} for n in points]
                match form:
                    case Plain(op=op, body=expr) | Extreme(op=op, inner=expr):
                        sums = [fold(op, [self.eval(expr, p) for p in at])]
                    case Sum(basis=basis):
                        sums = [
                            math.fsum(
                                self.eval(phi.expr(), p)
                                for p in at
                                if all(self.eval(c, p) for c in phi.where)
                            )
                            for phi in basis.functions
                        ]
                self.finish(state, form, place, sums)
        return state

    def merge(self, a: State, b: State) -> State:
        """The state of the points of two states: each brought to the common results, then added."""
        state = State()
        for form in self.forms:
            for place in self.places(form):
                key = form.tensor, tuple(place.values())
                match form:
                    case Plain(op=op) | Extreme(op=op):
                        sums = [fold(op, [a.sums[key][0], b.sums[key][0]])]
                    case Sum(basis=basis):
                        sums = [0.0] * len(basis.functions)
                        for part in (a, b):
                            for tensor, results in part.results.items():
                                self.run.tensors[f"{tensor}'"] = dict(results)
                            for j, row in enumerate(basis.transition):
                                for k, entries in row.items():
                                    entry = total(e.expr(self.old) for e in entries)
                                    sums[j] += self.eval(entry, place) * part.sums[key][k]
                self.finish(state, form, place, sums)
        return state

    def finish(self, state: State, form: Running, place: dict[str, int], sums: list[float]) -> None:
        """Keeps a state, and its result, which later ones read."""
        point = tuple(place.values())
        state.sums[form.tensor, point] = sums
        stored = self.run.tensors[form.tensor]
        match form:
            case Plain():
                stored[point] = sums[0]
            case Extreme(result=result):
                stored[point] = sums[0]
                stored[point] = self.eval(result, place)
            case Sum():
                stored[point] = math.fsum(self.eval(c, place) * sums[i] for i, c in form.result)
        state.results.setdefault(form.tensor, {})[point] = stored[point]


def fold(op: str, values: Sequence[Any]) -> Any:
    """A reduction of plain numbers."""
    operations: dict[str, Callable[[Sequence[Any]], Any]] = {
        "sum": math.fsum,
        "count": sum,
        "prod": math.prod,
        "max": max,
        "min": min,
        "any": any,
        "all": all,
    }
    return operations[op](values)


SPLITS = [(name, False) for name in DERIVED] + [("anchored", True)]


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (30.0, 0.0), (0.5, 1e4)])
@pytest.mark.parametrize(("name", "free"), SPLITS)
def test_any_split_and_order(name: str, free: bool, scale: float, offset: float) -> None:
    """Tiles of any points, merged along any tree, give what the written text gives."""
    for seed in range(3):
        machine = Machine(name, seed, 9, scale, offset, anchored=free)
        generator = random.Random(seed)
        points = list(range(9))
        generator.shuffle(points)
        cuts = sorted(generator.sample(range(1, 9), generator.randint(1, 4)))
        pieces = [points[a:b] for a, b in zip([0, *cuts], [*cuts, 9], strict=True)]
        states = [machine.tile(piece) for piece in pieces]
        while len(states) > 1:
            first, second = generator.sample(range(len(states)), 2)
            both = machine.merge(states[first], states[second])
            states = [s for i, s in enumerate(states) if i not in (first, second)] + [both]
        for tensor, results in states[0].results.items():
            if tensor not in machine.written:
                continue  # it was added
            for point, found in results.items():
                expected = machine.written[tensor][point]
                near = pytest.approx(expected, rel=1e-5 if offset else 1e-7, abs=1e-9)
                assert found == near, (tensor, point)


def test_anchors_free_an_axis() -> None:
    """Each basis function is a product of factors with two axes; the form is to be measured."""
    plain = derived(checked("anchored"))
    found = derived(checked("anchored"), anchored=True)
    assert [one.measured for one in plain.running if isinstance(one, Sum)] == [False] * 3
    assert [one.measured for one in found.running if isinstance(one, Sum)] == [False, False, True]
    for derivation, most in ((plain, 3), (found, 2)):
        last = derivation.running[-1]
        assert isinstance(last, Sum)
        factors = [f.expr(e) for phi in last.basis.functions for f, e in phi.mixed]
        assert max(len(free_variables(f)) for f in factors) == most
    written = {e.tensor: body(e).body for e in checked("anchored").cascade.einsums}
    last = found.running[-1]
    assert isinstance(last, Sum)
    check(last.basis, written["W"], frozenset(one.tensor for one in found.running))


# Random reductions


def closed_term(generator: random.Random) -> str:
    """A term whose basis closes: a product of powers, exponentials, angles, streamed factors."""
    factors = generator.sample(
        [
            "exp(S[m,n] - G[m])",
            "exp2(2 * (Y[m,n] - H[m]))",
            "3 ** (S[m,n] - G[m])",
            "(Y[m,n] - U[m])",
            "(Y[m,n] - U[m]) ** 2",
            "cos(Y[m,n] - U[m])",
            "sqrt(exp(S[m,n] - G[m]))",
            "abs(Y[m,n] / P[m]) ** 3",
            "log(exp(S[m,n] - G[m]) / D[m])",
            "exp(S[m,n] - (G[m] + log(D[m])))",
            "b ** (Y[m,n] - H[m])",
            "Y[m,n]",
            "tanh(S[m,n])",
            "1 / D[m]",
            "log(D[m])",
            "U[m]",
            "k",
        ],
        generator.randint(1, 3),
    )
    return " * ".join(factors)


BEFORE = """
cascade random(S[M,N], Y[M,N], k: float = 0.7, b: float = 1.5) -> O[M]:
    require b > 1
    P[m] = max[n](abs(Y[m,n]) + 1e-30)
    G[m] = max[n](S[m,n])
    H[m] = max[n](Y[m,n])
    U[m] = sum[n](Y[m,n] / N)
    D[m] = sum[n](exp(S[m,n] - G[m]))
"""


@pytest.mark.parametrize("seed", range(60))
def test_random_closed_terms_are_derived(seed: int) -> None:
    generator = random.Random(seed)
    terms = [closed_term(generator) for _ in range(generator.randint(1, 3))]
    text = f"{BEFORE}    O[m] = sum[n]({' + '.join(terms)})\n"
    facts = attnc.check(text).select()
    cascade, found = facts.cascade, derived(facts)
    if any("more than 8 functions" in r.reason for r in found.refusals):
        return
    if any("no common mean" in r.reason for r in found.refusals):
        return  # it closes, and may cancel
    assert found.refusals == (), text
    (last,) = [one for one in found.running if one.tensor == "O"]
    if isinstance(last, Sum):
        results = frozenset(one.tensor for one in found.running)
        check(last.basis, body(cascade.einsums[-1]).body, results)


UNCLOSED = [
    "tanh(S[m,n] - G[m])",
    "max(Y[m,n] - U[m], 0)",
    "1 / (Y[m,n] - U[m])",
    "exp(S[m,n] * U[m])",
    "exp(S[m,n] - U[m])",
    "sigmoid(Y[m,n] + D[m])",
    "(exp(S[m,n] - G[m]) + Y[m,n] * U[m]) ** 0.5",
    "abs(Y[m,n] - U[m])",
    "(Y[m,n] if U[m] > 0 else S[m,n])",
    "k ** (S[m,n] - G[m])",
    "0.5 ** (S[m,n] - G[m])",
    "exp(G[m] - S[m,n])",
    "exp(S[m,n] - H[m])",
    "(S[m,n] / P[m]) ** 2",
    "(Y[m,n] / D[m]) ** 2",
    "(S[m,n] / U[m]) ** 2",
    "exp(S[m,n] / D[m])",
    "exp((S[m,n] - G[m]) / k)",
    "log(Y[m,n] / U[m])",
    "(Y[m,n] - U[m]) ** 0.5",
    "floor(Y[m,n] - U[m])",
]


@pytest.mark.parametrize("term", UNCLOSED)
@pytest.mark.parametrize("seed", range(3))
def test_random_unclosed_terms_are_refused_by_name(term: str, seed: int) -> None:
    """One bad factor among good ones is found, and it is the one that is named."""
    generator = random.Random(seed)
    text = f"{BEFORE}    O[m] = sum[n]({closed_term(generator)} * {term})\n"
    found = derived(attnc.check(text).select())
    (refusal,) = found.refusals
    assert refusal.tensor == "O"
    named = printer.expression(refusal.term)
    assert any(f"{result}[m]" in named for result in "UGDHP")
    assert refusal.reason


# What is large

SUM = " + ".join(f"abs(Y[m,n] - {i})" for i in range(12))
LARGE = {
    "nested powers": f"sum[n]((({SUM}) ** 9) ** 9 * exp(S[m,n] - G[m]))",
    "a huge power": f"sum[n](({SUM}) ** 1000000000 * exp(S[m,n] - G[m]))",
    "a huge number": "sum[n](((3 * Y[m,n]) ** 100000) ** 100000 * exp(S[m,n] - G[m]))",
    "many terms": f"sum[n](({SUM}) * ({SUM}) * ({SUM}) * ({SUM}) * exp(S[m,n] - G[m]))",
    "a long exponent": "sum[n](exp("
    + " + ".join(f"(Y[m,n] * {i} - A{i}[m])" for i in range(1, 16))
    + "))",
}


@pytest.mark.parametrize("name", LARGE)
def test_large_terms_take_no_time(name: str) -> None:
    """What is multiplied out, and how many facts are combined, has a limit."""
    more = "".join(f"    A{i}[m] = max[n](Y[m,n] * {i})\n" for i in range(1, 16))
    facts = attnc.check(f"{BEFORE}{more}    O[m] = {LARGE[name]}\n").select()
    begun = time.process_time()
    found = derived(facts)
    results = frozenset(one.tensor for one in found.running)
    for one in found.running:
        if isinstance(one, Sum):
            einsum = next(e for e in facts.cascade.einsums if e.tensor == one.tensor)
            check(one.basis, body(einsum).body, results)
    assert time.process_time() - begun < 2


def test_conditions_inside_of_conditions_are_read_alike() -> None:
    """Whether a term is present depends on a value that has a condition itself."""
    text = """cascade c(Z[M,N]) -> O[M]:
    S[m,n] = Z[m,n] where n + m < 4
    G[m] = max[n](S[m,n])
    D[m] = sum[n](exp2(S[m,n] - G[m]))
    O[m] = sum[n](exp2(S[m,n] - G[m]) / D[m] * (S[m,n] - G[m] - log(D[m])))
"""
    assert "def c(" in attnc.compile(text, backend="triton")
