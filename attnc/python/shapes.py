"""The sizes of a kernel's results from those of its arguments, without running it.

Sizes may be symbolic, as they are while PyTorch traces: only arithmetic is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attnc.ir.cascade import Binding, Cascade
from attnc.ir.evaluation import Nothing, Unknown, computed

Check = Callable[[Any, Callable[[], str]], None]
"""Called with a condition that must hold and the message for where it does not."""


def output_sizes(
    cascade: Cascade,
    shapes: Sequence[Sequence[Any]],
    parameters: Mapping[str, Any],
    check: Check,
) -> list[list[Any]]:
    """The sizes of each output, given the sizes of the inputs and the values of the parameters.

    Raises `ValueError` for arguments that do not fit, and for an extent whose value is computed in
    a way that is only known when the kernel runs.
    """
    values = dict(parameters)
    for item, shape in zip(cascade.inputs, shapes, strict=True):
        shown = f"{item.name}[{','.join(map(str, item.sizes))}]"
        if len(shape) != len(item.sizes):
            text = f"{cascade.name}: {shown} has {len(item.sizes)} ranks, not {len(shape)}"
            raise ValueError(text)
        for rank, size in zip(item.sizes, shape, strict=True):
            known = rank if isinstance(rank, int) else values.setdefault(rank, size)
            _same(size, known, f"{cascade.name}: rank {rank} of {shown}", check)
    bindings = {s.name: s for s in cascade.statements if isinstance(s, Binding)}
    names = {s for o in cascade.outputs for s in o.sizes if isinstance(s, str)}
    if not names <= values.keys():
        for name, binding in bindings.items():  # in order: each uses only those before it
            try:
                values[name] = computed(binding.value, values)
            except (Unknown, Nothing, ArithmeticError, ValueError):
                continue  # told below, if a size needs it
    missing = names - values.keys()
    if missing:
        name = min(missing)
        raise ValueError(f"{cascade.name}: the extent {name} is only known when the kernel runs")
    return [
        [s if isinstance(s, int) else values[s] for s in output.sizes] for output in cascade.outputs
    ]


def _same(size: Any, known: Any, place: str, check: Check) -> None:
    check(size == known, lambda: f"{place} has size {size}, but {known} elsewhere")
