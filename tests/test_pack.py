"""Ranks that share what is streamed become one of rows: values stay, what is shared is shared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from attnc.backends.numpy.tiled import emit_tiled
from attnc.backends.options import Options
from attnc.compilation import tiling
from attnc.errors import Source
from attnc.grammar.tiles import parse
from attnc.ir import tiles_printer
from attnc.ir.expr import Binary, Expr, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import Kernel, Load, Loop, Plan
from attnc.ir.tiles_verify import verify
from attnc.ir.tiles_walk import statements
from attnc.modules import function_of
from attnc.passes.tiling.legalise import unfilled
from attnc.passes.tiling.pack import Pack
from attnc.passes.tiling.packing import Packing
from attnc.planning import planned
from tests import examples
from tests.prepared import facts_of, legal_of
from tests.test_legalise import same, spoilt
from tests.test_tiles import TIED, cases
from tests.tiled import Tiled, of_plan, written

PACKED = {
    "chunked": ["k0"],
    "decode_lengths": ["k0"],
    "documents_window": ["k0"],
    "duo_heads": ["k0"],
    "gqa": ["k0"],
    "gqa_causal": ["k0"],
    "mqa": ["k0"],
    "native_sparse": ["k3", "k5"],
    "packed_offsets": ["k0"],
    "paged_decode": ["k0"],
    "prefix_lm": ["k0"],
    "quantised": ["k0"],
    "s2_sharded": ["k0"],
    "sink_logits": ["k0"],
    "sliding_window": ["k0"],
    "sliding_window_sinks": ["k0"],
    "star_phase_one": ["k0"],
}
"""Examples in which rows share what is streamed, and their kernels; all others stay."""
OWN = {"chosen", "chosen?"}
"""What is streamed and differs from row to row: the blocks that each query has chosen."""


@cache
def packed_of(text: str, rows: int = 64) -> Plan:
    return Pack(rows)(legal_of(text))


@cache
def run_of(text: str, rows: int = 64) -> Tiled:
    return of_plan(facts_of(text), packed_of(text, rows), rounded=False)


def sound(plan: Plan) -> None:
    """Fails unless a plan holds what is asked of plans whose predicates are fills."""
    verify(plan, filled=True)
    assert parse(Source("packed.plan", tiles_printer.plan(plan))) == plan
    assert list(unfilled(plan)) == []


def changed(text: str) -> list[str]:
    """The kernels that are packed."""
    before, after = legal_of(text).kernels, packed_of(text).kernels
    return [b.name for b, a in zip(before, after, strict=True) if a is not b]


def streamed(plan: Plan, names: list[str]) -> Iterator[Load]:
    """What some kernels load in their loops along what they stream."""
    for kernel in plan.kernels:
        streams = {a.name for a in kernel.axes if a.kind == "stream"}
        for loop in (s for s in kernel.body if isinstance(s, Loop) and kernel.name in names):
            for item in statements(loop.body):
                if isinstance(item, Load) and streams & set(item.axes):
                    yield item


def packed_axes(kernel: Kernel) -> tuple[str, str]:
    """The axis of groups, and that of rows: what `y` and `x` are in `y * P + x % P`."""
    for coord in kernel.coords:
        match coord.value:
            case Binary(
                op="+",
                left=Binary(op="*", left=Var(name=outer)),
                right=Var(name=inner) | Binary(op="%", left=Var(name=inner)),
            ):
                return outer, inner
            case _:
                pass
    raise AssertionError("no axes are packed")


# The gallery


@pytest.mark.parametrize("name", examples.NAMES)
def test_what_is_packed(name: str) -> None:
    text = examples.text(name)
    assert changed(text) == PACKED.get(name, [])
    before, after = legal_of(text), packed_of(text)
    if name not in PACKED:
        assert after is before
        return
    sound(after)
    assert Pack()(after) is after


@pytest.mark.parametrize("name", PACKED)
def test_streamed_loads_do_not_vary_along_rows(name: str) -> None:
    before, after = legal_of(examples.text(name)), packed_of(examples.text(name))
    count = 0
    for old, new in zip(streamed(before, PACKED[name]), streamed(after, PACKED[name]), strict=True):
        kernel = next(k for k in after.kernels if new in statements(k.body))
        assert old.tensor == new.tensor
        varies = packed_axes(kernel)[1] in new.axes
        assert varies is (new.tensor in OWN), tiles_printer.statement(new)
        count += not varies
    assert count >= 2


@pytest.mark.parametrize("rows", [64, 4, 0])
@pytest.mark.parametrize("name", PACKED)
def test_examples_keep_their_values(name: str, rows: int) -> None:
    """As written and as not packed: with a group in each row, and with one head."""
    text = examples.text(name)
    facts, run = facts_of(text), run_of(text, rows)
    plain = of_plan(facts, legal_of(text), rounded=False)
    names = [i.name for i in facts.cascade.inputs]
    for seed, (label, arrays, parameters) in enumerate(cases(name)):
        inputs = dict(zip(names, arrays, strict=True))
        sizes = run.sizes(seed + rows, inputs, parameters)
        sizes = {a: n for a, n in sizes.items() if a not in TIED.get(name, ())}
        order = None if name in TIED else seed
        found = run(inputs, parameters, sizes, order)
        assert same(found, written(facts, inputs, parameters), 1e-7), (label, sizes)
        other = plain(inputs, parameters, sizes, order)
        assert same(found, other, 1e-7), (label, sizes)


# Generated cascades

KEYS = {
    "groups": ("    G = H // J\n", "h // G"),
    "even groups": ("    G = H // J\n    require H % J == 0\n", "h // G"),
    "a parameter": ("", "h // R"),
    "written out": ("", "h // (H // J)"),
    "all": ("", None),
}
"""What key heads are found by."""


def generated(rng: np.random.Generator) -> str:
    """A cascade with heads that share keys; whether they are packed depends on what it draws."""
    lets, index = KEYS[str(rng.choice([*KEYS]))]
    batch = "B," * bool(rng.random() < 0.7)
    row = "M," * bool(rng.random() < 0.7)
    head = "J," * (index is not None)
    b, m, at = batch.lower(), row.lower(), f"{index}," if index else ""
    value = at
    if index == "h // R" and rng.random() < 0.5:
        value = "h // (2 * R),"  # every second of the key heads
    position = "m + (N - M)" if row else "N - 1"
    common = [f"n <= {position}", f"{position} - n < 3", f"n < length[{b[:1] or 0}]", "n % 3 != 1"]
    own = [
        *(f"{position} - n < w[h]", f"n <= {position} - h", f"{position} - h - n < 3"),
        *("n % (h + 2) != 1", "n < 3 or h % 2 == 0", "h > 0"),
    ]
    drawn = [*rng.choice(common, int(rng.integers(0, 3)), replace=False)]
    conditions = drawn + [rng.choice(own)] * bool(rng.random() < 0.3)
    where = f" where {', '.join(conditions)}" if conditions else ""
    bias = str(rng.choice(["", " + slope[h] * n", " * slope[h]", f" + bias[h,{m}n]"]))
    q, k, v = f"Q[{b}h,{m}e]", f"K[{b}{at}n,e]", f"V[{b}{value}n,f]"
    weigh = str(rng.choice(["softmax[n]({})", "sigmoid({})", "relu({})"]))
    outputs = f"O[{batch}H,{row}F]"
    lines = [
        f"    S[{b}h,{m}n] = {q} * {k}{bias}{where}",
        f"    O[{b}h,{m}f] = {weigh.format(f'S[{b}h,{m}n]')} * {v}",
    ]
    if rng.random() < 0.4:
        outputs += f", L[{batch}H,{row[:-1]}] empty -inf".replace(",]", "]")
        lines.append(f"    L[{b}h,{m[:-1]}] = logsumexp[n](S[{b}h,{m}n])".replace(",]", "]"))
    arguments = (
        f"Q[{batch}H,{row}E], K[{batch}{head}N,E], V[{batch}{head}N,F], slope[H], "
        f"bias[H,{row}N], w[H]: i32, length[B]: i32"
    )
    parameters = ", R: int = 2" * (index == "h // R")
    return f"cascade drawn({arguments}{parameters}) -> {outputs}:\n{lets}" + "\n".join(lines) + "\n"


def call_of(facts: Facts, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Small inputs; extents of 0 and 1, and heads that do not divide, are among them."""
    sizes = {
        "B": int(rng.integers(1, 3)),
        "H": int(rng.choice([0, 1, 2, 3, 4, 6, 7, 8])),
        "J": int(rng.choice([0, 1, 1, 2, 3, 4, 9])),
        "M": int(rng.choice([0, 1, 1, 2, 5])),
        "N": int(rng.choice([0, 1, 4, 9])),
        "E": int(rng.choice([1, 3])),
        "F": 2,
    }
    inputs: dict[str, Any] = {}
    for item in facts.cascade.inputs:
        shape = [sizes[str(s)] for s in item.sizes]
        if item.element == "i32":
            inputs[item.name] = rng.integers(0, 6, shape, np.int32)
        else:
            inputs[item.name] = rng.normal(size=shape)
    parameters = {"R": int(rng.integers(0, 5))} if facts.cascade.parameters else {}
    return inputs, parameters


def called(
    text: str, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any], Any] | None:
    """Arguments and what the text makes of them; None if it requires others."""
    inputs, parameters = call_of(facts_of(text), rng)
    try:
        return inputs, parameters, written(facts_of(text), inputs, parameters)
    except ValueError:
        return None


@pytest.mark.parametrize("part", range(4))
def test_generated_cascades_keep_their_values(part: int) -> None:
    done = several = packed = 0
    for seed in range(part, 60, 4):
        rng = np.random.default_rng(seed)
        text = generated(rng)
        before, after = legal_of(text), packed_of(text)
        if after is before:
            continue
        sound(after)
        run, packed = run_of(text), packed + 1
        for turn in range(6):
            call = called(text, rng)
            if call is None:
                continue
            inputs, parameters, expected = call
            sizes = run.sizes(10 * seed + turn, inputs, parameters)
            assert same(run(inputs, parameters, sizes, turn), expected), (seed, turn, text, sizes)
            done += 1
            outer, _ = packed_axes(after.kernels[0])
            several += run.extents(inputs, parameters)[outer] < len(inputs["slope"])
    assert packed >= 5
    assert done > 20
    assert several > 5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_no_output_reads_reaches_none(value: float) -> None:
    """Bounds of a group are wider than a tile, and yet within what some row reads."""
    count = 0
    for seed in range(12):
        rng = np.random.default_rng(1000 + seed)
        text = generated(rng)
        call = called(text, rng)
        if call is None or call[0]["K"].size > 100:
            continue
        facts, run = facts_of(text), run_of(text)
        inputs, parameters, _ = call
        inputs, places = spoilt(facts, inputs, parameters, value)
        count += places
        expected = written(facts, inputs, parameters)
        for turn in range(3):
            sizes = run.sizes(10 * seed + turn, inputs, parameters)
            assert same(run(inputs, parameters, sizes, turn), expected), (seed, text, sizes)
    assert count > 20


# A stream in pieces

PIECES = {"gqa_causal": "n", "paged_decode": "c", "mqa": "n", "sliding_window_sinks": "n"}
"""Examples whose streams are split, as a decoder does."""


@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_packed(name: str) -> None:
    facts = facts_of(examples.text(name))
    before = tiling(planned(facts, pieces={PIECES[name]: 3})[1].plan)
    after = Pack()(before)
    first, second = zip(before.kernels, after.kernels, strict=True)
    assert first[0] is not first[1]
    assert second[0] is second[1]
    sound(after)
    run = of_plan(facts, after, rounded=False)
    names = [i.name for i in facts.cascade.inputs]
    for seed, (label, arrays, parameters) in enumerate(cases(name)):
        inputs = dict(zip(names, arrays, strict=True))
        sizes = run.sizes(seed, inputs, parameters)
        expected = written(facts, inputs, parameters)
        assert same(run(inputs, parameters, sizes, seed), expected, 1e-7), (label, sizes)


# What stays

KEPT = {
    "keys of their own": (
        "cascade a(Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F]) -> O[B,H,M,F]:\n"
        "    O[b,h,m,f] = softmax[n](Q[b,h,m,e] * K[b,h,n,e]) * V[b,h,n,f]\n"
    ),
    "shared keys, values of their own": (
        "cascade a(Q[B,H,M,E], K[B,J,N,E], V[B,H,N,F]) -> O[B,H,M,F]:\n"
        "    G = H // J\n"
        "    O[b,h,m,f] = softmax[n](Q[b,h,m,e] * K[b,h // G,n,e]) * V[b,h,n,f]\n"
    ),
    "two divisors": (
        "cascade a(Q[H,M,E], K[J,N,E], V[I,N,F]) -> O[H,M,F]:\n"
        "    G = H // J\n"
        "    R = H // I\n"
        "    O[h,m,f] = softmax[n](Q[h,m,e] * K[h // G,n,e]) * V[h // R,n,f]\n"
    ),
    "a product with a vector": (
        "cascade a(Q[M,D], K[N,F], U[D,F], v[D]) -> S[M,N]:\n"
        "    S[m,n] = v[d] * tanh(Q[m,d] + sum[f](U[d,f] * K[n,f]))\n"
    ),
    "one axis of rows": (
        "cascade a(Q[H,E], K[N,E], V[N,F]) -> O[H,F]:\n"
        "    O[h,f] = softmax[n](Q[h,e] * K[n,e]) * V[n,f]\n"
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_shared_stays(name: str) -> None:
    assert packed_of(KEPT[name]) is legal_of(KEPT[name])


def test_rows_that_each_look_at_keys_of_their_own() -> None:
    """Keys vary along `m`, so that it holds no rows; heads of a group share them still."""
    text = (
        "cascade a(Q[H,M,E], K[J,P,E], V[J,P,F], page[M,N]: i32) -> O[H,M,F]:\n"
        "    G = H // J\n"
        "    S[h,m,n] = Q[h,m,e] * K[h // G,page[m,n],e]\n"
        "    O[h,m,f] = softmax[n](S[h,m,n]) * V[h // G,page[m,n],f]\n"
    )
    (kernel,) = packed_of(text).kernels
    assert [c.name for c in kernel.coords] == ["h"]
    assert all("x" not in load.axes for load in streamed(packed_of(text), [kernel.name]))
    run = run_of(text)
    rng = np.random.default_rng(0)
    for seed, (heads, others) in enumerate([(6, 2), (7, 3), (4, 1), (2, 3), (0, 1)]):
        inputs: dict[str, Any] = {
            "Q": rng.normal(size=(heads, 3, 4)),
            "K": rng.normal(size=(others, 5, 4)),
            "V": rng.normal(size=(others, 5, 2)),
            "page": rng.integers(-1, 6, (3, 7), np.int32),
        }
        expected = written(facts_of(text), inputs, {})
        assert same(run(inputs, {}, run.sizes(seed, inputs), seed), expected)


# Plans written by hand

BY_HAND = """plan by_hand(Q[H,M,E], K[J,N,E], V[J,N,F], G: int) -> O[H,M,F], T[M], U[H]:
    kernel k0
        axis h par H
        axis m par M last first
        axis f whole F
        axis n stream N
        axis e whole E
        coord c = m // 2 + h of M + H
        q[h,m,e]: float = load Q[h,m,e] where h < H and m < M and e < E else 0
        r[h,m]: float = reduce[sum,e](q)
        top[]: float = reduce[max,h,m](-abs(r) if h < H and m < M else -inf)
        all[]: float = reduce[sum,h,m](r if h < H and m < M else 0)
        for n in [max(0, low(h) - 1), min(N, high(m) + high(h) + 1)) partial
            carry o[h,m,f]: float = 0
            k[h,n,e]: float = load K[h // G,n,e] where h < H and n < N and e < E and 0 <= h // G < J
                else 0
            v[h,f,n]: float = load V[h // G,n,f] where h < H and n < N and f < F and 0 <= h // G < J
                else 0
            s[h,m,n]: float = dot[e](q, k: float)
            p[h,m,n]: float = map s + c if n < N and h - 1 <= n and n <= m + h else 0
            a[h,m,f]: float = dot[n](p, v: float)
            next o = o + a
        store O[h,m,f] = o
            else 0, over h < H and m < M and f < F
        store sum T[m] = r
            else 0, over h < H and m < M
        store max U[0] = all + top - r
            else 0, over h < H and m < M and 0 < H
"""
ROW = "        r[h,m]: float = reduce[sum,e](q)\n"
STAY = {
    "a sum over rows": (ROW, ROW + "        w[h]: float = reduce[sum,m](r if m < M else 0)\n"),
    "a sum over heads": (ROW, ROW + "        w[]: i64 = reduce[sum,h](h if h < H else 0)\n"),
    "a maximum of heads": (ROW, ROW + "        w[m]: float = reduce[max,h](r)\n"),
    "a first row": (ROW, ROW + "        w[h]: i64 = reduce[argmax,m](r)\n"),
    "a scan over rows": (ROW, ROW + "        w[h,m]: float = scan[sum,m](r if m < M else 0)\n"),
    "the size of a tile": (ROW, ROW + "        w[]: i64 = map tile(m)\n"),
    "bounds of what is made of both": (ROW, ROW + "        w[]: i64 = map low(c)\n"),
    "what one head stores": (
        "store sum T[m] = r\n            else 0, over h < H",
        "store T[m] = m\n            else 0, over h == 0",
    ),
}
"""What goes by the tiles of one axis alone."""


def by_hand(text: str) -> Plan:
    return parse(Source("by_hand.plan", text))


def test_a_plan_written_by_hand() -> None:
    before = by_hand(BY_HAND)
    verify(before, filled=True)
    after = Pack()(before)
    (kernel,) = after.kernels
    outer, inner = packed_axes(kernel)
    assert kernel.reversed == (inner,)
    verify(after, filled=True)
    plain, run = (function_of(emit_tiled(p, Options()), "by_hand") for p in (before, after))
    rng = np.random.default_rng(3)
    for _ in range(30):
        heads, group, rows = (int(n) for n in rng.integers([1, 1, 0], [8, 4, 5]))
        arrays = [
            rng.normal(size=(heads, rows, 2)),
            *(rng.normal(size=(-(-heads // group), 4, 2)) for _ in range(2)),
        ]
        # all rows in one tile, as the sums of a tile need it; other tiles leave these alone
        whole = {outer: heads, inner: 32, "h": heads, "m": 8, "n": 2}
        expected = plain(*arrays, G=group, _tiles=whole)
        assert same(run(*arrays, G=group, _tiles=whole), expected)
        small = {outer: 1, inner: int(rng.integers(1, 6)), "n": 1}
        assert same(run(*arrays, G=group, _tiles=small)[0], expected[0])


@pytest.mark.parametrize("what", STAY)
def test_what_goes_by_tiles_of_an_axis_stays(what: str) -> None:
    old, new = STAY[what]
    assert old in BY_HAND
    plan = by_hand(BY_HAND.replace(old, new))
    assert Pack()(plan) is plan


# Seeded faults

FAULTS = [
    ("let P: i64 = max(G, 1)", "let P: i64 = 2 * max(G, 1)"),
    ("let P: i64 = max(G, 1)", "let P: i64 = max(H, 1)"),
    ("ceildiv(H, P)", "(H // P)"),
    ("par M * P", "par M"),
    ("x2 < M * P and h < H", "x2 < M * P"),
    ("coord m = x2 // P of M", "coord m = x2 % P of M"),
    ("coord h = y * P + x2 % P of H", "coord h = y + x2 % P * J of H"),
    ("coord h = y * P + x2 % P of H", "coord h = y * P + x2 // P % P of H"),
    ("y * P // G", "y // G"),
    ("y * P // G", "y * P // (G + 1)"),
    ("high(x2) // P", "high(x2) // P - 1"),
    ("low(x2) // P", "(low(x2) // P + 1)"),
]
GROUPED = (
    "cascade grouped(Q[H,M,E], K[J,N,E], V[J,N,F], G: int, w: int = 2) -> O[H,M,F]:\n"
    "    S[h,m,n] = Q[h,m,e] * K[h // G,n,e] where n <= m + (N - M), m + (N - M) - n < w\n"
    "    O[h,m,f] = softmax[n](S[h,m,n]) * V[h // G,n,f]\n"
)


def wrong(text: str, plan: Plan) -> str:
    """The first call that a plan gets wrong; else nothing."""
    facts = facts_of(text)
    run = of_plan(facts, plan, rounded=False)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        heads, group = [(6, 2), (7, 2), (5, 3), (4, 4), (3, 1)][seed % 5]
        others = -(-heads // group)
        inputs = {
            "Q": rng.normal(size=(heads, 3, 2)),
            "K": rng.normal(size=(others, 5, 2)),
            "V": rng.normal(size=(others, 5, 2)),
        }
        parameters = {"G": group}
        expected = written(facts, inputs, parameters)
        sizes = {a: int(rng.choice([1, 2, 3, 8])) for a in ("y", "x2", "n")}
        try:
            found = run(inputs, parameters, sizes, seed)
        except IndexError:
            return f"{seed}: an index is out of bounds"
        if not same(found, expected):
            return f"{seed}: {sizes}"
    return ""


def test_what_is_right_is_not_seen() -> None:
    assert wrong(GROUPED, packed_of(GROUPED)) == ""


@pytest.mark.parametrize(("old", "new"), FAULTS)
def test_faults_are_seen(old: str, new: str) -> None:
    text = tiles_printer.plan(packed_of(GROUPED))
    assert old in text
    assert wrong(GROUPED, parse(Source("faulty.plan", text.replace(old, new))))


def test_any_quotient_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a group were taken to share by whatever divides it, values would be wrong."""

    def careless(self: Packing, divisor: Expr) -> bool:
        return True

    monkeypatch.setattr(Packing, "quotient", careless)
    text = GROUPED.replace("V[h // G,n,f]", "V[h // 3,n,f]")
    assert wrong(text, Pack()(legal_of(text)))
    monkeypatch.undo()
    assert Pack()(legal_of(text)) is legal_of(text)
