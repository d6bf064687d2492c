"""Kernels for tensors in main memory where nobody chose a backend: TVM's, and the way back."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import attnc
from attnc.python import build, processor

pytest.importorskip("tvm")

CAUSAL = """
cascade causal(Q[M,E], K[N,E], V[N,F], sharp: float = 1.0) -> O[M,F], L[M]:
    S[m,n] = sharp * Q[m,e] * K[n,e] where n <= m
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
    L[m]   = logsumexp[n](S[m,n])
"""
SQUARED = "cascade squared(X[N]) -> O[N]:\n    O[n] = X[n] * X[n]\n"
REFUSED = "cascade kept(X[N]) -> O[N]:\n    require X[0] > 0\n    O[n] = X[n] * 3\n"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said yet."""
    monkeypatch.setattr(processor, "_said", set())


def running(kernel: attnc.Kernel[..., Any]) -> build.Built:
    return kernel._definition.on("cpu")


def test_tvm_runs_unasked() -> None:
    """Tensors of torch and NumPy go to one kernel, which a compiler has built; nothing is said."""
    kernel = attnc.kernel(CAUSAL)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, np.float32) for s in ((80, 8), (90, 8), (90, 4))]
    expected = kernel.with_backend("numpy")(*arrays, sharp=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = kernel(*arrays, sharp=0.5)
        found = kernel(*map(torch.from_numpy, arrays), sharp=0.5)
    assert running(kernel).backend == "tvm"
    assert running(kernel).function.__globals__["_BUILT"]
    assert kernel.source == attnc.compile(CAUSAL, backend="tvm")
    assert kernel.backend is None
    for ours, same, theirs in zip(plain, found, expected, strict=True):
        assert isinstance(ours, np.ndarray)
        assert isinstance(same, torch.Tensor)
        np.testing.assert_array_equal(ours, same.numpy())
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("fresh")
def test_without_tvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy runs, which is said once, where the caller is; a backend that was chosen is refused."""
    monkeypatch.setitem(sys.modules, "tvm", None)
    kernel, other = attnc.kernel(SQUARED), attnc.kernel(SQUARED + "# another\n")
    three, two = torch.full((2,), 3.0), torch.full((2,), 2.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = [kernel(three.numpy()), kernel(three), other(two)]
    assert [x.tolist() for x in found] == [[9.0, 9.0], [9.0, 9.0], [4.0, 4.0]]
    (one,) = said
    assert one.category is attnc.BackendWarning
    assert Path(one.filename) == Path(__file__)
    text = str(one.message)
    assert text.startswith('squared runs as NumPy, which is slow; backend="numpy" asks for that.')
    assert "pip install 'attnc[tvm]'" in text
    assert kernel.source == attnc.compile(SQUARED)
    with pytest.raises(attnc.UsageError, match=r"TVM 0\.27 is not installed"):
        attnc.kernel(SQUARED, backend="tvm")


@pytest.mark.usefixtures("fresh")
def test_what_tvm_cannot_take() -> None:
    """The same, once for each spec, with the place of what it cannot take."""
    kernel = attnc.kernel(REFUSED)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            assert kernel(torch.ones(2)).tolist() == [3.0, 3.0]
            assert kernel(np.ones(2)).tolist() == [3.0, 3.0]
    (one,) = said
    assert one.category is attnc.BackendWarning
    assert "<spec>:2:13: error: the backend tvm cannot do this yet" in str(one.message)
    assert Path(one.filename) == Path(__file__)
    assert running(kernel).backend == "numpy"
    with pytest.raises(attnc.SpecError, match="the backend tvm cannot do this yet"):
        attnc.kernel(REFUSED, backend="tvm")
