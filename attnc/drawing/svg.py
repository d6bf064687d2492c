"""A scene as SVG: text stays text, and colours follow the theme of the reader."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Final, assert_never

from attnc.drawing.scene import Box, Cells, Curve, Item, Label, Point, Scene, arrow
from attnc.drawing.style import CODE_FONTS, COLOURS, TEXT_FONTS, Theme

PREFIX: Final = "attnc"
"""Of every class and variable, since a page may hold pictures and styles of others."""


def svg(scene: Scene, theme: Theme | None = None) -> str:
    """The text of an SVG file; without a theme it follows `prefers-color-scheme`."""
    text = ET.tostring(element(scene, theme), encoding="unicode")
    return text.replace("><", ">\n<") + "\n"


def element(scene: Scene, theme: Theme | None = None) -> ET.Element:
    """The root element, with its style inside."""
    width, height = number(scene.width), number(scene.height)
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": PREFIX,
            "width": width,
            "height": height,
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
        },
    )
    ET.SubElement(root, "title").text = scene.title
    ET.SubElement(root, "desc").text = scene.description
    ET.SubElement(root, "style").text = style(theme)
    writer = _Writer(root, theme or "light")
    for item in scene.items:
        writer.add(item)
    return root


def style(theme: Theme | None = None) -> str:
    """The rules: a variable for each role, and its values in the dark where no theme is asked for.

    What knows no variables passes over `@supports` and shows the colours of the attributes.
    """
    rules = [
        f".{PREFIX}-code {{ font-family: {fonts(CODE_FONTS)} }}",
        f".{PREFIX}-text {{ font-family: {fonts(TEXT_FONTS)} }}",
        "@supports (color: var(--any)) {",
        f".{PREFIX} {{ {_variables(theme or 'light')} }}",
    ]
    if theme is None:
        dark = f".{PREFIX} {{ {_variables('dark')} }}"
        rules.append(f"@media (prefers-color-scheme: dark) {{ {dark} }}")
    for role in COLOURS:
        rules.append(f".{PREFIX}-f-{role} {{ fill: var(--{PREFIX}-{role}) }}")
        rules.append(f".{PREFIX}-s-{role} {{ stroke: var(--{PREFIX}-{role}) }}")
    return "\n" + "\n".join([*rules, "}"]) + "\n"


def _variables(theme: Theme) -> str:
    return "; ".join(f"--{PREFIX}-{role}: {c.of(theme)}" for role, c in COLOURS.items())


def fonts(names: tuple[str, ...]) -> str:
    """A list of fonts, the first that is there to be taken."""
    return ", ".join(f"'{n}'" if " " in n else n for n in names)


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


class _Writer:
    """Adds items; attributes hold the colours of one theme for readers that know no variables."""

    def __init__(self, root: ET.Element, theme: Theme) -> None:
        self.root = root
        self.theme: Theme = theme

    def add(self, item: Item) -> None:
        match item:
            case Box():
                self._box(item)
            case Label():
                self._label(item)
            case Curve():
                self._curve(item)
            case Cells():
                self._cells(item)
            case _:
                assert_never(item)

    def _colours(self, kind: str, fill: str | None, stroke: str | None) -> dict[str, str]:
        classes = [f"{PREFIX}-{kind}" if kind else ""]
        found = {"fill": "none" if fill is None else COLOURS[fill].of(self.theme)}
        if fill is not None:
            classes.append(f"{PREFIX}-f-{fill}")
        if stroke is not None:
            classes.append(f"{PREFIX}-s-{stroke}")
            found["stroke"] = COLOURS[stroke].of(self.theme)
        return {"class": " ".join(c for c in classes if c), **found}

    def _box(self, box: Box) -> None:
        attributes = {
            "x": number(box.x),
            "y": number(box.y),
            "width": number(box.width),
            "height": number(box.height),
            **self._colours(box.kind, box.fill, box.edge),
        }
        if box.radius:
            attributes["rx"] = number(box.radius)
        if box.edge is not None:
            attributes["stroke-width"] = number(box.weight)
        if box.dashed:
            attributes["stroke-dasharray"] = "4 3"
        found = ET.SubElement(self.root, "rect", attributes)
        if box.title:
            ET.SubElement(found, "title").text = box.title

    def _label(self, label: Label) -> None:
        attributes = {
            "x": number(label.x),
            "y": number(label.y),
            "font-size": number(label.size),
            **self._colours(label.font, label.role, None),
        }
        if label.font == "code":  # whatever font the reader has, the text keeps to its room
            attributes |= {"textLength": number(label.width), "lengthAdjust": "spacingAndGlyphs"}
        if label.bold:
            attributes["font-weight"] = "600"
        if label.anchor != "start":
            attributes["text-anchor"] = label.anchor
        ET.SubElement(self.root, "text", attributes).text = label.text

    def _curve(self, curve: Curve) -> None:
        first, *rest = curve.points
        path = f"M{_point(first)} C{' '.join(map(_point, rest))}"
        attributes = {
            "d": path,
            **self._colours(curve.kind, None, curve.role),
            "stroke-width": number(curve.weight),
        }
        if curve.dashed:
            attributes["stroke-dasharray"] = "5 4"
        found = ET.SubElement(self.root, "path", attributes)
        if curve.title:
            ET.SubElement(found, "title").text = curve.title
        if curve.head:
            corners = " ".join(_point(p) for p in arrow(curve.head))
            colours = self._colours("head", curve.role, None)
            ET.SubElement(self.root, "polygon", {"points": corners, **colours})

    def _cells(self, cells: Cells) -> None:
        path = " ".join(
            f"M{number(x)} {number(y)}h{number(w)}v{number(h)}h{number(-w)}z"
            for x, y, w, h in cells.rectangles
        )
        attributes = {"d": path, "shape-rendering": "crispEdges"}
        attributes |= self._colours("cells", cells.role, None)
        ET.SubElement(self.root, "path", attributes)


def _point(point: Point) -> str:
    return f"{number(point[0])},{number(point[1])}"
