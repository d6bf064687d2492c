"""The command line for devices: what is emitted, kept, shown and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import attnc
from attnc.backends.options import TARGETS
from attnc.backends.triton.measure import measured
from attnc.cli import main
from attnc.errors import InternalError
from tests.support import ROOT

SOFT = """\
cascade soft(Q[M,E], K[N,E], V[N,F], scale: float = 1.0, top: int) -> O[M,F]:
    S[m,n] = scale * Q[m,e] * K[n,e] where n <= m + top
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
"""
REFUSED = "cascade first(X[N]) -> O[N]:\n    require X[0] > 0\n    O[n] = X[n]\n"
WARNS = "cascade odd(X[N], Y[N]) -> O[N]:\n    O[n] = X[n]\n"


class Result(NamedTuple):
    """What a run of the command gave."""

    status: int
    out: str
    err: str


class Runner:
    """Runs the command in this process, in a folder with a spec and a cache of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, *arguments: str, spec: str = SOFT) -> Result:
        (self.folder / "spec.attn").write_text(spec, encoding="utf-8")
        command, *rest = arguments
        status = main([command, "spec.attn", *rest])
        out, err = self.capsys.readouterr()
        return Result(status, out, err)

    def entries(self) -> int:
        return len(list((self.folder / "cache").rglob("*.entry")))


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Runner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTNC_CACHE", str(tmp_path / "cache"))
    return Runner(tmp_path, capsys)


# What is emitted


def test_what_is_printed(run: Runner) -> None:
    found = run("compile", "--backend", "triton")
    assert (found.status, found.err) == (0, "")
    assert found.out == attnc.compile(SOFT, backend="triton")
    assert "import triton.language as tl" in found.out
    assert "attnc" not in "".join(x for x in found.out.splitlines() if "import" in x)
    fixed = run("compile", "--backend", "triton", "--dtype", "f16", "--static", "top=8")
    assert fixed.out == attnc.compile(SOFT, backend="triton", dtype="f16", static={"top": 8})
    exact = run("compile", "--backend", "triton", "--nonfinite", "exact")
    assert exact.out == attnc.compile(SOFT, backend="triton", nonfinite="exact") != found.out
    less = run("compile", "--backend", "triton", "--precision", "tf32")
    assert less.out == attnc.compile(SOFT, backend="triton", precision="tf32") != found.out
    for target in TARGETS["triton"]:
        there = run("compile", "--backend", "triton", "--target", target)
        assert (there.status, there.out) == (
            0,
            attnc.compile(SOFT, backend="triton", target=target),
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "triton", "--target", "cuda:9"), "no target is called 'cuda:9'; there are"),
        (("--backend", "triton", "--target", "tpu"), "cuda:80, cuda:90, cuda:100, hip:gfx942"),
        (("--backend", "triton", "--nonfinite", "no"), "nonfinite is fast or exact, not 'no'"),
        (("--backend", "triton", "--precision", "f32"), "precision is ieee or tf32, not 'f32'"),
        (("--backend", "triton", "--dtype", "f8"), "no floating type is called 'f8'"),
        (("--backend", "triton", "--size", "Z=4"), "'soft' has no size 'Z'"),
        (("--backend", "triton", "--tiled"), "--tiled is of the backend numpy, not of triton"),
        (("--backend", "triton", "--split", "n=2"), "--split is of --tiled"),
        (("--backend", "tritium"), "no backend is called 'tritium'; there is numpy, triton"),
        (("--target", "cuda:90"), "the backend numpy follows the text; it has no devices"),
        (("--nonfinite", "exact"), "the backend numpy follows the text; it has no devices"),
        (("--print-after", "pack"), "no pass is called 'pack'; there are means,"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, run: Runner) -> None:
    for _ in range(2):  # nothing of it is kept
        found = run("compile", *arguments)
        assert (found.status, found.out) == (2, "")
        assert message in found.err
        assert "Traceback" not in found.err
    assert run.entries() == 0


def test_what_cannot_be_printed_is_refused_at_its_place(run: Runner) -> None:
    found = run("compile", "--backend", "triton", "-o", "out.py", spec=REFUSED)
    assert (found.status, found.out) == (1, "")
    assert found.err.startswith("spec.attn:2:13: error: the backend triton cannot do this yet: ")
    assert "    2 |     require X[0] > 0\n      |             ^^^^\n" in found.err
    assert not (run.folder / "out.py").exists()
    assert run("compile", spec=REFUSED).status == 0


# What is kept


def test_texts_for_devices_are_kept(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("compile", "--backend", "triton", "--size", "N=64")
    assert run.entries() == 1
    monkeypatch.setattr("attnc.api.check", None)  # nothing is compiled again
    again = run("compile", "--backend", "triton", "--size", "N=64", "-o", "out.py")
    assert again == (0, "", "")
    assert (run.folder / "out.py").read_text(encoding="utf-8") == first.out


def test_the_key_holds_what_matters(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each difference that could change the text has an entry of its own."""
    options: list[tuple[str, ...]] = [
        (),
        ("--target", "cuda:90"),
        ("--nonfinite", "exact"),
        ("--precision", "tf32"),
        ("--dtype", "bf16"),
        ("--static", "top=4"),
        ("--static", "top=5"),
        ("--size", "N=64"),
        ("--cascade", "soft"),
    ]
    for _ in range(2):
        for more in options:
            assert run("compile", "--backend", "triton", *more).status == 0
    assert run.entries() == len(options)
    run("compile", "--backend", "triton", spec=SOFT + "# a comment\n")
    assert run.entries() == len(options) + 1
    monkeypatch.setattr("attnc.digest.compiler", lambda: "other")
    run("compile", "--backend", "triton")
    assert run.entries() == len(options) + 2


def test_what_is_not_kept(run: Runner) -> None:
    """What follows the text, what warns, and runs that show or verify passes."""
    run("compile")
    run("compile", "--tiled")
    run("compile", "--backend", "triton", "--verify-passes")
    shown = [run("compile", "--backend", "triton", "--print-after", "pack").err for _ in range(2)]
    assert shown[0] == shown[1] != ""
    warned = [run("compile", "--backend", "triton", spec=WARNS).err for _ in range(2)]
    assert warned[0] == warned[1]
    assert "spec.attn:1:19: warning: " in warned[0]
    assert run.entries() == 0


def test_a_damaged_text_is_made_again(run: Runner) -> None:
    first = run("compile", "--backend", "triton")
    (entry,) = (run.folder / "cache").rglob("*.entry")
    entry.write_bytes(entry.read_bytes().replace(b"tl.dot", b"tl.dod"))
    assert run("compile", "--backend", "triton") == first


# Passes


def test_passes_for_devices_are_shown_in_their_order(run: Runner) -> None:
    found = run("compile", "--backend", "triton", "--nonfinite", "exact", "--print-after", "all")
    heads = [line for line in found.err.splitlines() if line.startswith("# after")]
    names = [h.removeprefix("# after ").split(",")[0].split(":")[0] for h in heads]
    plans = names[names.index("tile") :]
    assert plans[:3] == ["tile", "given", "confine"]
    assert plans.index("extremes") < plans.index("units") < plans.index("matrix")
    assert plans[-2:] == ["pack", "summary"]
    assert "# after given, run 1 of 2" in found.err
    fast = run("compile", "--backend", "triton", "--print-after", "all").err
    assert "# after confine" not in fast
    only = run("compile", "--backend", "triton", "--print-after", "units").err
    assert only.startswith("# after units\nplan soft(")
    assert only.count("# after") == 1


def test_each_pass_for_devices_is_verified(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that leaves lanes unfilled is found wherever it stands, the last one included."""
    for how in ("fast", "exact"):
        found = run("compile", "--backend", "triton", "--nonfinite", how, "--verify-passes")
        assert (found.status, found.err) == (0, "")
    from dataclasses import replace

    from attnc.ir.tiles import Load
    from attnc.passes.tiling.pack import Pack

    def unfilled(_: object, plan: Any) -> Any:
        kernel = plan.kernels[0]
        body = tuple(replace(s, fill=None) if isinstance(s, Load) else s for s in kernel.body)
        return replace(plan, kernels=(replace(kernel, body=body), *plan.kernels[1:]))

    monkeypatch.setattr(Pack, "__call__", unfilled)
    found = run("compile", "--backend", "triton", "--verify-passes")
    assert found.status == 2
    assert "the plan is not valid" in found.err or "after the pass pack" in found.err


# Explaining


AT = ("--size", "M=512,N=512,E=64,F=64", "--dtype", "bf16")


def test_explain_tells_what_kernels_become(run: Runner) -> None:
    found = run("explain", "--target", "cuda:90", *AT, "--json")
    assert (found.status, found.err) == (0, "")
    device = json.loads(found.out)["device"]
    assert (device["target"], device["dtype"]) == ("cuda:90", "bf16")
    assert device["sizes"] == {"E": 64, "F": 64, "M": 512, "N": 512}
    assert device["parameters"] == {"top": 256}
    (launch,) = device["launches"]
    assert launch["tiles"]["e"] == launch["tiles"]["f"] == 64
    assert launch["programs"] == -(-512 // launch["tiles"]["m"])
    assert launch["matrix"]["wgmma"] > 0
    assert launch["spills"] == 0
    assert 0 < launch["registers"] <= 255
    assert 0 < launch["shared"] <= launch["shared_most"]
    inner = launch["inner"]
    assert sum(inner["mix"].values()) == inner["instructions"] < launch["instructions"]
    assert inner["matrix"]["wgmma"] > 0
    assert launch["seconds"] > 0


def test_kernels_explain_themselves_for_a_device() -> None:
    kernel = attnc.kernel(SOFT, static={"top": 7})
    found = kernel.explain(M=64, N=64, E=16, F=16, dtype="f16", target="cuda:80")
    device: Any = found["device"]
    assert (device["target"], device["dtype"]) == ("cuda:80", "f16")
    assert device["parameters"] == {"top": 7}
    assert [launch["kernel"] for launch in device["launches"]] == ["_k0"]
    assert "On cuda:80 in f16, at E = 16, F = 16, M = 64, N = 64, top = 7: _k0" in str(found)
    assert "device" not in kernel.explain(M=64)


def test_explain_shows_it(run: Runner) -> None:
    found = run("explain", "--target", "cuda:80", *AT)
    title = "On cuda:80 in bf16, at E = 64, F = 64, M = 512, N = 512, top = 256: _k0"
    before, _, shown = found.out.partition(title)
    assert shown
    assert before.strip() == run("explain", *AT).out.strip()
    rows = {line[:32].strip(): line[32:].split() for line in shown.splitlines() if line}
    assert rows["registers of a thread"][0].isdigit()
    assert rows["spilt bytes of a thread"] == ["0"]
    assert rows["matrix instructions"][1] == "mma"
    assert rows["bytes of shared memory"][1] == "of"


def test_explain_for_a_device_is_refused_in_words(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no target is called 'cuda'" in run("explain", "--target", "cuda").err
    found = run("explain", "--target", "cuda:90", spec=REFUSED)
    assert found.status == 1
    assert found.err.startswith("spec.attn:2:13: error: the backend triton cannot do this yet: ")
    ratio = "cascade a(X[H], Y[J]) -> O[H]:\n    require H % J == 0\n    O[h] = X[h] * Y[h % J]\n"
    found = run("explain", "--target", "cuda:90", "--size", "H=3,J=2", spec=ratio)
    assert found.status == 2
    assert "the kernel does not take these sizes: a: `require H % J == 0` does not" in found.err
    monkeypatch.setitem(sys.modules, "triton", None)
    found = run("explain", "--target", "cuda:90")
    assert found.status == 2
    assert (
        "triton is not installed; kernels for GPUs need it: pip install 'attnc[triton" in found.err
    )


def test_explain_where_kernels_are_interpreted(tmp_path: Path) -> None:
    (tmp_path / "spec.attn").write_text(SOFT, encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "attnc", "explain", "spec.attn", "--target", "cuda:90"],
        cwd=tmp_path,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert "TRITON_INTERPRET is set, and then none is compiled; unset it" in found.stderr


def test_a_kernel_that_does_not_compile_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnc.backends.triton.inspect import Launch

    def fails(self: Launch, target: str) -> None:
        raise RuntimeError("PassManager::run failed")

    monkeypatch.setattr(Launch, "compiled", fails)
    facts = attnc.check(SOFT).select()
    with pytest.raises(InternalError, match="_k0 does not compile for cuda:90"):
        attnc.explain(facts, dtype="bf16", target="cuda:90")


def test_modules_are_measured_on_the_target_that_is_asked_for() -> None:
    """Where a module leaves the device to the call, the call is one on the target."""
    facts = attnc.check(SOFT).select()
    sizes = {"M": 512, "N": 512, "E": 64, "F": 64}
    found = {}
    for target in ("cuda:90", "hip:gfx942"):
        text = attnc.compile(SOFT, backend="triton")
        (one,) = measured(text, facts.cascade.inputs, sizes, {"top": 4}, dtype="f16", target=target)
        found[target] = one
    assert found["cuda:90"].report.matrix.keys() == {"wgmma"}
    assert found["hip:gfx942"].report.matrix.keys() == {"mfma"}
    assert found["cuda:90"].launch.stages != found["hip:gfx942"].launch.stages
