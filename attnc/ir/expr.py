"""Expressions: one closed union for what is written and for level 1.

`Name` and `Call` occur only in what was just parsed; checking replaces them by variables, values
and the nodes that say what they mean. Spans never take part in a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from attnc.errors import NOWHERE, Span
from attnc.ir.nodes import Hashed, quick


def _span() -> Span:
    return field(default=NOWHERE, compare=False, repr=False)


@quick
@dataclass(frozen=True, slots=True)
class Int(Hashed):
    """An integer literal, 0 to 2**63-1."""

    value: int
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Float(Hashed):
    """A floating literal; `inf` is one."""

    value: float
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Bool(Hashed):
    """`true` or `false`."""

    value: bool
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Absent(Hashed):
    """The literal `absent`."""

    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Name(Hashed):
    """A bare name as written, not yet resolved."""

    name: str
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Value(Hashed):
    """A parameter, a binding or an extent: one number known when the kernel runs."""

    name: str
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Var(Hashed):
    """A rank variable; as a value it is its coordinate."""

    name: str
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Read(Hashed):
    """A tensor at an index; absent outside its bounds."""

    tensor: str
    index: tuple[Expr, ...]
    span: Span = _span()


UnaryOp: TypeAlias = Literal["-", "~", "not"]


@quick
@dataclass(frozen=True, slots=True)
class Unary(Hashed):
    """`-x`, `~x`, `not x`."""

    op: UnaryOp
    operand: Expr
    span: Span = _span()


BinaryOp: TypeAlias = Literal["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"]


@quick
@dataclass(frozen=True, slots=True)
class Binary(Hashed):
    """An arithmetic or bit operation."""

    op: BinaryOp
    left: Expr
    right: Expr
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Logical(Hashed):
    """`and`, `or`, with their exceptions to the contagion of absence."""

    op: Literal["and", "or"]
    left: Expr
    right: Expr
    span: Span = _span()


CompareOp: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]


@quick
@dataclass(frozen=True, slots=True)
class Compare(Hashed):
    """A chain `a < b <= c`, which means `a < b and b <= c`."""

    ops: tuple[CompareOp, ...]
    operands: tuple[Expr, ...]
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Choice(Hashed):
    """`then if condition else other`; needs only the condition and the chosen branch."""

    condition: Expr
    then: Expr
    other: Expr
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Apply(Hashed):
    """A built-in function of its arguments, `only`, `default` and `present` among them."""

    function: str
    arguments: tuple[Expr, ...]
    span: Span = _span()


ReduceOp: TypeAlias = Literal["sum", "prod", "max", "min", "mean", "any", "all", "count"]


@quick
@dataclass(frozen=True, slots=True)
class Reduce(Hashed):
    """`op[v, w](body)`: combines the present points over the bound variables."""

    op: ReduceOp
    variables: tuple[str, ...]
    body: Expr
    span: Span = _span()


ScanOp: TypeAlias = Literal["cumsum", "cumprod", "cummax", "cummin"]


@quick
@dataclass(frozen=True, slots=True)
class Scan(Hashed):
    """`op[v](body)`: combines the present points up to and including `v`; keeps `v`."""

    op: ScanOp
    variable: str
    reverse: bool
    body: Expr
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Arg(Hashed):
    """`argmax[v](body)`, `argmin[v](body)`: the first index of the extreme."""

    op: Literal["argmax", "argmin"]
    variable: str
    body: Expr
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class TopK(Hashed):
    """`argtopk[v -> u](body)`: the range of `u` filled with indices, largest first."""

    variable: str
    into: str
    body: Expr
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Bracket(Hashed):
    """One item between the brackets of a call: `n`, `c -> u` or `e = i`."""

    key: Expr
    arrow: str | None = None
    value: Expr | None = None
    span: Span = _span()


@quick
@dataclass(frozen=True, slots=True)
class Call(Hashed):
    """A call as written, `f(x)` or `f[n](x)`, not yet resolved."""

    name: str
    brackets: tuple[Bracket, ...] | None
    arguments: tuple[Expr, ...]
    span: Span = _span()


Expr: TypeAlias = (
    Int
    | Float
    | Bool
    | Absent
    | Name
    | Value
    | Var
    | Read
    | Unary
    | Binary
    | Logical
    | Compare
    | Choice
    | Apply
    | Reduce
    | Scan
    | Arg
    | TopK
    | Call
)
