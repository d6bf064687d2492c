"""Kernels in Python on devices: which backend runs, what is refused, what PyTorch sees of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import attnc
from attnc.errors import SpecError, UsageError
from attnc.modules import module_of
from attnc.python import build, operators
from attnc.python.definitions import DEFINITIONS, Definition
from attnc.python.shapes import output_sizes
from tests import examples, golden
from tests.compiled import key
from tests.support import ROOT

SPEC = "cascade scaled(X[B,N], Y[B,N], by: float = 2.0) -> O[B,N]:\n    O[b,n] = by * X[b,n]\n"
SPEC = SPEC.replace("X[b,n]\n", "X[b,n] + Y[b,n]\n")
REFUSED = "cascade first(X[N]) -> O[N]:\n    require X[0] > 0\n    O[n] = X[n]\n"


@attnc.kernel
def first(X: "N") -> "N":
    """
    require X[0] > 0
    return X[n] * 2
    """


def definition(kernel: attnc.Kernel[..., Any]) -> Definition:
    return DEFINITIONS[kernel._operator]


def on(*devices: str) -> list[Any]:
    """What looks like tensors on devices that are not there."""
    return [SimpleNamespace(device=torch.device(d), resolve_neg=str) for d in devices]


def launched(kernel: attnc.Kernel[..., Any], *devices: str) -> Any:
    return operators._launch(definition(kernel), on(*devices), [2.0])


# Which backend


def test_the_device_chooses() -> None:
    kernel = attnc.kernel(SPEC)
    found = definition(kernel)
    assert found.on("cpu").source == kernel.source == attnc.compile(SPEC, backend="tvm")
    assert found.on("cuda").source == attnc.compile(SPEC, backend="triton")
    assert found.on("cuda") is found.on("cuda")
    with pytest.raises(TypeError, match="scaled: X must be a torch tensor, not str"):
        launched(kernel, "cuda:0", "cuda:0")  # said by the module of Triton


def test_a_backend_that_is_named_is_used_everywhere() -> None:
    numpy, triton = (attnc.kernel(SPEC, backend=b) for b in ("numpy", "triton"))
    for device in ("cpu", "cuda"):
        assert definition(numpy).on(device).source == numpy.source == attnc.compile(SPEC)
        assert definition(triton).on(device).source == triton.source
    assert triton.source == attnc.compile(SPEC, backend="triton")
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match="X is on cpu, not on a GPU"):
        triton(x, x)
    with pytest.raises(TypeError, match="X must be a torch tensor, not ndarray"):
        triton(x.numpy(), x.numpy())


def test_the_same_kernel_of_another_backend() -> None:
    kernel = attnc.kernel(SPEC)
    other = kernel.with_backend("triton")
    assert other == attnc.kernel(SPEC, backend="triton") != kernel
    assert other.with_backend(None) == kernel
    assert first.with_backend("numpy").__name__ == "first"


def test_devices_without_kernels() -> None:
    kernel = attnc.kernel(SPEC)
    with pytest.raises(ValueError, match="scaled: X is on mps:0; kernels run on cpu and cuda"):
        launched(kernel, "mps:0", "mps:0")
    text = "scaled: X is on cuda:0 and Y is on cpu; all tensors must be on one device"
    with pytest.raises(ValueError, match=text):
        launched(kernel, "cuda:0", "cpu")
    with pytest.raises(ValueError, match="X is on cuda:1; the numpy backend computes on the CPU"):
        launched(attnc.kernel(SPEC, backend="numpy"), "cuda:1", "cuda:1")


def test_no_such_backend() -> None:
    with pytest.raises(UsageError, match="no backend is called 'cuda'; there is numpy, triton"):
        attnc.kernel(SPEC, backend="cuda")


# What the backend cannot print, or not run


def test_what_cannot_be_printed_is_refused_at_its_place() -> None:
    """A call on a GPU, and nothing before; in the file of the function, or in the text."""
    with pytest.warns(attnc.BackendWarning):  # on a CPU there is another way
        assert first(torch.ones(2)).tolist() == [2.0, 2.0]
    with pytest.raises(SpecError) as error:
        operators._launch(definition(first), on("cuda:0"), [])
    (found,) = error.value.diagnostics
    assert "the backend triton cannot do this yet" in found.message
    assert Path(found.source.name) == Path(__file__)
    assert found.source.text[found.span.start : found.span.end] == "X[0]"
    line, _ = found.source.position(found.span.start)
    assert "require X[0]" in Path(__file__).read_text().splitlines()[line - 1]
    kernel = attnc.kernel(REFUSED)
    with pytest.raises(SpecError, match=r"<spec>:2:13: error: the backend triton cannot"):
        operators._launch(definition(kernel), on("cuda:0"), [])
    with pytest.raises(SpecError, match=r"<spec>:2:13: error: the backend triton cannot"):
        attnc.kernel(REFUSED, backend="triton")


@pytest.mark.parametrize("package", ["triton", "torch"])
def test_what_is_not_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build.forget()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"{package} is not installed.*pip install 'attnc\[tri"):
        attnc.kernel(SPEC, backend="triton")
    assert attnc.kernel(SPEC).signature.name == "scaled"
    assert attnc.compile(SPEC, backend="triton")


def test_warnings_are_given_once() -> None:
    """The second backend finds the same ones in the spec."""
    odd = "cascade a(X[N]) -> O[N]:\n    Y[n] = X[n]\n    O[n] = X[n]\n"
    with pytest.warns(attnc.SpecWarning):
        kernel = attnc.kernel(odd)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = definition(kernel).on("cuda")
        assert definition(kernel).on("cuda") is first


# What PyTorch sees


def test_fake_tensors_stay_on_their_device() -> None:
    """While a graph is traced nothing is compiled for the device."""
    kernel = attnc.kernel(REFUSED)
    with FakeTensorMode():
        out = kernel(torch.empty(3, device="cuda", dtype=torch.bfloat16))
    assert (out.shape, out.dtype, out.device.type) == ((3,), torch.bfloat16, "cuda")


@pytest.mark.slow
def test_modules_know_the_shapes_that_pytorch_is_told() -> None:
    """`_shapes` of a module for Triton, and what an operator says of its results.

    The module is the golden, which `test_triton_text.py` compares with what is emitted.
    """
    for name in examples.NAMES:
        text = examples.text(name)
        cascade = attnc.check(text).select().cascade
        module: Any = module_of(golden.read("triton", name, ".py.txt"), f"shapes of {name}")
        ranks = {s for i in cascade.inputs for s in i.sizes if isinstance(s, str)}
        values = {p.name: p.default for p in cascade.parameters}
        values |= {p.name: 32 for p in cascade.parameters if p.default is None}
        sizes = {rank: values.get(rank, 64 + 32 * i) for i, rank in enumerate(sorted(ranks))}
        if {"H", "J"} <= sizes.keys():
            sizes["H"] = 2 * sizes["J"]
        shapes = [[s if isinstance(s, int) else sizes[s] for s in i.sizes] for i in cascade.inputs]
        expected = output_sizes(cascade, shapes, values, lambda *_: None)
        assert [list(s) for s in module._shapes(*shapes, **values)] == expected, name


# What Triton compiles again


def compiled_for(kernel: str, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> set[str]:
    """What the kernels of a module are specialised by, at a call with contiguous tensors."""
    from attnc.backends.triton.inspect import recorded

    module = module_of(attnc.compile(examples.text(kernel), backend="triton"), f"again {kernel}")
    tensors = [torch.empty(s, dtype=dtype, device="meta") for s in shapes.values()]
    launches = recorded(module, lambda m: getattr(m, kernel)(*tensors))
    return {key(launch, "cuda:90") for launch in launches}


def test_a_new_length_compiles_nothing() -> None:
    """Nor does another number of heads or sequences; a head size, a type does."""

    def at(B: int, H: int, J: int, M: int, N: int, E: int = 64, half: bool = True) -> set[str]:
        shapes = {"Q": (B, H, M, E), "K": (B, J, N, E), "V": (B, J, N, E)}
        return compiled_for("gqa_causal", shapes, torch.float16 if half else torch.float32)

    first = at(1, 8, 2, 4096, 4096)
    for again in ((1, 8, 2, 4097, 4099), (3, 1, 1, 129, 257), (2, 12, 12, 1000, 16384)):
        assert at(*again) == first
    assert at(1, 8, 2, 4096, 4096, E=80) != first
    assert at(1, 8, 2, 4096, 4096, half=False) != first


# Kernels that run, under the interpreter


@pytest.mark.slow
def test_kernels_of_triton_called_from_python(tmp_path: Path) -> None:
    """See `devices/interpreted_kernels.py`; a check that fails ends it with its own message."""
    script = ROOT / "tests" / "devices" / "interpreted_kernels.py"
    own = {"TRITON_INTERPRET": "1", "ATTNC_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(found.values())
    assert len(found) == 8
