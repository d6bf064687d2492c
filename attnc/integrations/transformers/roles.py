"""Which tensor of a kernel is what to a model, told by the ranks alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir.cascade import Input, Output, Size
from attnc.python.signature import Signature

MaskKind: TypeAlias = Literal["pairs", "keys", "lengths"]
"""A mask for each query and key, for each key, or the number of keys of each sequence."""

EXPECTED = (
    "the first three tensors must be a query [B,H,M,E], a key [B,J,N,E] and a value [B,J,N,F] "
    "(batch, heads, positions, features), and the first output [B,H,M,F]; the names are free, J may"
    " be H, F may be E, and N may be M"
)


@dataclass(frozen=True)
class Roles:
    """The arguments of a kernel by what they are to a model."""

    query: Input
    key: Input
    value: Input
    mask: Input | None
    mask_kind: MaskKind | None
    others: tuple[Input, ...]
    """Further tensors, which the model gives by name; without the mask."""

    @property
    def batch(self) -> Size:
        """The rank of the sequences."""
        return self.query.sizes[0]

    @property
    def queries(self) -> Size:
        """The rank of the positions of queries."""
        return self.query.sizes[2]

    @property
    def keys(self) -> Size:
        """The rank of the positions of keys."""
        return self.key.sizes[2]

    @property
    def shared_heads(self) -> bool:
        """Whether the key has a head for each head of the query."""
        return self.key.sizes[1] == self.query.sizes[1]

    @property
    def square(self) -> bool:
        """Whether queries and keys have one rank, so that their numbers are equal."""
        return self.queries == self.keys


def find_roles(signature: Signature, given: Collection[str] = ()) -> Roles:
    """The roles of a kernel's tensors; those that are `given` are not the mask.

    Raises `UsageError` if it is no attention over a query, a key and a value, or if `given` holds
    what is not one of its further arguments.
    """
    inputs, outputs = signature.inputs, signature.outputs
    if not _fits(inputs[:3], outputs[0]):
        raise UsageError(
            f"the kernel {signature.name} is not of the usual form: {EXPECTED}; it takes "
            f"{', '.join(map(shown, inputs)) or 'no tensor'} and gives {shown(outputs[0])}"
        )
    further = [*(i.name for i in inputs[3:]), *(p.name for p in signature.parameters)]
    for name in given:
        if name not in further:
            hint = suggestion(name, further) or f"there is {', '.join(further) or 'none'}"
            raise UsageError(f"the kernel {signature.name} has no further argument {name}; {hint}")
    masks: list[tuple[Input, MaskKind]] = [
        (i, kind)
        for i in inputs[3:]
        if i.name not in given and (kind := _mask_kind(i, inputs[0], inputs[1])) is not None
    ]
    if len(masks) > 1:
        names = " and ".join(shown(i) for i, _ in masks)
        raise UsageError(
            f"the kernel {signature.name}: {names} could each be the mask; give all but one of them"
            " in register(...)"
        )
    mask = masks[0][0] if masks else None
    kind = masks[0][1] if masks else None
    others = tuple(i for i in inputs[3:] if i is not mask)
    return Roles(inputs[0], inputs[1], inputs[2], mask, kind, others)


def shown(tensor: Input | Output) -> str:
    """A tensor as a header declares it."""
    element = f": {tensor.element}" if tensor.element else ""
    return f"{tensor.name}[{','.join(map(str, tensor.sizes))}]{element}"


def _fits(tensors: tuple[Input, ...], output: Output) -> bool:
    if [len(t.sizes) for t in tensors] != [4, 4, 4]:
        return False
    (b, h, m, e), key, (b2, j, n, f) = (t.sizes for t in tensors)
    free = {b, h, m, e}
    return len(free) == 4 and key == (b, j, n, e) and b2 == b and output.sizes == (b, h, m, f)


def _mask_kind(tensor: Input, query: Input, key: Input) -> MaskKind | None:
    b, h, m, _ = query.sizes
    n = key.sizes[2]
    match tensor.element, tensor.sizes:
        case "bool", sizes if sizes in ((b, h, m, n), (b, 1, m, n), (b, m, n)):
            return "pairs"
        case "bool", sizes if sizes == (b, n):
            return "keys"
        case "i32" | "i64", sizes if sizes == (b,):
            return "lengths"
        case _:
            return None
