"""From a cascade to the bytes of a picture."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal, get_args

from attnc.drawing.graph import graph
from attnc.drawing.graph_picture import graph_picture
from attnc.drawing.html import Origin, html
from attnc.drawing.mask import Request, masks
from attnc.drawing.mask_picture import mask_picture
from attnc.drawing.scene import Scene
from attnc.drawing.style import Theme
from attnc.drawing.svg import svg
from attnc.errors import UsageError
from attnc.ir.facts import Facts

if TYPE_CHECKING:
    from attnc.drawing.tiles_kinds import TileRequest

Format = Literal["svg", "png", "html"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
DPI: Final = 192


def draw_graph(facts: Facts, rank: str | None = None) -> Scene:
    """The graph of a cascade with the passes over a rank; see `graph` and `graph_picture`."""
    return graph_picture(graph(facts, rank), facts)


def draw_mask(facts: Facts, request: Request) -> Scene:
    """Which points of a cascade exist; see `masks`."""
    return mask_picture(masks(facts, request))


def draw_tiles(facts: Facts, request: TileRequest) -> Scene:
    """Which tiles a kernel of a cascade visits; see `tiles`."""
    from attnc.drawing.tiles import tiles
    from attnc.drawing.tiles_picture import tiles_picture

    return tiles_picture(tiles(facts, request))


def format_of(path: str) -> Format:
    """The format that a file's name asks for; raises `UsageError` if it asks for no other."""
    suffix = PurePath(path).suffix.lower().removeprefix(".")
    for known in FORMATS:
        if suffix == known:
            return known
    raise UsageError(f"the file's name says the format, .svg, .png or .html: '{path}'")


def written(
    scene: Scene, form: Format, origin: Origin, theme: Theme | None = None, dpi: int = DPI
) -> str | bytes:
    """A scene in a format: text, or the bytes of a PNG.

    Without a theme SVG and HTML follow that of the reader, and PNG is light.
    """
    match form:
        case "svg":
            return svg(scene, theme)
        case "html":
            return html(scene, origin, theme)
        case "png":
            from attnc.drawing.png import png

            return png(scene, theme or "light", dpi)
