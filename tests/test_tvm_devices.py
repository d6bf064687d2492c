"""Kernels that the TVM backend prints for devices, run by OpenCL and WebGPU, and judged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.api import Device, check, emit
from attnc.backends.tvm import device_body
from attnc.backends.tvm.barriers import Barriers
from attnc.backends.tvm.device_body import DeviceBody
from attnc.errors import SpecError, UsageError
from attnc.modules import function_of
from tests.acceptance.judge import Verdict, judge
from tests.test_acceptance import DOUBTFUL, narrowed
from tests.test_gallery import facts
from tests.test_triton import cases

NAMES = (
    "alibi",
    "block_rag",
    "causal",
    "decode_lengths",
    "differential",
    "entropy",
    "gqa_causal",
    "neighbourhood_3d",
    "packed_documents",
    "retention",
    "sigmoid",
    "sliding_window_sinks",
    "softcap",
    "t5_bias",
    "triangular",
)
WIDE = {"t5_bias"}
"""What computes in 64 bits, which WebGPU has not."""
TILE = 4
"""Points of a tile where a call is made to take small ones, so that loops go round."""


@cache
def missing(target: str) -> str:
    """Why kernels of a target cannot run here; nothing if they can."""
    if target == "opencl":
        try:
            import pyopencl as cl
        except ImportError:
            return "pyopencl is not installed"
        try:
            return "" if cl.get_platforms() else "OpenCL has no platform here"
        except cl.LogicError as error:
            return f"OpenCL has no platform here: {error}"
    if "ATTNC_WEBGPU" not in os.environ:
        return "WebGPU runs in a process of its own, see test_webgpu_in_a_process_of_its_own"
    try:
        import wgpu
    except ImportError:
        return "wgpu is not installed"
    try:
        wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except RuntimeError as error:
        return f"WebGPU has no adapter here: {error}"
    return ""


def text_of(name: str, target: str) -> str:
    """The module of an example."""
    return emit(facts(name), backend="tvm", dtype=None, static={}, device=Device(target))


def called(
    function: Callable[..., Any],
    inputs: Mapping[str, Any],
    name: str,
    parameters: Mapping[str, Any],
) -> Any:
    """What a call gives."""
    return function(*[inputs[i.name] for i in facts(name).cascade.inputs], **parameters)


def verdict(name: str, target: str, *, small: bool) -> Verdict:
    """What the bound says of one call."""
    if missing(target):
        pytest.skip(missing(target))
    _, given, parameters = next(cases(name, 1))
    inputs = narrowed(facts(name), dict(given), "f32")
    function = function_of(text_of(name, target), f"{name}_{target}")
    if small:
        function.__globals__["_chosen"] = lambda sizes, room: [TILE for _ in sizes]
    found = called(function, inputs, name, parameters)
    limit = DOUBTFUL.get(name, 0.02)
    return judge(
        facts(name), inputs, parameters, found, matrix_type="f32", tiles=None, undecided=limit
    )


@pytest.mark.parametrize("name", NAMES)
def test_opencl_is_accepted(name: str) -> None:
    """In tiles so small that all loops go round."""
    found = verdict(name, "opencl", small=True)
    assert found.ok, found


@pytest.mark.parametrize("name", [n for n in NAMES if n not in WIDE])
def test_webgpu_is_accepted(name: str) -> None:
    """In tiles of its own choice."""
    found = verdict(name, "webgpu", small=False)
    assert found.ok, found


def test_webgpu_in_a_process_of_its_own() -> None:
    """The tests of this file that want WebGPU: an adapter that is asked for late in a process, with
    other compilers in it, may never answer."""
    if "ATTNC_WEBGPU" in os.environ:
        pytest.skip("this is that process")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    found = subprocess.run(
        [*command, "-k", "webgpu or many or words"],
        env={**os.environ, "ATTNC_WEBGPU": "here"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]


# Seeded faults


def test_a_missing_barrier_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that do not wait for each other within a round read what is not there yet."""
    monkeypatch.setattr(Barriers, "needed", lambda *_: False)
    assert not verdict("causal", "opencl", small=True).ok


def test_a_missing_barrier_for_memory_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that reads what it has written to a tensor waits for that, too; others do not."""
    assert "_fence()" in text_of("triangular", "opencl")
    assert "_fence()" not in text_of("causal", "opencl")
    monkeypatch.setattr(device_body, "FENCE", "T.evaluate(0)")
    assert not verdict("triangular", "opencl", small=True).ok


def test_a_wrong_identity_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A maximum that begins at 0 is none of negative numbers."""
    right = DeviceBody._identity
    monkeypatch.setattr(
        DeviceBody,
        "_identity",
        lambda self, op, kind: "T.float32(0)" if op == "max" else right(self, op, kind),
    )
    text = "cascade c(X[M,N]) -> Y[M]:\n    Y[m] = max[n](X[m,n])\n"
    for target in ("opencl", "webgpu"):
        if missing(target):
            pytest.skip(missing(target))
        wrong = attnc.compile(text, backend="tvm", target=target)
        x = -1 - np.random.default_rng(0).random((5, 70), np.float32)
        assert function_of(wrong, f"wrong_{target}")(x).max() == 0


def test_barriers_are_where_threads_share() -> None:
    """None between accesses that read, or whose elements are each of one thread."""
    barriers = Barriers()
    assert not barriers.needed({"a": ("m",)}, {"a"})
    assert not barriers.needed({"a": ("m",), "b": ("m",)}, {"b"})  # each reads its own
    assert barriers.needed({"a": ("n",), "c": ("n",)}, {"c"})  # another's
    assert not barriers.needed({"a": None}, set())  # all read
    assert barriers.needed({"a": ("n",)}, {"a"})  # read before by others
    barriers.waited()
    assert not barriers.needed({"a": ("m",)}, {"a"})


# Types, libraries, sizes


def test_what_goes_in_comes_out() -> None:
    """Types are made f32 and i32 for the device, and results what was asked for; torch's too."""
    if missing("opencl"):
        pytest.skip(missing("opencl"))
    torch = pytest.importorskip("torch")
    text = "cascade c(X[M,N], keep[N]: bool, at[M]: i64) -> Y[M], Z[M]: i64:\n"
    text += "    Y[m] = sum[n](X[m,n] if keep[n] else 0)\n    Z[m] = at[m] + 1\n"
    run = function_of(attnc.compile(text, backend="tvm", target="opencl"), "kinds")
    x = np.arange(12, dtype=np.float16).reshape(3, 4)
    keep, at = np.array([True, False, True, True]), np.array([5, -7, 2**30])
    y, z = run(x, keep, at)
    assert (y.dtype, z.dtype) == (np.float16, np.int64)
    assert (y == x[:, keep].sum(1)).all()
    assert (z == at + 1).all()
    y, z = run(torch.tensor(x).to(torch.bfloat16).T.contiguous().T, *map(torch.tensor, (keep, at)))
    assert y.dtype == torch.bfloat16
    assert (y.float().numpy() == x[:, keep].sum(1)).all()
    with pytest.raises(ValueError, match="at has integers that 32 bits do not hold"):
        run(x, keep, at + 2**40)
    with pytest.raises(TypeError, match="X must be float16 or bfloat16 or float32, not float64"):
        run(x.astype(np.float64), keep, at)


def test_more_programs_than_a_dimension_has() -> None:
    """WebGPU counts no more than 65535 along one."""
    if missing("webgpu"):
        pytest.skip(missing("webgpu"))
    text = "cascade c(X[A,B]) -> Y[A]:\n    Y[a] = max[b](X[a,b])\n"
    run = function_of(attnc.compile(text, backend="tvm", target="webgpu"), "many")
    run.__globals__["_chosen"] = lambda sizes, room: [1 for _ in sizes]
    x = np.random.default_rng(0).random((65541, 2), np.float32)
    assert (run(x) == x.max(1)).all()


def test_tiles_that_do_not_fit_are_refused() -> None:
    """Tiles are as large as what threads share has room for; an axis held whole may be too long."""
    run = function_of(text_of("causal", "metal"), "room")
    chosen = run.__globals__["_chosen"]
    assert chosen([1000, 1000], lambda m, n: 4 * m * n) == [64, 64]
    assert chosen([1000, 5], lambda m, n: 64 * 4 * (m + n)) == [64, 8]
    assert chosen([1000, 1000], lambda m, n: 16 * m * n) == [32, 64]
    q = np.zeros((1, 1, 2, 20000), np.float32)
    with pytest.raises(ValueError, match="bytes that threads share, and there are 32768"):
        run.__globals__["source"](q, q, q)


# Text alone


def launches(name: str, target: str) -> list[dict[str, Any]]:
    """What a call of an example would launch."""
    _, given, parameters = next(cases(name, 1))
    inputs = narrowed(facts(name), dict(given), "f32")
    function = function_of(text_of(name, target), f"{name}_{target}")
    return called(function.__globals__["source"], inputs, name, parameters)


def test_metal_and_cuda_are_text(tmp_path: Path) -> None:
    """Metal's is read by a C++ compiler, with a header that stands in for Metal's."""
    for name in ("causal", "packed_documents", "retention", "triangular"):
        (launch, *_) = launches(name, "metal")
        assert launch["programs"] > 0
        file = tmp_path / f"{name}.metal"
        file.write_text(launch["text"])
        if shutil.which("g++"):
            header = Path(__file__).parent / "metal"
            command = ["g++", "-std=c++17", "-x", "c++", "-fsyntax-only", "-w", f"-I{header}"]
            done = subprocess.run([*command, file], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    (launch, *_) = launches("causal", "cuda")
    assert "__global__" in launch["text"]
    assert "__syncthreads();" in launch["text"]
    run = function_of(text_of("causal", "cuda"), "text")
    with pytest.raises(RuntimeError, match="printed as text for cuda, which `source` gives"):
        run(*[np.zeros((1, 1, 1, 1), np.float32)] * 3)


def test_names_are_words_of_no_language() -> None:
    """A tensor may be called as a type or a statement of a device's language."""
    text = "cascade new(kernel_[M,N], float4[N]) -> vec2[M]:\n"
    text += "    vec2[m] = sum[n](kernel_[m,n] * float4[n])\n"
    run = function_of(attnc.compile(text, backend="tvm", target="webgpu"), "words")
    if missing("webgpu"):
        pytest.skip(missing("webgpu"))
    x = np.random.default_rng(0).random((3, 5), np.float32)
    assert np.allclose(run(x, x[0]), x @ x[0])


def test_what_a_target_lacks_is_told_before() -> None:
    """Before anything is printed, and where it is."""
    with pytest.raises(SpecError, match="numbers of 64 bits, which webgpu has not"):
        text_of("t5_bias", "webgpu")
    found = check("cascade c(X[N]: f64) -> Y[N]: f64:\n    Y[n] = X[n]\n")
    with pytest.raises(SpecError, match="numbers of 64 bits on a device"):
        emit(found.select(None), backend="tvm", dtype=None, static={}, device=Device("opencl"))
    drawn = check("cascade c(X[N]) -> Y[N]:\n    Y[n] = X[n] + random(n)\n").select(None)
    with pytest.raises(SpecError, match="random numbers, of integers of 64 bits, on a device"):
        emit(drawn, backend="tvm", dtype=None, static={}, device=Device("opencl"))
    with pytest.raises(UsageError, match="no target is called 'opencl'; there are cuda:80"):
        emit(facts("causal"), backend="triton", dtype=None, static={}, device=Device("opencl"))
    with pytest.raises(UsageError, match="no target is called 'cuda:80'; there are llvm"):
        emit(facts("causal"), backend="tvm", dtype=None, static={}, device=Device("cuda:80"))
