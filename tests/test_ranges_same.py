"""What must not change when a condition is written in another way, or tiles are left out.

Inputs are those of exact mode, in which every order of tiles finds the same bits: so results are
compared bit for bit at tiles and orders of their own.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.backends.options import Options
from attnc.backends.triton.emit import emit_plan
from attnc.ir.expr import Binary, Int
from attnc.ir.facts import Facts
from attnc.ir.tiles import Loop, Plan
from attnc.ir.tiles_walk import statements
from attnc.passes.conditions.cover import Cover, Part
from attnc.passes.conditions.spans import Span
from attnc.planning import for_device, planned, ranged
from tests import examples
from tests.acceptance.exact import exact_inputs, stand_in
from tests.kernel_text import parsed
from tests.tiled import Tiled, of_plan, outputs, written
from tests.tried import tried

TEXT = """cascade soft(
    Q[M,E], K[N,E], V[N,F], doc[N]: i32, of[M]: i32, w: int = 6, r: int = 3
) -> O[M,F], L[M] empty -inf:
    S[m,n] = Q[m,e] * K[n,e]{where}
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m]   = logsumexp[n](S[m,n])
"""
SIZES = {"M": 19, "N": 19, "E": 3, "F": 2}
TILES = (
    {"m": 4, "n": 4, "e": 4, "f": 2},
    {"m": 1, "n": 3, "e": 1, "f": 4},
    {"m": 8, "n": 5, "e": 2, "f": 1},
    {"m": 32, "n": 32, "e": 8, "f": 8},
)


@cache
def facts(where: str) -> Facts:
    text = TEXT.format(where=f" where {where}" if where else "")
    return stand_in(attnc.check(text).select())


@cache
def run_of(where: str) -> Tiled:
    return of_plan(facts(where), ranged(planned(facts(where))[1].plan))


@cache
def given() -> dict[str, Any]:
    """Of all keys; fewer of them are exact, too."""
    rng = np.random.default_rng(3)
    return exact_inputs(facts(""), SIZES, 3, "f32") | {
        "doc": np.sort(rng.integers(0, 4, 19)).astype(np.int32),
        "of": np.sort(rng.integers(0, 4, 19)).astype(np.int32),
    }


def results(where: str, inputs: dict[str, Any] | None = None, **parameters: int) -> list[Any]:
    """The outputs at each tiling; all of them are the same."""
    found = [
        outputs(run_of(where)(inputs or given(), parameters, tiles, turn))
        for turn, tiles in enumerate(TILES)
    ]
    for one in found[1:]:
        for a, b in zip(one, found[0], strict=True):
            np.testing.assert_array_equal(a, b)
    return list(found[0])


def same(left: list[Any], right: list[Any]) -> None:
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


ALWAYS = (
    "n < N + 1",
    "n <= m or n > m",
    "not (n > m and n <= m)",
    "abs(m - n) >= 0",
    "m - n < M + N",
    "n % r < r",
    "min(m, n) <= n",
)


@pytest.mark.parametrize("condition", ALWAYS)
def test_always_true(condition: str) -> None:
    same(results(condition), results(""))


ALIKE = (
    ("n <= m, m - n < w, n % r != 1", "n % r != 1, m - n < w, n <= m"),
    ("n <= m, m - n < w or n < r", "m - n < w or n < r, n <= m"),
    ("n <= m, doc[n] == of[m]", "of[m] == doc[n], n <= m"),
    ("0 <= m - n < w", "not (n > m or m - n >= w)"),
    ("n <= m, m - n < w", "not (not (n <= m and m - n < w))"),
    ("abs(m - n) < w", "m - n < w, n - m < w"),
    ("abs(m - n) < w", "m < n + w and n < m + w"),
    ("n <= min(m, w)", "n <= m, n <= w"),
    ("m // r == n // r", "m // r * r <= n < m // r * r + r"),
    ("(m - n) % r == 0", "m % r == n % r"),
    ("n <= m if m < w else n < w", "m < w and n <= m or m >= w and n < w"),
    ("n < clip(m, 2, w)", "n < w, n < max(m, 2)"),
)


@pytest.mark.parametrize(("left", "right"), ALIKE)
def test_written_otherwise(left: str, right: str) -> None:
    same(results(left), results(right))


def test_a_window_as_long_as_the_sequence() -> None:
    causal = results("n <= m")
    same(results("n <= m, m - n < w", w=19), causal)
    same(results("n <= m, m - n < w", w=2**31 - 1), causal)
    shorter = results("n <= m, m - n < w", w=4)
    assert not np.array_equal(shorter[1], causal[1])  # it could fail


@pytest.mark.parametrize("condition", ["n <= m, n < w", "n < w", "n < w, m - n < r"])
def test_absent_keys_behind(condition: str) -> None:
    """More keys of which none is present, whatever they hold, change nothing."""
    more = dict(given())
    for name in ("K", "V"):
        more[name] = np.concatenate([given()[name], np.full((13, given()[name].shape[1]), np.nan)])
        more[name] = more[name].astype(given()[name].dtype)
    more["doc"] = np.concatenate([given()["doc"], np.zeros(13, np.int32)])
    same(results(condition, more, w=19), results(condition, w=19))


SPARSE = (
    "n <= m",
    "n <= m, m - n < w or n < r",
    "n // r == m // r or n % r == 0",
    "doc[n] == of[m], n <= m",
    "m < w, n > m",
)


@pytest.mark.parametrize("condition", SPARSE)
def test_with_and_without_ranges(condition: str) -> None:
    """Bit for bit what all tiles give, and what the text says."""
    found = facts(condition)
    whole = of_plan(found, planned(found)[1].plan)
    expected = list(outputs(written(found, given(), {})))
    for tiles in TILES[:2]:
        same(list(outputs(whole(given(), {}, tiles, 0))), expected)
    same(results(condition), expected)


def test_it_is_seen_if_a_tile_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeded fault: what is visited ends one too early."""
    real = Cover._visited

    def fault(self: Cover, span: Span) -> tuple[Span, Part]:
        found, part = real(self, span)
        return found, replace(part, end=Binary("-", part.end, Int(1)))

    expected = {c: results(c, w=19) for c in ("", "n <= m", ALIKE[0][1])}
    monkeypatch.setattr(Cover, "_visited", fault)
    for left, right in (("n <= m or n > m", ""), ("n <= m, m - n < w", "n <= m"), ALIKE[0]):
        run = of_plan(facts(left), ranged(planned(facts(left))[1].plan))
        found = run(given(), {"w": 19}, TILES[1], 0)
        pairs = zip(found, expected[right], strict=True)
        assert any(not np.array_equal(a, b) for a, b in pairs), left


PAIRS = (
    ("(n <= m and m - n < w)", "(m - n < w and n <= m)"),
    ("(n <= m and (m - n < w or n < b))", "((n < b or m - n < w) and n <= m)"),
    ("not (not (n <= m + a))", "n <= m + a"),
    ("0 <= m - n < w", "not (n > m or m - n >= w)"),
    ("abs(m - n) < w", "(n < m + w and m < n + w)"),
)


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_as_many_tiles(left: str, right: str) -> None:
    """What is written otherwise goes to as many tiles."""
    assert tried(left, 2, 6).tally == tried(right, 2, 6).tally


# What a call costs

CALLED = ("sliding_window_sinks", "packed_offsets", "neighbourhood_2d_flat")


@cache
def plans(name: str) -> tuple[Plan, Plan]:
    """The plan of an example, and the one for devices."""
    found = attnc.check(examples.text(name)).select()
    return planned(found)[1].plan, for_device(found)


def over_tiles(text: str) -> list[str]:
    """What the launch of a module does more often than once for each kernel."""
    found = parsed(text)
    wrong: list[str] = []
    launched: list[str] = []
    for node in ast.walk(found.launch):
        match node:
            case ast.While() | ast.ListComp() | ast.GeneratorExp() | ast.DictComp() | ast.SetComp():
                wrong.append(ast.unparse(node))
            case ast.For(iter=over, body=body):
                starts = any(isinstance(n, ast.With) for s in body for n in ast.walk(s))
                if starts or not isinstance(over, ast.Tuple):  # of tiles to choose from
                    wrong.append(ast.unparse(node))
            case ast.Call(func=ast.Subscript(value=ast.Name(id=kernel))):
                launched.append(kernel)
            case _:
                pass
    assert sorted(launched) == sorted(k.name for k in found.kernels)
    return wrong


@pytest.mark.parametrize("name", CALLED)
def test_the_host_knows_no_tiles(name: str) -> None:
    """Kernels start once each; nothing goes over tiles, and nothing is stored for the ranges."""
    plain, device = plans(name)
    text = emit_plan(device, Options())
    assert over_tiles(text) == []
    slow = text.replace("    if _programs:", "    for _ in range(M):")
    assert over_tiles(slow) != []
    assert [b.name for b in device.buffers] == [b.name for b in plain.buffers]
    assert ranged(plain).buffers == plain.buffers


def test_the_examples_have_ranges() -> None:
    """The test above is about something."""
    for name in CALLED:
        body = [s for k in ranged(plans(name)[0]).kernels for s in statements(k.body)]
        assert any(isinstance(s, Loop) and len(s.ranges) > 1 for s in body), name
