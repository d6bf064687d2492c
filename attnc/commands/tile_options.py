"""The option --tile: sizes of tiles by axis."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from attnc.commands.common import pairs
from attnc.errors import UsageError


def add_tiles(parser: argparse.ArgumentParser, text: str) -> None:
    """The option --tile."""
    parser.add_argument(
        "--tile",
        action="append",
        default=[],
        metavar="m=64,...",
        help=f"{text} (default: 64 along axes that a device tiles; may be repeated)",
    )


def tiles(items: Iterable[str]) -> dict[str, int]:
    """The sizes that `--tile m=64,n=32` gave."""
    parts = (part for item in items for part in item.split(",") if part)
    found: dict[str, int] = {}
    for name, value in pairs(parts, "--tile"):
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise UsageError(f"--tile {name}={value}: the size of a tile is a number")
        found[name] = int(value)
    return found
