"""What `attnc explain` shows of kernels on a device: a section for each launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attnc.sections import Row, Section

MIX: Final = 8
"""Most kinds of instructions that are shown of a loop."""


def device_sections(device: Mapping[str, Any]) -> Iterator[Section]:
    """What each kernel became."""
    sizes = {**device["sizes"], **device["parameters"]}
    at = ", ".join(f"{name} = {value}" for name, value in sizes.items())
    where = f"On {device['target']} in {device['dtype']}, at {at}"
    if not device["launches"]:
        yield f"{where}: nothing is launched", ("", "", ""), []
    for launch in device["launches"]:
        yield f"{where}: {launch['kernel']}", ("", "", ""), list(_rows(launch))


def _rows(launch: Mapping[str, Any]) -> Iterator[Row]:
    yield "computes", "", launch["computes"]
    yield "tiles", "", _listed(launch["tiles"])
    yield "warps", str(launch["warps"]), ""
    yield "stages", str(launch["stages"]), ""
    yield "programs", f"{launch['programs']:,}", ""
    yield "registers of a thread", str(launch["registers"]), ""
    yield "spilt bytes of a thread", str(launch["spills"]), ""
    yield "bytes of shared memory", f"{launch['shared']:,}", f"of {launch['shared_most']:,}"
    matrix = launch["matrix"]
    yield "matrix instructions", str(sum(matrix.values())), _listed(matrix)
    inner = launch["inner"]
    mix = _listed(dict(list(inner["mix"].items())[:MIX]))
    yield "instructions of the inner loop", str(inner["instructions"]), f"{mix}, ..."
    yield "seconds to compile", f"{launch['seconds']:.2f}", ""


def _listed(items: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items.items())
