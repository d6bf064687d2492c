"""The picture of a kernel's tiles: a panel for each loop and program, coloured by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from attnc.drawing.cells import rectangles
from attnc.drawing.scene import (
    Box,
    Cells,
    Curve,
    Item,
    Label,
    Scene,
    cut,
    lines_of,
    lowest,
    wrapped,
)
from attnc.drawing.style import BODY, LEADING, LONGEST_TITLE, MARGIN, SMALL, TITLE, text_width
from attnc.drawing.tiles_kinds import LoopTiles, TileDrawing, TilePanel, Visit
from attnc.ir import printer

SIDE: Final = 384.0
"""Wanted length of the longer side of a panel, in pixels."""
LARGEST_POINT: Final = 16.0
LEAST_POINT: Final = 0.5
"""Points that are smaller are not drawn one by one, but tiles."""
WIDEST: Final = 1000.0
GUTTER: Final = 40.0
GAP: Final = 26.0
TICK: Final = 16.0
NUMBER: Final = 9.0
"""Height of the numbers in tiles."""
ROOM: Final = (16.0, 13.0)
"""Least sides of a tile with a number in it."""
FINE: Final = 8.0
"""Sides of tiles whose order is not shown, and whose edges are fine."""

FULL: Final = ("tile-full", "full: nothing is tested")
POINTS: Final = (
    ("tile-point", "partial: a point that counts"),
    ("tile-tested", "partial: one that does not"),
)
PARTIAL: Final = (("tile-point", "partial"),)
"""Where points are too small to be drawn."""
REST: Final = ("absent", "not visited")
WRONG: Final = ("wrong", "visited, and no point counts")
LOST: Final = ("lost", "counts, and is not visited")


def tiles_picture(drawing: TileDrawing) -> Scene:
    """The scene of some tiles."""
    return _Picture(drawing).scene()


class _Picture:
    """Puts the items of one picture together, from top to bottom."""

    def __init__(self, drawing: TileDrawing) -> None:
        self.drawing = drawing
        self.items: list[Item] = []
        self.right = 440.0
        self.fine = True
        """Whether points are drawn one by one."""
        self.signs: set[str] = set()
        """How the order of visits is shown."""

    def scene(self) -> Scene:
        y = MARGIN
        name = cut(self.drawing.name, LONGEST_TITLE, TITLE)
        title = lines_of([name], MARGIN, y, size=TITLE, bold=True)
        self._put(title)
        about = f"which tiles {self.drawing.kernel} visits"
        y = self._text(about, lowest(title, y) + 2, BODY) + MARGIN
        for loop in self.drawing.loops:
            y = self._loop(loop, y) + MARGIN / 2
        y = self._key(y)
        for text in self._made_from():
            y = self._text(text, y, SMALL)
        width, height = round(self.right + MARGIN), round(y + MARGIN)
        paper = Box(0, 0, width, height, "paper", kind="paper")
        told = " ".join(f"{_columns(loop)}: {_share(loop)}." for loop in self.drawing.loops)
        named = f"{self.drawing.name}: {about}"
        return Scene(width, height, named, told, (paper, *self.items))

    def _put(self, labels: list[Label]) -> None:
        self.items += labels
        self.right = max([self.right, *(label.x + label.width for label in labels)])

    def _text(self, text: str, y: float, size: float) -> float:
        """A paragraph; gives the lower edge."""
        lines = wrapped(text, max(self.right, 560.0) - MARGIN, size, "text")
        labels = lines_of(lines, MARGIN, y, role="quiet", font="text", size=size)
        self._put(labels)
        return lowest(labels, y)

    def _loop(self, loop: LoopTiles, y: float) -> float:
        text = loop.conditions or "no condition"
        heading = lines_of(wrapped(text, 620.0, BODY, most=4), MARGIN, y)
        self._put(heading)
        y = lowest(heading, y) + 8
        x, lower = MARGIN, y
        for panel in loop.panels:
            scale = _scale(loop, panel)
            rows, columns = panel.cells.shape
            label = SMALL * LEADING + 3 if panel.label else 0.0
            width = GUTTER + max(columns * scale, text_width(panel.label, SMALL, "code"))
            if x > MARGIN and x + width > WIDEST:
                x, y = MARGIN, lower + 6
            self._panel(loop, panel, x, y, scale)
            self.right = max(self.right, x + width)
            lower = max(lower, y + rows * scale + label + TICK + 4)
            x += width + GAP
        notes = [_share(loop)]
        if loop.same:
            notes.append(f"the same for every {', '.join(loop.same)}")
        return self._text("; ".join(notes), lower + 2, SMALL) + 4

    def _panel(self, loop: LoopTiles, panel: TilePanel, x: float, y: float, scale: float) -> None:
        if panel.label:
            labels = lines_of([panel.label], x + GUTTER, y, size=SMALL)
            self._put(labels)
            y = lowest(labels, y) + 3
        rows, columns = panel.cells.shape
        width, height = columns * scale, rows * scale
        left = x + GUTTER
        self.items.append(Box(left, y, width, height, "absent", kind="panel"))
        self.items += self._tiles(panel, left, y, scale)
        self.items.append(Box(left, y, width, height, None, "box-edge"))
        if loop.rows is not None:
            right = left - 5
            self._ticks(right, y, rows, height, upright=True)
            middle = y + height / 2 + SMALL / 3
            name = cut(loop.rows[0], GUTTER - 5, BODY)
            self.items.append(Label(right, middle, name, anchor="end", bold=True))
        low = y + height + SMALL + 3
        self._ticks(left, low, columns, width, upright=False)
        middle = left + width / 2
        self.items.append(Label(middle, low, loop.columns[0], anchor="middle", bold=True))

    def _tiles(self, panel: TilePanel, left: float, y: float, scale: float) -> Iterator[Item]:
        """Classes as areas, points in partial tiles, then edges and turns."""
        areas: dict[str, list[tuple[float, float, float, float]]] = {}
        for visit in panel.visits:
            role = "tile-tested" if scale >= LEAST_POINT else "tile-point"
            role = "tile-full" if visit.full else role if visit.points else WRONG[0]
            areas.setdefault(role, []).extend(_areas(visit, left, y, scale))
        for role, boxes in areas.items():
            yield Cells(tuple(boxes), role)
        self.fine = scale >= LEAST_POINT
        if self.fine:
            tested = panel.cells & ~panel.missed()
            for visit in panel.visits:
                if visit.full:
                    for low, high in visit.columns:
                        tested[slice(*visit.rows), low:high] = False
            yield Cells(tuple(rectangles(tested, left, y, scale)), "tile-point")
        missed = panel.missed()
        if missed.any():
            yield Cells(tuple(rectangles(missed, left, y, scale)), LOST[0])
        for visit in panel.visits:
            for box in _areas(visit, left, y, scale):
                title = f"turn {visit.turn + 1}, {'full' if visit.full else 'partial'}"
                weight = 0.6 if min(box[2:]) > FINE else 0.25
                yield Box(*box, None, "tile-edge", weight=weight, kind="tile", title=title)
        yield from self._turns(panel, left, y, scale)

    def _turns(self, panel: TilePanel, left: float, y: float, scale: float) -> Iterator[Item]:
        """The order of visits: numbers where there is room, else a line along each row of tiles."""
        rows: dict[int, list[tuple[Visit, Box]]] = {}
        for visit in panel.visits:
            a, b = visit.columns[0][0], visit.columns[-1][1]
            (area,) = _areas(replace(visit, columns=((a, b),)), left, y, scale)
            rows.setdefault(visit.rows[0], []).append((visit, Box(*area, None)))
        boxes = [box for row in rows.values() for box in row]
        widths = sorted(box.width for _, box in boxes)
        if not widths or max(box.height for _, box in boxes) <= FINE:
            return
        longest = max(len(str(visit.turn + 1)) for visit, _ in boxes)
        room = max(ROOM[0], text_width("0" * longest, NUMBER, "code") + 4)
        if widths[len(widths) // 2] >= room and max(b.height for _, b in boxes) >= ROOM[1]:
            self.signs.add("Numbers")
            for visit, box in boxes:
                if box.width >= room and box.height >= ROOM[1]:
                    yield _number(visit, box)
            return
        self.signs.add("Lines from a dot")
        for row in rows.values():
            yield from _line([box for _, box in sorted(row, key=lambda item: item[0].turn)])

    def _ticks(self, x: float, y: float, count: int, length: float, *, upright: bool) -> None:
        """The first and the last coordinate of a side."""
        if length < 3 * SMALL or count < 2:
            return
        last = str(count - 1)
        if upright:
            first = Label(x, y + SMALL - 2, "0", "quiet", size=SMALL, anchor="end")
            end = Label(x, y + length - 1, last, "quiet", size=SMALL, anchor="end")
        else:
            first = Label(x, y, "0", "quiet", size=SMALL)
            end = Label(x + length, y, last, "quiet", size=SMALL, anchor="end")
        self.items += [first, end]

    def _key(self, y: float) -> float:
        panels = [p for loop in self.drawing.loops for p in loop.panels]
        shown = [FULL, *(POINTS if self.fine else PARTIAL), REST]
        if any(not v.points for p in panels for v in p.visits):
            shown.append(WRONG)
        if any(p.missed().any() for p in panels):
            shown.append(LOST)
        x = MARGIN
        for role, text in shown:
            room = 30 + text_width(text, SMALL, "text")
            if x > MARGIN and x + room > max(self.right, 560.0):
                x, y = MARGIN, y + SMALL * LEADING + 3
            self.items.append(Box(x, y + 2, 12, 12, role, "box-edge"))
            self.items.append(Label(x + 18, y + SMALL + 1, text, "quiet", "text", SMALL))
            self.right = max(self.right, x + room - 12)
            x += room
        y += SMALL * LEADING + 6
        signs = " or ".join(s for s in ("Numbers", "Lines from a dot") if s in self.signs)
        if not signs:
            return y
        return self._text(f"{signs}: the order in which tiles of a row are visited.", y, SMALL)

    def _made_from(self) -> Iterator[str]:
        """Sizes of tiles and of ranks, parameters, and the inputs that decide."""
        values = self.drawing.values
        tiles = dict(t for loop in self.drawing.loops for t in (loop.rows, loop.columns) if t)
        yield f"Tiles (--tile): {', '.join(f'{n} = {t}' for n, t in tiles.items())}."
        given = [n for n in values.sizes if n not in values.chosen]
        if given:
            yield f"Sizes: {', '.join(f'{n} = {values.sizes[n]}' for n in given)}."
        if values.chosen:
            listed = ", ".join(f"{n} = {values.sizes[n]}" for n in values.chosen)
            yield f"Sizes that were not given (--size): {listed}."
        if values.parameters:
            listed = ", ".join(f"{n} = {printer.constant(v)}" for n, v in values.parameters.items())
            yield f"Parameters (--static): {listed}."
        for note in values.notes:
            yield f"Values of {note}."


def _scale(loop: LoopTiles, panel: TilePanel) -> float:
    """The side of one point in pixels; where tiles are larger, theirs are whole halves."""
    longest = max(panel.cells.shape)
    wanted = SIDE / longest
    if wanted >= LEAST_POINT:
        return min(LARGEST_POINT, max(LEAST_POINT, int(2 * wanted) / 2))
    tile = max(loop.columns[1], loop.rows[1] if loop.rows else 1)
    return max(1.0, int(2 * wanted * tile) / 2) / tile


def _areas(
    visit: Visit, left: float, y: float, scale: float
) -> list[tuple[float, float, float, float]]:
    top, bottom = visit.rows
    return [
        (left + a * scale, y + top * scale, (b - a) * scale, (bottom - top) * scale)
        for a, b in visit.columns
    ]


def _number(visit: Visit, box: Box) -> Label:
    role = "on-full" if visit.full else "ink"
    x, y = box.x + box.width / 2, box.y + box.height / 2 + NUMBER / 3
    return Label(x, y, str(visit.turn + 1), role, size=NUMBER, anchor="middle")


def _line(boxes: Sequence[Box]) -> Iterator[Item]:
    """From the middle of the first box, where a dot is, through those of the others."""
    points = [(b.x + b.width / 2, b.y + b.height / 2) for b in boxes]
    path = [points[0]]
    for start, end in zip(points, points[1:], strict=False):
        path += [start, end, end]
    if len(path) > 1:
        yield Curve(tuple(path), "tile-edge", 0.5, kind="turns")
    x, y = points[0]
    yield Box(x - 1.2, y - 1.2, 2.4, 2.4, "tile-edge", radius=1.2)


def _columns(loop: LoopTiles) -> str:
    """The sides in words."""
    return f"{loop.columns[0]} for {loop.rows[0]}" if loop.rows else loop.columns[0]


def _share(loop: LoopTiles) -> str:
    """`36 of 64 tiles are visited: 28 full, 8 partial; 36 have a point that counts`."""
    visited = [len(p.visits) for p in loop.panels]
    if len(set(visited)) > 1:
        return f"{min(visited):,} to {max(visited):,} of {loop.every:,} tiles are visited in each"
    full = [sum(v.full for v in p.visits) for p in loop.panels]
    empty = [sum(not v.points for v in p.visits) for p in loop.panels]
    text = f"{visited[0]:,} of {loop.every:,} tiles are visited"
    if len(set(full)) == 1:
        text += f": {full[0]:,} full, {visited[0] - full[0]:,} partial"
    if any(empty):
        text += f"; in {max(empty):,} of them no point counts"
    return text
