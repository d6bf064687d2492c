"""The order of the passes on a cascade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from attnc.passes.algebra.combine import Combine
from attnc.passes.algebra.cse import Cse
from attnc.passes.algebra.hoist import Hoist
from attnc.passes.algebra.inline import Inline
from attnc.passes.algebra.means import Means
from attnc.passes.algebra.order import Order
from attnc.passes.algebra.program import Pass
from attnc.passes.algebra.separate import Separate
from attnc.passes.algebra.simplify import Simplify

ALGEBRA: Final[tuple[Pass, ...]] = (
    Means(),
    Simplify(),
    Separate(),
    Cse(),
    Inline(),
    Hoist(),
    Separate(),
    Order(),
    Simplify(),
    Separate(),
    Cse(),
    Combine(),
)
"""Means as sums and counts, one form, then every reduction for itself; maps come to the sums that
read them, what does not vary along a sum leaves it, and what is left is ordered. What these leave
inside of expressions is separated again, and what they wrote twice shared; last, what is made of
several results gets a name."""


def at_sizes(sizes: Mapping[str, int]) -> tuple[Pass, ...]:
    """The passes, comparing costs at these sizes."""
    given = tuple(sorted(sizes.items()))
    return tuple(replace(p, sizes=given) if isinstance(p, Order) else p for p in ALGEBRA)
