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
from attnc.errors import UsageError

if TYPE_CHECKING:
    from attnc.api import Checked
    from attnc.drawing.scene import Scene

SUMMARY: Final = "draw a spec: its graph and passes, or which points exist"

OF_GRAPH: Final = ("rank",)
OF_MASK: Final = ("tensor", "rows", "columns", "at", "size", "static", "data")
DPI: Final = range(24, 1201)


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="a .svg, .png or .html file"
    )
    parser.add_argument(
        "--what",
        choices=("graph", "mask"),
        default="graph",
        help="graph: tensors, reads, passes (default); mask: which points exist",
    )
    parser.add_argument(
        "--theme", choices=("light", "dark"), help="default: the reader's; for PNG light"
    )
    parser.add_argument("--dpi", metavar="N", help="dots per inch of a PNG (default: 192)")
    parser.add_argument("--rank", metavar="N", help="graph: the passes over this rank")
    parser.add_argument("--tensor", metavar="NAME", help="mask: the tensor whose points are drawn")
    parser.add_argument("--rows", metavar="VARIABLE", help="mask: the variable of the rows")
    parser.add_argument("--columns", metavar="VARIABLE", help="mask: the variable of the columns")
    _repeated(parser, "--at", "VARIABLE=INDEX", "mask: keep to one index of another variable")
    add_sizes(parser, "mask: sizes of ranks")
    _repeated(parser, "--static", "NAME=VALUE", "mask: the value of a parameter")
    _repeated(parser, "--data", "NAME=FILE.npy", "mask: the values of an input")


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
    others = OF_MASK if options.what == "graph" else OF_GRAPH
    for name in others:
        if getattr(options, name):
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
    from attnc.drawing.draw import draw_graph, draw_mask
    from attnc.drawing.mask import Request

    facts = found.select(options.cascade)
    if options.what == "graph":
        return draw_graph(facts, options.rank)
    places = (part for item in options.at for part in item.split(",") if part)
    request = Request(
        options.tensor,
        options.rows,
        options.columns,
        {name: _whole(f"--at {name}=", value) for name, value in pairs(places, "--at")},
        sizes(options.size),
        fixed(facts, dict(pairs(options.static, "--static"))),
        dict(pairs(options.data, "--data")),
    )
    return draw_mask(facts, request)


def _whole(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise UsageError(f"{option} takes a number, not '{text}'")
    return int(text)


def _said(options: argparse.Namespace) -> dict[str, str]:
    """The options that made the picture, for its page."""
    said = {"drawn": options.what}
    for name in ("cascade", *OF_GRAPH, *OF_MASK):
        value = getattr(options, name)
        if value:
            said[name] = value if isinstance(value, str) else ", ".join(value)
    return said
