"""Ranges of random conditions, against a look at each point.

No present point is lost, no full tile lacks one, no tile is gone to twice, at any sizes, tiles and
parameters; of affine conditions, no tile is gone to in vain. `--predicates` says how many are
tried; `python -m benchmarks.predicates` tries thousands and tells what is lost where.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.predicates import FAMILIES, conditions
from tests.tallied import Tally
from tests.tried import Tried, tried

TRIALS = 4
OTHERS = [f for f in FAMILIES if f != "affine"]


def run(family: str, count: int) -> Iterator[Tried]:
    for seed, condition in conditions(family, range(count)):
        yield tried(condition, seed, TRIALS)


def shares(found: list[Tried]) -> tuple[float, float]:
    """The share of conditions without a tile in vain, and what is visited for each that must be."""
    total = Tally()
    for one in found:
        total.add(one.tally)
    assert total.full > 0
    return sum(t.tally.exact for t in found) / len(found), total.visited / total.minimum


def test_affine(request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--predicates")) // 3
    exact, visited = shares([*run("affine", count)])
    assert exact >= 0.97  # 98 % of thousands
    assert visited <= 1.002  # one condition among a hundred is 0.1 %


MOST = {"periodic": 1.04, "tensors": 1.03, "stream": 1.02, "sorted": 1.1, "two": 1.15, "other": 1.9}
"""What may be visited for each tile that must be."""


@pytest.mark.parametrize("family", OTHERS)
def test_others(family: str, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--predicates")) * 2 // (3 * len(OTHERS))
    _, visited = shares([*run(family, count)])
    assert visited <= MOST[family]


WRITTEN = {
    # two windows
    "(0 <= m - n < w or a <= m - n < a + w)": 1.0,
    # a band with holes
    "(m - n < w and n <= m and (m - n) % r != 0)": 1.0,
    # a prefix of each head, and what is causal behind it
    "(n < L[h] or n <= m)": 1.0,
    # whole programs that have nothing to do
    "(m < a and h == 1 and n <= m)": 1.0,
    # rows and streams of a grid
    "(abs(h - c) <= 1 and abs(m - k) <= w)": 1.0,
    # what is known of rows goes into the sum of what is streamed
    "0 <= c * K + k - m < w": 1.3,
}


def test_written() -> None:
    """Conditions in no list, each with what may be visited for each tile that must be."""
    for i, (condition, most) in enumerate(WRITTEN.items()):
        found = tried(condition, i, 12).tally
        assert found.minimum > 20, condition
        assert found.visited <= most * found.minimum, condition
