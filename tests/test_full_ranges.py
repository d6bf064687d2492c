"""What is said to follow in full ranges, counted out for small tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from attnc.errors import Source
from attnc.grammar.tiles import parse
from attnc.ir import printer
from attnc.ir.expr import Compare, Expr, Value, Var
from attnc.ir.tiles import Loop, Map
from attnc.ir.tiles_full import Full, Round
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import statements
from attnc.modules import function_of
from attnc.passes.tiling.context import Context

TEXT = """
plan claims(X[M,N], length[B]: i32, window: int, sinks: int) -> O[B,M]:
    kernel k0
        axis b par B
        axis m par M
        axis n stream N
        size[b]: i32 = load length[b] where b < B
        for n in [0, N) full
            given n < size
            given n <= m + (N - M)
            given m + (N - M) - n < window or n < sinks
            carry s[b,m]: float = 0
            x[m,n]: float = load X[m,n] where m < M and n < N
            {claims}
            t[b,m]: float = reduce[sum,n](x) where n < N and n < size
            next s = s + t
        store O[b,m] = s
            else 0, over b < B and m < M
"""

SIDES = (
    "M + n",
    "M + n - window",
    "N + m",
    "N + low(m)",
    "N + high(m)",
    "N + low(m) - window",
    "N + high(m) - window",
    "M + size",
    "M + sinks",
    "2 * M",
)
FOLLOW = {
    "M + n <= N + m",
    "M + n <= N + low(m)",
    "M + n <= N + high(m)",
    "M + n < M + size",
    "M + n <= M + size",
    "N + low(m) - window < M + n or n < sinks",
    "N + high(m) - window < M + n or n < sinks",
    "M + n <= N + m or n < sinks",
    "N + m < M + n or 0 < window or n < sinks",
}
NAMES = ("M", "N", "m", "n", "window", "sinks", "size", "low", "high")
OTHERS = ("", " or n < sinks", " or low(m) == high(m)", " or 0 < window or n < sinks", " or m < M")


@cache
def claims() -> tuple[Full, Round, tuple[Expr, ...]]:
    """What may follow, and what tells whether it does."""
    texts = [
        f"{a} {op} {b}{other}"
        for (a, b), op, other in product(product(SIDES, SIDES), ("<", "<="), OTHERS)
        if a != b
    ]
    lines = "\n            ".join(f"c{i}[b,m,n]: bool = map {t}" for i, t in enumerate(texts))
    plan = parse(Source("claims", TEXT.format(claims=lines)))
    (kernel,) = plan.kernels
    context = Context(plan, kernel)
    known = known_of(plan, context.facts.values)
    (loop,) = (s for s in kernel.body if isinstance(s, Loop))
    found = tuple(s.value for s in statements(kernel.body) if isinstance(s, Map))
    return Full.of(known, kernel, context.kind, context.varies), Round().inside(loop), found


def told(texts: Sequence[str]) -> Callable[..., list[bool]]:
    """Whether each of some conditions holds in a row."""
    lines = "".join(f"        {t},\n" for t in texts)
    head = f'__all__ = ["told"]\n\n\ndef told({", ".join(NAMES)}):\n'
    return function_of(f"{head}    return [\n{lines}    ]\n", "told")


def rounds(given: Sequence[str]) -> list[list[dict[str, Any]]]:
    """What names are in each row of small tiles, all of which have what is given."""
    rng, holds = np.random.default_rng(0), told(given)
    found: list[list[dict[str, Any]]] = []
    while len(found) < 400:
        M, N = (int(x) for x in rng.integers(1, 9, size=2))
        first = int(rng.integers(M))
        last = min(M, first + int(rng.integers(1, 5))) - 1
        here: dict[str, Any] = {"M": M, "N": N, "n": int(rng.integers(N))}
        here |= {k: int(rng.integers(-3, 9)) for k in ("window", "sinks", "size")}
        here |= {"low": lambda _, x=first: x, "high": lambda _, x=last: x}
        rows = [{**here, "m": m} for m in range(first, last + 1)]
        if all(all(holds(**row)) for row in rows):
            found.append(rows)
    return found


def false(given: Sequence[Expr], shown: Sequence[str]) -> set[str]:
    """Which of some claims do not hold in a row."""
    holds = told(shown)
    rows = (row for tile in rounds([*map(printer.expression, given)]) for row in tile)
    return {t for row in rows for t, yes in zip(shown, holds(**row), strict=True) if not yes}


def test_what_follows_holds() -> None:
    full, around, texts = claims()
    shown = [printer.expression(t) for t in texts if full.holds(around, t)]
    assert false(around.given, shown) == set()
    assert set(shown) >= FOLLOW
    assert len(shown) > 150
    # what holds of all rows that exist is not said of a row alone
    assert not full.holds(around, Compare(("<",), (Var("m"), Value("M"))))


@pytest.mark.parametrize("claimed", range(3))
def test_it_does_not_follow_from_less(claimed: int) -> None:
    """The seeded faults: one condition that is given does not hold."""
    full, around, texts = claims()
    shown = [printer.expression(t) for t in texts if full.holds(around, t)]
    less = around.given[:claimed] + around.given[claimed + 1 :]
    assert false(less, shown)
    fewer = [t for t in texts if full.holds(replace(around, given=less), t)]
    assert len(fewer) < len(shown)
