"""What a kernel does with the order of positions, found by running it on a few numbers.

A model relies on things that no signature tells: whether a query sees the keys behind it, and
whether the last queries alone give what they give among all, as decoding with a cache needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnc.integrations.transformers.roles import Roles
from attnc.ir.cascade import Input, Size

if TYPE_CHECKING:
    from attnc.python.kernel import Kernel

LENGTH = 4
"""Positions, and the size of every rank that nothing else fixes."""

FAR = 8.0
"""What is added to a key and a value: enough to show in every query that sees them."""

NEAR = {"f16": 2e-2, "bf16": 2e-1}
"""How much two results that are equal may differ, by the type they are computed in."""


@dataclass(frozen=True)
class Order:
    """The findings; None where the kernel does not run on so few positions."""

    causal: bool | None
    """No query sees a key behind it."""

    continues: bool | None
    """The last queries, given alone with all keys, give what they give among all queries."""

    mixes: bool | None
    """Some query sees a key at another position."""


def probed(kernel: Kernel[..., Any], roles: Roles, values: Mapping[str, Any]) -> Order:
    """Runs a kernel a few times on four positions; `values` are for its further arguments.

    It runs in main memory, whatever the model's device and the kernel's backend.
    """
    import torch

    probe = _Probe(kernel.with_backend("numpy"), roles, values, torch.Generator().manual_seed(0))
    try:
        causal, mixes = probe.sight()
        return Order(causal, None if roles.square else probe.continues(), mixes)
    except (TypeError, ValueError, RuntimeError):
        return Order(None, None, None)


@dataclass(frozen=True)
class _Probe:
    kernel: Kernel[..., Any]
    roles: Roles
    values: Mapping[str, Any]
    generator: Any

    def sight(self) -> tuple[bool | None, bool | None]:
        """Whether no query sees a key behind it, and whether any sees one at another position."""
        first, *changed = self._results()
        if not first.isfinite().all():
            return None, None
        seen = [
            (m, n)
            for n, other in enumerate(changed)
            for m in range(LENGTH)
            if not self._same(first[:, :, m], other[:, :, m])
        ]
        return all(n <= m for m, n in seen), any(n != m for m, n in seen)

    def _results(self) -> Iterator[Any]:
        """The result on random numbers, then with key and value n changed, for n = 0, 1, ..."""
        tensors, parameters = self._tensors(), self._parameters()
        yield self._run(tensors, parameters)
        for n in range(LENGTH):
            moved = {name: t.clone() for name, t in tensors.items()}
            for role in (self.roles.key, self.roles.value):
                moved[role.name][:, :, n] += FAR
            yield self._run(moved, parameters)

    def continues(self) -> bool | None:
        tensors, parameters = self._tensors(), self._parameters()
        whole = self._run(tensors, parameters)
        if not whole.isfinite().all():
            return None
        rank, half = self.roles.queries, LENGTH // 2
        last = dict(tensors)
        for item in self.kernel.signature.inputs:
            for axis, size in enumerate(item.sizes):
                if size == rank:
                    last[item.name] = last[item.name].narrow(axis, half, LENGTH - half)
        return self._same(whole[:, :, half:], self._run(last, parameters))

    def _same(self, a: Any, b: Any) -> bool:
        tolerance = NEAR.get(self.kernel.signature.dtype or "", 1e-4)
        return bool(((a - b).abs() <= tolerance).all())

    def _run(self, tensors: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        ordered = (tensors[i.name] for i in self.kernel.signature.inputs)
        found: Any = self.kernel(*ordered, **parameters)
        first: Any = found[0] if len(self.kernel.signature.outputs) > 1 else found
        return first.double()

    def _tensors(self) -> dict[str, Any]:
        return {i.name: self._tensor(i) for i in self.kernel.signature.inputs}

    def _tensor(self, item: Input) -> Any:
        import torch

        if item.name in self.values:
            given = self.values[item.name]
            return given.cpu() if isinstance(given, torch.Tensor) else given
        from attnc.python.tensors import ELEMENTS

        sizes = [self._size(s) for s in item.sizes]
        dtype = ELEMENTS[item.element or self.kernel.signature.dtype or "f32"]
        if item is self.roles.mask:
            filled = LENGTH if self.roles.mask_kind == "lengths" else 1
            return torch.full(sizes, filled, dtype=dtype)
        if dtype.is_floating_point:
            return torch.randn(sizes, generator=self.generator).to(dtype)
        return torch.zeros(sizes, dtype=dtype)

    def _size(self, size: Size) -> int:
        """A literal, or what a given value says; one sequence, and one key head for all others."""
        if isinstance(size, int):
            return size
        one = {self.roles.batch}
        if not self.roles.shared_heads:
            one.add(self.roles.key.sizes[1])
        return self._fixed().get(size, 1 if size in one else LENGTH)

    def _fixed(self) -> dict[Size, int]:
        """The sizes of ranks that given tensors and parameters have."""
        fixed: dict[Size, int] = {}
        for parameter in self.kernel.signature.parameters:
            value = self.values.get(parameter.name, parameter.default)
            if parameter.type == "int" and value is not None:
                fixed[parameter.name] = value
        for item in self.roles.others:
            if item.name in self.values:
                fixed |= dict(zip(item.sizes, self.values[item.name].shape, strict=True))
        if {fixed.get(rank, LENGTH) for rank in (self.roles.queries, self.roles.keys)} != {LENGTH}:
            raise ValueError("the number of positions is fixed")
        return fixed

    def _parameters(self) -> dict[str, Any]:
        """The parameters that are given, and something for those without a default."""
        found: dict[str, Any] = {}
        for parameter in self.kernel.signature.parameters:
            if parameter.name in self.values:
                found[parameter.name] = self.values[parameter.name]
            elif parameter.default is None:
                found[parameter.name] = {"int": LENGTH, "float": 1.0, "bool": True}[parameter.type]
        return found
