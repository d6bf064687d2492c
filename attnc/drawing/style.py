"""How every picture looks: colours for light and dark, fonts, measures in pixels.

A shape or a text has a role; the role has one colour in each theme. The colours of lines and
areas differ in lightness as well as in hue, so that they can be told apart without colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Colour:
    """One colour in both themes, as `#rrggbb`."""

    light: str
    dark: str

    def of(self, theme: Theme) -> str:
        """The colour in a theme."""
        return self.light if theme == "light" else self.dark


COLOURS: Final[dict[str, Colour]] = {
    "paper": Colour("#ffffff", "#0d1117"),
    "ink": Colour("#1b1f24", "#e6edf3"),
    "quiet": Colour("#57606a", "#9aa5b1"),
    "band": Colour("#eaf2fb", "#13202f"),
    "band-edge": Colour("#7f9fc1", "#4d6d90"),
    "outside": Colour("#f4f5f6", "#161a20"),
    "box": Colour("#ffffff", "#1c2430"),
    "box-edge": Colour("#6b7785", "#7d8b9b"),
    "input": Colour("#fbf3dc", "#2e2814"),
    "input-edge": Colour("#8a6d1a", "#b89b45"),
    "output-edge": Colour("#0b5cad", "#6cb6ff"),
    "part": Colour("#f6f8fa", "#171e28"),
    "read": Colour("#6b7785", "#7d8b9b"),
    "kept": Colour("#b5470f", "#ff9a5c"),
    "present": Colour("#0b5cad", "#6cb6ff"),
    "absent": Colour("#e9edf1", "#222b36"),
    "tile-full": Colour("#0b5cad", "#6cb6ff"),
    "tile-point": Colour("#5591d0", "#3a6c9e"),
    "tile-tested": Colour("#d6e7f8", "#102a42"),
    "tile-edge": Colour("#3f5f80", "#8fb2d6"),
    "on-full": Colour("#ffffff", "#0d1117"),
    "wrong": Colour("#f0a35e", "#8f4a24"),
    "lost": Colour("#b5470f", "#ff9a5c"),
}

CODE_FONTS: Final = (
    "ui-monospace",
    "SFMono-Regular",
    "Menlo",
    "DejaVu Sans Mono",
    "Consolas",
    "monospace",
)
TEXT_FONTS: Final = ("system-ui", "Segoe UI", "Helvetica", "Arial", "DejaVu Sans", "sans-serif")

Font = Literal["code", "text"]
ADVANCE: Final[dict[Font, float]] = {"code": 0.602, "text": 0.62}
"""Width of a character in heights of its font: exact for code, generous for text."""

TITLE: Final = 16.0
LONGEST_TITLE: Final = 600.0
BODY: Final = 12.0
SMALL: Final = 11.0
LEADING: Final = 1.4
"""Height of a line in heights of its font."""

MARGIN: Final = 16.0
PADDING: Final = 9.0
RADIUS: Final = 6.0


def text_width(text: str, size: float, font: Font) -> float:
    """The room that a text needs."""
    return len(text) * size * ADVANCE[font]


def columns(width: float, size: float, font: Font) -> int:
    """How many characters fit in a width."""
    return max(1, int(width / (size * ADVANCE[font])))
