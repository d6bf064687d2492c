"""Draws the pictures of `docs/pictures.md` by the commands that the page shows.

python docs/make_pictures.py            writes docs/pictures/*.svg
python docs/make_pictures.py --check    exit status 1 if one of them is not current
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # so that it runs from any folder, installed or not

from attnc.cli import main as attnc  # noqa: E402

PAGE = ROOT / "docs" / "pictures.md"
FOLDER = ROOT / "docs" / "pictures"


def commands() -> Iterator[list[str]]:
    """The arguments of each `attnc draw` on the page."""
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:2] == ["attnc", "draw"]:
                yield words[1:]


def draw(arguments: Sequence[str], folder: Path) -> Path:
    """Runs one command with its example from the tree and its picture in `folder`."""
    words = [str(ROOT / w) if w.startswith("examples/") else w for w in arguments]
    place = folder / Path(words[words.index("-o") + 1]).name
    words[words.index("-o") + 1] = str(place)
    status = attnc(words)
    if status:
        raise SystemExit(status)
    return place


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what is not current, or only tells of it."""
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/pictures.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if stale")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        made = {p.name: p.read_bytes() for p in (draw(c, Path(folder)) for c in commands())}
    FOLDER.mkdir(exist_ok=True)
    there = {p.name: p.read_bytes() for p in FOLDER.iterdir() if p.is_file()}
    stale = sorted(n for n in made.keys() | there.keys() if made.get(n) != there.get(n))
    for name in stale:
        if options.check:
            print(f"docs/pictures/{name} is not current: run python docs/make_pictures.py")
        elif name in made:
            (FOLDER / name).write_bytes(made[name])
        else:
            (FOLDER / name).unlink()
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
