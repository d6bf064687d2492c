"""What the kernels of an emitted module become on a device, at some sizes; none is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final

from attnc.backends.numpy.layout import NUMPY_NAMES
from attnc.backends.triton.inspect import Launch, Report, recorded
from attnc.errors import InternalError, UsageError
from attnc.ir.cascade import Constant, Input
from attnc.modules import exported, keywords, missing, module_of

if TYPE_CHECKING:
    import torch

TILE: Final = "_TILE"
"""How the kernels' parameters end that are sizes of tiles."""

INTERPRETED: Final = (
    "kernels are interpreted where TRITON_INTERPRET is set, and then none is compiled; unset it"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One launch of a module, and what the target's compiler made of its kernel."""

    launch: Launch
    report: Report

    @property
    def name(self) -> str:
        """The name of the kernel's function."""
        return str(self.launch.kernel.__name__)

    @property
    def computes(self) -> str:
        """What the kernel says it does."""
        return (self.launch.kernel.__doc__ or "").strip()

    @property
    def tiles(self) -> Mapping[str, int]:
        """The sizes of tiles by axes."""
        return {
            name.removesuffix(TILE).lower(): value
            for name, value in self.launch.arguments.items()
            if name.endswith(TILE) and isinstance(value, int)
        }


def measured(
    text: str,
    inputs: Sequence[Input],
    sizes: Mapping[str, int],
    parameters: Mapping[str, Constant],
    *,
    dtype: str,
    target: str,
) -> list[Measured]:
    """Calls an emitted module on tensors that hold nothing, and compiles what it launches.

    `sizes` has each rank of the inputs. Tensors without an element type have `dtype`. Raises
    `UsageError` where triton or torch is not installed, kernels are interpreted, or the module
    refuses such a call; `InternalError` where a kernel does not compile.
    """
    try:
        from triton import knobs
        from triton.compiler.errors import CompilationError
        from triton.runtime.errors import PTXASError

        module = module_of(text, f"measured on {target}")
    except ModuleNotFoundError as error:
        raise missing(error) from None
    if knobs.runtime.interpret:
        raise UsageError(INTERPRETED)
    tensors = [_tensor(item, sizes, dtype) for item in inputs]

    def call(module: ModuleType) -> object:
        function = exported(module)
        names = keywords(function, parameters)
        return function(*tensors, **{names[name]: value for name, value in parameters.items()})

    try:
        launches = recorded(module, call, target)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the kernel does not take these sizes: {error}") from None
    found: list[Measured] = []
    for launch in launches:
        try:
            found.append(Measured(launch, launch.compiled(target)))
        except (CompilationError, PTXASError, RuntimeError) as error:
            name = launch.kernel.__name__
            raise InternalError(f"{name} does not compile for {target}", str(error)) from error
    return found


def _tensor(item: Input, sizes: Mapping[str, int], dtype: str) -> torch.Tensor:
    """A tensor of the device "meta"."""
    import torch

    shape = [size if isinstance(size, int) else sizes[size] for size in item.sizes]
    kind: torch.dtype = getattr(torch, NUMPY_NAMES[item.element or dtype])
    return torch.empty(shape, dtype=kind, device="meta")
