"""Emitted kernels as a device would get them: what is launched, and what is compiled anew.

Nothing is interpreted here, so TRITON_INTERPRET must not be set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import torch

from attnc.backends.triton.inspect import Launch, recorded
from attnc.ir.tiles import Plan
from attnc.modules import module_of
from benchmarks.devices import tensors_of
from tests import examples, prepared


def interpreted() -> bool:
    """Whether kernels of this process are interpreted: then none can be compiled."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


COMPILED = pytest.mark.skipif(interpreted(), reason="TRITON_INTERPRET is set")


def plan_of(name: str) -> Plan:
    return prepared.device_of(examples.text(name))


def text_of(name: str) -> str:
    """The module of an example."""
    return prepared.triton_of(examples.text(name))


@cache
def module(text: str) -> Any:
    return module_of(text, f"module {hash(text):x}")


def meta(name: str, head: int, dtype: str, **sizes: int) -> list[torch.Tensor]:
    """The inputs of an example, which hold nothing."""
    return [
        torch.empty(shape, dtype=getattr(torch, kind), device="meta")
        for shape, kind in tensors_of(plan_of(name), name, head, dtype, sizes)
    ]


def launches(
    name: str,
    tensors: Sequence[torch.Tensor],
    target: str,
    text: str | None = None,
    **parameters: Any,
) -> list[Launch]:
    """What the module of an example launches; `text` is another one."""
    own = module(text or text_of(name))
    function = getattr(own, plan_of(name).name)
    return recorded(own, lambda _: function(*tensors, **parameters), target)


def tiles(launch: Launch) -> Mapping[str, int]:
    """The sizes of tiles by axes."""
    found = {n: v for n, v in launch.arguments.items() if n.endswith("_TILE")}
    return {n.removesuffix("_TILE"): v for n, v in found.items() if isinstance(v, int)}


def key(launch: Launch, target: str) -> str:
    """By what a launch finds a kernel that is there already, as the JIT has it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import make_backend
    from triton.runtime.jit import create_function_from_signature

    kind, _, arch = target.partition(":")
    device = GPUTarget(kind, int(arch) if arch.isdigit() else arch, 64 if kind == "hip" else 32)
    kernel = launch.kernel
    bind = create_function_from_signature(kernel.signature, kernel.params, make_backend(device))
    own = {"num_warps": launch.warps, "num_stages": launch.stages, **launch.options}
    _, specialisation, options = bind(**launch.arguments, **own, debug=False)
    return f"{kernel.__name__} {specialisation} {options}"
