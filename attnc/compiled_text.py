"""What `attnc explain` shows of the kernels: sections of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attnc.sections import Row, Section, amount
from attnc.tile_text import tile_sections


def compiled_sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """The kernels, what was derived for them and what they cost; what stood in the way."""
    plan = found["compiled"]
    if plan is not None:
        yield from _plan(plan, found["written"])
    refused = [("", "", _refusal(r)) for r in found["refusals"]]
    if refused:
        title = "Not tiled yet" if plan is None else "What takes another pass"
        yield title, ("", "", ""), refused


def _plan(plan: Mapping[str, Any], written: Mapping[str, Any]) -> Iterator[Section]:
    count = len(plan["kernels"])
    title = f"As compiled: {count} kernel{'s' if count > 1 else ''}"
    yield title, ("kernel", "streams", "reads and writes"), [_kernel(k) for k in plan["kernels"]]
    passes = [(v, str(n), str(written["passes"].get(v, ""))) for v, n in plan["passes"].items()]
    yield "Passes over each input rank, as compiled", ("rank", "passes", "as written"), passes
    yield "Amounts, as compiled", ("", "value", "formula"), list(_amounts(plan))
    yield from tile_sections(plan["kernels"])
    buffers = [_buffer(b) for b in plan["buffers"]]
    if buffers:
        yield "Buffers between kernels, in bytes", ("tensor", "value", "formula"), buffers
    derived = [line for one in plan["derived"] for line in _derived(one)]
    if any(one["carried"] for one in plan["derived"]):
        derived.append(("(merge)", "", "both states brought along by <-, as above, and added"))
    if derived:
        yield "Running reductions, ' marks what was before a tile", ("", "", ""), derived


def _kernel(kernel: Mapping[str, Any]) -> Row:
    streams = ", ".join(kernel["streams"]) or "-"
    return kernel["name"], streams, f"{_names(kernel['reads'])} -> {_names(kernel['writes'])}"


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


def _amounts(plan: Mapping[str, Any]) -> Iterator[Row]:
    yield amount("operations", plan["operations"])
    yield amount("bytes, traffic", plan["bytes"]["traffic"])
    tiles = plan["tiles"]
    sizes = f"{tiles['par']} x {tiles['stream']}"
    yield amount(f"bytes, in tiles of {sizes}", plan["bytes"]["loaded"])
    if plan["buffers"]:
        yield amount("live buffers, bytes", plan["footprint"]["live"])
    for kernel in plan["kernels"]:
        if kernel["streams"]:
            yield amount(f"state of {kernel['name']} per row, bytes", kernel["state"])
    for name, value in plan["ratio"].items():
        if value is not None:
            yield f"{name}, written / compiled", f"{value:,g}", ""


def _buffer(buffer: Mapping[str, Any]) -> Row:
    name, value, formula = amount(buffer["tensor"], buffer)
    over = f", reduced over {', '.join(buffer['over'])}" if buffer["over"] else ""
    return name, value, f"{formula}  ({buffer['made']} -> {', '.join(buffer['read'])}{over})"


def _derived(one: Mapping[str, Any]) -> Iterator[Row]:
    over = ",".join(one["over"])
    if one["op"] == "sums":
        lines = [f"s{i + 1} = sum[{over}] of {text}" for i, text in enumerate(one["of"])]
    else:
        lines = [f"{one['op']}[{over}] of {', '.join(one['of'])}"]
    lines += one["carried"]
    if one["result"] not in ("", "s1"):
        lines.append(f"result {one['result']}")
    for i, line in enumerate(lines):
        yield "" if i else one["tensor"], "", line


def _refusal(refusal: Mapping[str, Any]) -> str:
    """`file:line: term: reason`, with what is known of the place."""
    place = [str(refusal[k]) for k in ("file", "line") if refusal[k] is not None]
    return ": ".join([*([":".join(place)] if place else []), refusal["term"], refusal["reason"]])
