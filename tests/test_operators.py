"""Kernels as PyTorch operators: one graph under `torch.compile` and `torch.export`."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import attnc
from attnc.python import operators
from attnc.python.definitions import DEFINITIONS
from tests import examples
from tests.support import ROOT

WINDOW = """
cascade window(
    Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], window: int = 3
) -> O[B,H,M,F], L[B,H,M] empty -inf:
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) where n <= m, m - n < window
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    L[b,h,m]   = logsumexp[n](S[b,h,m,n])
"""
window = attnc.kernel(WINDOW, backend="numpy")

DYNAMIC = torch.export.Dim.DYNAMIC


def qkv(length: int = 6) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(length)
    return torch.randn(2, 4, length, 8), torch.randn(2, 2, length, 8), torch.randn(2, 2, length, 5)


class Layer(nn.Module):
    """A layer whose attention is a kernel between other operations."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out, lse = window(q @ self.weight, k, v * 2, window=2)
        return torch.relu(out) + lse[..., None]


# Every example


@cache
def example(name: str) -> tuple[attnc.Kernel[..., Any], list[Any], dict[str, Any]]:
    """The kernel of an example with arguments for it."""
    kernel = attnc.kernel(examples.text(name), backend="numpy")
    reference = examples.load(ROOT / "tests" / "references" / f"{name}.py")
    _, inputs, parameters = next(reference.cases(np.random.default_rng(7)))
    tensors = [torch.from_numpy(inputs[i.name].copy()) for i in kernel.signature.inputs]
    return kernel, tensors, parameters


@pytest.mark.parametrize("name", examples.NAMES)
def test_operators_keep_the_rules(name: str) -> None:
    """PyTorch's own checks: schema, shapes and types under fake and dynamic tracing, autograd."""
    kernel, tensors, parameters = example(name)
    values = [parameters.get(p.name, p.default) for p in kernel.signature.parameters]
    torch.library.opcheck(kernel.operator, (*tensors, *values))


@pytest.mark.parametrize("name", examples.NAMES)
def test_one_graph(name: str) -> None:
    """No break, and the same values, with sizes unknown while tracing."""
    kernel, tensors, parameters = example(name)

    def model(*arguments: torch.Tensor) -> Any:
        return kernel(*arguments, **parameters)

    torch._dynamo.reset()
    expected = model(*tensors)
    found = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")(*tensors)
    assert torch._dynamo.explain(model)(*tensors).graph_break_count == 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


# Layers


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_layer(backend: str) -> None:
    torch._dynamo.reset()
    layer = Layer()
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    with torch.no_grad():
        for length in (6, 9, 12):
            torch.testing.assert_close(compiled(*qkv(length)), layer(*qkv(length)))


def test_a_new_length_does_not_compile_again() -> None:
    torch._dynamo.reset()
    count = 0

    def counting(graph: Any, _: Any) -> Any:
        nonlocal count
        count += 1
        return graph.forward

    compiled = torch.compile(Layer(), fullgraph=True, dynamic=True, backend=counting)
    with torch.no_grad():
        for length in (6, 9, 12, 200):
            compiled(*qkv(length))
    assert count == 1


@pytest.mark.parametrize("strict", [False, True])
def test_exported_layer(strict: bool) -> None:
    layer = Layer()
    sizes = {n: {2: DYNAMIC} for n in "qkv"}
    program = torch.export.export(layer, qkv(), dynamic_shapes=sizes, strict=strict)
    targets = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert sum(t.startswith("attnc.window_") for t in targets) == 1
    for length in (6, 11):
        torch.testing.assert_close(program.module()(*qkv(length)), layer(*qkv(length)))


def test_an_exported_program_runs_in_another_process(tmp_path: Path) -> None:
    """The operator's name is the same wherever the same kernel is made."""
    path = tmp_path / "layer.pt2"
    torch.export.save(torch.export.export(Layer(), qkv()), path)
    torch.save((qkv(), Layer()(*qkv()).detach()), tmp_path / "data.pt")
    code = (
        "import sys, torch, attnc\n"
        "kernel = attnc.kernel(sys.stdin.read(), backend='numpy')\n"
        "kernel.operator\n"
        "given, expected = torch.load('data.pt')\n"
        "program = torch.export.load('layer.pt2')\n"
        "torch.testing.assert_close(program.module()(*given), expected)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=WINDOW,
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_kernel_made_before_torch_is_imported() -> None:
    """Its operator is made while the first graph is traced; so far nothing heavy is imported."""
    code = (
        "import sys, attnc\n"
        "kernel = attnc.kernel(sys.stdin.read()).with_backend('numpy')\n"
        "assert not {'torch', 'tvm', 'tvm_ffi'} & {*sys.modules}\n"
        "import torch\n"
        "q, k, v = (torch.ones(1, 2, 3, 4) for _ in range(3))\n"
        "model = torch.compile(lambda *a: kernel(*a)[0] + 1, fullgraph=True, backend='eager')\n"
        "assert model(q, k, v).shape == (1, 2, 3, 4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=WINDOW,
        text=True,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_decorated_methods_in_one_graph() -> None:
    class Model(nn.Module):
        @attnc.kernel
        def attend(self, X: "B N", *, by: float = 1.0) -> "B N":
            """return X[b,n] * by"""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.attend(x, by=2.0)
            return result + 1

    torch._dynamo.reset()
    compiled = torch.compile(Model(), fullgraph=True, backend="eager")
    assert compiled(torch.ones(1, 2)).tolist() == [[3.0, 3.0]]


def test_a_graph_break_is_seen() -> None:
    """The counts above are not blind: a call that leaves the graph is counted."""

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2

    assert torch._dynamo.explain(model)(torch.ones(1)).graph_break_count == 1


# Sizes that follow from others


def test_sizes_from_bindings() -> None:
    kernel = attnc.kernel(
        "cascade blocks(X[T], R: int, half: bool = false) -> O[C], P[D]:\n"
        "    C = ceildiv(T, R)\n"
        "    D = default(max(T // R, 1) if not half else (T + 1) % 3, 7)\n"
        "    O[c] = sum[r](X[c*R + r])\n"
        "    P[d] = X[0] + d\n"
    )
    for length, step, half in ((7, 3, False), (8, 2, True), (5, 0, False)):
        x = torch.arange(float(length))
        if step == 0:
            with pytest.raises(ValueError, match="blocks: C is absent"):
                kernel(x, R=step)
            continue
        real = kernel(x, R=step, half=half)
        fake = kernel(x.to("meta"), R=step, half=half)
        assert [f.shape for f in fake] == [r.shape for r in real]
        assert [f.dtype for f in fake] == [r.dtype for r in real]


def test_sizes_that_are_only_known_when_it_runs() -> None:
    kernel = attnc.kernel(
        "cascade a(X[T], p: float) -> O[C]:\n    C = i64(erf(p) * T)\n    O[c] = X[c]\n"
    )
    assert kernel(torch.ones(4), p=0.5).shape == (2,)
    with pytest.raises(ValueError, match="a: the extent C is only known when the kernel runs"):
        kernel(torch.ones(4, device="meta"), p=0.5)


def test_sizes_that_do_not_fit_are_told_while_tracing() -> None:
    q, k, v = (t.to("meta") for t in qkv())
    with pytest.raises(RuntimeError, match=r"window: rank E of K\[B,J,N,E\] has size 7, but 8"):
        window(q, k[..., :7], v)


# Devices and gradients


def test_gradients_are_refused_in_words() -> None:
    q, k, v = qkv()
    q.requires_grad_()
    out, _ = window(q, k, v)
    assert out.requires_grad
    with pytest.raises(NotImplementedError, match="window: kernels have no gradient yet"):
        out.sum().backward()
    with torch.no_grad():
        assert not window(q, k, v)[0].requires_grad


def test_a_graph_with_gradients_runs_forwards() -> None:
    torch._dynamo.reset()
    layer = Layer()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found = compiled(*qkv())
    torch.testing.assert_close(found, layer(*qkv()))
    with pytest.raises(NotImplementedError, match="window: kernels have no gradient yet"):
        found.sum().backward()


def test_no_gradient_where_none_is_due() -> None:
    """Integer tensors and detached ones do not make a result differentiable."""
    kernel = attnc.kernel("cascade a(X[N]: i32) -> O[N]: f32:\n    O[n] = f32(X[n])\n")
    assert not kernel(torch.ones(2, dtype=torch.int32)).requires_grad


def test_names_in_schemas() -> None:
    """Names that PyTorch's schemas reserve, and one name twice."""
    kernel = attnc.kernel(
        "cascade a(Tensor[N], self[N], x[N], int: int, x: float) -> out[N], None[N]:\n"
        "    out[n] = Tensor[n] + self[n] * int\n    None[n] = x[n] * x\n"
    )
    one = torch.ones(2)
    out, none = kernel(one, one, one, int=2, x=3.0)
    assert (out.tolist(), none.tolist()) == ([3.0, 3.0], [3.0, 3.0])
    names = operators._schema(DEFINITIONS[kernel._operator])
    assert names == (
        "(Tensor Tensor_, Tensor self, Tensor x, SymInt int_, float x_) -> (Tensor, Tensor)"
    )
