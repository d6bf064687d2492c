"""The parts of `make gpu`: workers, tiles that are set, figures."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import attnc
from benchmarks.gpu import patterns, report, sparse, sweep
from benchmarks.gpu.modules import Tiling, compiled, retiled
from benchmarks.gpu.pool import RESTART, Pool
from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.workloads import FAMILIES, workloads
from tests.support import ROOT

# Workers


def writer(body: str) -> Any:
    """The line of a worker that does this with `number`, its first item, and `put`."""
    head = (
        "import json, os, sys, time\nnumber = int(sys.argv[2])\nfile = open(sys.argv[1], 'a')\n"
        "def put(n): print(json.dumps({'number': n}), file=file, flush=True)\n"
    )
    return lambda task, out, start: [sys.executable, "-c", head + body, str(out), str(start)]


def worked(tmp_path: Path, body: str, patience: float = 60, seconds: float = 60) -> Any:
    tasks = [Task("gallery", "it", Settings(str(tmp_path), str(tmp_path)))]
    return Pool(1, time.monotonic() + seconds, patience, writer(body)).run(tasks)


def test_a_worker_that_dies_loses_one_item(tmp_path: Path) -> None:
    body = "for n in range(number, 4):\n    os.abort() if n == 1 else put(n)\n"
    found = worked(tmp_path, body)
    assert [r["number"] for r in found] == [0, 1, 2, 3]
    assert ["error" in r for r in found] == [False, True, False, False]
    assert "ended with -6" in found[1]["error"]


def test_a_worker_that_hangs_loses_one_item(tmp_path: Path) -> None:
    body = "for n in range(number, 4):\n    time.sleep(60) if n == 2 else put(n)\n"
    found = worked(tmp_path, body, patience=1)
    assert [r["number"] for r in found] == [0, 1, 2, 3]
    assert "no answer" in found[2]["error"]


def test_a_lost_device_is_begun_anew_after_its_item(tmp_path: Path) -> None:
    body = f"for n in range(number, 3):\n    put(n)\n    n == 1 and sys.exit({RESTART})\n"
    found = worked(tmp_path, body)
    assert [r["number"] for r in found] == [0, 1, 2]
    assert not any("error" in r for r in found)


def test_what_no_time_was_left_for_is_said(tmp_path: Path) -> None:
    found = worked(tmp_path, "put(0)\ntime.sleep(60)\n", seconds=1)
    assert found[0]["number"] == 0
    assert found[-1]["unfinished"]
    assert report.counts(found)["unfinished"] == 1


# Tiles

TEXT = """
def _launch(M):
    é, _stages = "é", 0
    for _rows, _others, _warps in ((128, 64, 4), (64,
        32, 8)):
        _stages = _fitting(_rows, _others)
        if _stages:
            break
    return _rows, _others, _warps, _stages


def _fitting(rows, others):
    return 3 if rows < 128 else 0
"""


def launched(text: str) -> Any:
    names: dict[str, Any] = {}
    exec(text, names)
    return names["_launch"](1)


def test_tiles_are_set() -> None:
    assert launched(TEXT) == (64, 32, 8, 3)
    changed = retiled(TEXT, Tiling(256, 16, 2, 5))
    assert launched(changed) == (256, 16, 2, 5)
    assert launched(retiled(TEXT, Tiling(rows=32))) == (32, 64, 4, 3)
    lines = [x for x in changed.splitlines() if x.startswith("def _fitting(rows")]
    assert changed.splitlines().index(lines[0]) == TEXT.splitlines().index(lines[0])
    with pytest.raises(ValueError, match="does not choose tiles"):
        retiled("def _launch(M):\n    return M\n", Tiling(32))


def test_what_was_compiled_is_counted() -> None:
    """As Triton keeps it: for each device the kernels first."""
    one = SimpleNamespace(n_regs=168, n_spills=0, metadata=SimpleNamespace(shared=1024))
    kernel = SimpleNamespace(device_caches={0: ({"a": one, "b": one}, {}, None, None, None)})
    found = compiled({"_k0": kernel, "_larger": SimpleNamespace(device_caches={}), "M": 1})
    assert [f["kernel"] for f in found] == ["_k0", "_k0"]
    assert (found[0]["registers"], found[0]["spills"], found[0]["shared"]) == (168, 0, 1024)


# Figures


def test_work_is_counted() -> None:
    dense = next(iter(workloads("dense", dry=False)))
    assert (dense.batch, dense.heads, dense.keys, dense.size) == (16, 16, 1024, 128)
    assert dense.flops == 4 * 16 * 16 * 1024**2 * 128
    assert next(iter(workloads("causal", dry=False))).flops == dense.flops / 2
    longest = list(workloads("dense", dry=False))[4]
    assert (longest.batch, longest.keys) == (1, 16_384)
    decode = next(iter(workloads("decode", dry=False)))
    assert (decode.queries, decode.heads, decode.key_heads) == (1, 16, 4)
    assert decode.bytes == 2 * decode.batch * 128 * 2 * (16 + 4 * 1024)
    assert all(w.batch * w.keys <= 65_536 for f in FAMILIES for w in workloads(f, dry=False))


def test_ratios_are_of_those_that_compute_the_same() -> None:
    def times(**found: tuple[float, bool]) -> Any:
        return {"contestants": {k: {"median": t, "same": s} for k, (t, s) in found.items()}}

    both = times(attnc=(2.0, True), FlexAttention=(3.0, True), flash=(1.0, True))
    assert report.ratios(both) == {"flex": 1.5, "best": 0.5}
    other = times(attnc=(2.0, True), FlexAttention=(3.0, False))
    assert report.ratios(other) == {}
    assert report.ratios({"contestants": {"attnc": {"error": "x"}}}) == {}


@pytest.mark.parametrize("name", patterns.PATTERNS)
def test_others_are_told_the_same_condition(name: str) -> None:
    """What FlexAttention is told, against the example as it is written."""
    w = next(iter(patterns.calls(name, dry=True)))
    tensors = patterns.arguments(w, torch.device("cpu"))
    heads = [torch.arange(n) for n in (w.batch, w.heads, w.keys, w.keys)]
    here = patterns.seen(w, tensors[3:])(*torch.meshgrid(*heads, indexing="ij"))
    assert 0 < here.float().mean() < 1
    group = w.heads // w.key_heads
    q, k, v = tensors[0], *(x.repeat_interleave(group, 1) for x in tensors[1:3])
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=here)
    text = (ROOT / "examples" / f"{patterns.PATTERNS[name].example}.attn").read_text("utf-8")
    kernel = attnc.kernel(text, backend="numpy")
    found = kernel(*tensors, **w.parameters)
    found = found[0] if isinstance(found, tuple) else found
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_shares_are_counted() -> None:
    """By hand: the causal triangle in tiles that are the whole, and a window as wide as all."""
    w = replace(next(iter(patterns.calls("causal", dry=True))), keys=256)
    counted = sparse.counted(w, [], torch.device("cpu"))
    assert counted["pairs"] == 257 / 512
    assert counted["tiles"] == (2 + 4) / 8
    assert counted["flops"] == 4 * w.batch * w.heads * w.size * 257 * 128
    first, quarter, *_ = patterns.calls(patterns.SHARES, dry=False)
    assert (first.share, quarter.share) == ("1/1", "1/4")
    assert sparse.counted(replace(first, keys=256), [], torch.device("cpu"))["tiles"] == 1


def test_windows_are_compared_with_all_tiles() -> None:
    def record(share: str, keys: int, ms: float, tiles: float) -> Any:
        w = {"share": share, "keys": keys, "label": share, "tiles": tiles}
        return {"timed": True, "workload": w, "contestants": {"attnc": {"median": ms}}}

    made = [record("1/1", 64, 8.0, 1.0), record("1/4", 64, 2.5, 0.25), record("1/4", 8, 1.0, 0.25)]
    found = report.shares([*made, {"timed": True, **made[0], "workload": {"share": ""}}])
    assert [(f["label"], f["time"]) for f in found] == [("1/1", 1.0), ("1/4", 0.3125)]
    assert "1.25" in report.share_table(made)


def test_the_slowest_comes_first() -> None:
    def record(name: str, ours: float) -> Any:
        w = {"label": name, "keys": 4096, "queries": 4096, "kind": "bf16"}
        both = {"attnc": {"median": ours}, "FlexAttention": {"median": 1.0}}
        return {"timed": True, "workload": w, "contestants": both}

    found = sweep.slowest([record("a", 1.0), record("b", 3.0), record("c", 2.0)])
    assert [w["label"] for w in found] == ["b", "c", "a"]
