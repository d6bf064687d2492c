"""What a compilation may choose, for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from attnc.ir.cascade import Constant
from attnc.version import VERSION

DTYPES: Final = ("f16", "bf16", "f32", "f64")
"""The floating types a kernel can have."""

TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "triton": ("cuda:80", "cuda:90", "cuda:100", "hip:gfx942"),
    "tvm": ("llvm", "c", "opencl", "webgpu", "metal", "cuda"),
}
"""The devices that each backend can print a kernel for."""


@dataclass(frozen=True)
class Options:
    """The floating type of untyped tensors (None: taken from the call) and fixed parameters.

    `target` is the device that a plan is printed for; None leaves that to the call. `precision` is
    that of products of f32 matrices, `ieee` or `tf32`. `mcpu` is the processor that kernels for
    CPUs are built for; None leaves that to the machine that builds them.
    """

    dtype: str | None = None
    static: Mapping[str, Constant] = field(default_factory=dict)
    version: str = VERSION
    target: str | None = None
    precision: str = "ieee"
    mcpu: str | None = None
