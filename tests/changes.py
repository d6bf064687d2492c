"""Small changes of a text, as a slip of the hand makes them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

TOKEN = re.compile(r"[A-Za-z]\w*|\d+(?:\.\d+)?|\*\*|//|->|[<>=!]=|\S|\n")
SPARE = (
    "( ) [ ] , : = -> + - * / // % ** < <= == != & | ^ ~ << >> # ; ! ' \\ \t \r \0 \u00e9 \u2212 0 "
    "1 -1 2.5 1e999 99999999999999999999 inf true absent where if else and or not def cascade var "
    "in require return empty sum max argtopk at cumsum reverse softmax plus only default t n m T N "
    "x Q[m] f(x) np None lambda i32 float int"
).split(" ")
Change = Callable[[str, random.Random], str]


def _inserted(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(SPARE)[:1] + text[at:]


def _deleted(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + text[at + 1 :]


def _replaced(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice((rng.choice(SPARE)[:1], rng.choice(text))) + text[at + 1 :]


def _swapped(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _tokens(text: str, rng: random.Random) -> str:
    found = list(TOKEN.finditer(text))
    if not found:
        return text
    one, other = rng.choice(found), rng.choice(found)
    new = rng.choice(("", one[0] + " " + one[0], rng.choice(SPARE), other[0]))
    return text[: one.start()] + new + text[one.end() :]


def _lines(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            lines[i], lines[j] = lines[j], lines[i]
        case 1:
            lines.insert(j, lines[i])
        case _:
            del lines[i]
    return "".join(lines)


def several(text: str, rng: random.Random) -> str:
    """One to three small changes."""
    for _ in range(rng.choice((1, 2, 3))):
        change = rng.choice((_inserted, _deleted, _replaced, _swapped, _tokens, _tokens, _lines))
        text = change(text, rng) if len(text) > 1 else text
    return text


SINGLE: tuple[Change, ...] = (_inserted, _deleted, _replaced, _swapped)
CHANGES: tuple[Change, ...] = (
    *SINGLE,
    *(_tokens, _tokens, _tokens, _lines, several),
)
