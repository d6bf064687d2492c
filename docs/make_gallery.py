"""Writes the gallery: `docs/gallery.md`, its pictures, and its table in `README.md`.

    python docs/make_gallery.py            writes all of it
    python docs/make_gallery.py --check    exit status 1 if something is not current

What is said about an example comes from the comment at the head of its file and from what
`attnc explain --json` reports: as written, and as compiled.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # from any folder, installed or not

from gallery_page import gallery  # noqa: E402
from gallery_pictures import FOLDER, Shown, shown  # noqa: E402

from attnc.api import check, explain  # noqa: E402
from attnc.ir.cascade import Constant  # noqa: E402
from attnc.ir.facts import Facts  # noqa: E402

EXAMPLES = ROOT / "examples"
GALLERY = ROOT / "docs" / "gallery.md"
PICTURES = GALLERY.parent / FOLDER
README = ROOT / "README.md"
BEGIN, END = "<!-- gallery: made by docs/make_gallery.py -->", "<!-- end of gallery -->"
SIZES = {"B": 1, "H": 8, "J": 2, "C": 256, "D": 64, "E": 64, "F": 64, "L": 512, "P": 4096}
SIZES |= {"R": 64, "S": 8, "X": 6, "Y": 11, "Z": 2}
LENGTH = 4096
OWN_SIZES = {"paged_decode": {"P": 256, "R": 16}, "t5_bias": {"R": 32}, "cope": {"P": 64}}
"""Sizes at which traffic is compared: by rank, else `LENGTH`, and where an example has its own."""
SOURCE = re.compile(r"(?P<authors>.+?),? (?P<year>(?:19|20)\d\d)\b")


@dataclass(frozen=True)
class Example:
    """One file of the gallery; `found` is what `explain` says of it at `sizes`."""

    name: str
    what: str
    source: str
    spec: str
    found: Mapping[str, Any]
    sizes: Mapping[str, int]
    parameters: Mapping[str, Constant]
    shown: Shown

    @property
    def passes(self) -> Mapping[str, int | str]:
        """Passes over each rank, as written."""
        found: Mapping[str, int | str] = self.found["written"]["passes"]
        return found

    @property
    def plan(self) -> Mapping[str, Any] | None:
        """What is compiled, if tiles can do it."""
        found: Mapping[str, Any] | None = self.found["compiled"]
        return found

    @property
    def title(self) -> str:
        """What it computes, in a few words: the first part of its first line."""
        title = re.split(r"[:;]", self.what, maxsplit=1)[0].rstrip(".")
        return title if title.count("(") == title.count(")") else title.rpartition(" (")[0]

    @property
    def whose(self) -> str:
        """First author and year."""
        found = SOURCE.match(self.source)
        if found is None:
            raise ValueError(f"{self.name}: no author and year in '{self.source}'")
        names = re.split(r", | and ", found["authors"].removesuffix(" et al."))
        if len(names) > 2 or found["authors"].endswith(" et al."):
            return f"{names[0]} et al. {found['year']}"
        return f"{' and '.join(names)} {found['year']}"

    @property
    def repeated(self) -> str:
        """The ranks that are traversed more than once, before and after."""
        after = self.plan["passes"] if self.plan else dict.fromkeys(self.passes, "?")
        several = [
            f"{rank}: {count} → {after[rank]}"
            for rank, count in self.passes.items()
            if count != 1 or after[rank] not in (1, "?")
        ]
        return ", ".join(several) or ("1 → 1" if self.plan else "1 → ?")

    @property
    def kernels(self) -> str:
        """How many there are."""
        return str(len(self.plan["kernels"])) if self.plan else "-"

    @property
    def why(self) -> str:
        """What makes it more than one kernel, in a few words."""
        if self.plan is None:
            return f"not tiled yet: {self.found['refusals'][0]['reason']}"
        if len(self.plan["kernels"]) == 1:
            return ""
        reasons = dict.fromkeys(r["reason"] for r in self.found["refusals"])
        between = ", ".join(b["tensor"] for b in self.plan["buffers"])
        return "; ".join(reasons) or (f"between: {between}" if between else "outputs of other axes")

    @property
    def tiles(self) -> str:
        """Those that are visited in its picture, of all."""
        found = self.shown.tiles
        return f"{found[0]} of {found[2]}" if found else ""


def read(path: Path) -> Example:
    """An example: two lines of comment, a third for the catalogue, then the spec."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    what, source = (line.removeprefix("# ") for line in lines[:2])
    checked = check(text, path.name)
    facts = checked.select()
    sizes = sizes_of(facts)
    found: Any = explain(facts, sizes, "f32", checked.source)
    parameters = {
        p.name: p.default
        for p in facts.cascade.parameters
        if p.type == "int" and p.default is not None
    }
    sizes = {rank: size for rank, size in sizes.items() if rank not in parameters}
    spec = "\n".join(lines[3:]).strip() + "\n"
    pictures = shown(path.stem, facts)
    return Example(path.stem, what, source, spec, found, sizes, parameters, pictures)


def sizes_of(facts: Facts) -> Mapping[str, int]:
    """The sizes at which an example is explained."""
    ranks = dict.fromkeys(s for i in facts.cascade.inputs for s in i.sizes if isinstance(s, str))
    own = OWN_SIZES.get(facts.cascade.name, {})
    return {rank: own.get(rank, SIZES.get(rank, LENGTH)) for rank in ranks}


def table(examples: Sequence[Example]) -> str:
    """The table in the README."""
    rows = [
        f"| [{e.name}](docs/gallery.md#{e.name}) | {e.title} | {e.whose} | {e.repeated} "
        f"| {e.kernels} | {e.why} | {e.tiles} |"
        for e in examples
    ]
    head = [
        "| example | what it computes | whose | passes | kernels | why not one | tiles |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([BEGIN, *head, *rows, END])


def readme(text: str, examples: Sequence[Example]) -> str:
    """The README with its table renewed."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md does not hold '{BEGIN}' and '{END}'")
    return before + table(examples) + after


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what is not current, or only tells of it."""
    parser = argparse.ArgumentParser(description="Write docs/gallery.md and README.md's table.")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if stale")
    options = parser.parse_args(arguments)
    examples = [read(path) for path in sorted(EXAMPLES.glob("*.attn"))]
    old_readme = README.read_text(encoding="utf-8")
    texts = {GALLERY: gallery(examples), README: readme(old_readme, examples)}
    texts |= {PICTURES / n: text for e in examples for n, text in e.shown.files.items()}
    stale = [path for path, text in texts.items() if _read(path) != text]
    lost = sorted(set(PICTURES.glob("*")) - texts.keys())
    for path in [*stale, *lost]:
        if options.check:
            print(f"{path.relative_to(ROOT)} is not current: run python docs/make_gallery.py")
        elif path in texts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return 1 if [*stale, *lost] and options.check else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
