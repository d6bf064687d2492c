"""Sections of aligned rows, as plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

Row: TypeAlias = tuple[str, str, str]
Section: TypeAlias = tuple[str, Row, list[Row]]
"""A title, the heads of three columns, and rows; the second column is right-justified."""

WIDTH: Final = 100
"""Columns beyond which the third column goes on in a line of its own."""
LEAST: Final = 40
"""But it always has so many."""


def lines_of(section: Section) -> Iterator[str]:
    """The title, and the rows in columns parted by spaces."""
    title, heads, rows = section
    yield title
    shown = [heads, *rows] if any(heads) else rows
    first, second = (max(len(r[i]) for r in shown) for i in (0, 1))
    for a, b, c in shown:
        cells = (a.ljust(first) if first else "", b.rjust(second) if second else "")
        before = "  " + "".join(f"{cell}  " for cell in cells if cell)
        for part in _broken(c, max(WIDTH - len(before), LEAST)):
            yield f"{before}{part}".rstrip()
            before = " " * len(before)


def _broken(text: str, width: int) -> Sequence[str]:
    """A text in lines of at most so many columns, where it has spaces."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) > width and lines[-1]:
            lines.append(f"  {word}")
        else:
            lines[-1] = joined
    return lines


def amount(name: str, item: Mapping[str, Any]) -> Row:
    """A quantity: its value, if known, and its formula."""
    value = "" if item["value"] is None else f"{item['value']:,}"
    return name, value, str(item["formula"])
