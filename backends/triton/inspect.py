"""What a kernel becomes on a device, without one: Triton compiles for any of its targets.

report = compiled(kernel, arguments, "cuda:90", warps=8, stages=2)
reports = [launch.compiled("hip:gfx942") for launch in recorded(module, call)]
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from attnc.backends.triton.disassembly import (
    Code,
    amd_metadata,
    amdgcn,
    matrix,
    sass,
    widths,
)

if TYPE_CHECKING:
    from triton.runtime.jit import JITFunction

TARGETS: Final[Mapping[str, int]] = {
    "cuda:80": 163 << 10,
    "cuda:90": 227 << 10,
    "cuda:100": 227 << 10,
    "hip:gfx942": 64 << 10,
}
"""The devices, with the bytes of shared memory that one program can have there."""

_REGISTER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What one kernel is on one target."""

    target: str
    registers: int
    """Of a thread; on AMD devices of a lane, those for matrices included."""
    spills: int
    """Bytes that a thread stores to memory for want of registers."""
    shared: int
    """Bytes of shared memory of a program."""
    matrix: Mapping[str, int]
    """How many instructions multiply matrices: wgmma, tcgen05, mma, mfma."""
    instructions: Mapping[str, int]
    """Of the whole kernel, how often each is there."""
    loops: tuple[Mapping[str, int], ...]
    """The same of each loop that holds no other, in their order."""
    seconds: float
    """How long it took to compile."""
    loads: Mapping[int, int] = field(default_factory=dict[int, int])
    """How many instructions load from the device's memory, by the bytes of a lane."""

    @property
    def fits(self) -> bool:
        """Whether the target has as much shared memory."""
        return self.shared <= TARGETS[self.target]

    @property
    def inner(self) -> Mapping[str, int]:
        """The loop with most matrix products, the shortest of several; else the kernel."""

        def weight(loop: Mapping[str, int]) -> tuple[int, int]:
            return sum(matrix(loop).values()), -sum(loop.values())

        return max(self.loops, key=weight, default=self.instructions)


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel, as a module asks for it."""

    kernel: JITFunction[Any]
    arguments: Mapping[str, object]
    """By the names of the kernel's parameters."""
    grid: tuple[int, ...]
    warps: int
    stages: int
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    """What else the launch says, such as `enable_fp_fusion`."""

    def compiled(self, target: str) -> Report:
        """What is launched, on a target."""
        return compiled(
            self.kernel,
            self.arguments,
            target,
            warps=self.warps,
            stages=self.stages,
            options=self.options,
        )


def compiled(
    function: JITFunction[Any],
    arguments: Mapping[str, object],
    target: str,
    *,
    warps: int,
    stages: int,
    options: Mapping[str, object] | None = None,
) -> Report:
    """Compile a kernel for a target and measure it; the cache of kernels is not touched.

    `arguments` has a value for each parameter. A tensor may be one of the device "meta": its type
    is looked at, and where it lies in its memory. What is assumed of integers and pointers is what
    a launch with these arguments would assume.
    """
    from triton import knobs

    made: dict[str, object] = {"num_warps": warps, "num_stages": stages, **(options or {})}
    # The log of the assembler alone tells what is spilled, and Triton prints it.
    log = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        knobs.compilation.scope(),
        knobs.nvidia.scope(),
        knobs.cache.scope(),
    ):
        knobs.compilation.always_compile = True
        knobs.nvidia.dump_ptxas_log = True
        knobs.cache.dir = folder
        start = time.perf_counter()
        with contextlib.redirect_stdout(log):
            kernel = _compile(function, arguments, target, made)
        seconds = time.perf_counter() - start
    if target.startswith("hip"):
        text: str = kernel.asm["amdgcn"]
        code = amdgcn(text)
        registers = amd_metadata(text, "vgpr_count")
        spills = amd_metadata(text, "vgpr_spill_count") * _REGISTER_BYTES
    else:
        text = _disassembled(kernel.asm["cubin"])
        code = sass(text)
        registers = _logged(log.getvalue(), r"Used (\d+) registers")
        spills = _logged(log.getvalue(), r"(\d+) bytes spill stores")
    shared = int(kernel.metadata.shared)
    return _report(target, code, registers, spills, shared, seconds, widths(text))


def recorded(
    module: ModuleType, call: Callable[[ModuleType], object], target: str = "cuda:90"
) -> list[Launch]:
    """What an emitted module launches on a target when it is called, in order; nothing runs.

    `call` is handed the module: `lambda m: m.attention(q, k, v)` with tensors of the device
    "meta", whose results hold nothing.
    """
    import torch
    from triton.runtime.jit import JITFunction

    launches: list[Launch] = []

    def record(
        kernel: JITFunction[Any], *args: object, grid: object, warmup: bool, **kwargs: object
    ) -> None:
        launches.append(_launched(kernel, args, kwargs, grid))

    # A module asks these two what it runs on; a kernel is launched by `run` alone.
    where = {
        "_device_of": lambda *_, **__: torch.device("meta"),
        "_target_of": lambda _: target,
    }
    with contextlib.ExitStack() as stack:
        for name, stands in where.items():
            if hasattr(module, name):
                stack.enter_context(_replaced(module, name, stands))
        stack.enter_context(_replaced(JITFunction, "run", record))
        call(module)
    return launches


@contextlib.contextmanager
def _replaced(holder: object, name: str, value: object) -> Iterator[None]:
    """Another value of an attribute, for a while."""
    kept = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, kept)


def _launched(
    kernel: JITFunction[Any],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    grid: object,
) -> Launch:
    """A launch, its options told from the kernel's own arguments."""
    names = signature(kernel.fn).parameters
    options = {name: value for name, value in kwargs.items() if name not in names}
    own = {name: value for name, value in kwargs.items() if name in names}
    bound = signature(kernel.fn).bind(*args, **own)
    bound.apply_defaults()
    sizes: Any = grid(bound.arguments) if callable(grid) else grid
    warps, stages = options.pop("num_warps"), options.pop("num_stages")
    if not isinstance(warps, int) or not isinstance(stages, int):
        raise TypeError(f"{kernel.fn.__name__}: warps and stages are integers")
    shape = tuple(int(size) for size in sizes)
    return Launch(kernel, dict(bound.arguments), shape, warps, stages, options)


def _compile(
    function: JITFunction[Any],
    arguments: Mapping[str, object],
    target: str,
    options: Mapping[str, object],
) -> Any:
    """Compile as a launch does: the steps of `JITFunction.run`, for a target of our choice."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import JITFunction, create_function_from_signature

    if not isinstance(function, JITFunction):
        raise TypeError("only what triton.jit makes without TRITON_INTERPRET can be compiled")
    if target not in TARGETS:
        raise ValueError(f"{target!r} is none of {', '.join(TARGETS)}")
    kind, _, arch = target.partition(":")
    device = GPUTarget(kind, int(arch) if arch.isdigit() else arch, 64 if kind == "hip" else 32)
    backend = make_backend(device)
    bind = create_function_from_signature(function.signature, function.params, backend)
    given = {**arguments, **options, "debug": False}
    bound, specialisation, rest = bind(**given)
    parsed, types, constants, attributes = function._pack_args(
        backend, given, bound, specialisation, rest
    )
    source = ASTSource(function, types, constants, attributes)
    return triton.compile(source, target=device, options=parsed.__dict__)


def _disassembled(cubin: bytes) -> str:
    """The text of a cubin, by the tool that comes with Triton."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        line = [knobs.nvidia.cuobjdump.path, "-sass", str(path)]
        return subprocess.run(line, capture_output=True, check=True, text=True).stdout


def _logged(log: str, pattern: str) -> int:
    """A number that the assembler tells of each function, over all of them."""
    found = [int(number) for number in re.findall(pattern, log)]
    if not found:
        raise ValueError(f"the assembler did not tell {pattern!r}")
    return max(found)


def _report(
    target: str,
    code: Code,
    registers: int,
    spills: int,
    shared: int,
    seconds: float,
    loads: Mapping[int, int],
) -> Report:
    """The measures of one kernel."""
    counted = code.counted()
    return Report(
        target, registers, spills, shared, matrix(counted), counted, code.loops(), seconds, loads
    )
