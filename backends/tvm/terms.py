"""What values are held in by a kernel of this backend."""

from __future__ import annotations

from typing import Final

from attnc.backends.triton.terms import Held

DTYPES: Final = {
    Held.BOOL: '"bool"',
    Held.INT: "INDEX",
    Held.I32: '"int32"',
    Held.I64: '"int64"',
    Held.F32: '"float32"',
    Held.FLOAT: "FLOAT",
    Held.F64: '"float64"',
}
"""The element types of what is computed, as they stand in the text of a kernel.

`FLOAT` is what is computed in for tensors that declare no type, `INDEX` the type of coordinates:
both are told when a kernel is built.
"""

KEPT: Final = {
    Held.BOOL: "T.bool",
    Held.INT: "T.int64",
    Held.I64: "T.int64",
    Held.I32: "T.int32",
}
"""Numbers that have a place of their own; TVM writes others out wherever they are read, and those
that are made of each other grow without end."""
