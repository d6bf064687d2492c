"""The order of the passes on a cascade."""

from __future__ import annotations

from typing import Final

from attnc.passes.algebra.cse import Cse
from attnc.passes.algebra.hoist import Hoist
from attnc.passes.algebra.inline import Inline
from attnc.passes.algebra.order import Order
from attnc.passes.algebra.program import Pass
from attnc.passes.algebra.separate import Separate
from attnc.passes.algebra.simplify import Simplify

ALGEBRA: Final[tuple[Pass, ...]] = (
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
)
