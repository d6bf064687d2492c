"""The benchmark of CPUs: it sees wrong results, and tells which goals are met."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("tvm")

from benchmarks.cpu import __main__ as bench
from benchmarks.cpu import contest, goals
from benchmarks.cpu.cases import CASES, Workload, arguments, share, workload, workloads
from benchmarks.cpu.contestants import EAGER, SDPA, Contestant, contestants
from benchmarks.cpu.tables import page
from benchmarks.cpu.turns import orders
from benchmarks.gpu.rivals import FLEX
from benchmarks.gpu.speed import OURS


def quickly(w: Workload, tensors: Sequence[Any], *, fault: bool = False) -> dict[str, Contestant]:
    """All but the one that takes long to compile; `fault`: one computes something else."""
    found = {n: one for n, one in contestants(w, tensors).items() if n != FLEX}
    if fault:
        call = found[EAGER].build()
        found[EAGER] = Contestant(lambda: lambda: 1.01 * call())
    return found


def test_a_run_with_a_wrong_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "workloads", lambda *_, **__: [workload("causal", "f32", 64, 64)])
    out = tmp_path / "cpu.json"
    words = ["--no-cold", "--quick", "--threads", "2", "--out", str(out)]
    faulty = partial(contest.contest, others=partial(quickly, fault=True))
    monkeypatch.setattr(contest, "contest", faulty)
    assert bench.main(words) == 1
    (record,) = json.loads(out.read_text(encoding="utf-8"))["records"]
    found = record["contestants"]
    assert set(found) == {OURS, SDPA, EAGER}
    assert found[EAGER]["wrong"]
    assert "ratio" not in found[EAGER]
    assert not found[SDPA]["wrong"]
    assert found[SDPA]["ratio"] == found[SDPA]["median"] / found[OURS]["median"]
    assert "WRONG" in out.with_suffix(".md").read_text(encoding="utf-8")
    assert out.with_suffix(".png").stat().st_size > 1_000
    right = {**record, "contestants": {n: found[n] for n in (OURS, SDPA)}, "ok": True}
    monkeypatch.setattr(contest, "contest", lambda *_: right)
    assert bench.main(words) == 0
    assert "WRONG" not in out.with_suffix(".md").read_text(encoding="utf-8")


def test_each_comes_after_each_other_as_often() -> None:
    def apart(rounds: Iterable[Sequence[str]]) -> int:
        """How far the numbers of two of the pairs are apart that follow each other."""
        found = Counter(pairwise(chain.from_iterable(rounds)))
        return max(found.values()) - min(found[a, b] for a in names for b in names if a != b)

    for names in ("ab", "abc", "abcd", "abcde"):
        rounds = [list(r) for r in islice(orders(names), 40)]
        assert all(sorted(r) == sorted(names) for r in rounds)
        assert apart(rounds) <= 2
        assert all(a != b for a, b in pairwise(chain.from_iterable(rounds)))
    turned = [[*"abcd"[turn % 4 :], *"abcd"[: turn % 4]] for turn in range(40)]
    assert apart(turned) > 20  # each round only begins with another


def test_contestants_compute_the_same() -> None:
    """Without a kernel: those of PyTorch among themselves, for each case."""
    import torch

    for family in CASES:
        w = workload(family, "f32", 128, 48)
        found = quickly(w, arguments(w))
        if SDPA in found:
            torch.testing.assert_close(found[SDPA].build()(), found[EAGER].build()())


def test_pairs_are_counted() -> None:
    def counted(family: str, keys: int) -> float:
        w = workload(family, "f32", 64, keys)
        return share(w, arguments(w)) * w.queries * w.keys

    assert counted("dense", 40) == 1_600
    assert counted("causal", 1_100) == 1_100 * 1_101 / 2
    assert counted("decode", 40) == 40
    assert counted("window with sinks", 64) == sum(
        min(m + 1, 4 + min(max(m - 3, 0), 4)) for m in range(64)
    )


def test_all_cases_take_part_from_the_start() -> None:
    for quick in (False, True):
        found = list(workloads(CASES, quick=quick))
        assert [w.family for w in found[: len(CASES)]] == list(CASES)
        assert len({w.label for w in found}) == len(found)


def made(family: str, kind: str, **ratios: float) -> dict[str, Any]:
    """A record of made-up numbers."""
    w = {"label": f"{family} {kind}", "family": family, "kind": kind}
    return {"workload": w, "contestants": {n: {"ratio": r} for n, r in ratios.items()}}


def test_goals_of_numbers_that_are_made_up() -> None:
    records = [
        made("dense", "f32", FlexAttention=4.5, SDPA=0.7),
        made("causal", "f32", FlexAttention=2.5, SDPA=1.2),
        made("window with sinks", "f32", FlexAttention=9, SDPA=5.9),
        made("dense", "bf16", FlexAttention=2, SDPA=0.49),
        made("causal", "bf16", SDPA=0.1),
    ]
    cold = [
        {"family": f, "contestant": n, "first": first, "memory": {"64": memory, "128": memory}}
        for f, n, first, memory in (
            ("dense", OURS, 0.5, 3 << 20),
            ("dense", FLEX, 12.0, 9 << 20),
            ("causal", OURS, 0.2, 1 << 20),
            ("causal", FLEX, 12.0, 0),
            ("decode", FLEX, 0.1, 0),
        )
    ]
    rows = goals.verdicts(records, cold, threads=2)
    assert [(r["state"], r["least"], r["where"], r["reached"], r["of"]) for r in rows] == [
        ("met", 2.5, "causal f32", 3, 3),
        ("met", 0.7, "dense f32", 2, 2),
        ("missed", 5.9, "window with sinks f32", 0, 1),
        ("aim met", 2, "dense bf16", 1, 1),
        ("missed", 0.49, "dense bf16", 0, 1),
        ("met", 24.0, "dense", 2, 2),
        ("missed", 1.5, "dense 64", 2, 4),
    ]
    none = goals.verdicts([], [], threads=2)
    assert {r["state"] for r in none} == {"not measured"}


def test_what_failed_is_on_the_page() -> None:
    record = made("dense", "f32")
    record["contestants"] = {OURS: {"error": "ValueError: no", "same": True}}
    about = {"cpu": "a", "date": "b", "threads": 2, "load": 0.5}
    about |= {"torch": "1", "tvm": "2", "attnc": "3"}
    cold = {"family": "dense", "contestant": FLEX, "keys": [8], "error": "status 1"}
    run = {"machine": about, "records": [record], "cold": [cold], "contestants": [OURS]}
    text = page(run | {"goals": goals.verdicts([], [], 2), "unfinished": ["decode"]})
    for part in (
        "ValueError: no",
        "first call of dense",
        "status 1",
        "No time was left for: decode",
    ):
        assert part in text
