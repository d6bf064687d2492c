"""What sizes alone decide: values stay, with sizes of 0 and 1 too; faults are seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.compilation import tiling
from attnc.errors import InternalError, Source
from attnc.grammar.tiles import parse
from attnc.ir import printer, tiles_printer
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Bool, Compare, Expr, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.integers import Integers
from attnc.ir.tiles import Let, Plan
from attnc.ir.tiles_verify import verify
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.tiling import given, implied, settled
from attnc.passes.tiling.given import Given
from attnc.planning import planned
from tests import examples, golden
from tests.agreement import NARROW
from tests.oracle.cascades import cascade_from, inputs_for, tolerance
from tests.preserved import marked
from tests.tiled import Tiled, of_plan, outputs, written

TEXTS = {
    # heads that share keys: an index is within its tensor because sizes divide
    "grouped": (
        "cascade grouped(Q[H,M,E], K[J,N,E], V[J,N,F]) -> O[H,M,F]:\n"
        "    G = H // J\n"
        "    require H % J == 0\n"
        "    S[h,m,n] = Q[h,m,e] * K[h // G,n,e] where n <= m\n"
        "    O[h,m,f] = softmax[n](S[h,m,n]) * V[h // G,n,f]\n"
    ),
    # one output needs features and keys, the other keys alone
    "apart": (
        "cascade apart(Q[M,E], K[N,E], X[N]) -> O[M], U[M]:\n"
        "    S[m,n] = Q[m,e] * K[n,e]\n"
        "    O[m]   = sum[n](sigmoid(S[m,n]))\n"
        "    U[m]   = sum[n](X[n] * (m + 1))\n"
    ),
    # through a buffer: a sum of products that another kernel reads
    "linear": (
        "cascade linear(Q[M,E], K[N,E], V[N,F], w: int = 1) -> O[M,F]:\n"
        "    A[e,f] = relu(K[n,e]) * V[n,f] where w > 0\n"
        "    O[m,f] = relu(Q[m,e]) * A[e,f]\n"
    ),
}
LESS = {
    # an extent that divides another, so that pairs are whole
    "pairs": (
        "cascade pairs(X[N,E]) -> O[N,E]:\n"
        "    require E % 2 == 0\n"
        "    O[n,e] = X[n, e + 1 - 2 * (e % 2)]\n"
    ),
    "or": (
        "cascade either(X[M,N], Y[M,E], w: int = 0) -> O[M], P[M]:\n"
        "    A[m] = sum[n](X[m,n]) where w > 0\n"
        "    B[m] = sum[e](Y[m,e])\n"
        "    O[m] = default(A[m], 0) + B[m]\n"
        "    P[m] = A[m] if w > 1 else B[m]\n"
    ),
    "choice": (
        "cascade choice(X[M,N], Y[M,E], w: int = 0) -> P[M]:\n"
        "    A[m] = sum[n](X[m,n])\n"
        "    B[m] = sum[e](Y[m,e]) where w > 0\n"
        "    P[m] = A[m] if m > 1 else B[m]\n"
    ),
    "state": (
        "cascade state(X[T,E], Y[T,E], w: int = 1) -> Z[T]:\n"
        "    Z[-1] = 0 where w > 0\n"
        "    Z[t]  = Z[t-1] * 0.5 + X[t,e] * Y[t,e]\n"
    ),
    "softmax of blocks": (
        "cascade blocks(X[T,E], R: int = 2) -> O[C,E]:\n"
        "    C = ceildiv(T, R)\n"
        "    A[c,e] = max[r](X[c*R + r, e])\n"
        "    O[c,e] = A[c,e] - logsumexp[r](X[c*R + r, e])\n"
    ),
    "windows": (
        "cascade windows(X[N], w: int = 2, sinks: int = 1) -> O[N], L[N]:\n"
        "    var k in N\n"
        "    L[n] = sum[k](only(X[k], (n - k < w or k < sinks) and k <= n))\n"
        "    O[n] = max[k](only(X[k] if w > 0 else 1.0, k <= n and w > -1))\n"
    ),
}
SIZES = (0, 1)
HELD = {"i8": np.int8, "u8": np.uint8, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
FLOATS = {"f16": np.float16, "f32": np.float32}
NAMES = [*TEXTS]
ALL = {**{n: examples.text(n) for n in examples.NAMES}, **TEXTS, **LESS}


@cache
def facts_of(text: str) -> Facts:
    """A cascade whose absent points stand out."""
    facts = attnc.check(text).select()
    marks = tuple(map(marked, facts.cascade.outputs))
    return replace(facts, cascade=replace(facts.cascade, outputs=marks))


@cache
def plan_of(text: str) -> Plan:
    return planned(facts_of(text))[1].plan


def tiled_after(plan: Plan) -> Plan:
    """What sizes decide taken out, predicates made fills, and what that brought back taken out."""
    return Given()(tiling(Given()(plan)))


# The text


@pytest.mark.parametrize("name", NAMES)
def test_plan(name: str, renew: bool) -> None:
    plan = planned(attnc.check(TEXTS[name]).select())[1].plan
    text = tiles_printer.plan(Given()(plan)) + "\n" + tiles_printer.plan(tiled_after(plan))
    golden.compare("given", name, text, renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("given", NAMES)
    assert golden.orphans("given", NAMES) == []


@pytest.mark.parametrize("name", ALL)
def test_sound(name: str) -> None:
    """Plans verify, parse back, and a second run changes nothing."""
    before = plan_of(ALL[name])
    after = Given()(before)
    verify(after)
    assert Given()(after) is after
    done = tiled_after(before)
    verify(done, filled=True)
    assert Given()(done) is done
    for plan in (after, done):
        assert parse(Source("plan", tiles_printer.plan(plan))) == plan
        assert plan.lets[: len(before.lets)] == before.lets  # passes may count more numbers
        plain = replace(plan, given=(), bounded=(), kernels=())
        same = replace(plain, buffers=before.buffers, lets=before.lets)
        assert same == replace(before, kernels=())


def comparisons(plan: Plan) -> set[str]:
    """The texts of comparisons of lanes in kernels: not those in numbers of the whole tile."""
    items = (s for k in plan.kernels for s in statements(k.body) if not isinstance(s, Let))
    exprs = (e for s in items for e in expressions(s))
    nodes = (n for e in exprs for n in subexpressions(e))
    return {printer.expression(n) for n in nodes if isinstance(n, Compare)}


def test_what_is_given() -> None:
    found = {n: tuple(map(printer.expression, Given()(plan_of(t)).given)) for n, t in ALL.items()}
    assert found["grouped"] == ("0 < N", "G != 0", "0 < E")
    assert found["apart"] == ("0 < N",)
    assert "w > 0" in found["linear"]
    assert "w > 0" not in found["or"]
    assert found["choice"] == ()
    assert found["windows"] == ()  # an output has its own keys


def test_what_is_left() -> None:
    """What holds for some lanes alone, or what nothing says of the sizes."""
    lanes = {f"{v} < {v.upper()}" for v in "bhmnef"}

    def left(name: str) -> set[str]:
        found = comparisons(tiled_after(plan_of(ALL[name]))) - lanes
        return {c for c in found if not c.endswith(" == -inf")}

    assert left("rotary") == set()
    assert left("gqa_causal") == {"n <= m + (N - M)", "M + n <= high(m) + N", "M <= m + N"}
    paged = comparisons(tiled_after(plan_of(ALL["paged_decode"])))
    assert "h // G < J" in paged  # nothing requires that J divides H
    assert not any("G != 0" in c or "0 <= h" in c for c in paged)


# Values


def inputs_of(
    facts: Facts, sizes: Mapping[str, int], rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Finite inputs of such sizes, and parameters that are small where they are sizes."""
    inputs: dict[str, Any] = {}
    for item in facts.cascade.inputs:
        shape = [sizes[s] if isinstance(s, str) else s for s in item.sizes]
        if item.element in HELD:
            found = rng.integers(0, 3 if item.element != "bool" else 2, shape)
            inputs[item.name] = found.astype(HELD[item.element])
        else:
            kind = NARROW.get(item.element or "", FLOATS.get(item.element or "", np.float64))
            inputs[item.name] = rng.normal(size=shape).astype(kind)
    parameters: dict[str, Any] = {}
    for p in facts.cascade.parameters:
        if p.type == "int":
            parameters[p.name] = sizes.get(p.name, 2)
        elif p.default is None:
            parameters[p.name] = 0.75
    return inputs, parameters


def ranks(facts: Facts) -> list[str]:
    """The names of extents, and parameters that may be sizes."""
    found = [s for i in facts.cascade.inputs for s in i.sizes if isinstance(s, str)]
    found += [p.name for p in facts.cascade.parameters if p.type == "int"]
    return list(dict.fromkeys(found))


def trials(facts: Facts) -> Iterator[dict[str, int]]:
    """Sizes: each rank at 0 and at 1, others at 4 or 2, and all of them at some."""
    names = ranks(facts)
    for base in (4, 3):
        plain = dict.fromkeys(names, base)
        if base == 4:
            groups = dict.fromkeys({"J"} & plain.keys(), 3)  # of heads, in the gallery
            yield {**plain, **groups}
            plain |= dict.fromkeys(groups, 2)
        yield plain
        if base == 4:
            yield from ({**plain, n: size} for n, size in itertools.product(names, SIZES))
    generator = np.random.default_rng(len(names))
    for _ in range(8):
        yield {name: int(generator.integers(0, 5)) for name in names}


def differs(run: Tiled, seed: int, given: Any, allowed: float) -> str | None:
    """What is wrong with a plan's results; None if nothing is, or the call is refused."""
    inputs, parameters = given
    try:
        expected = outputs(written(run.facts, inputs, parameters))
    except ValueError:
        return None
    tiles = run.sizes(seed, inputs, parameters)
    found = outputs(run(inputs, parameters, tiles, seed))
    for output, a, b in zip(run.facts.cascade.outputs, found, expected, strict=True):
        left, right = (x.astype(np.float64) for x in (a, b))
        absent = marked(output).empty
        same = a.dtype == b.dtype and np.array_equal(left == absent, right == absent)
        if not (same and np.allclose(left, right, allowed, allowed, equal_nan=True)):
            return f"{output.name} of {[i.shape for i in inputs.values()]}, {parameters}, {tiles}"
    return None


def wrong(text: str, allowed: float = 1e-4) -> Iterator[str]:
    """What differs at small sizes."""
    facts = facts_of(text)
    run = of_plan(facts, tiled_after(plan_of(text)), rounded=False)
    for seed, sizes in enumerate(trials(facts)):
        given = inputs_of(facts, sizes, np.random.default_rng(seed))
        found = differs(run, seed, given, allowed)
        if found is not None:
            yield found


@pytest.mark.parametrize("name", ALL)
def test_values_at_small_sizes(name: str) -> None:
    assert [*wrong(ALL[name])] == []


PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    """Sizes from 0 on; those are refused that the written text refuses."""
    count = int(request.config.getoption("--cascades")) // 4
    done = given = 0
    for seed in range(part, count, PARTS):
        text = cascade_from(np.random.default_rng(seed))
        facts = facts_of(text)
        try:
            before = plan_of(text)
        except ValueError:
            continue
        after = Given()(before)
        verify(after)
        plan = Given()(tiling(after))
        verify(plan, filled=True)
        done += 1
        given += bool(plan.given)
        run = of_plan(facts, plan, rounded=False)
        for turn in range(2):
            inputs, parameters = inputs_for(facts, np.random.default_rng(1000 * turn + seed), False)
            for item in facts.cascade.inputs:
                if item.element in NARROW:
                    inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
            try:
                expected = outputs(written(facts, inputs, parameters))
            except ValueError:
                continue
            if not all(np.all(np.isfinite(x.astype(np.float64))) for x in expected):
                continue
            assert differs(run, seed, (inputs, parameters), tolerance(facts)) is None, (seed, text)
    assert given > done // 4 > 0


# Integers


@cache
def condition(text: str) -> Expr:
    """A comparison of sizes, as capitals, and coordinates."""
    names = sorted({c for c in text if c.isalpha() and c.islower()} & set("ehijkmn"))
    sizes = sorted({c for c in text if c.isupper()})
    header = f"plan p(X[{','.join(sizes or ['Z'])}]) -> O[]:\n"
    axes = "".join(f"        axis {n} whole 1\n" for n in names)
    kernel = f"    kernel k\n{axes}        t[]: bool = map {text}\n"
    (item,) = parse(Source("claim", header + kernel)).kernels[0].body
    (found,) = expressions(item)
    return found


GROUPS = ("0 < G", "G == H // J", "0 <= h < H")
CLAIMS = [
    ("H % J == 0", *GROUPS, "h // G < J"),
    (*GROUPS, "0 <= h // G"),
    ("E % 2 == 0", "0 <= e < E", "0 <= e + 1 - 2 * (e % 2) < E"),
    ("0 < R", "0 <= m < T", "C == ceildiv(T, R)", "m // R < C"),
    ("0 < R", "0 <= m < R", "0 <= n < C", "C == T // R", "n * R + m < T"),
    ("M == N", "0 <= m < M", "m < N"),
    ("H % Z == 0", "0 < Z", "0 <= h < H", "0 <= n < Z", "h // Z * Z + n < H"),
    ("0 <= n < N", "min(n, M) < N"),
]
"""What follows from what stands before it."""
DOUBTFUL = [
    (*GROUPS, "h // G < J"),
    ("0 <= e < E", "e + 1 - 2 * (e % 2) < E"),
    ("0 <= h < H", "0 <= h // G"),
    ("0 < R", "0 <= m < R", "0 <= n < C", "C == ceildiv(T, R)", "n * R + m < T"),
    ("0 <= n < N", "n + 1 < N"),
]


def shows(conditions: Iterable[str]) -> bool:
    *known, claim = map(condition, conditions)
    values = {n for c in conditions for n in c if n.isupper()}
    sizes = [condition(f"0 <= {n}") for n in sorted(values)]
    # a divisor that may be 0 is none that was computed
    return Integers(frozenset(values)).knowing([*sizes, *known], known).shows(claim)


@pytest.mark.parametrize("conditions", CLAIMS, ids=lambda c: c[-1])
def test_shown(conditions: tuple[str, ...]) -> None:
    assert shows(conditions)


@pytest.mark.parametrize("conditions", DOUBTFUL, ids=lambda c: c[-1])
def test_not_shown(conditions: tuple[str, ...]) -> None:
    assert not shows(conditions)


TERMS = ("A", "B", "C", "m", "n", "A // B", "m // B", "m % B", "ceildiv(A, B)", "B * C", "m * B")


def test_what_is_shown_holds() -> None:
    """Random claims that are shown hold for all small numbers for which what is known does."""
    rng = np.random.default_rng(5)
    grid = [dict(zip("ABCmn", v, strict=True)) for v in itertools.product(range(4), repeat=5)]
    points = [p for p in grid if p["B"]]
    count = 0
    for _ in range(400):
        parts = ["m < A"]
        for _ in range(int(rng.integers(2, 5))):
            a, b = rng.choice(TERMS, 2, replace=False)
            more = ("", " + 1", " - 1")[int(rng.integers(3))]
            parts.append(f"{a} {rng.choice(['<', '<=', '==', '>='])} {b}{more}")
        if shows(["B > 0", "0 <= m", "0 <= n", *parts]):
            count += 1
            *known, claim = (_valued(condition(p)) for p in parts)
            for point in points:
                if all(evaluate(k, point) for k in known):
                    assert evaluate(claim, point), (parts, point)
    assert count > 40


def _valued(expr: Expr) -> Expr:
    """Coordinates as values."""
    if isinstance(expr, Var):
        return Value(expr.name)
    return rebuild(expr, tuple(map(_valued, children(expr))))


# Plans as text

HEAD = "plan p(X[M,N], w: int) -> O[M] empty -1:\n"
BODY = (
    "    kernel k\n"
    "        axis m par M\n"
    "        axis n whole N\n"
    "        x[m,n]: float = load X[m,n] where m < M and n < N\n"
    "        t[m]: float = reduce[sum,n](x) where n < N\n"
    "        store O[m] = t\n"
    "            else -1, over m < M\n"
)


def plan_with(*lines: str) -> Plan:
    return parse(Source("plan", HEAD + "".join(f"    {line}\n" for line in lines) + BODY))


def test_given_is_honoured() -> None:
    plan = plan_with("given 0 < N", "given w > 1")
    verify(plan)
    assert tiles_printer.plan(plan).count("given ") == 2
    run = Tiled(None, plan, _call(plan))  # type: ignore[arg-type]
    ones = np.ones((3, 2))
    assert (run.call(ones, w=2) == [2, 2, 2]).all()
    assert (run.call(ones, w=1) == [-1, -1, -1]).all()
    assert (run.call(ones[:, :0], w=2) == [-1, -1, -1]).all()


def _call(plan: Plan) -> Callable[..., Any]:
    from attnc.backends.numpy.tiled import emit_tiled
    from attnc.backends.options import Options
    from attnc.modules import function_of

    return function_of(emit_tiled(plan, Options()), plan.name)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["given w"], "a condition is bool"),
        (["var m in M", "given any[m](X[m,0] > 0)"], "of values alone"),
        (["given Q > 0"], "unknown name"),
    ],
)
def test_given_is_of_values(lines: list[str], message: str) -> None:
    with pytest.raises((InternalError, attnc.SpecError), match=message):
        verify(plan_with(*lines))


def test_an_index_is_proved_by_what_is_given() -> None:
    text = tiles_printer.plan(Given()(plan_of(TEXTS["grouped"])))
    verify(parse(Source("plan", text)))
    without = text.replace("    require H % J == 0\n", "")
    assert without != text
    with pytest.raises(InternalError, match="nothing tests that the index h // G is within J"):
        verify(parse(Source("plan", without)))


def test_presence_of_buffers_is_known() -> None:
    """A buffer that is stored everywhere has no bytes, and its readers have no test."""
    for name, text in (("linear", TEXTS["linear"]), ("apart", TEXTS["apart"])):
        (buffer,) = Given()(plan_of(text)).buffers
        assert buffer.presence == "all", name
        assert "?" not in tiles_printer.plan(Given()(plan_of(text)))
    partial = TEXTS["linear"].replace("where w > 0", "where n > e")
    (buffer,) = Given()(plan_of(partial)).buffers
    assert buffer.presence == "byte"
    assert [*wrong(partial)] == []


# Faults


def test_fault_of_any_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition is moved that one output needs, and another does not."""
    assert [*wrong(TEXTS["apart"])] == []
    monkeypatch.setattr(implied, "_either", lambda sets: implied._union(s or {} for s in sets))
    assert [*wrong(TEXTS["apart"])] != []
    assert [*wrong(LESS["or"])] != []


def test_fault_of_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a choice says is taken for what both of its sides say."""
    assert [*wrong(LESS["choice"])] == []
    real = implied._Kernel.true

    def true(self: Any, expr: Expr) -> Any:
        if isinstance(expr, implied.Choice):
            return implied._union([real(self, expr.condition), real(self, expr.then)])
        return real(self, expr)

    monkeypatch.setattr(implied._Kernel, "true", true)
    assert [*wrong(LESS["choice"])] != []


def test_fault_of_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known is folded."""
    text = ALL["paged_decode"]
    assert [*wrong(text)] == []
    real = Integers.shows

    def shows(self: Integers, claim: Expr) -> bool:
        return real(self, claim) or printer.expression(claim) == "h // G < J"

    with monkeypatch.context() as patched:
        patched.setattr(Integers, "shows", shows)
        assert [*wrong(text)] != []
        plan = Given()(plan_of(text))
    with pytest.raises(InternalError, match="nothing tests that the index h // G is within J"):
        verify(plan)


def test_fault_of_a_test_of_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that lanes exist is folded, since they are taken to exist."""
    monkeypatch.setattr(settled._Settler, "_tests", lambda *_: False)
    with pytest.raises(InternalError, match="does not test that lanes"):
        verify(Given()(plan_of(TEXTS["grouped"])))


def test_fault_of_a_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that is stored in part is taken for one that is all there."""
    partial = TEXTS["linear"].replace("where w > 0", "where n > e")
    monkeypatch.setattr(given, "everywhere", lambda _: frozenset({"A_sum", "A"}))
    found = Given()(plan_of(partial))
    with pytest.raises(InternalError, match="this may be absent"):
        verify(found)


def test_fault_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop is taken to have a round."""
    assert [*wrong(LESS["state"])] == []
    monkeypatch.setattr(implied._Kernel, "_runs", lambda *_: True)
    monkeypatch.setattr(settled._Settler, "_is_true", lambda *_: Bool(True))
    assert [*wrong(LESS["windows"])] != []
