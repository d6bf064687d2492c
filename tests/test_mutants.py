"""No text makes the checker fail in a way of its own: broken examples, and texts made to hurt."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

import pytest

from tests import examples
from tests.hostile import reported

TOKEN = re.compile(r"[A-Za-z]\w*|\d+(?:\.\d+)?|\*\*|//|->|[<>=!]=|\S|\n")
SPARE = (
    "( ) [ ] , : = -> + - * / // % ** < <= == != & | ^ ~ << >> # ; ! ' \\ \t \r \0 \u00e9 \u2212 0 "
    "1 -1 2.5 1e999 99999999999999999999 inf true absent where if else and or not def cascade var "
    "in require return empty sum max argtopk at cumsum reverse softmax plus only default t n m T N "
    "x Q[m] f(x) np None lambda i32 float int"
).split(" ")
MUTANTS = 15
"""Mutants of each example in the quick run."""


def mutated(text: str, rng: random.Random) -> str:
    """The text with one to three small changes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice(CHANGES)(text, rng)
    return text


def _characters(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    new = rng.choice(("", rng.choice(SPARE)[:1], text[at : at + 1] * 2))
    return text[:at] + new + text[at + 1 :]


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


def _prefix(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    _characters,
    _tokens,
    _tokens,
    _tokens,
    _lines,
    _prefix,
)


def mutants(name: str, count: int, seed: int = 0) -> Iterator[str]:
    """Broken copies of an example, the same ones in every run."""
    rng = random.Random(f"{name} {seed}")
    for _ in range(count):
        yield mutated(examples.text(name), rng)


@pytest.mark.parametrize("name", examples.NAMES)
def test_mutants(name: str) -> None:
    for text in mutants(name, MUTANTS):
        reported(text)
