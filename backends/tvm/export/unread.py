"""Lines of a text in C that nothing reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

DECLARED: Final = re.compile(r" +(?!return\b)(?:\w+ )+(\w+)(?:\[\d+\])?(?: = (.*))?;")
"""A number or an array of a function."""
STORED: Final = re.compile(r" +(\w+)\[0\] = (.*);")
"""A number that has a place gets a value."""
DOES: Final = re.compile(r"\b(?:claim|fetch|attnc_\w+|TVM\w+)\(")
"""What a value may be made by that does more than that."""
WORD: Final = re.compile(r"\w+")


def without_unread(lines: Sequence[str]) -> Iterator[str]:
    """The lines of functions but for numbers that nothing reads, and what only they are made of."""
    function: list[str] = []
    for line in lines:
        function.append(line)
        if line == "}":
            yield from _read(function)
            function = []
    yield from function


def _read(lines: list[str]) -> list[str]:
    """The lines of a function without those numbers."""
    while True:
        own = {m[1] for line in lines if (m := DECLARED.fullmatch(line))}
        made = [DECLARED.fullmatch(line) or STORED.fullmatch(line) for line in lines]
        pairs = list(zip(lines, made, strict=True))
        said = (line if m is None or m[1] not in own else m[2] or "" for line, m in pairs)
        read = frozenset(word for text in said for word in WORD.findall(text))
        kept = [x for x, m in pairs if m is None or m[1] not in own - read or DOES.search(x)]
        if len(kept) == len(lines):
            return lines
        lines = kept
