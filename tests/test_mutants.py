"""No text makes attnc fail in a way of its own: examples with small changes, and their beginnings.

Each gets an error with a place, or is valid, and then compiles to what Python takes. For many more,
and for every prefix of every example: `pytest tests/test_mutants.py --mutants 1000`.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests import examples
from tests.changes import CHANGES, SINGLE
from tests.hostile import judged

ALL = 100
"""So many mutants wanted: then every prefix too."""


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
        if change in SINGLE:
            assert all(abs(len(m) - len(text)) <= 1 for m in made)
