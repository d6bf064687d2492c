"""What the kernels of a cascade are on a device, as plain data, from a compilation without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attnc.backends.triton.disassembly import matrix
from attnc.backends.triton.inspect import TARGETS
from attnc.backends.triton.measure import Measured, measured
from attnc.ir.cascade import Constant
from attnc.ir.facts import Facts
from attnc.passes.algebra.sizes import FEATURES, Nominal

LENGTH: Final = 256
"""A rank that is not given and not one of features: enough to fill tiles, and offsets of 32 bits
hold several such ranks."""

FREE: Final[Mapping[str, Constant]] = {"float": 1.0, "bool": True}
"""Values for parameters that have none of their own."""


def on_device(
    facts: Facts, text: str, sizes: Mapping[str, int], dtype: str, target: str
) -> dict[str, object]:
    """Each launch of the module `text`, which was emitted for `facts`, with its measures.

    Sizes that are not given are nominal. Raises what `measured` raises.
    """
    ranks, parameters = nominal(facts, sizes)
    inputs = facts.cascade.inputs
    found = measured(text, inputs, ranks, parameters, dtype=dtype, target=target)
    return {
        "target": target,
        "dtype": dtype,
        "sizes": ranks,
        "parameters": parameters,
        "launches": [_launch(one) for one in found],
    }


def nominal(facts: Facts, given: Mapping[str, int]) -> tuple[dict[str, int], dict[str, Constant]]:
    """Sizes for all ranks of the inputs, and values for the parameters that need one."""
    features = Nominal(facts, given).features
    parameters: dict[str, Constant] = {}
    extents: dict[str, int] = dict(given)
    for item in facts.cascade.parameters:
        if item.type == "int":
            default = item.default if item.default is not None else LENGTH
            extents.setdefault(item.name, int(default))
            parameters[item.name] = extents[item.name]
        elif item.default is None:
            parameters[item.name] = FREE[item.type]
    ranks = {s for i in facts.cascade.inputs for s in i.sizes if isinstance(s, str)}
    sizes = {
        rank: extents.get(rank, FEATURES if rank in features else LENGTH) for rank in sorted(ranks)
    }
    return sizes, parameters


def _launch(one: Measured) -> dict[str, object]:
    launch, report = one.launch, one.report
    programs = 1
    for size in launch.grid:
        programs *= size
    return {
        "kernel": one.name,
        "computes": one.computes,
        "programs": programs,
        "tiles": dict(one.tiles),
        "warps": launch.warps,
        "stages": launch.stages,
        "registers": report.registers,
        "spills": report.spills,
        "shared": report.shared,
        "shared_most": TARGETS[report.target],
        "matrix": dict(report.matrix),
        "instructions": sum(report.instructions.values()),
        "inner": {
            "instructions": sum(report.inner.values()),
            "matrix": dict(matrix(report.inner)),
            "mix": dict(sorted(report.inner.items(), key=lambda i: (-i[1], i[0]))),
        },
        "seconds": round(report.seconds, 3),
    }
