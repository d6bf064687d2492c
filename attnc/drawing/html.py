"""A picture as one page that needs nothing else: the picture, the spec, what it was made from."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from attnc.drawing.scene import Scene
from attnc.drawing.style import CODE_FONTS, COLOURS, TEXT_FONTS, Theme
from attnc.drawing.svg import element, fonts
from attnc.errors import printable
from attnc.version import VERSION

NOTHING_FROM_ELSEWHERE: Final = "default-src 'none'; style-src 'unsafe-inline'"
RULES: Final = """\
body { background: var(--paper); color: var(--ink); margin: 1rem }
main { max-width: 110rem; margin: 0 auto }
figure { margin: 0; overflow-x: auto }
h2 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem }
pre { background: var(--outside); border: 1px solid var(--box-edge); border-radius: 6px }
pre { padding: 0.8rem; overflow-x: auto }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem }
dt { color: var(--quiet) }
dd { margin: 0; overflow-wrap: anywhere }
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a picture was made from: the spec's name and text, and the options by name."""

    name: str
    text: str
    options: Mapping[str, str]


def html(scene: Scene, origin: Origin, theme: Theme | None = None) -> str:
    """The text of the page; without a theme it follows that of the reader."""
    page = ET.Element("html", {"lang": "en"})
    head = ET.SubElement(page, "head")
    ET.SubElement(head, "meta", {"charset": "utf-8"})
    policy = {"http-equiv": "Content-Security-Policy", "content": NOTHING_FROM_ELSEWHERE}
    ET.SubElement(head, "meta", policy)
    view = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    ET.SubElement(head, "meta", view)
    ET.SubElement(head, "title").text = scene.title
    ET.SubElement(head, "style").text = _style(theme)
    body = ET.SubElement(page, "body")
    main = ET.SubElement(body, "main")
    ET.SubElement(main, "figure").append(element(scene, theme))
    ET.SubElement(main, "h2").text = "The spec"
    spec = "\n".join(printable(line.expandtabs(4)) for line in _lines(origin.text))
    ET.SubElement(main, "pre").text = spec
    ET.SubElement(main, "h2").text = "Made from"
    table = ET.SubElement(main, "dl")
    for term, value in {"file": origin.name, **origin.options, "attnc": VERSION}.items():
        ET.SubElement(table, "dt").text = term
        ET.SubElement(table, "dd").text = printable(value)
    text = ET.tostring(page, encoding="unicode", method="html")
    return f"<!doctype html>\n{text}\n"


def _lines(text: str) -> list[str]:
    """The lines of a spec, which LF and CRLF end, without its byte-order mark."""
    return [line.removesuffix("\r") for line in text.removeprefix("\ufeff").rstrip().split("\n")]


def _style(theme: Theme | None) -> str:
    rules = [f":root {{ {_colours(theme or 'light')} }}"]
    if theme is None:
        rules.append(f"@media (prefers-color-scheme: dark) {{ :root {{ {_colours('dark')} }} }}")
    text, code = fonts(TEXT_FONTS), fonts(CODE_FONTS)
    rules.append(f"body {{ font: 16px/1.5 {text} }} pre {{ font: 14px/1.45 {code} }}")
    return "\n" + "\n".join([*rules, RULES])


def _colours(theme: Theme) -> str:
    roles = ("paper", "ink", "quiet", "outside", "box-edge")
    found = "; ".join(f"--{role}: {COLOURS[role].of(theme)}" for role in roles)
    return f"{found}; color-scheme: {theme}"
