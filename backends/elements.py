"""Elements of outputs: which integers they can be, and constants among them as text."""

from __future__ import annotations

import math
from typing import Final

from attnc.ir.cascade import Constant
from attnc.ir.types import Kind

RANGES: Final = {"i32": (-(2**31), 2**31 - 1), "i8": (-128, 127), "u8": (0, 255)}
"""What integer outputs can be; what is beyond is absent."""


def constant(value: Constant, kind: Kind) -> str:
    """The text of a constant, also where it is no finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(float(value)) if kind.floating else repr(value)
