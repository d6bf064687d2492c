"""The picture of a graph: bands for the passes, boxes, arrows, frames, and a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from attnc.drawing.graph import Edge, Graph, Node
from attnc.drawing.layout import FRAME_MARGIN, Layout, Place, Way, layout
from attnc.drawing.scene import (
    Box,
    Curve,
    Item,
    Label,
    Point,
    Scene,
    cut,
    lines_of,
    lowest,
    sampled,
    wrapped,
)
from attnc.drawing.style import (
    BODY,
    LEADING,
    LONGEST_TITLE,
    MARGIN,
    PADDING,
    RADIUS,
    SMALL,
    TITLE,
    text_width,
)
from attnc.errors import UsageError
from attnc.ir import printer
from attnc.ir.facts import Facts

MAX_BOXES: Final = 80
MAX_ARROWS: Final = 320
"""Most that a picture shows; beyond that nobody can read it."""

WIDEST: Final = 330.0
"""Widest box, in pixels."""
LINES: Final = 4
"""Most lines of one statement in a box."""
SIDE: Final = 172.0
"""Width of the column in which the bands are named."""
STRIPE: Final = 4.0
BAND_MARGIN: Final = 13.0


def graph_picture(graph: Graph, facts: Facts) -> Scene:
    """The picture; raises `UsageError` for a graph with more boxes or arrows than are readable."""
    boxes, arrows = len(graph.nodes), len(graph.edges)
    if boxes > MAX_BOXES or arrows > MAX_ARROWS:
        raise UsageError(
            f"'{graph.name}' has {boxes} boxes and {arrows} arrows; a picture shows at most "
            f"{MAX_BOXES} and {MAX_ARROWS}"
        )
    return _Picture(graph, facts).scene()


@dataclass(frozen=True, slots=True)
class _Text:
    """What is written in a box: its head, then lines of code."""

    head: str
    lines: tuple[str, ...]
    tag: str = ""

    @property
    def size(self) -> tuple[float, float]:
        head = self.head + (f"  {self.tag}" if self.tag else "")
        widths = [text_width(head, BODY, "code"), *(_width(line) for line in self.lines)]
        height = BODY * LEADING + SMALL * LEADING * len(self.lines)
        return round(max(widths) + 2 * PADDING + STRIPE), round(height + 2 * PADDING - 3)


def _width(line: str) -> float:
    return text_width(line, SMALL, "code")


def _written(node: Node) -> _Text:
    inner = WIDEST - 2 * PADDING - STRIPE
    lines = [line for text in node.lines for line in _lines(text, inner)]
    tag = "output" if node.output else ""
    room = inner - text_width(f"  {tag}" if tag else "", BODY, "code")
    return _Text(cut(node.head, room, BODY), tuple(lines), tag)


def _lines(text: str, width: float) -> list[str]:
    """A statement in lines; one that does not fit has its conditions in lines of their own."""
    value, where, conditions = text.partition(" where ")
    whole = wrapped(text, width, SMALL, most=LINES)
    if len(whole) == 1 or not where:
        return whole
    found = wrapped(value, width, SMALL, most=LINES)
    return found + ["  " + w for w in wrapped(where + conditions, width - 14, SMALL, most=2)]


class _Picture:
    """Puts the items of one picture together."""

    def __init__(self, graph: Graph, facts: Facts) -> None:
        self.graph = graph
        self.facts = facts
        self.texts = {n.key: _written(n) for n in graph.nodes}
        self.sides = {b: self._side(b) for b in sorted({n.band for n in graph.nodes})}
        self.head = self._head()
        room = {b: lowest(s, 0.0) + 2 * PADDING - 2 * BAND_MARGIN for b, s in self.sides.items()}
        self.layout = layout(graph, {k: t.size for k, t in self.texts.items()}, room)

    def scene(self) -> Scene:
        top = lowest(self.head, MARGIN) + MARGIN + BAND_MARGIN
        placed = _shifted(self.layout, MARGIN + SIDE + PADDING, top)
        right = placed.width + MARGIN
        below = placed.height + BAND_MARGIN + MARGIN
        key = list(self._key(MARGIN, below))
        signs = [k for k in key if isinstance(k, Label)]
        width = round(max(right + PADDING, *(k.x + k.width + MARGIN for k in (*self.head, *signs))))
        height = round(lowest(signs, below) + MARGIN)
        items: list[Item] = [Box(0, 0, width, height, "paper", kind="paper"), *self.head]
        items += self._bands(placed, width - 2 * MARGIN)
        items += self._frames(placed)
        ordered = sorted(self.graph.edges, key=lambda e: self._kept(e))
        items += [self._arrow(placed, edge) for edge in ordered]
        items += self._frame_labels(placed)
        for node in self.graph.nodes:
            items += self._box(node, placed.boxes[node.key])
        title = f"{self.graph.name}: passes over {self.graph.variable}"
        return Scene(width, height, title, self._described(), (*items, *key))

    # Texts around the graph

    def _head(self) -> list[Label]:
        title = cut(self.graph.name, LONGEST_TITLE, TITLE)
        name = lines_of([title], MARGIN, MARGIN, size=TITLE, bold=True)
        count = self._count()
        below = lowest(name, MARGIN) + 2
        return [*name, *lines_of([count], MARGIN, below, role="quiet", font="text", size=BODY)]

    def _count(self) -> str:
        """How many passes there are: `3 passes over n`."""
        count, over = self.graph.count, f"over {self.graph.variable}, as written"
        parts = [
            f"{_number(each)} in each of the {printer.expression(self.facts.variables[v])} "
            f"rounds of {v}"
            for v, each in count.rounds
        ]
        if not parts:
            return f"{_number(max(count.fixed, 1))} {over}"
        if count.fixed:
            parts.append(f"{count.fixed} more")
        return f"{' and '.join(parts)}, {over}"

    def _described(self) -> str:
        """The picture in words, for those who do not see it."""
        bands = [
            f"pass {b}: {', '.join(n.head for n in self.graph.nodes if n.band == b)}"
            for b in self.sides
            if b
        ]
        return f"{self._count()}. {'. '.join(bands)}."

    def _side(self, band: int) -> list[Label]:
        """What stands beside a band: which pass it is, and what is kept at its end."""
        x = MARGIN + PADDING
        inner = SIDE - 2 * PADDING
        over = f"over {self.graph.variable}"
        if band == 0:
            title, below = "no pass", f"{over} is needed"
        else:
            title = f"pass {band}"
            total = self.graph.bands
            below = over if total == 1 or self.graph.count.rounds else f"of {total} {over}"
        labels = lines_of([title], x, PADDING, font="text", size=14.0, bold=True)
        notes = [below, *self._rounds(band)]
        lines = [line for note in notes for line in wrapped(note, inner, SMALL, "text")]
        labels += lines_of(lines, x, lowest(labels, 0.0) + 1, role="quiet", font="text", size=SMALL)
        if band == 0:
            return labels
        for heading, nodes, role in self._left(band):
            start = lowest(labels, 0.0) + 7
            labels += lines_of(
                wrapped(heading, inner, SMALL, "text"),
                x,
                start,
                role=role,
                font="text",
                size=SMALL,
                bold=True,
            )
            names = [n.head if n.kind != "part" else f"{_short(n)} {n.head}" for n in nodes]
            lines = [cut(name, inner, SMALL) for name in names]
            labels += lines_of(lines, x, lowest(labels, 0.0), role=role, size=SMALL)
        return labels

    def _rounds(self, band: int) -> Iterator[str]:
        """Where a loop repeats a pass, its first round is drawn."""
        inside = {n.group for n in self.graph.nodes if n.band == band and n.along}
        for i, group in enumerate(self.graph.groups):
            if group.each and i in inside:
                yield f"first round of {group.variable}"

    def _left(self, band: int) -> Iterator[tuple[str, Sequence[Node], str]]:
        """What later passes read: whole fibres, then what has no element for each of the rank."""
        crossing = self.graph.crossing(band)
        whole = [n for n in crossing if n.whole and n.kind != "input"]
        again = [n for n in crossing if n.whole and n.kind == "input"]
        small = [n for n in crossing if not n.whole and n.kind != "input"]
        variable = self.graph.variable
        if whole:
            yield f"kept for all of {variable}", whole, "kept"
        if again:
            yield "read again later", again, "kept"
        if small:
            yield "kept", small, "quiet"

    # The graph

    def _bands(self, placed: Layout, width: float) -> Iterator[Item]:
        for band, (upper, lower) in placed.bands.items():
            y = upper - BAND_MARGIN
            fill, edge = ("band", "band-edge") if band else ("outside", None)
            height = lower - upper + 2 * BAND_MARGIN
            yield Box(MARGIN, y, width, height, fill, edge, RADIUS, kind="band")
            for label in self.sides[band]:
                yield _moved(label, y)

    def _frames(self, placed: Layout) -> Iterator[Item]:
        for place in placed.frames.values():
            x, y, w, h = place.x, place.y, place.width, place.height
            yield Box(x, y, w, h, None, "quiet", RADIUS, 1.4, dashed=True, kind="frame")

    def _frame_labels(self, placed: Layout) -> Iterator[Item]:
        """Each in the corner of its frame that no arrow goes through, if there is one."""
        ways = [p for way in placed.ways.values() for p in sampled((*way.points, way.head[1]))]
        for i, place in placed.frames.items():
            group = self.graph.groups[i]
            text = f"recurrence over {group.variable}"
            if group.each:
                text += f": {_number(group.each)} more each round"
            width = text_width(text, SMALL, "text")
            right = place.x + place.width - width - PADDING / 2
            low = place.y + place.height - FRAME_MARGIN + 2
            corners = [
                Box(x, y, width, FRAME_MARGIN - 4, "band")
                for y in (place.y + 2, low)
                for x in (place.x + PADDING / 2, right)
            ]
            free = (c for c in corners if not any(_inside(c, p) for p in ways))
            box = next(free, corners[0])
            yield box
            yield Label(box.x + 3, box.y + SMALL + 1, text, "quiet", "text", SMALL)

    def _kept(self, edge: Edge) -> bool:
        """Whether an arrow carries a whole fibre to a later pass."""
        source, target = self.graph.node(edge.source), self.graph.node(edge.target)
        return source.whole and not edge.back and source.band < target.band

    def _arrow(self, placed: Layout, edge: Edge) -> Curve:
        way = placed.ways[edge.source, edge.target]
        kept = self._kept(edge)
        source, target = (_name(self.graph.node(k)) for k in (edge.source, edge.target))
        return Curve(
            way.points,
            "kept" if kept else "read",
            2.4 if kept else 1.2,
            edge.earlier,
            way.head,
            "edge",
            f"{source} to {target}{' of a later step' if edge.earlier else ''}",
        )

    def _box(self, node: Node, place: Place) -> Iterator[Item]:
        text = self.texts[node.key]
        fill = {"input": "input", "tensor": "box", "part": "part"}[node.kind]
        edge = (
            "output-edge" if node.output else f"{'input' if node.kind == 'input' else 'box'}-edge"
        )
        x, y, w, h = place.x, place.y, place.width, place.height
        yield Box(
            x,
            y,
            w,
            h,
            fill,
            edge,
            h / 2 if node.kind == "input" else RADIUS / 2,
            2.4 if node.output else 1.2,
            node.kind == "part",
            node.kind,
            " ".join([node.head, *node.lines]),
        )
        if node.along:
            yield Box(x + 3, y + 5, STRIPE - 1, h - 10, "output-edge", kind="stripe")
        left = x + PADDING + STRIPE
        heading = lines_of([text.head], left, y + PADDING - 3, bold=node.kind != "part")
        yield from heading
        if text.tag:
            yield Label(
                x + w - PADDING, heading[0].y, text.tag, "output-edge", "text", SMALL, anchor="end"
            )
        yield from lines_of(text.lines, left, lowest(heading, 0.0), size=SMALL)

    def _key(self, x: float, y: float) -> Iterator[Item]:
        """What the signs mean: only those that occur."""
        nodes, edges = self.graph.nodes, self.graph.edges
        variable = self.graph.variable
        signs: list[tuple[str, str]] = []
        if any(n.along for n in nodes):
            signs.append(("stripe", f"goes along {variable}"))
        if any(n.kind == "part" for n in nodes):
            signs.append(("part", "part of a statement that an earlier pass finishes"))
        if any(self._kept(e) for e in edges):
            signs.append(("kept", f"all of {variable}, needed by a later pass"))
        if any(e.earlier for e in edges):
            signs.append(("earlier", "read from an earlier step"))
        for sign, text in signs:
            middle = y + SMALL * LEADING / 2 + 1
            match sign:
                case "stripe":
                    yield Box(x + 14, y, STRIPE - 1, SMALL + 4, "output-edge")
                case "part":
                    yield Box(x, y + 1, 30, SMALL + 3, "part", "box-edge", 3, 1.2, dashed=True)
                case _:
                    kept = sign == "kept"
                    points = ((x, middle), (x + 8, middle), (x + 16, middle), (x + 23, middle))
                    head = (x + 23, middle), (x + 30, middle)
                    role, weight = ("kept", 2.4) if kept else ("read", 1.2)
                    yield Curve(points, role, weight, not kept, head)
            yield Label(x + 40, y + SMALL + 1, text, "quiet", "text", SMALL)
            y += SMALL * LEADING + 4


def _inside(box: Box, point: Point) -> bool:
    return box.x <= point[0] <= box.x + box.width and box.y <= point[1] <= box.y + box.height


def _name(node: Node) -> str:
    return node.head.partition("[")[0] if node.kind != "part" else f"{_short(node)} {node.head}"


def _short(node: Node) -> str:
    """A part by its operator: `max[n]`."""
    return node.lines[0].partition("(")[0]


def _number(count: int) -> str:
    return f"{count} pass" if count == 1 else f"{count} passes"


def _moved(label: Label, dy: float) -> Label:
    return replace(label, y=label.y + dy)


def _shifted(found: Layout, dx: float, dy: float) -> Layout:
    """A layout moved right and down; its width and height become its right and lower edges."""

    def place(p: Place) -> Place:
        return Place(p.x + dx, p.y + dy, p.width, p.height)

    def points(ps: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        return tuple((x + dx, y + dy) for x, y in ps)

    def places(ps: Mapping[str, Place]) -> dict[str, Place]:
        return {k: place(p) for k, p in ps.items()}

    ways: dict[tuple[str, str], Way] = {}
    for key, way in found.ways.items():
        base, tip = points(way.head)
        ways[key] = Way(points(way.points), (base, tip))
    bottom = max(lower for _, lower in found.bands.values())
    return Layout(
        found.width + dx,
        bottom + dy,
        places(found.boxes),
        ways,
        {k: place(p) for k, p in found.frames.items()},
        {b: (u + dy, v + dy) for b, (u, v) in found.bands.items()},
    )
