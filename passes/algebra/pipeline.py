"""The order of the passes on a cascade."""

from __future__ import annotations

from typing import Final

from attnc.passes.algebra.cse import Cse
from attnc.passes.algebra.program import Pass
from attnc.passes.algebra.separate import Separate

ALGEBRA: Final[tuple[Pass, ...]] = (
    Separate(),
    Cse(),
)
