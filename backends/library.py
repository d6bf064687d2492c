"""The helpers of files as text: those that an emitted module uses, and those that they use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

WORD: Final = re.compile(r"\b[A-Za-z_]\w*")

APART: Final = "".join(c if c.isalnum() or c == "_" else " " for c in map(chr, range(128)))
"""What stands for each letter, so that words are apart."""

HELPER: Final = re.compile(r"_[a-z]\w*|_[A-Z]+")
"""Names of helpers; none of a spec begins with an underscore."""

DEFINED: Final = re.compile(r"^(?:def )?(\w+)", re.MULTILINE)
"""The name of a helper, where it is defined."""

PART: Final = re.compile(
    r"^(?:(?:@\w+(?:\.\w+)*(?:\(.*\))?\n)*def (\w+)\(|([A-Za-z_]\w*) = "
    r"|\w+: .* = |(?:import|from|if|for|class) |# |\"\"\"\w)",
    re.MULTILINE,
)
"""Where a part of a file begins: a function, an assignment, or what is no helper. In a text over
several lines, none begins so."""


@dataclass(frozen=True, slots=True)
class _Helper:
    text: str
    uses: frozenset[str]
    """The words in it: names of helpers are in no comment without need."""


_USES: Final[dict[str, frozenset[str]]] = {}
"""The words of all helpers, by their texts."""


@cache
def _helpers(package: str, file: str) -> dict[str, _Helper]:
    (folder,) = import_module(package).__path__
    source = Path(folder, file).read_text(encoding="utf-8")
    found = {name: _helper(name, text) for name, text in parts(source).items()}
    _USES.update({h.text: h.uses | {name} for name, h in found.items()})
    return found


def parts(source: str) -> dict[str, str]:
    """The functions and assignments of a file by their names, as texts, in order."""
    begins = list(PART.finditer(source))
    ends = [*(m.start() for m in begins[1:]), len(source)]
    found = zip(begins, ends, strict=True)
    return {m[1] or m[2]: source[m.start() : end].rstrip() for m, end in found if m[1] or m[2]}


def words(*texts: str) -> frozenset[str]:
    """The words in texts, of which some may be helpers."""
    return frozenset[str]().union(*(_USES.get(t) or _words(t) for t in texts))


def _words(text: str) -> Iterable[str]:
    if not text.isascii():
        return WORD.findall(text)
    return text.translate(APART).split()  # and numbers, which are no names; far sooner done


def helpers(package: str, files: str | tuple[str, ...], said: Collection[str]) -> tuple[str, ...]:
    """The texts of the helpers that are among some words, and of those that they use, in the order
    of files of a package."""
    known: dict[str, _Helper] = {}
    for file in (files,) if isinstance(files, str) else files:
        known |= _helpers(package, file)
    wanted = _wanted(known, filter(HELPER.fullmatch, said)) - {"_KERNEL"}
    return tuple(h.text for name, h in known.items() if name in wanted)


def needed(found: Iterable[str], said: Collection[str]) -> tuple[str, ...]:
    """Of some helpers those that are among some words, and those that these need, in order."""
    known = {name: _helper(name, h) for h in found for name in DEFINED.findall(h)[:1]}
    wanted = _wanted(known, said)
    return tuple(h.text for name, h in known.items() if name in wanted)


def _wanted(known: Mapping[str, _Helper], words: Iterable[str]) -> set[str]:
    """The helpers that are among some words, and those that these use."""
    wanted: set[str] = set()
    stack = list(words)
    while stack:
        name = stack.pop()
        if name in known and name not in wanted:
            wanted.add(name)
            stack.extend(known[name].uses)
    return wanted


def _helper(name: str, text: str) -> _Helper:
    """A helper, from its text."""
    return _Helper(text, frozenset(_words(text)) - {name})
