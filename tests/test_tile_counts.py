"""Tiles that are visited, against counts by hand, tile by tile and point by point."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.cli import main
from attnc.errors import Source, UsageError
from attnc.grammar.tiles import parse
from attnc.ir.evaluation import evaluate
from attnc.ir.tiles import Plan
from attnc.passes.analysis import tile_along, tile_functions, tile_presence
from attnc.passes.analysis.tile_counts import TileCounts, tile_counts
from attnc.terminal import explanation_text
from tests import examples

PLANS = Path(__file__).parent / "plans"
Counted = tuple[int, int, int, int, int]
"""All, visited, full, minimum, full possible."""


def read(name: str, *changes: tuple[str, str]) -> Plan:
    """A plan that was written by hand, with some of its text replaced."""
    text = (PLANS / f"{name}.plan").read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return parse(Source(f"{name}.plan", text))


def counts(plan: Plan, values: Mapping[str, Any], tiles: Mapping[str, int]) -> list[TileCounts]:
    known = dict(values)
    for let in plan.lets:
        found = evaluate(let.value, known)
        assert found is not None
        known[let.name] = found
    every = [tile_counts(plan, kernel, known, tiles) for kernel in plan.kernels]
    return [c for c in every if c is not None]


def numbers(found: TileCounts) -> Counted:
    assert found.why == []
    every = (found.all, found.visited, found.full, found.minimum, found.full_possible)
    assert None not in every
    return every  # type: ignore[return-value]


def blocks(mask: np.ndarray, rows: Iterable[tuple[int, int]], tile: int) -> tuple[int, int]:
    """Tiles with a point, and with nothing else; `rows` are those of each program."""
    some = every = 0
    for low, high in rows:
        for start in range(0, mask.shape[1], tile):
            part = mask[low:high, start : start + tile]
            some += bool(part.any())
            every += bool(part.all()) and part.shape[1] == tile
    return some, every


# A window with sinks, grouped heads in one axis: bounds are lets of low, high and tile


def window(values: dict[str, int], tiles: dict[str, int]) -> Counted:
    M, N, G, w, sinks = (values[n] for n in ("M", "N", "G", "window", "sinks"))
    x, n, off = tiles["x"], tiles["n"], N - M
    rows = [(low, min(low + x, M * G)) for low in range(0, M * G, x)]
    visited = full = 0
    for first, end in rows:
        low, high = first // G, (end - 1) // G
        hi = max(0, min(N, high + off + 1))
        z = min(-(-max(sinks, 0) // n), -(-hi // n)) * n
        w0 = max(z, (low + off - w + 1) // n * n)
        full0 = max(w0, -(-(high + off - w + 1) // n) * n)
        full1 = max(full0, min(N, low + off + 1) // n * n)
        ranges = [(0, z), (w0, min(full0, hi)), (full0, full1), (full1, hi)]
        lengths = [len(range(a, b, n)) for a, b in ranges]
        visited, full = visited + sum(lengths), full + lengths[2]
    m, k = np.arange(M * G)[:, None] // G + off, np.arange(N)
    mask = (k <= m) & ((m - k < w) | (k < sinks))
    times = values["B"] * values["J"]
    found = (len(rows) * -(-N // n), visited, full, *blocks(mask, rows, n))
    return tuple(times * f for f in found)  # type: ignore[return-value]


def windows(seed: int) -> tuple[dict[str, int], dict[str, int]]:
    rng = np.random.default_rng(seed)
    M, N, G = (int(rng.integers(1, k)) for k in (40, 60, 4))
    values = {"M": M, "N": N, "G": G, "J": 2, "B": 3, "H": 2 * G, "E": 8, "F": 8}
    values |= {"window": int(rng.integers(1, 30)), "sinks": int(rng.integers(-1, 9))}
    return values, {"x": int(rng.integers(1, 17)), "n": int(rng.integers(1, 17))}


def seen(plan: Plan, seeds: Iterable[int] = range(30)) -> bool:
    """Whether some count is not what it is by hand."""
    for seed in seeds:
        values, tiles = windows(seed)
        (found,) = counts(plan, values, tiles)
        if numbers(found) != window(values, tiles):
            return True
    return False


def test_a_window_with_sinks() -> None:
    plan = read("window_sinks")
    assert not seen(plan)
    values, _ = windows(3)
    far = {**values, "M": 64 * 65536 // 2, "N": 10**9, "G": 2, "H": 4, "window": 4000}
    (found,) = counts(plan, far, {"x": 64, "n": 64})  # 65,536 programs for each head and batch
    assert found.all is not None
    assert found.visited is not None
    assert 6 * 65536 * 62 < found.visited < 6 * 65536 * 66
    assert found.minimum is None
    assert "points to look at" in found.why[0]


WRONG_RANGES = [
    ("ceildiv(max(sinks, 0), tile(n))", "max(sinks, 0) // tile(n)"),
    ("(low(m) + off - window + 1) //", "(low(m) + off - window) //"),
    ("ceildiv(high(m) + off - window + 1, tile(n))", "ceildiv(high(m) + off - window, tile(n))"),
    ("min(N, low(m) + off + 1)", "min(N, high(m) + off + 1)"),
    ("min(N, high(m) + off + 1))", "min(N, low(m) + off + 1))"),
    ("[full0, full1) full", "[full0, full1) partial"),
]


@pytest.mark.parametrize(("old", "new"), WRONG_RANGES)
def test_other_ranges_are_other_counts(old: str, new: str) -> None:
    assert seen(read("window_sinks", (old, new)))


def truncated(a: Any, b: Any) -> Any:
    return np.trunc(np.true_divide(a, b)).astype(np.int64)


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "division truncates": lambda p: p.setitem(tile_functions.BINARY, "//", truncated),  # type: ignore[arg-type]
    "lanes beyond the extent count": lambda p: p.setattr(
        tile_along.Along, "lanes", lambda self: self.tile - 1
    ),
    "a last tile may be full": lambda p: p.setattr(
        tile_presence, "_joined", lambda a, b: b if a.shape == b.shape else a & b
    ),
    "one condition is left out": lambda p: p.setattr(
        tile_presence, "conjuncts", lambda e: list(_conjuncts(e))[:-1]
    ),
}
_conjuncts = tile_presence.conjuncts


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)
    assert seen(read("window_sinks")) or other(parse(Source("causal.plan", CAUSAL)))


# A loop in a loop; steps


def near(values: dict[str, int], tiles: dict[str, int]) -> Counted:
    H, W, r, p = values["H"], values["W"], values["r"], tiles["p"]
    v, step = tiles["v"], 2
    rows = [(low, min(low + p, H * W)) for low in range(0, H * W, p)]
    visited = some = every = 0
    for first, end in rows:
        at = np.arange(first, end)
        y, x = at // W, at % W
        inner = len(range(max(0, min(x) - r), min(W, max(x) + r + 1), v))
        visited += inner * len(range(max(0, min(y) - r) // 2 * 2, min(H, max(y) + r + 1), step))
        for u in range(H):
            here = np.abs(y - u) <= r
            mask = here[:, None] & (np.abs(x[:, None] - np.arange(W)) <= r)
            found = blocks(mask, [(0, len(at))], v)
            some, every = some + found[0], every + found[1]
    return len(rows) * H * -(-W // v), visited, 0, some, every


def test_a_neighbourhood() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        H, W, r = (int(rng.integers(1, k)) for k in (9, 9, 4))
        tiles = {"p": int(rng.integers(1, 12)), "v": int(rng.integers(1, 6))}
        values = {"H": H, "W": W, "P": H * W, "r": r, "E": 4, "F": 4}
        (found,) = counts(read("neighbourhood"), values, tiles)
        assert numbers(found) == near(values, tiles)


# Rounds that are left out; conditions that hold nowhere; nothing at all

CAUSAL = """\
plan causal(X[M,N]) -> O[M]:
    kernel k0
        axis m par M
        axis n stream N
        for n in [0, max(0, min(N, high(m) + 1))) partial where low(n) // tile(n) % R != 1
            carry s[m]: float = 0
            x[m,n]: float = load X[m,n] where m < M and n < N
            y[m]: float = reduce[sum,n](x) where n < N and m < N and n <= m and (n-m) // 4 % R != 1
            next s = s + y
        store O[m] = s
            else 0, over m < M
""".replace("(X[M,N])", "(X[M,N], R: int)")


def other(plan: Plan) -> bool:
    """Whether some count of `CAUSAL` is not what it is by hand."""
    tiles = {"m": 4, "n": 4}
    for M, N, R in ((17, 23, 3), (16, 16, 2), (8, 24, 5), (12, 12, 1), (0, 8, 3), (8, 0, 3)):
        (found,) = counts(plan, {"M": M, "N": N, "R": R}, tiles)
        m, n = np.arange(M)[:, None], np.arange(N)
        mask = (n <= m) & ((n - m) // 4 % R != 1) & (m < N)
        rows = [(low, min(low + 4, M)) for low in range(0, M, 4)]
        visited = sum(t // 4 % R != 1 for _, end in rows for t in range(0, max(0, min(N, end)), 4))
        expected = (len(rows) * -(-N // 4), visited, 0, *blocks(mask, rows, 4))
        if numbers(found) != expected:
            return True
    return False


def test_rounds_that_are_left_out() -> None:
    plan = parse(Source("causal.plan", CAUSAL))
    assert not other(plan)
    text = CAUSAL.replace(" where low(n)", " where high(n)")
    (found,) = counts(parse(Source("p", text)), {"M": 17, "N": 23, "R": 3}, {"m": 4, "n": 3})
    by_hand = [min(t + 2, min(23, e) - 1) for e in (4, 8, 12, 16, 17) for t in range(0, e, 3)]
    assert found.visited == sum(h // 3 % 3 != 1 for h in by_hand)


def test_what_is_not_counted_says_why() -> None:
    plan = read("paged")
    values = {"B": 2, "E": 4, "P": 3, "R": 4, "F": 4, "X": 5, "top": 7}
    (found,) = counts(plan, values, {"u": 2})
    assert (found.all, found.visited, found.minimum) == (8, 8, None)
    assert found.why == ["what is needed: it depends on the values in I, which a kernel computes"]
    (split,) = [c for c in counts(read("split_keys"), SPLIT, {"n": 4}) if c.minimum is None][:1]
    assert "it depends on" in split.why[0]


SPLIT = {"B": 1, "M": 8, "N": 16, "E": 4, "F": 4, "pieces": 2, "H": 1, "S": 2}


# What `explain` says


def tiles_of(name: str, data: Mapping[str, Any] | None = None, **sizes: int) -> dict[str, Any]:
    facts = attnc.check(examples.text(name)).select()
    tiles = {"m": 16, "n": 16}
    found: Any = attnc.explain(facts, sizes, tiles=tiles, data=data)
    (kernel,) = found["compiled"]["kernels"]
    shown = explanation_text(found)
    assert f"Tiles that {kernel['name']} visits, of m = 16, n = 16" in shown
    return dict(kernel["tiles"])


def test_examples_visit_what_they_need() -> None:
    """Whatever ranges are derived: never less than what is needed, never more than all."""
    sizes = {"M": 100, "N": 120}
    m, n = np.arange(100)[:, None] + 20, np.arange(120)
    rows = [(low, low + 16) for low in range(0, 100, 16)]
    masks = {
        "causal": (n <= m, {}),
        "gqa_causal": (n <= m, {"H": 6, "J": 2}),
        "sliding_window_sinks": ((n <= m) & ((m - n < 30) | (n < 4)), {"window": 30}),
    }
    for name, (mask, more) in masks.items():
        found = tiles_of(name, **sizes, **more)
        some, every = (more.get("H", 1) * c for c in blocks(mask, rows, 16))
        assert (found["minimum"], found["full_possible"]) == (some, every)
        assert found["all"] == 7 * 8 * more.get("H", 1)
        assert some <= found["visited"] <= found["all"]
        assert found["full"] + found["partial"] == found["visited"]
        assert found["full"] <= every
        assert found["saved"] == round(1 - found["visited"] / found["all"], 4)
        assert (found["tile"], found["why"]) == ({"m": 16, "n": 16}, None)


def test_data_decides() -> None:
    found = tiles_of("packed_documents", M=128, N=128)
    assert found["minimum"] is None
    assert "depends on the values in doc" in found["why"]
    doc = np.repeat([0, 1, -1], [32, 64, 32]).reshape(1, 128).astype(np.int32)
    found = tiles_of("packed_documents", {"doc": doc}, M=128)
    assert (found["minimum"], found["full_possible"]) == (3 + 10, 1 + 6)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "doc.npy", np.repeat([0, 1], 64).reshape(1, 128).astype(np.int32))
    spec = str(examples.ROOT / "examples" / "packed_documents.attn")
    options = ["--size", "M=128", "--tile", "m=32", "--tile", "n=32,h=1", "--json"]
    data = ["--data", f"doc={tmp_path / 'doc.npy'}"]
    assert main(["explain", spec, *options, *data]) == 0
    found = json.loads(capsys.readouterr().out)
    tiles = found["compiled"]["kernels"][0]["tiles"]
    assert (tiles["tile"], tiles["minimum"]) == ({"h": 1, "m": 32, "n": 32}, 6)
    for wrong, message in (
        (["--tile", "m=-1"], "--tile m=-1: the size of a tile is a number"),
        (["--tile", "m"], "--tile takes NAME=VALUE, not 'm'"),
        (["--size", "N=4", *data], "'doc' has 128 along N"),
    ):
        assert main(["explain", spec, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_sizes_that_do_not_fit() -> None:
    facts = attnc.check(examples.text("packed_documents")).select()
    for sizes, why in (
        ({"N": 400}, "no value is given for M"),
        ({"M": 400, "N": 500}, "these sizes break 'require M == N'"),
    ):
        found: Any = attnc.explain(facts, sizes)
        tiles = found["compiled"]["kernels"][0]["tiles"]
        assert (tiles["visited"], tiles["why"]) == (None, why)
        assert f"  k0  {why}" in explanation_text(found)
    with pytest.raises(UsageError, match="no kernel of 'packed_documents' has tiles along 'k'"):
        attnc.explain(facts, {}, tiles={"k": 4})
    with pytest.raises(UsageError, match="from 1 to"):
        attnc.explain(facts, {}, tiles={"m": 0})
    with pytest.raises(UsageError, match="'doc' has 3 along N"):
        attnc.explain(facts, {"N": 4}, data={"doc": np.zeros((1, 3), np.int32)})


def test_what_streams_nothing_has_no_tiles() -> None:
    facts = attnc.check("cascade c(X[M,N]) -> O[M,N]:\n    O[m,n] = X[m,n] + 1\n").select()
    found: Any = attnc.explain(facts, {"M": 4, "N": 4})
    assert [k["tiles"] for k in found["compiled"]["kernels"]] == [None]
    assert "Tiles that" not in explanation_text(found)


def test_a_kernel_is_counted_as_it_is() -> None:
    """Of two kernels each has its own tiles; what nothing looks at needs nothing."""
    plan = read("split_keys")
    assert [k.name for k in plan.kernels] == ["part", "merge"]
    first, second = (replace(plan, kernels=(k,)) for k in plan.kernels)
    assert len(counts(first, SPLIT, {})) == len(counts(second, SPLIT, {})) == 1
