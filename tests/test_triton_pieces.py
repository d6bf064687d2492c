"""Streams in pieces on GPUs: kernels interpreted, how calls choose, and what that compiles."""

from __future__ import annotations

import re
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.api import Device, emit
from attnc.backends.triton.inspect import Launch, recorded
from attnc.errors import Source
from attnc.grammar.tiles import parse
from attnc.ir import tiles_printer
from attnc.ir.tiles_verify import verify
from attnc.modules import module_of
from attnc.passes.tiling import merge
from attnc.passes.tiling.fuse import fuse
from attnc.planning import TOLD, in_pieces
from attnc.python.build import Choices, build, forget
from tests import examples
from tests.interpreted import Interpreted
from tests.prepared import facts_of, lowered, pieces_of
from tests.test_gallery import facts
from tests.test_split import WHOLE, not_brought
from tests.test_tiles import cases as small_cases
from tests.test_tiles import differs, function, oracle
from tests.test_triton import TILE, cases, verdict
from tests.test_tvm_few import SPEC, inputs, wrong

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

META = torch.device("meta")
SOME = ("paged_decode", "multi_token", "entropy")
"""Examples that are tried unless all cases are wanted."""
POINTS = 8
"""Points of a piece, where that is not left to the module."""


def in_turn(run: Interpreted, points: int) -> Any:
    """Its calls in pieces of so many points."""
    return lambda *given, tile=None: run(*given, tile=tile, points=points)


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_accepted(name: str, request: pytest.FixtureRequest) -> None:
    """At factor 1, by kernels in pieces. The others are run by `test_triton.py`."""
    every = request.config.getoption("--cases") == "all"
    if name not in SOME and not every:
        return
    text = pieces_of(examples.text(name))
    assert (text is None) == (name in WHOLE)
    if text is None:
        return
    run = in_turn(Interpreted(facts(name), text), POINTS)
    found = list(cases(name, None if every else 2))
    for number, case in enumerate(found if every else found[:1]):
        judged = verdict(run, name, *case, ("f32", "f16")[number % 2], (TILE, None)[number % 2])
        assert judged.ok, f"{case[0]}: {judged}"


# A spec with two outputs, of grouped heads, a window and sinks


@cache
def text_of(nonfinite: str = "fast") -> str:
    device = Device(nonfinite=nonfinite)
    return emit(facts_of(SPEC), backend="triton", dtype=None, static={}, device=device)


def called(text: str, points: int) -> Any:
    run = Interpreted(facts_of(SPEC), text)

    def call(*arrays: Any, **parameters: Any) -> tuple[np.ndarray, ...]:
        return run(list(arrays), parameters, points=points)

    return call


SIZES = ((8, 2, 1, 97, 32), (4, 4, 3, 5, 20), (5, 1, 2, 70, 5))


def test_pieces() -> None:
    """Lengths that pieces do not divide, rows without keys, pieces that are skipped; both sets."""
    for size, (window, sinks) in zip(SIZES, ((20, 3), (3, 0), (1000, 0)), strict=True):
        arrays = inputs(*size)
        for points in (0, 16) if size == SIZES[0] else (16,):
            assert not wrong(called(text_of(), points), arrays, window, sinks), size


def test_what_is_not_finite_reaches_its_readers_alone() -> None:
    run, arrays = called(text_of("exact"), 16), inputs(2, 1, 1, 60, 8)
    plain = run(*arrays, window=30, sinks=2)
    assert not wrong(run, arrays, 30, 2)
    arrays[1][:, :, 10], arrays[2][:, :, 11] = np.nan, np.inf
    for a, b in zip(run(*arrays, window=30, sinks=2), plain, strict=True):
        np.testing.assert_array_equal(a, b)


FAULTS = {
    "a piece is forgotten": (r"(_programs = -\(-N // POINTS\)) ", r"\1 - 1 "),
    "pieces are merged in another order than they lie": (
        r"(O_sum_2_part_at\n *\+ \(\()piece \*",
        r"\1(PIECE - 1 - piece) *",
    ),
    "what a piece has counts twice": (r"(t3_o_sum_part = )(tl.sum)", r"\1 2 * \2"),
}


def test_faults_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the text, and in how states are brought to the common results."""
    arrays, text = inputs(4, 2, 1, 60, 8), text_of()
    for label, (place, instead) in FAULTS.items():
        changed, count = re.subn(place, instead, text, count=1)
        assert count == 1, label
        assert wrong(called(changed, 16), arrays, 1000, 0), label
    monkeypatch.setattr(merge.MergeBuilder, "_brought", not_brought)
    changed = emit(facts_of(SPEC), backend="triton", dtype=None, static={}, device=Device())
    assert wrong(called(changed, 16), arrays, 1000, 0)
    assert not wrong(called(changed, 0), arrays, 1000, 0)


# What runs is chosen by sizes


def module(name: str) -> ModuleType:
    text = pieces_of(examples.text(name))
    assert text is not None
    return module_of(text, f"chosen {name}")


def launched(found: ModuleType, *shapes: tuple[int, ...]) -> list[Launch]:
    given = [torch.empty(s, dtype=torch.bfloat16, device="meta") for s in shapes]
    return recorded(found, lambda m: getattr(m, m.__all__[0])(*given))


def decode(found: ModuleType, batch: int, queries: int, keys: int) -> list[Launch]:
    key = (batch, 4, keys, 128)
    return launched(found, (batch, 16, queries, 128), key, key)


def names(launches: list[Launch]) -> list[str]:
    return [launch.kernel.__name__ for launch in launches]


def test_few_programs_with_long_streams_have_pieces() -> None:
    found = module("gqa_causal")
    assert names(decode(found, 1, 1, 4096)) == ["_parts0", "_merge1"]
    assert names(decode(found, 1, 1, 600)) == ["_k0"]
    assert names(decode(found, 33, 1, 4096)) == ["_k0"]
    assert names(decode(found, 1, 4096, 4096)) == ["_k0"]


def test_another_length_compiles_nothing() -> None:
    """The number of pieces is one of programs, and their points are an argument."""
    found, seen = module("gqa_causal"), set[Any]()
    for keys in (1000, 1001, 5000, 16384, 100_000):
        parts, merges = decode(found, 2, 1, keys)
        assert parts.grid[0] % (2 * 4) == 0
        assert 2 * 4 < parts.grid[0] <= 4 * 132
        assert int(str(parts.arguments["POINTS"])) % 128 == 0
        constants = [
            (p.name, str(launch.arguments[p.name]))
            for launch in (parts, merges)
            for p in launch.kernel.params
            if p.is_constexpr
        ]
        open_ = {p.name for p in parts.kernel.params if p.do_not_specialize}
        assert {"N", "POINTS", "PIECE"} <= open_
        seen.add(tuple(constants))
    assert len(seen) == 1


def test_points() -> None:
    """Of a page there are some; no device is left idle, and merging pays."""
    choose = vars(module("paged_decode"))["_points"]

    def points(*given: int) -> int:
        found = choose(META, *given)
        assert isinstance(found, int)
        return found

    assert points(132, 132, 1 << 20, 128) == points(0, 0, 1 << 20, 128) == 0
    assert points(1, 16, 640, 128) == points(1, 16, 40, 1, 16) == points(1, 1, 9, 1, 0) == 0
    assert points(1, 16, 700, 128) == 256
    assert points(8, 32, 1 << 16, 128) == 1024  # of 64 pieces, 512 programs
    assert points(8, 32, 1 << 12, 1, 16) == 63
    assert points(8, 32, 1 << 12, 64, 16) == 64
    assert points(8, 32, 1 << 6, 64, 16) == 0  # which would be one piece
    assert points(131, 131, 1 << 12, 128) == 0  # nothing is idle
    assert points(64, 256, 1 << 12, 128) == 512
    assert points(64, 4096, 1 << 10, 128) == 0  # so many results cost more to merge
    assert points(64, 4096, 1 << 13, 128) == 1024
    assert points(1, 1, 4, 1, 1000) == 1


def test_kernels_are_there_once() -> None:
    """What has no stream in pieces is launched by both."""
    text = pieces_of(examples.text("moba"))
    assert text is not None
    _, _, both = text.partition("\ndef _launch_pieces(")
    ran = re.findall(r"^ +(_[a-z]+\d+)\[", both, re.MULTILINE)
    assert ran == ["_k0", "_k1", "_parts2", "_merge3"]
    assert text.count("\ndef _k0(") == 1


# Plans


def test_plans() -> None:
    """They are sound, and parse back; any number of points is right."""
    for name in ("paged_decode", "rela"):
        found = in_pieces(facts_of(examples.text(name)), told=True)
        assert found is not None
        verify(found, filled=True)
        assert parse(Source("plan", tiles_printer.plan(found))) == found
    text = examples.text("entropy")
    plan = fuse(lowered(text)[0], points=TOLD).plan
    verify(plan)
    run, plain = function(plan), oracle(text)
    (_, arrays, parameters), *_ = small_cases("entropy")
    for points in (1, 3, 1000):
        tiles = {"points": points, "piece": 2}
        assert not differs(run(*arrays, **parameters, _tiles=tiles), plain(*arrays, **parameters))


# Kernels for pieces that are made when a call needs them


def test_they_are_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the module that has both, which a decorated kernel does not begin with."""
    made: list[None] = []
    spec = build.__globals__["_Spec"]
    plain = spec.emitted

    def counted(self: Any, *, later: bool) -> str:
        made.extend([] if later else [None])
        return str(plain(self, later=later))

    monkeypatch.setenv("ATTNC_CACHE", "off")
    monkeypatch.setattr(spec, "emitted", counted)
    forget()
    own = build(examples.text("dense"), Choices(backend="triton"), "<spec>")
    monkeypatch.setitem(own.function.__globals__, "_device_of", lambda *_, **__: META)

    def launches(keys: int) -> list[str]:
        key = torch.empty((1, 1, keys, 64), device="meta")
        return names(recorded(ModuleType("own"), lambda _: own.function(key[:, :, :1], key, key)))

    assert (launches(600), len(made)) == (["_k0"], 0)
    for _ in range(2):
        assert (launches(1000), len(made)) == (["_parts0", "_merge1"], 1)
    assert own.source == attnc.compile(examples.text("dense"), backend="triton")
    forget()


UNREAD = """cascade unread(X[M]) -> Y[]: i64:
    Y[] = default(sum[m](m) // 0, 1)
"""


@pytest.mark.parametrize("later", [False, True])
def test_a_stream_that_nothing_reads(later: bool) -> None:
    """Its kernel goes along nothing, so that there are no pieces to choose."""
    spec = facts_of(UNREAD)
    text = emit(spec, backend="triton", dtype=None, static={}, device=Device(), later=later)
    assert "_points(" not in text
    assert Interpreted(spec, text)([np.zeros(5)])[0] == 1
