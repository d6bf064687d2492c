"""`make gpu` without a GPU: a dry run of all of it, and what it must notice.

Seeded faults: a kernel that is wrong, one that is never the same, lengths that are constants of a
kernel, results that nobody else finds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import emitting, report, sweep
from benchmarks.gpu.settings import Settings, Task
from benchmarks.gpu.store import Expected, compare, expected_of, inputs_of, read_index
from benchmarks.gpu.workloads import FAMILIES
from tests.support import ROOT

pytest.importorskip("triton")


def dry(out: Path, *arguments: str) -> Any:
    """A dry run in a process of its own: what it prints, and gpu.json."""
    line = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", "--dry-run", "--out", str(out)]
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*line, *arguments], cwd=ROOT, env=paths, capture_output=True, text=True, timeout=300
    )
    assert (out / "gpu.json").exists(), done.stderr
    return done, json.loads((out / "gpu.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("gpu")
    done, found = dry(out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout, found


@pytest.mark.slow
def test_dry_run(run: Any) -> None:
    out, printed, found = run
    assert found["schema"] == 1
    assert found["dry"]
    assert found["fresh"]
    assert found["machine"]["device"] == "Triton's interpreter"
    assert list(found["seconds"]) == list(found["sections"])
    for name in report.CHECKS:
        others = {k: n for k, n in found["checks"][name].items() if k != "ok"}
        assert not any(others.values()), name
    cases = found["sections"]["gallery"]
    assert {c["kind"] for c in cases} == {"f16", "f32"}
    assert any(c["wide"] for c in cases)
    assert 0 < max(c["ratio"] for c in cases) <= 1
    assert all(r["new"] == 0 < r["compiled"] for r in found["sections"]["edges"] if "new" in r)
    speed = found["sections"]["speed"]
    assert [r["subject"] for r in speed] == list(FAMILIES)
    for record in speed:
        for name, one in record["contestants"].items():
            assert one["median"] > 0, name
            assert one["same"] == ("apart" in one) or name == "attnc" or not one["same"]
            assert one.get("apart", 0) < 1e-5, (record["subject"], name)
    assert {"flex", "best"} <= set(speed[0]["ratios"])
    sparse = found["sections"]["sparse"]
    assert [r["subject"] for r in sparse] == ["window with sinks", "shares", "shares"]
    for record in sparse[:1]:
        flex = record["contestants"]["FlexAttention"]
        assert flex["apart"] < 1e-5
        assert flex["mask"] > 0
        assert record["ratios"]["flex with mask"] > record["ratios"]["flex"] > 0
        assert 0 < record["workload"]["pairs"] < 1
    tiles = [r["tiles"] for r in found["sections"]["sweep"]]
    assert tiles[0] is None
    assert len(tiles) == len(sweep.tilings(dry=True))
    text = (out / "gpu.txt").read_text(encoding="utf-8")
    assert text in printed
    assert "sink logits f32 16" in text
    assert "window with sinks 48" in text
    assert "shares 1/4 48" in text
    assert (out / "gpu.png").read_bytes().startswith(b"\x89PNG")


# Seeded faults


def damaged(run: Any, tmp_path: Path, name: str, old: str, new: str, section: str) -> Any:
    """The checks of a section for one kernel with a fault."""
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    for path in (run[0] / "dry-kernels").iterdir():
        (kernels / path.name).write_bytes(path.read_bytes())
    path = kernels / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) > 0
    path.write_text(text.replace(old, new), encoding="utf-8")
    task = Task(section, name, Settings(str(kernels), str(tmp_path), dry=True, repeats=2))
    out = tmp_path / "records.jsonl"
    line = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu.worker", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1"}
    subprocess.run([*line, task.to_json()], cwd=ROOT, env=environment, check=True, timeout=300)
    return [json.loads(x) for x in out.read_text(encoding="utf-8").splitlines()]


def test_a_wrong_kernel_is_noticed(run: Any, tmp_path: Path) -> None:
    """Weights that are a thousandth too large, in one of the two products."""
    old, new = "p.to(TYPE)", "(p * 1.001).to(TYPE)"
    found = damaged(run, tmp_path, "causal", old, new, "gallery")
    wide = next(r for r in found if r["wide"])
    assert not wide["ok"]
    assert wide["ratio"] > 2
    assert wide["over"] > 0
    assert report.failed({"gallery": found})


def test_a_kernel_that_differs_is_noticed(run: Any, tmp_path: Path) -> None:
    """Each call returns something else; so do other depths of the pipeline."""
    old = "return _launch(*_check(Q, K, V))"
    # so much that no two calls are likely to be rounded to the same
    new = "return _launch(*_check(Q, K, V)) * (1 + 1e-2 * torch.rand(()))"
    found = damaged(run, tmp_path, "causal", old, new, "steady")
    by = {r["item"]: r for r in found}
    assert by["repeat"]["different"] > 0
    assert not by["repeat"]["ok"]
    assert not by["streams"]["ok"]
    assert not by["stages 3"]["ok"]


def test_a_result_that_others_do_not_find_is_noticed(run: Any, tmp_path: Path) -> None:
    """The sum of weights is a twentieth too large, so that all but their own kernel differ."""
    old, new = "return _launch(*_check(Q, K, V))", "return _launch(*_check(Q, K, V)) / 1.05"
    (found,) = damaged(run, tmp_path, "dense", old, new, "speed")
    assert found["contestants"]["FlexAttention"]["apart"] > 0.01
    assert not found["ok"]
    assert "FlexAttention is 0.0" in report.failures([found])


def test_lengths_that_are_constants_are_noticed(tmp_path: Path) -> None:
    text = (
        "class K:\n    def __getitem__(self, grid):\n        return lambda *a, **k: None\n"
        "_k0 = K()\n__all__ = ['f']\n"
        "def f(Q, K, V):\n    _k0[(1,)](Q, N=K.shape[2])\n    return V[:, :, :1] * Q[:, :, :, :1]\n"
    )
    for name in ("causal", "dense"):
        changed = text if name == "causal" else text.replace("N=K.shape[2]", "N_TILE=16")
        (tmp_path / f"{name}.py").write_text(changed, encoding="utf-8")
    from benchmarks.gpu import edges

    settings = Settings(str(tmp_path), str(tmp_path), dry=True)
    found = {
        name: edges.run(Task("edges", f"lengths of {name}", settings), "check")
        for name in ("causal", "dense")
    }
    assert found["causal"]["new"] > 0
    assert not found["causal"]["ok"]
    assert found["dense"]["ok"]


def test_no_bound_no_judgement() -> None:
    value = np.array([1.0, 2.0, np.inf, -np.inf, np.nan])
    wild = np.array([False, False, True, False, True])
    bound = np.array([0.0, 0.5, 0.0, 0.0, 0.0], np.float32)
    expected = Expected(value, bound, wild)
    assert compare(expected, np.array([1.0, 2.5, np.nan, -np.inf, np.inf])).ratio == 1
    assert compare(expected, np.array([1.0, 2.5, 7.0, -np.inf, np.inf])).ratio == np.inf
    assert compare(expected, np.array([1.0, 4.0, np.nan, -np.inf, np.inf])).over == 1
    assert compare(expected, np.array([1.0, 2.0, np.nan, np.nan, np.inf])).ratio == np.inf
    assert compare(expected, np.array([1.1, 2.0, np.nan, -np.inf, np.inf])).ratio == np.inf
    assert compare(expected, np.array([np.nan, 2.0, np.nan, -np.inf, np.inf])).ratio == np.inf
    assert compare(expected, value[:2]).problem
    open_ = Expected(value[:2], np.array([np.inf, 1.0], np.float32), wild[:2])
    assert compare(open_, np.array([9.0, 2.0])).undecided == 0.5


def test_what_is_stored_is_what_the_judge_says(run: Any) -> None:
    """The same bound as tests/acceptance/judge.py, to a rounding upwards."""
    from tests.acceptance.judge import judge
    from tests.test_gallery import facts

    folder = str(run[0] / "dry-kernels")
    cases = read_index(folder).examples["causal"].cases
    number = next(i for i, c in enumerate(cases) if c.wide)
    inputs = inputs_of(folder, "causal", number)
    (expected,) = expected_of(folder, "causal", number).values()
    rng = np.random.default_rng(0)
    found = expected.value * (1 + 1e-6 * rng.standard_normal(expected.value.shape))
    verdict = judge(facts("causal"), inputs, {}, found.astype(np.float32), matrix_type="f32")
    np.testing.assert_array_equal(expected.value, verdict.outputs[0].expected)
    np.testing.assert_allclose(expected.bound, verdict.outputs[0].bound, rtol=1e-6)
    assert np.all(expected.bound >= verdict.outputs[0].bound)
    ratio = compare(expected, found.astype(np.float32)).ratio
    assert ratio == pytest.approx(verdict.ratio, rel=1e-6)


def test_a_machine_without_a_parser_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.gpu import __main__ as command

    monkeypatch.setattr(emitting, "able", lambda: False)
    with pytest.raises(SystemExit, match="make gpu-kernels"):
        command.main(["--out", str(tmp_path), "--kernels", str(tmp_path / "none")])
