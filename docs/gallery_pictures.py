"""Draws the pictures of the gallery: the graph of each example, its points and its tiles."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gallery_cases import CASES, Case

from attnc.drawing.draw import draw_graph, draw_mask
from attnc.drawing.mask import Request
from attnc.drawing.svg import svg
from attnc.drawing.tiles import tiles
from attnc.drawing.tiles_kinds import TileRequest
from attnc.drawing.tiles_picture import tiles_picture
from attnc.ir.facts import Facts

FOLDER = "pictures/gallery"
"""Where pictures are, seen from the page."""


@dataclass(frozen=True)
class Shown:
    """The pictures of one example by their files' names, and what is said of that of points."""

    files: Mapping[str, str]
    tiles: tuple[int, int, int] | None = None
    """Those that are visited, those that have to be, and all."""
    command: str = ""
    told: str = ""


def shown(name: str, facts: Facts) -> Shown:
    """Draws them."""
    files = {f"{name}_graph.svg": svg(draw_graph(facts))}
    case = CASES.get(name)
    if case is None:
        return Shown(files)
    with tempfile.TemporaryDirectory() as folder:
        paths = {n: str(Path(folder) / f"{n}.npy") for n in case.data}
        for n, make in case.data.items():
            np.save(paths[n], make())
        if not case.tile:
            request = Request(case.tensor, None, None, case.at, case.sizes, case.static, paths)
            files[f"{name}_points.svg"] = svg(draw_mask(facts, request))
            return Shown(files, None, command(name, case), told(case))
        wanted = TileRequest(None, case.at, case.sizes, case.tile, case.static, paths)
        drawing = tiles(facts, wanted)
    files[f"{name}_tiles.svg"] = svg(tiles_picture(drawing))
    visits = [v for loop in drawing.loops for p in loop.panels for v in p.visits]
    every = sum(loop.every * len(loop.panels) for loop in drawing.loops)
    counts = len(visits), sum(v.points for v in visits), every
    return Shown(files, counts, command(name, case), told(case))


def command(name: str, case: Case) -> str:
    """How `attnc` draws it."""
    words = [f"attnc draw examples/{name}.attn --what {'tiles' if case.tile else 'mask'}"]
    if case.tensor:
        words.append(f"--tensor {case.tensor}")
    groups = {"tile": case.tile, "size": case.sizes}
    words += [f"--{o} {_pairs(v)}" for o, v in groups.items() if v]
    words += [f"--static {n}={str(v).lower()}" for n, v in case.static.items()]
    words += [f"--at {_pairs(case.at)}"] if case.at else []
    words += [f"--data {n}={n}.npy" for n in case.data]
    return " ".join(words)


def _pairs(values: Mapping[str, int]) -> str:
    return ",".join(f"{n}={v}" for n, v in values.items())


def told(case: Case) -> str:
    """What the data is."""
    return f"{', '.join(f'`{n}`' for n in case.data)}: {case.told}." if case.data else ""
