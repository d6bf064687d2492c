"""What a picture consists of, before it is written in any format.

Coordinates are pixels from the upper left corner; roles name colours of `style.COLOURS`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from attnc.drawing.style import BODY, LEADING, Font, columns, text_width

Point: TypeAlias = tuple[float, float]
CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `edge` None draws none. `title` is shown when pointed at."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None
    edge: str | None = None
    radius: float = 0.0
    weight: float = 1.0
    dashed: bool = False
    kind: str = ""
    title: str = ""

    def holds(self, other: Box) -> bool:
        """Whether another rectangle lies inside."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )

    def meets(self, other: Box) -> bool:
        """Whether another rectangle overlaps."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True, slots=True)
class Label:
    """One line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    role: str = "ink"
    font: Font = "code"
    size: float = BODY
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "start"

    @property
    def width(self) -> float:
        """The room it takes."""
        return text_width(self.text, self.size, self.font)


@dataclass(frozen=True, slots=True)
class Curve:
    """Cubic Bézier pieces: a start, then three points for each; with a head where it ends."""

    points: tuple[Point, ...]
    role: str
    weight: float = 1.2
    dashed: bool = False
    head: tuple[Point, Point] | None = None
    kind: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Cells:
    """Rectangles of one colour, as `x, y, width, height`."""

    rectangles: tuple[tuple[float, float, float, float], ...]
    role: str


Item: TypeAlias = Box | Label | Curve | Cells


@dataclass(frozen=True)
class Scene:
    """A picture: what is drawn later lies above."""

    width: float
    height: float
    title: str
    description: str
    items: tuple[Item, ...]


def arrow(head: tuple[Point, Point], half: float = 3.5) -> tuple[Point, Point, Point]:
    """The triangle of a head from its base to its tip."""
    (x0, y0), (x1, y1) = head
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
    dx, dy = (x1 - x0) / length * half, (y1 - y0) / length * half
    return (x1, y1), (x0 - dy, y0 + dx), (x0 + dy, y0 - dx)


def sampled(points: Sequence[Point], each: int = 16) -> list[Point]:
    """Points on cubic Bézier pieces, and what follows the last whole piece."""
    found = [points[0]]
    pieces = (len(points) - 1) // 3
    for k in range(pieces):
        a, b, c, d = points[3 * k : 3 * k + 4]
        for i in range(1, each + 1):
            t = i / each
            u = 1 - t
            weights = (u**3, 3 * u * u * t, 3 * u * t * t, t**3)
            x = sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True))
            y = sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True))
            found.append((x, y))
    return [*found, *points[3 * pieces + 1 :]]


def wrapped(
    text: str, width: float, size: float, font: Font = "code", most: int | None = None
) -> list[str]:
    """A text in lines that fit; what is beyond `most` lines is cut, with an ellipsis."""
    return textwrap.wrap(
        " ".join(text.split()),
        columns(width, size, font),
        max_lines=most,
        placeholder=f" {CUT}",
        break_on_hyphens=False,
        subsequent_indent="  " if font == "code" else "",
    )


def cut(text: str, width: float, size: float) -> str:
    """A text of code that fits in one line, cut at its end where it has to be."""
    most = columns(width, size, "code")
    return text if len(text) <= most else text[: most - 1] + CUT


def lines_of(
    texts: Iterable[str],
    x: float,
    y: float,
    *,
    role: str = "ink",
    font: Font = "code",
    size: float = BODY,
    bold: bool = False,
) -> list[Label]:
    """Texts one below the other; `y` is the upper edge of the first. Indents become places."""
    found: list[Label] = []
    for i, text in enumerate(texts):
        indent = len(text) - len(text.lstrip(" "))
        left = x + text_width(" " * indent, size, font)
        found.append(
            Label(left, y + i * size * LEADING + size, text[indent:], role, font, size, bold)
        )
    return found


def lowest(labels: Sequence[Label], start: float) -> float:
    """The lower edge of some lines, or where they would start."""
    return max((label.y + label.size * (LEADING - 1) for label in labels), default=start)
