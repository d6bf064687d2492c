"""What `explain` says of kernels: by hand, and by counting what kernels touch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.backends.numpy.tiled import DEFAULTS, emit_tiled
from attnc.backends.options import Options
from attnc.ir.expr import Apply, Binary, Bool, Compare, Expr, Int, Logical, Name, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import (
    Axis,
    Buffer,
    Carry,
    Coord,
    Dot,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Statement,
    Store,
    TopK,
)
from attnc.ir.types import Kind
from attnc.passes.analysis.cost import Formulas
from attnc.passes.analysis.passes import passes
from attnc.passes.analysis.plan_cost import PlanCost, plan_cost
from attnc.passes.analysis.plan_passes import kernel_passes, plan_passes
from attnc.passes.analysis.quantities import Quantities
from attnc.plan_data import TILES
from attnc.planning import planned
from tests import examples, shown

FLOAT = Kind.FLOAT
TRUE = Bool(True)
M, N, K, F = (Value(n) for n in "MNKF")
PRODUCT = "cascade product(A[M,K], B[K,N]) -> C[M,N]:\n    C[m,n] = A[m,k] * B[k,n]\n"
CENTRED = """\
cascade centred(X[M,N]) -> O[M,N]:
    S[m]   = sum[n](X[m,n])
    O[m,n] = X[m,n] - S[m]
"""


def facts_of(text: str) -> Facts:
    return attnc.check(text).select()


def below(variable: str, size: Expr) -> Expr:
    return Compare(("<",), (Var(variable), size))


def load(target: str, axes: str, tensor: str, *index: Expr, kind: Kind = FLOAT) -> Load:
    return Load(target, tuple(axes), kind, tensor, index or tuple(map(Var, axes)), TRUE)


def store(tensor: str, axes: str, value: Expr, where: Expr = TRUE) -> Store:
    return Store(tensor, tuple(map(Var, axes)), value, where, 0, TRUE)


def plan_of(facts: Facts, *kernels: Kernel, buffers: tuple[Buffer, ...] = ()) -> Plan:
    """A plan of these kernels with the header of a cascade."""
    cascade = facts.cascade
    header = (cascade.name, cascade.inputs, cascade.parameters, cascade.outputs)
    return Plan(*header, (), (), buffers, kernels)


def product_plan(facts: Facts) -> Plan:
    """A product that streams k; `seen` is presence alone."""
    body: tuple[Statement, ...] = (
        load("a", "mk", "A"),
        load("b", "kn", "B"),
        Dot("t", ("m", "n"), FLOAT, ("k",), "a", "b", below("k", K)),
        Fold("some", (), Kind.BOOL, "any", ("k",), TRUE, below("k", K)),
        Map("now", (), Kind.BOOL, Logical("or", Name("seen"), Name("some"))),
        Map("u", ("m", "n"), FLOAT, Binary("+", Name("c"), Name("t"))),
    )
    carries = (
        Carry("c", ("m", "n"), FLOAT, Int(0), Name("u")),
        Carry("seen", (), Kind.BOOL, Bool(False), Name("now")),
    )
    loop = Loop("k", (Range(Int(0), K),), carries, body)
    axes = (Axis("m", M, "par"), Axis("n", N, "par"), Axis("k", K, "stream"))
    return plan_of(facts, Kernel("k0", axes, (loop, store("C", "mn", Name("c"), Name("seen")))))


def centred_plan(facts: Facts) -> Plan:
    """A sum in a buffer with bytes of presence, then a map that reads both."""
    first = Kernel(
        "k0",
        (Axis("m", M, "par"), Axis("n", N, "stream")),
        (
            Loop(
                "n",
                (Range(Int(0), N),),
                (Carry("s", ("m",), FLOAT, Int(0), Binary("+", Name("s"), Name("t"))),),
                (
                    load("x", "mn", "X"),
                    Fold("t", ("m",), FLOAT, "sum", ("n",), Name("x"), below("n", N)),
                ),
            ),
            store("S", "m", Name("s")),
        ),
    )
    second = Kernel(
        "k1",
        (Axis("m", M, "par"), Axis("n", N, "par")),
        (
            load("x", "mn", "X"),
            load("s", "m", "S"),
            load("here", "m", "S?", kind=Kind.BOOL),
            store("O", "mn", Binary("-", Name("x"), Name("s")), Name("here")),
        ),
    )
    return plan_of(facts, first, second, buffers=(Buffer("S", (M,), FLOAT),))


@dataclass(frozen=True)
class Numbers:
    """The cost of a plan as numbers."""

    found: PlanCost
    quantities: Quantities

    def __call__(self, formula: Any) -> int:
        value = self.quantities.value(formula)
        assert value is not None, formula
        return value


def costs(plan: Plan, facts: Facts, dtype: str = "f32", **sizes: int) -> Numbers:
    formulas = Formulas(facts)
    return Numbers(plan_cost(plan, facts, dtype, TILES, formulas), Quantities(formulas, sizes))


# Figures by hand


def test_a_product_by_hand() -> None:
    facts = facts_of(PRODUCT)
    m, n, k = 50, 40, 70  # 4, 3 and 3 tiles
    of = costs(product_plan(facts), facts, M=m, N=n, K=k)
    (kernel,) = of.found.kernels
    assert (kernel.reads, kernel.writes) == (("A", "B"), ("C",))
    assert of(kernel.operations) == 2 * m * n * k + m * n * 3
    assert of(kernel.read) == 4 * (m * k + k * n)
    assert of(kernel.written) == 4 * m * n
    assert of(kernel.loaded) == 4 * (m * k * 3 + k * n * 4)
    assert [of(s) for s in kernel.state] == [4 + 1]
    assert of(of.found.total.traffic) == of(of.found.total.compulsory)
    assert of.found.buffers == ()


def test_two_kernels_by_hand() -> None:
    facts = facts_of(CENTRED)
    m, n = 50, 70
    of = costs(centred_plan(facts), facts, M=m, N=n)
    first, second = of.found.kernels
    assert of(first.operations) == m * n + m * 3
    assert of(first.read) == 4 * m * n
    assert of(first.written) == m * (4 + 1)  # a byte of presence for each element
    assert of(second.operations) == m * n
    assert of(second.read) == 4 * m * n + m * (4 + 1)
    assert of(second.written) == 4 * m * n
    assert of(second.loaded) == 4 * m * n + m * (4 + 1) * 5  # the sums for each tile of n
    assert second.state == ()
    (buffer,) = of.found.buffers
    assert (buffer.name, buffer.maker, buffer.readers) == ("S", "k0", ("k1",))
    assert buffer.over == ("n",)
    assert [of(b) for b in of.found.total.live()] == [m * 5]
    wide = costs(centred_plan(facts), facts, "f64", M=m, N=n)
    assert wide(wide.found.kernels[1].read) == 8 * m * n + m * (8 + 1)
    half = costs(centred_plan(facts), facts, "f16", M=m, N=n)
    assert half(half.found.kernels[1].read) == 2 * m * n + m * (4 + 1)


def test_a_buffer_is_reduced_over_what_is_reduced_last() -> None:
    facts = facts_of(CENTRED)
    plan = centred_plan(facts)
    first, second = plan.kernels
    loop = first.body[0]
    assert isinstance(loop, Loop)
    inner = Fold("y", ("m", "n"), FLOAT, "sum", ("e",), Name("x"), TRUE)
    outer = Fold("t", ("m",), FLOAT, "sum", ("n",), Name("y"), TRUE)
    loop = replace(loop, body=(loop.body[0], inner, outer))
    axes = (*first.axes, Axis("e", Int(4), "whole"))
    first = replace(first, axes=axes, body=(loop, first.body[1]))
    (buffer,) = costs(replace(plan, kernels=(first, second)), facts).found.buffers
    assert buffer.over == ("n",)


AFFINE = """\
cascade affine(X[N,F], M0: int = 4) -> O[F]:
    M1 = ceildiv(N, M0)
    var s in M0
    var r in M1
    O[f] = X[r*M0 + s, f]
"""


def affine_plan(facts: Facts) -> Plan:
    """Two loops go over one rank together; a row of weights is held by the outer one."""
    index = Binary("+", Binary("*", Var("r"), Value("M0")), Var("s"))
    inner = Loop(
        "s",
        (Range(Int(0), Value("M0")),),
        (Carry("o", ("f",), FLOAT, Name("p"), Name("u")),),
        (
            load("x", "rsf", "X", Var("n"), Var("f")),
            Fold("t", ("f",), FLOAT, "sum", ("r", "s"), Name("x"), TRUE),
            Map("u", ("f",), FLOAT, Binary("+", Name("o"), Name("t"))),
        ),
    )
    outer = Loop(
        "r",
        (Range(Int(0), Value("M1")),),
        (Carry("p", ("f",), FLOAT, Int(0), Name("o")),),
        (inner,),
    )
    axes = (
        Axis("f", F, "whole"),
        Axis("r", Value("M1"), "stream"),
        Axis("s", Value("M0"), "stream"),
    )
    kernel = Kernel("k0", axes, (outer, store("O", "f", Name("p"))), (Coord("n", index, N),))
    return plan_of(facts, kernel)


def test_nested_loops_by_hand() -> None:
    facts = facts_of(AFFINE)
    plan = affine_plan(facts)
    of = costs(plan, facts, N=280, M0=4, M1=70, F=6)
    (kernel,) = of.found.kernels
    # the sum of each tile, and one addition for each of 3 x 1 tiles
    assert of(kernel.operations) == 70 * 4 * 6 + 6 * 3
    assert of(kernel.loaded) == of(kernel.read) == 4 * 280 * 6
    assert [of(s) for s in kernel.state] == [4 * 6, 4 * 6 * 2]
    assert kernel_passes(plan.kernels[0], plan) == {"n": 1}
    assert {v: c.fixed for v, c in plan_passes(plan, facts).items() if c.fixed != 1} == {}


def test_ranges_that_begin_with_a_tile() -> None:
    """A loop along the diagonal goes as far as a tile of m, wherever that begins."""
    facts = facts_of(CENTRED)
    kernel = centred_plan(facts).kernels[0]
    loop = kernel.body[0]
    assert isinstance(loop, Loop)
    end = Binary("+", Apply("high", (Var("m"),)), Int(1))
    let = Let("first", Apply("low", (Var("m"),)), Kind.I64)
    diagonal = replace(loop, ranges=(Range(Value("first"), end),))
    plan = plan_of(facts, replace(kernel, body=(let, diagonal)))
    of = costs(plan, facts, M=64, N=640)
    assert of(of.found.kernels[0].loaded) == 4 * 64 * 16
    unknown = replace(loop, ranges=(Range(Int(0), end),))
    plan = plan_of(facts, replace(kernel, body=(unknown,)))
    of = costs(plan, facts, M=64, N=640)
    assert of(of.found.kernels[0].loaded) == 4 * 64 * 640


# Passes


def found_passes(plan: Plan, facts: Facts) -> dict[str, int]:
    return {v: c.fixed for v, c in plan_passes(plan, facts).items()}


def test_a_finished_sum_takes_another_pass() -> None:
    facts = facts_of(CENTRED)
    assert found_passes(centred_plan(facts), facts) == {"m": 1, "n": 2}
    assert {v: c.fixed for v, c in passes(facts).items()} == {"m": 1, "n": 2}


def test_a_finished_sum_within_a_reduction() -> None:
    text = CENTRED.replace("O[M,N]", "O[M]").replace("O[m,n] =", "O[m] = sum[n](")[:-1] + ")\n"
    facts = facts_of(text)
    plan = centred_plan(facts)
    first, second = plan.kernels
    difference = Binary("-", Name("x"), Name("s"))
    fold = Fold("t", ("m",), FLOAT, "sum", ("n",), difference, Name("here"))
    axes = (Axis("m", M, "par"), Axis("n", N, "whole"))
    second = replace(second, axes=axes, body=(*second.body[:3], fold, store("O", "m", Name("t"))))
    plan = replace(plan, kernels=(first, second))
    assert found_passes(plan, facts) == {"m": 1, "n": 2}


def test_what_a_tile_holds_takes_no_other_pass() -> None:
    """The same in one kernel that holds n whole, and in two loops one after the other."""
    facts = facts_of(CENTRED)
    body: tuple[Statement, ...] = (
        load("x", "mn", "X"),
        Fold("s", ("m",), FLOAT, "sum", ("n",), Name("x"), TRUE),
        store("O", "mn", Binary("-", Name("x"), Name("s"))),
    )
    whole = Kernel("k0", (Axis("m", M, "par"), Axis("n", N, "whole")), body)
    plan = plan_of(facts, whole)
    assert found_passes(plan, facts) == {"m": 1, "n": 1}
    assert kernel_passes(whole, plan) == {}
    first, second = centred_plan(facts).kernels
    again = Loop("n", (Range(Int(0), N),), (), (second.body[0], body[2]))
    both = Kernel("k0", first.axes, (first.body[0], again))
    plan = plan_of(facts, both)
    assert found_passes(plan, facts) == {"m": 1, "n": 2}
    assert kernel_passes(both, plan) == {"n": 2}


def test_a_loop_that_may_not_run() -> None:
    """What an `if` carries out of it is finished by the loop inside."""
    facts = facts_of(CENTRED)
    plan = centred_plan(facts)
    first, second = plan.kernels
    loop = first.body[0]
    assert isinstance(loop, Loop)
    maybe = If(below("m", M), (loop,), (Carry("r", ("m",), FLOAT, Int(7), Name("s")),))
    first = replace(first, body=(maybe, store("S", "m", Name("r"))))
    plan = replace(plan, kernels=(first, second))
    assert found_passes(plan, facts) == {"m": 1, "n": 2}
    of, plain = (costs(p, facts, M=50, N=70) for p in (plan, centred_plan(facts)))
    assert of(of.found.total.operations) == plain(plain.found.total.operations)
    assert of.found.buffers == plain.found.buffers


def test_an_address_is_finished() -> None:
    """What is read where the largest elements lie waits for all of them."""
    text = (
        "cascade gathered(X[N,F], R: int = 2) -> O[F]:\n"
        "    T[r] = argtopk[n -> r](X[n,0])\n    O[f] = X[T[r],f]\n"
    )
    facts = facts_of(text)
    axes = (Axis("f", F, "par"), Axis("n", N, "whole"), Axis("r", Value("R"), "whole"))
    body: tuple[Statement, ...] = (
        load("x", "n", "X", Var("n"), Int(0)),
        TopK("t", ("r",), "n", "r", Name("x"), TRUE),
        load("y", "rf", "X", Name("t"), Var("f")),
        Fold("s", ("f",), FLOAT, "sum", ("r",), Name("y"), TRUE),
        store("O", "f", Name("s")),
    )
    plan = plan_of(facts, Kernel("k0", axes, body))
    assert found_passes(plan, facts)["n"] == 2
    assert {v: c.fixed for v, c in passes(facts).items()}["n"] == 2


@cache
def plan_and_facts(name: str) -> tuple[Facts, Facts, Plan]:
    facts = facts_of(examples.text(name))
    separate, fused = planned(facts)
    return facts, separate, fused.plan


@pytest.mark.parametrize("name", examples.NAMES)
def test_no_more_passes_than_written(name: str) -> None:
    facts, separate, plan = plan_and_facts(name)
    written, compiled = passes(facts), plan_passes(plan, separate)
    assert list(compiled) == list(written)
    for variable, count in compiled.items():
        trips = dict.fromkeys(separate.variables, 10)
        assert count.at(trips) <= max(written[variable].at(trips), 1), variable


# What kernels touch, counted as they run


@dataclass
class Touched:
    """Counts what the helpers of an emitted module load and store, kernel by kernel."""

    read: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    written: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    wide: dict[int, int] = field(default_factory=dict)
    loaded: int = 0
    kernel: str = ""

    def attach(self, module: ModuleType) -> None:
        """Takes the place of the helpers."""
        plain_load, plain_put = module.__dict__["_load"], module.__dict__["_put"]

        def load_(tensor: Any, index: Any, where: Any, shape: Any, *rest: Any) -> Any:
            lanes = np.broadcast_to(where, shape)
            self.loaded += int(lanes.sum()) * self._wide(tensor)
            self._note(self.read, tensor, [np.broadcast_to(i, shape)[lanes] for i in index])
            return plain_load(tensor, index, where, shape, *rest)

        def put(out: Any, here: Any, index: Any, value: Any, where: Any, guard: Any, shape: Any,
                *rest: Any) -> None:  # fmt: skip
            lanes = np.broadcast_to(guard, shape)
            places = [np.broadcast_to(i, shape)[lanes] for i in index]
            self._note(self.written, out, places)
            self._note(self.written, here, places)
            plain_put(out, here, index, value, where, guard, shape, *rest)

        def begin(name: str) -> None:
            self.kernel = name

        module.__dict__.update(_load=load_, _put=put, _begin=begin)

    def _wide(self, tensor: Any) -> int:
        """The bytes of an element on a device, where floats that are held have four."""
        self.wide[_place(tensor)] = 4 if tensor.dtype.kind == "f" else tensor.dtype.itemsize
        return self.wide[_place(tensor)]

    def _note(self, into: dict[Any, set[int]], tensor: Any, places: list[Any]) -> None:
        self._wide(tensor)
        flat = np.ravel_multi_index(places, tensor.shape) if places else np.zeros(1, int)
        into.setdefault((self.kernel, _place(tensor)), set()).update(flat.tolist())

    def traffic(self) -> int:
        """Each element once for each kernel that loads it, and once where it is stored.

        Presence is stored where some kernel looks at it.
        """
        seen = {tensor for _, tensor in self.read}
        bools = {t for t, wide in self.wide.items() if wide == 1}
        total = sum(len(places) * self.wide[t] for (_, t), places in self.read.items())
        for (_, tensor), places in self.written.items():
            if tensor not in bools or tensor in seen:
                total += len(places) * self.wide[tensor]
        return total


def _place(tensor: Any) -> int:
    return int(tensor.__array_interface__["data"][0])


def touched(plan: Plan, arrays: list[Any], tiles: Mapping[str, int] | None = None) -> Touched:
    """What running a plan touches."""
    text = emit_tiled(plan, Options("f32"))
    text = re.sub(r"(?m)^( *)# (k\d+)$", r'\1_begin("\2")', text)
    module = ModuleType("counted")
    exec(compile(text, "<counted>", "exec"), module.__dict__)
    counter = Touched()
    counter.attach(module)
    (name,) = module.__all__
    call: Callable[..., Any] = module.__dict__[name]
    call(*arrays, _tiles=tiles)
    assert counter.kernel == plan.kernels[-1].name
    return counter


DENSE = """\
cascade attention(Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F]) -> O[B,H,M,F]:
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E)
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h,n,f]
"""
TWO_PASSES = (examples.ROOT / "tests/tiles/two_passes.attn").read_text("utf-8")
COUNTED = {
    "product": PRODUCT,
    "attention": DENSE,
    "two passes": TWO_PASSES,
    "additive": examples.text("additive"),
    "efficient": examples.text("efficient"),
}


@pytest.mark.parametrize("name", COUNTED)
def test_bytes_are_those_that_kernels_touch(name: str) -> None:
    """Traffic and loads, at sizes that are no multiples of the default tiles."""
    facts = facts_of(COUNTED[name])
    separate, fused = planned(facts)
    extents = {s for i in facts.cascade.inputs for s in i.sizes if isinstance(s, str)}
    sizes = dict(zip(sorted(extents), (2, 37, 35, 21, 3, 50, 5), strict=False))
    generator = np.random.default_rng(1)
    arrays = [
        generator.standard_normal([sizes[str(s)] for s in i.sizes]).astype(np.float32)
        for i in facts.cascade.inputs
    ]
    of = costs(fused.plan, separate, "f32", **sizes)
    counted = touched(fused.plan, arrays)
    assert counted.traffic() == of(of.found.total.traffic)
    assert counted.loaded == of(of.found.loaded)


def test_tiles_are_the_defaults_of_the_backend() -> None:
    assert {str(k): str(v) for k, v in TILES.items()} == DEFAULTS


# As data


def explained(text: str, name: str = "spec.attn", **sizes: int) -> dict[str, Any]:
    checked = attnc.check(text, name)
    found: Any = attnc.explain(checked.select(), sizes, "f32", checked.source)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", examples.NAMES)
def test_json(name: str) -> None:
    """The shape that others rely on, for every example."""
    text = examples.text(name)
    found = json.loads(json.dumps(shown.explained(name)))
    for refusal in found["refusals"]:
        assert {"term", "reason", "line"} <= refusal.keys()
        assert 1 <= refusal["line"] <= len(text.splitlines())
        assert refusal["file"] == f"{name}.attn"
        assert refusal["term"]
        assert refusal["reason"]
    plan = found["compiled"]
    if plan is None:
        assert len(found["refusals"]) == 1
        return
    assert plan["passes"].keys() == found["written"]["passes"].keys()
    stored = set[str]()
    inputs = {i.name for i in facts_of(text).cascade.inputs}
    for kernel in plan["kernels"]:
        assert isinstance(kernel["name"], str)
        assert all(isinstance(s, str) for s in kernel["streams"])
        assert all(isinstance(n, int) and n > 0 for n in kernel["passes"].values())
        assert bool(kernel["streams"]) == bool(kernel["passes"])
        assert set(kernel["reads"]) <= inputs | stored
        stored |= set(kernel["writes"])
    assert stored >= {o.name for o in facts_of(text).cascade.outputs}
    assert {b["tensor"] for b in plan["buffers"]} <= stored
    assert all(one["of"] for one in plan["derived"])


@pytest.mark.parametrize("name", examples.NAMES)
def test_every_example_as_written(name: str) -> None:
    """Nothing is missing where sizes are given, and there is something to do."""
    found = shown.explained(name)
    written = found["written"]
    assert found["cascade"] == name
    assert found["missing"] == []
    assert written["operations"]["value"] > 0
    assert written["bytes"]["traffic"]["value"] >= written["bytes"]["compulsory"]["value"] > 0
    inputs = facts_of(examples.text(name)).cascade.inputs
    assert {*written["passes"]} >= {
        s.lower() for i in inputs for s in i.sizes if isinstance(s, str)
    }
    assert all(isinstance(n, int) and n >= 1 for n in written["passes"].values())


def test_what_was_derived() -> None:
    plan = explained(DENSE)["compiled"]
    largest, total, output = plan["derived"]
    assert [one["op"] for one in (largest, total, output)] == ["max", "sums", "sums"]
    assert {tuple(one["over"]) for one in plan["derived"]} == {("n",)}
    name = largest["tensor"]
    carried = [f"s1 <- exp({name}'[b,h,m] - {name}[b,h,m]) * s1"]
    assert total["carried"] == output["carried"] == carried
    assert output["result"] in ("s1", f"1 / {total['tensor']}[b,h,m] * s1")


def test_ratios() -> None:
    sizes = {"B": 1, "H": 2, "M": 512, "N": 512, "E": 64, "F": 64}
    found = explained(DENSE, "dense.attn", **sizes)
    written, plan = found["written"], found["compiled"]
    before, after = written["bytes"]["traffic"]["value"], plan["bytes"]["traffic"]["value"]
    assert plan["ratio"]["traffic"] == round(before / after, 3)
    assert after == written["bytes"]["compulsory"]["value"]
    assert plan["ratio"]["footprint"] is None  # nothing is left between kernels
    assert explained(DENSE)["compiled"]["ratio"]["traffic"] is None


def test_a_refusal_has_a_line_even_where_its_term_has_none() -> None:
    found = explained(TWO_PASSES)
    assert [r["line"] for r in found["refusals"]] == [3, 4]
    assert found["compiled"]["passes"]["n"] == 2
    facts = facts_of(TWO_PASSES)
    unplaced: Any = attnc.explain(facts, {}, "f32", None)
    assert {r["line"] for r in unplaced["refusals"]} == {None}
    assert {r["file"] for r in unplaced["refusals"]} == {None}
