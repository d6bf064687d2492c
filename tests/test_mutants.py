"""No text makes attnc fail in a way of its own: examples with small changes, and their beginnings.

Each gets an error with a place, or is valid, and then compiles to what Python takes. For many more,
and for every prefix of every example: `pytest tests/test_mutants.py --mutants 1000`.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests import examples
from tests.hostile import judged

TOKEN = re.compile(r"[A-Za-z]\w*|\d+(?:\.\d+)?|\*\*|//|->|[<>=!]=|\S|\n")
SPARE = (
    "( ) [ ] , : = -> + - * / // % ** < <= == != & | ^ ~ << >> # ; ! ' \\ \t \r \0 \u00e9 \u2212 0 "
    "1 -1 2.5 1e999 99999999999999999999 inf true absent where if else and or not def cascade var "
    "in require return empty sum max argtopk at cumsum reverse softmax plus only default t n m T N "
    "x Q[m] f(x) np None lambda i32 float int"
).split(" ")
ALL = 100
"""So many mutants wanted: then every prefix too."""
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


def _several(text: str, rng: random.Random) -> str:
    for _ in range(rng.choice((1, 2, 3))):
        change = rng.choice((_inserted, _deleted, _replaced, _swapped, _tokens, _tokens, _lines))
        text = change(text, rng) if len(text) > 1 else text
    return text


CHANGES: tuple[Change, ...] = (
    *(_inserted, _deleted, _replaced, _swapped),
    *(_tokens, _tokens, _tokens, _lines, _several),
)


def mutants(name: str, count: int) -> Iterator[str]:
    """Broken copies of an example, the same ones in every run; each kind of change in turn."""
    rng = random.Random(name)
    for change in itertools.islice(itertools.cycle(CHANGES), count):
        yield change(examples.text(name), rng)


def prefixes(name: str, count: int) -> Iterator[str]:
    """Beginnings of an example: `count` of them, or all."""
    text = examples.text(name)
    step = 1 if count >= ALL else max(1, len(text) // count)
    for end in range(len(name) % step, len(text) + 1, step):
        yield text[:end]


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> int:
    """How many mutants of each example."""
    return int(request.config.getoption("--mutants"))


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], wanted: int) -> Callable[[str, Counter[bool]], None]:
    """Prints what came of a long run."""

    def told(what: str, found: Counter[bool]) -> None:
        if wanted >= ALL:
            with capsys.disabled():
                print(f" {what}: {found[False]} refused, {found[True]} valid")

    return told


@pytest.mark.parametrize("name", examples.NAMES)
def test_mutants(name: str, wanted: int, tell: Callable[[str, Counter[bool]], None]) -> None:
    found = Counter(map(judged, mutants(name, wanted)))
    tell(name, found)
    assert found[False]


@pytest.mark.parametrize("name", examples.NAMES)
def test_prefixes(name: str, wanted: int, tell: Callable[[str, Counter[bool]], None]) -> None:
    found = Counter(map(judged, prefixes(name, wanted)))
    tell(name, found)
    assert found[False]


def test_every_kind_of_change_changes() -> None:
    text = examples.text("dense")
    for change in CHANGES:
        rng = random.Random(0)
        made = {change(text, rng) for _ in range(20)} - {text}
        assert len(made) > 10
        if change in (_inserted, _deleted, _replaced, _swapped):
            assert all(abs(len(m) - len(text)) <= 1 for m in made)
