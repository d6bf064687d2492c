"""The picture of masks: for each place its text and its panels, then what they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attnc.drawing.cells import rectangles
from attnc.drawing.mask import Mask, Masks, Panel
from attnc.drawing.scene import Box, Cells, Item, Label, Scene, cut, lines_of, lowest, wrapped
from attnc.drawing.style import BODY, LEADING, LONGEST_TITLE, MARGIN, SMALL, TITLE, text_width
from attnc.ir import printer

SIDE: Final = 256.0
"""Wanted length of the longer side of a panel, in pixels."""
LARGEST_CELL: Final = 16.0
WIDEST: Final = 900.0
GUTTER: Final = 40.0
"""Room at the left of a panel, for its rows."""
GAP: Final = 26.0
TICK: Final = 16.0


def mask_picture(masks: Masks) -> Scene:
    """The scene of some masks."""
    return _Picture(masks).scene()


class _Picture:
    """Puts the items of one picture together, from top to bottom."""

    def __init__(self, masks: Masks) -> None:
        self.masks = masks
        self.items: list[Item] = []
        self.right = 380.0

    def scene(self) -> Scene:
        y = MARGIN
        name = cut(self.masks.name, LONGEST_TITLE, TITLE)
        title = lines_of([name], MARGIN, y, size=TITLE, bold=True)
        self._put(title)
        y = self._text("which points exist", lowest(title, y) + 2, "quiet", BODY) + MARGIN
        for mask in self.masks.masks:
            y = self._mask(mask, y) + MARGIN / 2
        y = self._key(y)
        for text in self._made_from():
            y = self._text(text, y, "quiet", SMALL)
        width, height = round(self.right + MARGIN), round(y + MARGIN)
        paper = Box(0, 0, width, height, "paper", kind="paper")
        about = f"{self.masks.name}: which points exist"
        return Scene(width, height, about, self._described(), (paper, *self.items))

    def _put(self, labels: list[Label]) -> None:
        self.items += labels
        self.right = max([self.right, *(label.x + label.width for label in labels)])

    def _text(self, text: str, y: float, role: str, size: float, x: float = MARGIN) -> float:
        """A paragraph; gives the lower edge."""
        width = max(self.right, 560.0) - x
        labels = lines_of(
            wrapped(text, width, size, "text"), x, y, role=role, font="text", size=size
        )
        self._put(labels)
        return lowest(labels, y)

    def _mask(self, mask: Mask, y: float) -> float:
        heading = lines_of(wrapped(mask.site.text, 620.0, BODY, most=4), MARGIN, y)
        self._put(heading)
        y = lowest(heading, y) + 8
        x = MARGIN
        lower = y
        for panel in mask.panels:
            width, height = _measures(mask, panel)
            if x > MARGIN and x + width > WIDEST:
                x, y = MARGIN, lower + 6
            self._panel(mask, panel, x, y)
            self.right = max(self.right, x + width)
            lower = max(lower, y + height)
            x += width + GAP
        notes = [_share(mask)]
        if mask.same:
            notes.append(f"the same for every {', '.join(mask.same)}")
        return self._text("; ".join(notes), lower + 2, "quiet", SMALL) + 4

    def _panel(self, mask: Mask, panel: Panel, x: float, y: float) -> None:
        if panel.label:
            labels = lines_of([panel.label], x + GUTTER, y, size=SMALL)
            self._put(labels)
            y = lowest(labels, y) + 3
        rows, columns = panel.cells.shape
        cell = _cell(panel)
        width, height = columns * cell, rows * cell
        left = x + GUTTER
        self.items.append(Box(left, y, width, height, "absent", kind="panel"))
        self.items.append(Cells(tuple(rectangles(panel.cells, left, y, cell)), "present"))
        self.items.append(Box(left, y, width, height, None, "box-edge"))
        if mask.rows is not None:
            right = left - 5
            self._ticks(right, y, rows, height, "end", upright=True)
            middle = y + height / 2 + SMALL / 3
            self.items.append(
                Label(right, middle, cut(mask.rows, GUTTER - 5, BODY), anchor="end", bold=True)
            )
        low = y + height + SMALL + 3
        self._ticks(left, low, columns, width, "middle", upright=False)
        self.items.append(Label(left + width / 2, low, mask.columns, anchor="middle", bold=True))

    def _ticks(
        self, x: float, y: float, count: int, length: float, anchor: Any, *, upright: bool
    ) -> None:
        """The first and the last coordinate of a side."""
        if length < 3 * SMALL or count < 2:
            return
        if upright:
            self.items.append(Label(x, y + SMALL - 2, "0", "quiet", size=SMALL, anchor=anchor))
            last = Label(x, y + length - 1, str(count - 1), "quiet", size=SMALL, anchor=anchor)
            self.items.append(last)
        else:
            self.items.append(Label(x, y, "0", "quiet", size=SMALL))
            text = str(count - 1)
            self.items.append(Label(x + length, y, text, "quiet", size=SMALL, anchor="end"))

    def _key(self, y: float) -> float:
        x = MARGIN
        for role, text in (("present", "exists"), ("absent", "absent")):
            self.items.append(Box(x, y + 2, 12, 12, role, "box-edge"))
            self.items.append(Label(x + 18, y + SMALL + 1, text, "quiet", "text", SMALL))
            x += 30 + text_width(text, SMALL, "text") + 12
        return y + SMALL * LEADING + 6

    def _made_from(self) -> Iterator[str]:
        """Sizes, parameters, and the values of inputs that decide the picture."""
        sizes, chosen = self.masks.sizes, self.masks.chosen
        given = [n for n in sizes if n not in chosen]
        if given:
            yield f"Sizes: {', '.join(f'{n} = {sizes[n]}' for n in given)}."
        if chosen:
            listed = ", ".join(f"{n} = {sizes[n]}" for n in chosen)
            yield f"Sizes that were not given (--size): {listed}."
        if self.masks.parameters:
            listed = ", ".join(
                f"{n} = {printer.constant(v)}" for n, v in self.masks.parameters.items()
            )
            yield f"Parameters (--static): {listed}."
        for note in self.masks.notes:
            yield f"Values of {note}{'' if ': from ' in note else ' (--data gives others)'}."

    def _described(self) -> str:
        """The picture in words, for those who do not see it."""
        return " ".join(f"{m.site.text}: {_share(m)}." for m in self.masks.masks)


def _cell(panel: Panel) -> float:
    """The side of one point in pixels, in halves."""
    longest = max(panel.cells.shape)
    return min(LARGEST_CELL, max(1.0, int(2 * SIDE / longest) / 2))


def _measures(mask: Mask, panel: Panel) -> tuple[float, float]:
    """The room of a panel with its labels."""
    rows, columns = panel.cells.shape
    cell = _cell(panel)
    label = SMALL * LEADING + 3 if panel.label else 0.0
    width = max(columns * cell, text_width(panel.label, SMALL, "code"))
    return GUTTER + width, rows * cell + label + TICK + 4


def _share(mask: Mask) -> str:
    """`2,080 of 4,096 points exist (51 %)`; of several panels the range."""
    counts = [int(p.cells.sum()) for p in mask.panels]
    total = mask.panels[0].cells.size
    low, high = min(counts), max(counts)
    if low == high:
        return f"{low:,} of {total:,} points exist ({_percent(low, total)})"
    return f"{low:,} to {high:,} of {total:,} points exist in each"


def _percent(part: int, total: int) -> str:
    share = 100 * part / total
    return f"{share:.0f} %" if part in (0, total) or 1 <= share < 99.5 else f"{share:.2g} %"
