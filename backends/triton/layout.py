"""Long lines of code as several, one argument or operand a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from attnc.ir.printer import WIDTH

INDENT: Final = "    "
OPENING: Final = "([{"
CLOSING: Final = ")]}"
OPERATORS: Final = (("if", "else"), ("or",), ("and",), ("|",), ("&",), ("+", "-"), ("*", "/", "//"))
"""Where a line breaks that no bracket ends, weakest first."""

MARKS: Final = re.compile(r"""[()\[\]{}]|"[^"]*"?|'[^']*'?""")
"""Brackets and quotes."""

TAIL: Final = re.compile(r"(\[[:, None]+\]|\.to\(\w[\w.]*\))*[,:]?$")
"""What goes along with a closing bracket."""


def laid_out(line: str) -> list[str]:
    """The line, or several that say the same; a comment at its end is left off then."""
    if len(line) <= WIDTH or line.lstrip().startswith("#"):
        return [line]
    start = line[: len(line) - len(line.lstrip())]
    text = line.lstrip()
    code = _without_note(text)
    if len(start) + len(code) <= WIDTH:
        return [start + code]
    if _opening(_headless(code)) is not None:
        return _broken(code, start)
    target, sign, value = _assigned(code)
    if not sign:
        return [start + code]
    parts = _split(value)
    if len(parts) > 1:
        lines = [x for part in parts for x in _broken(part + ",", start + INDENT)]
    else:
        lines = _broken(value, start + INDENT)
    return [f"{start}{target} = (", *lines, f"{start})"]


def _headless(text: str) -> str:
    """A line without what goes along with its last bracket."""
    match = TAIL.search(text)
    return text[: match.start()] if match else text


def _assigned(text: str) -> tuple[str, str, str]:
    """A target and what is assigned to it, if the line does that."""
    for place in _places(text, ("=",)):
        return text[: place - 1], "=", text[place + 2 :]
    return text, "", ""


def _broken(text: str, start: str) -> list[str]:
    if len(start) + len(text) <= WIDTH:
        return [start + text]
    match = TAIL.search(text)
    tail = match.group() if match else ""
    body = text[: len(text) - len(tail)]
    opened = _opening(body)
    if opened is not None:
        inner = body[opened + 1 : -1]
        parts = _split(inner)
        single = len(parts) == 1 and body[opened] == "("
        grouped = single and not body[:opened][-1:].isalnum()
        comma = "" if grouped else ","
        lines = [start + body[: opened + 1]]
        if _short(parts):
            lines += _filled(parts, start + INDENT)
        else:
            for part in parts:
                lines += _broken(part + comma, start + INDENT)
        return [*lines, f"{start}{body[-1]}{tail}"]
    for operators in OPERATORS:
        places = _places(body, operators)
        if places:
            edges = [0, *places, len(body)]
            pieces = [body[a:b].strip() for a, b in zip(edges, edges[1:], strict=False)]
            pieces[-1] += tail
            return [x for piece in pieces for x in _broken(piece, start)]
    return [start + text]


def _short(parts: list[str]) -> bool:
    """Whether there are many items, all of them names."""
    return len(parts) > 8 and all(p.strip('*"').isidentifier() for p in parts)


def _filled(parts: list[str], start: str) -> list[str]:
    """As many items in each line as there is room for."""
    lines = [start + parts[0] + ","]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 2 <= WIDTH:
            lines[-1] += f" {part},"
        else:
            lines.append(start + part + ",")
    return lines


def _without_note(text: str) -> str:
    """A line without the comment that ends it."""
    if "#" not in text:
        return text
    quoted = ""
    for place, letter in enumerate(text):
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "\"'":
            quoted = letter
        elif letter == "#":
            return text[:place].rstrip()
    return text


@lru_cache(maxsize=256)
def _depths(text: str) -> Sequence[int]:
    """How many brackets are open at each letter; within quotes, some more."""
    found: list[int] = []
    depth = 0
    for match in MARKS.finditer(text):
        first, end = match.span()
        found += [depth] * (first - len(found))
        if text[first] in OPENING:
            found.append(depth)
            depth += 1
        elif text[first] in CLOSING:
            depth -= 1
            found.append(depth)
        else:
            found += [depth + 100] * (end - first)
    return found + [depth] * (len(text) - len(found))


def _opening(text: str) -> int | None:
    """Where the bracket opens that ends the text, if it may be broken there."""
    if not text or text[-1] not in CLOSING:
        return None
    depths = _depths(text)
    for place in range(len(text) - 2, -1, -1):
        if depths[place] == 0 and text[place] in OPENING:
            before = text[:place]
            joined = any(_places(before, operators) for operators in OPERATORS)
            assigned = " = " in before and not any(
                _places(before[before.rindex(" = ") + 3 :], operators) for operators in OPERATORS
            )
            if joined and not assigned:
                return None
            if text[place] == "[" and _subscript(text[place:]):
                return None
            return place if len(_split(text[place + 1 : -1])) > 0 else None
    return None


def _subscript(text: str) -> bool:
    return set(text) <= set("[]:, None")


def _split(text: str) -> list[str]:
    """The items between commas; those between the arguments of a lambda are part of it."""
    parts, first, depths = [], 0, _depths(text)
    place = text.find(",")
    while place >= 0:
        current = text[first:place]
        heading = current.lstrip().startswith("lambda ") and ":" not in current
        if depths[place] == 0 and not heading:
            parts.append(current.strip())
            first = place + 1
        place = text.find(",", place + 1)
    last = text[first:].strip()
    return [*parts, last] if last else parts


def _places(text: str, operators: tuple[str, ...]) -> list[int]:
    """Where such operators stand between operands, outside of all brackets."""
    found = []
    for operator in operators:
        word = f" {operator} "
        place = text.find(word)
        while place >= 0:
            if place > 0 and _depths(text)[place] == 0:
                found.append(place + 1)
            place = text.find(word, place + 1)
    return sorted(found)
