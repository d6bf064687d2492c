"""Places for the boxes and arrows of a graph: rows from top to bottom, the rows of a pass together.

Which row a box stands in is decided here, by the passes; the order within the rows, the
coordinates and the ways of the arrows come from Graphviz's `dot`, which is given sizes and keys
of our own making and no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from attnc.drawing.graph import Edge, Graph
from attnc.drawing.scene import Point
from attnc.errors import UsageError

ROW_GAP: Final = 34.0
COLUMN_GAP: Final = 26.0
FRAME_MARGIN: Final = 22.0
"""Room between the boxes of a recurrence and its frame; the label stands in it."""
INCH: Final = 72.0


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Way:
    """The way of an arrow: cubic Bézier pieces, then the head from its base to its tip."""

    points: tuple[Point, ...]
    head: tuple[Point, Point]


@dataclass(frozen=True)
class Layout:
    """Where everything is; `bands` holds the upper and lower edge of each band that has boxes."""

    width: float
    height: float
    boxes: Mapping[str, Place]
    ways: Mapping[tuple[str, str], Way]
    frames: Mapping[int, Place]
    bands: Mapping[int, tuple[float, float]]


def layout(
    graph: Graph, sizes: Mapping[str, tuple[float, float]], room: Mapping[int, float]
) -> Layout:
    """Places everything, given the width and height of each box and the least height of bands.

    Raises `UsageError` where pygraphviz is not installed.
    """
    rows = _rows(graph)
    return _Dot(graph, sizes, rows, _pads(graph, sizes, rows, room)).layout()


def _rows(graph: Graph) -> dict[str, int]:
    """The row of each box: below what it reads, and below all rows of earlier bands.

    Boxes that are read more than they read move down to their readers; inputs always do.
    """
    forward = [e for e in graph.edges if not e.back]
    band = {n.key: n.band for n in graph.nodes}
    rows: dict[str, int] = {}
    first = 0
    for current in sorted(set(band.values())):
        keys = _ordered([k for k in band if band[k] == current], forward)
        inner = [e for e in forward if e.source in keys and e.target in keys]
        for key in keys:
            above = [rows[e.source] + 1 for e in inner if e.target == key]
            rows[key] = max([first, *above])
        for key in reversed(keys):
            below = [rows[e.target] - 1 for e in inner if e.source == key]
            if below and sum(e.target == key for e in inner) < len(below):
                rows[key] = min(below)
        first = max(rows[k] for k in keys) + 1
    return rows


def _ordered(keys: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """Keys such that edges go forward."""
    nx: Any = import_module("networkx")
    chosen = set(keys)
    found = nx.DiGraph()
    found.add_nodes_from(keys)
    found.add_edges_from((e.source, e.target) for e in edges if {e.source, e.target} <= chosen)
    return list(nx.lexicographical_topological_sort(found, key=list(keys).index))


def _pads(
    graph: Graph,
    sizes: Mapping[str, tuple[float, float]],
    rows: Mapping[str, int],
    room: Mapping[int, float],
) -> dict[int, float]:
    """The height of the gap that follows each band: more where its label needs it."""
    pads: dict[int, float] = {}
    for band in sorted({n.band for n in graph.nodes}):
        heights: dict[int, float] = {}
        for node in graph.nodes:
            if node.band == band:
                row = rows[node.key]
                heights[row] = max(heights.get(row, 0.0), sizes[node.key][1])
        tall = sum(heights.values()) + ROW_GAP * (len(heights) - 1)
        pads[band] = max(1.0, room.get(band, 0.0) - tall)
    return pads


@dataclass(frozen=True)
class _Dot:
    """One run of Graphviz. Its unit is the point, which stands for a pixel; its y goes up."""

    graph: Graph
    sizes: Mapping[str, tuple[float, float]]
    rows: Mapping[str, int]
    pads: Mapping[int, float]

    def layout(self) -> Layout:
        names = {n.key: f"n{i}" for i, n in enumerate(self.graph.nodes)}
        dot = self._described(names)
        dot.layout("dot")
        corners = [float(v) for v in dot.graph_attr["bb"].split(",")]
        height = corners[3]

        def point(text: str) -> Point:
            x, y = text.split(",")
            return round(float(x), 1), round(height - float(y), 1)

        boxes: dict[str, Place] = {}
        for key, name in names.items():
            x, y = point(dot.get_node(name).attr["pos"])
            w, h = self.sizes[key]
            boxes[key] = Place(round(x - w / 2, 1), round(y - h / 2, 1), w, h)
        ways: dict[tuple[str, str], Way] = {}
        for edge in self.graph.edges:
            found = dot.get_edge(names[edge.source], names[edge.target]).attr["pos"].split()
            tip = point(found[0].removeprefix("e,"))
            points = tuple(point(p) for p in found[1:])
            ways[edge.source, edge.target] = Way(points, (points[-1], tip))
        frames: dict[int, Place] = {}
        for i, _ in enumerate(self.graph.groups):
            text = dot.get_subgraph(f"cluster_{i}").graph_attr["bb"].split(",")
            (x0, y1), (x1, y0) = point(",".join(text[:2])), point(",".join(text[2:]))
            frames[i] = Place(x0, y0, round(x1 - x0, 1), round(y1 - y0, 1))
        return Layout(corners[2], height, boxes, ways, frames, self._bands(boxes, frames))

    def _bands(
        self, boxes: Mapping[str, Place], frames: Mapping[int, Place]
    ) -> dict[int, tuple[float, float]]:
        """The edges of each band: its boxes, and the frames that begin or end in it."""
        spans: dict[int, set[int]] = {}
        for node in self.graph.nodes:
            if node.group is not None:
                spans.setdefault(node.group, set()).add(node.band)
        found: dict[int, tuple[float, float]] = {}
        for band, pad in self.pads.items():
            places = [boxes[n.key] for n in self.graph.nodes if n.band == band]
            uppers = [p.y for p in places]
            lowers = [p.y + p.height for p in places]
            lowers.append(max(lowers) + (pad if pad > 1 else 0))
            uppers += [frames[i].y for i, s in spans.items() if min(s) == band]
            lowers += [frames[i].y + frames[i].height for i, s in spans.items() if max(s) == band]
            found[band] = min(uppers), max(lowers)
        return found

    def _described(self, names: Mapping[str, str]) -> Any:
        """The graph in Graphviz's terms: a chain of invisible points keeps the rows in order."""
        dot = _pygraphviz().AGraph(
            directed=True,
            newrank="true",
            ranksep=str(ROW_GAP / INCH),
            nodesep=str(COLUMN_GAP / INCH),
            remincross="true",
        )
        dot.node_attr.update(shape="box", label="", fixedsize="true")
        dot.edge_attr.update(arrowsize="0.8")
        for node in self.graph.nodes:
            width, height = self.sizes[node.key]
            name = names[node.key]
            dot.add_node(name, width=f"{width / INCH:.4f}", height=f"{height / INCH:.4f}")
        self._add_rows(dot, names)
        for i, _ in enumerate(self.graph.groups):
            inside = [names[n.key] for n in self.graph.nodes if n.group == i]
            dot.add_subgraph(inside, name=f"cluster_{i}", margin=str(FRAME_MARGIN))
        for edge in self.graph.edges:
            dot.add_edge(names[edge.source], names[edge.target])
        return dot

    def _add_rows(self, dot: Any, names: Mapping[str, str]) -> None:
        band = {self.rows[n.key]: n.band for n in self.graph.nodes}
        before = None
        for row in sorted(band):
            spine = f"r{row}"
            dot.add_node(spine, width="0.01", height="0.01", style="invis")
            members = [names[k] for k, r in self.rows.items() if r == row]
            dot.add_subgraph([spine, *members], rank="same")
            if before is not None:
                dot.add_edge(before, spine, style="invis")
            before = spine
            if band.get(row + 1, band[row]) != band[row]:
                gap = f"g{row}"
                pad = self.pads[band[row]]
                dot.add_node(gap, width="0.01", height=f"{pad / INCH:.4f}", style="invis")
                dot.add_edge(before, gap, style="invis")
                before = gap


def _pygraphviz() -> Any:
    try:
        return import_module("pygraphviz")
    except ImportError:
        message = "a picture of the graph needs pygraphviz: pip install 'attnc[draw]'"
        raise UsageError(message) from None
