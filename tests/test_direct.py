"""Which calls go around PyTorch's dispatcher: those that it would do nothing to but hand on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import attnc

torch = pytest.importorskip("torch")
pytest.importorskip("tvm")

from torch.autograd import forward_ad  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from attnc.python import operators  # noqa: E402

double = attnc.kernel(
    "\ncascade doubled(A[B,M]) -> O[B,M]:\n    O[b,m] = A[b,m] * 2\n", backend="tvm"
)


class Noted(TorchDispatchMode):
    """Notes the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Own(torch.Tensor):  # type: ignore[misc]
    """A class of someone else's tensors."""


def asked() -> Iterator[tuple[Any, bool]]:
    """Tensors, and whether a call with them is direct."""
    plain = torch.ones(2, 3)
    yield plain, True
    yield torch.nn.Parameter(plain, requires_grad=False), True
    yield plain.clone().requires_grad_(), False
    yield plain.as_subclass(Own), False
    yield plain.to("meta"), False
    yield torch._neg_view(plain), False


def test_tensors_decide() -> None:
    for tensor, direct in asked():
        assert operators.is_direct([torch.ones(1), tensor]) is direct, tensor
    with torch.no_grad():
        assert operators.is_direct([torch.ones(2).requires_grad_()])


def test_whoever_watches_sees_a_call() -> None:
    a = torch.ones(2, 3)
    assert torch.equal(double(a), a * 2)
    noted = Noted()
    with noted:
        assert torch.equal(double(a), a * 2)
    assert any(name.startswith("attnc.doubled_") for name in noted.names)
    with torch.overrides.TorchFunctionMode():
        assert not operators.is_direct([a])
    seen = []
    torch.jit.trace(
        lambda x: (seen.append(operators.is_direct([x])), x)[1], (a,), check_trace=False
    )
    with forward_ad.dual_level():
        seen.append(operators.is_direct([a]))
    torch.vmap(lambda x: (seen.append(operators.is_direct([x])), x)[1])(a)
    torch.func.grad(lambda x: (seen.append(operators.is_direct([x])), x.sum())[1])(a)
    assert seen
    assert not any(seen)
    assert operators.is_direct([a])


def test_a_negative_view_is_computed() -> None:
    a = torch.ones(2, 3)
    assert torch.equal(double(torch._neg_view(a)), a * -2)


def test_a_fault_in_what_is_direct_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel reads numbers as they lie in memory, where their signs are not turned yet."""
    monkeypatch.setattr(operators, "is_direct", lambda _: True)
    a = torch.ones(2, 3)
    assert torch.equal(double(torch._neg_view(a)), a * 2)
