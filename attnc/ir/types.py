"""Types of values and how they mix.

A type is a kind, `bool < i32 < i64 < f32 < float < f64`, and an origin. `float` is the kernel's
floating type, f32 or f64, chosen when compiling or taken from the call: it widens f32 and is
widened by f64, so it has a place of its own in the order. The origin says who decides when kinds
mix: a literal or parameter never widens a tensor, and neither does a floating value computed
without any tensor (it is held in f64 and takes the tensor's type where they meet); extents and
rank variables are i64 and do widen an i32 tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Kind(IntEnum):
    """What a value is held in, from narrow to wide."""

    BOOL = 0
    I32 = 1
    I64 = 2
    F32 = 3
    FLOAT = 4
    F64 = 5

    floating: bool
    """Whether this is one of the floating kinds."""
    integral: bool
    """Whether this is an integer kind; bool is none."""

    def __init__(self, place: int) -> None:
        self.floating = place >= 3
        self.integral = place in (1, 2)

    def __str__(self) -> str:
        return self.name.lower() if self is not Kind.FLOAT else "float"


class Origin(IntEnum):
    """Where a value comes from."""

    LITERAL = 0
    """Literals and parameters."""
    INDEX = 1
    """Extents, bindings of them, rank variables."""
    TENSOR = 2
    """Anything read from a tensor, and explicit casts."""


@dataclass(frozen=True, slots=True)
class Type:
    """A kind and an origin.

    What has no type of its own, as `absent`, is not `known`: it takes the type of what it meets.
    """

    kind: Kind
    origin: Origin
    known: bool = True

    def __str__(self) -> str:
        return str(self.kind)

    def at_least(self, origin: Origin) -> Type:
        """The same kind from this origin or a stronger one."""
        return type_of(self.kind, max(self.origin, origin)) if self.known else self


_TYPES: Final = tuple(tuple(Type(kind, origin) for origin in Origin) for kind in Kind)


def type_of(kind: Kind, origin: Origin) -> Type:
    """The type of a kind and an origin, of which there is one object."""
    return _TYPES[kind][origin]


ELEMENTS: Final = (
    "f16",
    "bf16",
    "f32",
    "f64",
    "f8e4m3",
    "f8e5m2",
    "i8",
    "u8",
    "i32",
    "i64",
    "bool",
)
"""Element types a tensor may declare."""

_READ: Final = {
    "f16": Kind.F32,
    "bf16": Kind.F32,
    "f8e4m3": Kind.F32,
    "f8e5m2": Kind.F32,
    "f32": Kind.F32,
    "f64": Kind.F64,
    "i8": Kind.I32,
    "u8": Kind.I32,
    "i32": Kind.I32,
    "i64": Kind.I64,
    "bool": Kind.BOOL,
}


def read_type(element: str | None) -> Type:
    """The type of a value read from a tensor of this element type (None: the kernel's)."""
    return type_of(Kind.FLOAT if element is None else _READ[element], Origin.TENSOR)


LITERAL_INT: Final = type_of(Kind.I64, Origin.LITERAL)
LITERAL_FLOAT: Final = type_of(Kind.F64, Origin.LITERAL)
LITERAL_BOOL: Final = type_of(Kind.BOOL, Origin.LITERAL)
UNKNOWN: Final = Type(Kind.BOOL, Origin.LITERAL, known=False)
INDEX_INT: Final = type_of(Kind.I64, Origin.INDEX)


def join(a: Type, b: Type) -> Type:
    """The type in which two operands meet."""
    if not (a.known and b.known):
        return a if a.known else b
    origin = max(a.origin, b.origin)
    if a.origin == b.origin:
        return type_of(max(a.kind, b.kind), origin)
    strong, weak = (a, b) if a.origin > b.origin else (b, a)
    if strong.kind.floating:
        return type_of(strong.kind, origin)
    if weak.kind.floating:
        return type_of(Kind.FLOAT if origin is Origin.TENSOR else Kind.F64, origin)
    if weak.origin is Origin.LITERAL and strong.kind is not Kind.BOOL:
        return type_of(strong.kind, origin)
    return type_of(max(a.kind, b.kind), origin)


def number(a: Type) -> Type:
    """The type of `a` in arithmetic: a bool counts as an integer, 0 or 1."""
    return type_of(Kind.I64, a.origin) if a.kind is Kind.BOOL and a.known else a


def floating(a: Type) -> Type:
    """The type of `a` as a float: the kernel's for what comes from a tensor, else f64."""
    if a.kind.floating or not a.known:
        return a
    return type_of(Kind.FLOAT if a.origin is Origin.TENSOR else Kind.F64, a.origin)


def arithmetic(a: Type, b: Type) -> Type:
    """The type of `a + b`; a bool beside a number takes the number's type."""
    joined = join(a, b)
    return number(joined)
