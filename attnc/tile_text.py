"""What `attnc explain` shows of the tiles that kernels visit: a section for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attnc.sections import Row, Section


def tile_sections(kernels: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    """The kernels that stream something: what they visit, or why that is not counted."""
    streamed = [k for k in kernels if k["tiles"] is not None]
    for kernel in streamed:
        tiles = kernel["tiles"]
        if tiles["all"] is not None:
            sizes = ", ".join(f"{name} = {size}" for name, size in tiles["tile"].items())
            title = f"Tiles that {kernel['name']} visits, of {sizes}"
            yield title, ("", "", ""), list(_rows(tiles))
    unknown: list[Row] = [
        (k["name"], "", k["tiles"]["why"]) for k in streamed if k["tiles"]["all"] is None
    ]
    if unknown:
        yield "Tiles that are visited are not counted", ("", "", ""), unknown


def _rows(tiles: Mapping[str, Any]) -> Iterator[Row]:
    every = tiles["all"]
    if tiles["visited"] is not None:
        yield "visited", f"{tiles['visited']:,}", f"of {every:,}"
        yield "full, nothing is tested in them", f"{tiles['full']:,}", ""
        yield "partial", f"{tiles['partial']:,}", ""
    if tiles["minimum"] is not None:
        possible = f"with a point that counts; {tiles['full_possible']:,} have no other"
        yield "at least needed", f"{tiles['minimum']:,}", possible
    if tiles["saved"] is not None:
        yield "arithmetic saved", f"{100 * tiles['saved']:.1f} %", ""
    if tiles["lists"] is not None:
        size = tiles["lists"]["bytes"]
        shared = f"for each tile of {', '.join(tiles['lists']['per']) or 'all rows'}"
        shared += ", by a kernel before: programs share them"
        yield "bytes of lists of tiles", "?" if size is None else f"{size:,}", shared
    if tiles["why"] is not None:
        yield "not counted", "", tiles["why"]
