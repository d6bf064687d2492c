"""What a kernel takes and gives, known without compiling it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attnc.ir import printer
from attnc.ir.cascade import Cascade, Constant, Input, Output, Parameter


@dataclass(frozen=True)
class Signature:
    """The arguments and results of a kernel.

    Tensors without an element type have `dtype`; where that is None, they share the one of the
    call. Parameters that the compilation fixed are not among `parameters`.
    """

    name: str
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    dtype: str | None = None

    def __str__(self) -> str:
        header = Cascade(self.name, self.inputs, self.parameters, self.outputs, ())
        return printer.header(header)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of all arguments, in order."""
        return (*(i.name for i in self.inputs), *(p.name for p in self.parameters))

    def data(self) -> dict[str, object]:
        """This as plain data, which JSON can hold."""
        found = asdict(self)
        for group in ("inputs", "parameters", "outputs"):
            for item in found[group]:
                del item["span"]
        return found


def signature(cascade: Cascade, dtype: str | None, static: Mapping[str, Constant]) -> Signature:
    """The signature of a cascade, compiled with these choices."""
    free = tuple(p for p in cascade.parameters if p.name not in static)
    return Signature(cascade.name, cascade.inputs, free, cascade.outputs, dtype)


def from_data(data: Mapping[str, Any]) -> Signature:
    """The signature that `Signature.data` made plain; raises `KeyError` or `TypeError` if not."""
    return Signature(
        data["name"],
        tuple(Input(**_with_sizes(i)) for i in data["inputs"]),
        tuple(Parameter(**p) for p in data["parameters"]),
        tuple(Output(**_with_sizes(o)) for o in data["outputs"]),
        data["dtype"],
    )


def _with_sizes(item: Mapping[str, Any]) -> dict[str, Any]:
    sizes: Sequence[str | int] = item["sizes"]
    return {**item, "sizes": tuple(sizes)}
