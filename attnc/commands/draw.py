"""`attnc draw`: a spec becomes a picture."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from attnc.commands.common import (
    add_sizes,
    add_spec,
    check_output,
    checked,
    pairs,
    show,
    sizes,
    write_bytes,
    write_text,
)
from attnc.commands.tile_options import add_tiles, tiles
from attnc.errors import UsageError

if TYPE_CHECKING:
    from attnc.api import Checked
    from attnc.drawing.scene import Scene

SUMMARY: Final = "draw a spec: its graph and passes, which points exist, or which tiles are visited"

OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "graph": ("rank",),
    "mask": ("tensor", "rows", "columns", "at", "size", "static", "data"),
    "tiles": ("kernel", "tile", "at", "size", "static", "data"),
}
"""The options that go with each kind of picture."""
DPI: Final = range(24, 1201)


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="a .svg, .png or .html file"
    )
    parser.add_argument(
        "--what",
        choices=tuple(OPTIONS),
        default="graph",
        help="graph: tensors, reads, passes (default); mask: which points exist; tiles: which of "
        "them a kernel visits, tile by tile",
    )
    parser.add_argument(
        "--theme", choices=("light", "dark"), help="default: the reader's; for PNG light"
    )
    parser.add_argument("--dpi", metavar="N", help="dots per inch of a PNG (default: 192)")
    parser.add_argument("--rank", metavar="N", help="graph: the passes over this rank")
    parser.add_argument("--tensor", metavar="NAME", help="mask: the tensor whose points are drawn")
    parser.add_argument("--rows", metavar="VARIABLE", help="mask: the variable of the rows")
    parser.add_argument("--columns", metavar="VARIABLE", help="mask: the variable of the columns")
    parser.add_argument("--kernel", metavar="NAME", help="tiles: the kernel, as explain calls it")
    add_tiles(parser, "tiles: sizes of tiles")
    one = "mask, tiles: keep to one index of another variable"
    _repeated(parser, "--at", "VARIABLE=INDEX", one)
    add_sizes(parser, "mask, tiles: sizes of ranks")
    _repeated(parser, "--static", "NAME=VALUE", "mask, tiles: the value of a parameter")
    _repeated(parser, "--data", "NAME=FILE.npy", "mask, tiles: the values of an input")


def _repeated(parser: argparse.ArgumentParser, name: str, metavar: str, text: str) -> None:
    text = f"{text} (may be repeated)"
    parser.add_argument(name, action="append", default=[], metavar=metavar, help=text)


def run(options: argparse.Namespace) -> int:
    """Draws; warnings follow once the file is there."""
    from attnc.drawing.draw import DPI as USUAL
    from attnc.drawing.draw import format_of, written
    from attnc.drawing.html import Origin

    form = format_of(options.output)
    if options.dpi is not None and form != "png":
        raise UsageError("--dpi is for .png files")
    every = dict.fromkeys(name for names in OPTIONS.values() for name in names)
    for name in every:
        if name not in OPTIONS[options.what] and getattr(options, name):
            raise UsageError(f"--{name} does not go with --what {options.what}")
    dpi = USUAL if options.dpi is None else _whole("--dpi", options.dpi)
    if dpi not in DPI:
        raise UsageError(f"--dpi {options.dpi}: from {DPI.start} to {DPI.stop - 1}")
    check_output(options)
    found = checked(options)
    scene = _scene(found, options)
    origin = Origin(found.source.name, found.source.text, _said(options))
    picture = written(scene, form, origin, options.theme, dpi)
    if isinstance(picture, str):
        write_text(options, picture)
    else:
        write_bytes(options, picture)
    show(found.warnings)
    return 0


def _scene(found: Checked, options: argparse.Namespace) -> Scene:
    from attnc.api import fixed
    from attnc.drawing.draw import draw_graph, draw_mask, draw_tiles
    from attnc.drawing.mask import Request

    facts = found.select(options.cascade)
    if options.what == "graph":
        return draw_graph(facts, options.rank)
    places = (part for item in options.at for part in item.split(",") if part)
    at = {name: _whole(f"--at {name}=", value) for name, value in pairs(places, "--at")}
    given = sizes(options.size)
    static = fixed(facts, dict(pairs(options.static, "--static")))
    data = dict(pairs(options.data, "--data"))
    if options.what == "tiles":
        from attnc.drawing.tiles_kinds import TileRequest

        chosen = tiles(options.tile)
        return draw_tiles(facts, TileRequest(options.kernel, at, given, chosen, static, data))
    sides = options.tensor, options.rows, options.columns
    return draw_mask(facts, Request(*sides, at, given, static, data))


def _whole(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise UsageError(f"{option} takes a number, not '{text}'")
    return int(text)


def _said(options: argparse.Namespace) -> dict[str, str]:
    """The options that made the picture, for its page."""
    said = {"drawn": options.what}
    for name in ("cascade", *OPTIONS[options.what]):
        value = getattr(options, name)
        if value:
            said[name] = value if isinstance(value, str) else ", ".join(value)
    return said
