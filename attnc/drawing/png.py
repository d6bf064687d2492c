"""A scene as PNG, drawn by Matplotlib with the fonts that come with it."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any, Final, assert_never

from attnc.drawing.scene import Box, Cells, Curve, Item, Label, Scene, arrow
from attnc.drawing.style import COLOURS, Theme
from attnc.errors import UsageError

PIXELS: Final = 96.0
"""Pixels of a scene in an inch."""
POINTS: Final = 72.0
MAX_PIXELS: Final = 60_000_000
FONTS: Final = {"code": "DejaVu Sans Mono", "text": "DejaVu Sans"}


def png(scene: Scene, theme: Theme, dpi: int) -> bytes:
    """The bytes of a PNG file; raises `UsageError` if it is too large or Matplotlib is missing."""
    width, height = (round(v * dpi / PIXELS) for v in (scene.width, scene.height))
    if width * height > MAX_PIXELS:
        raise UsageError(
            f"at {dpi} dots per inch the picture has {width} by {height} dots, "
            f"more than {MAX_PIXELS:,}"
        )
    matplotlib = _module("matplotlib")
    figure = _module("matplotlib.figure").Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    canvas = _module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    for order, item in enumerate(scene.items):
        _add(axes, item, theme, order)
    file = io.BytesIO()
    with matplotlib.rc_context(
        {"text.hinting": "none"}
    ):  # so that texts are as wide as they are said to be
        canvas.print_png(file, metadata={"Software": None, "Title": scene.title})
    return file.getvalue()


def _module(name: str) -> Any:
    """A part of Matplotlib, whose types are many and partly unknown."""
    try:
        return import_module(name)
    except ImportError:
        raise UsageError("a PNG needs Matplotlib: pip install 'attnc[draw]'") from None


def _add(axes: Any, item: Item, theme: Theme, order: int) -> None:
    match item:
        case Box():
            _add_box(axes, item, theme, order)
        case Label():
            axes.text(
                item.x,
                item.y,
                item.text,
                parse_math=False,
                color=COLOURS[item.role].of(theme),
                family=FONTS[item.font],
                fontsize=item.size * POINTS / PIXELS,
                fontweight="bold" if item.bold else "normal",
                ha={"start": "left", "middle": "center", "end": "right"}[item.anchor],
                va="baseline",
                zorder=order,
            )
        case Curve():
            _add_curve(axes, item, theme, order)
        case Cells():
            corners = [
                [(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in item.rectangles
            ]
            colour = COLOURS[item.role].of(theme)
            axes.add_collection(
                _module("matplotlib.collections").PolyCollection(
                    corners, facecolors=colour, linewidths=0, antialiased=False, zorder=order
                ),
                autolim=False,
            )
        case _:
            assert_never(item)


def _line(weight: float) -> float:
    return weight * POINTS / PIXELS


def _add_box(axes: Any, box: Box, theme: Theme, order: int) -> None:
    shape = f"round,pad=0,rounding_size={box.radius}" if box.radius else "square,pad=0"
    axes.add_patch(
        _module("matplotlib.patches").FancyBboxPatch(
            (box.x, box.y),
            box.width,
            box.height,
            boxstyle=shape,
            facecolor=COLOURS[box.fill].of(theme) if box.fill else "none",
            edgecolor=COLOURS[box.edge].of(theme) if box.edge else "none",
            linewidth=_line(box.weight) if box.edge else 0,
            linestyle=(0, (4, 3)) if box.dashed else "solid",
            zorder=order,
        )
    )


def _add_curve(axes: Any, curve: Curve, theme: Theme, order: int) -> None:
    patches, paths = _module("matplotlib.patches"), _module("matplotlib.path").Path
    colour = COLOURS[curve.role].of(theme)
    codes = [paths.MOVETO, *[paths.CURVE4] * (len(curve.points) - 1)]
    axes.add_patch(
        patches.PathPatch(
            paths(curve.points, codes),
            fill=False,
            edgecolor=colour,
            linewidth=_line(curve.weight),
            linestyle=(0, (5, 4)) if curve.dashed else "solid",
            zorder=order,
        )
    )
    if curve.head:
        axes.add_patch(
            patches.Polygon(arrow(curve.head), facecolor=colour, edgecolor="none", zorder=order)
        )
