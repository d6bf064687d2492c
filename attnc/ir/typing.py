"""Types of expressions, and what does not type."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import assert_never

from attnc.errors import Report, Span
from attnc.ir import printer
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
    Var,
)
from attnc.ir.functions import FUNCTIONS
from attnc.ir.types import (
    INDEX_INT,
    LITERAL_BOOL,
    LITERAL_FLOAT,
    LITERAL_INT,
    UNKNOWN,
    Kind,
    Origin,
    Type,
    arithmetic,
    floating,
    join,
    number,
    type_of,
)

I32_LIMIT = 2**31
CASTS = {
    "f16": Kind.F32,
    "bf16": Kind.F32,
    "f32": Kind.F32,
    "f64": Kind.F64,
    "i32": Kind.I32,
    "i64": Kind.I64,
    "bool": Kind.BOOL,
}


class IllTyped(Exception):
    """An expression that does not type."""

    def __init__(self, message: str, place: Span, hint: str | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.place: Span = place
        self.hints: tuple[str, ...] = (hint,) if hint else ()


class Unknown(Exception):
    """An expression that reads a tensor whose definition is broken, which is reported there."""


class Types:
    """Types of expressions, given those of values and tensors; remembered by object.

    A tensor of no type yet (None) counts as what mixes with everything; to read one that is
    `unknown` raises.
    """

    def __init__(
        self,
        values: Mapping[str, Type],
        tensors: Mapping[str, Type | None],
        unknown: Collection[str] = (),
    ) -> None:
        self.values = values
        self.tensors = tensors
        self.unknown = unknown
        self._known: dict[int, tuple[Expr, Type]] = {}

    def forget(self) -> None:
        """Drops what is remembered, after the type of a tensor changed."""
        self._known.clear()

    def __call__(self, expr: Expr) -> Type:
        """The type of a resolved expression; raises `IllTyped` or `Unknown`."""
        known = self._known.get(id(expr))
        if known is not None:
            return known[1]
        result = self._type(expr)
        self._known[id(expr)] = (expr, result)
        return result

    def condition(self, expr: Expr) -> Type:
        """The type of a condition, which must be bool."""
        found = self(expr)
        if found.kind is not Kind.BOOL:
            hint = f"compare it: {_short(expr)} != 0"
            raise IllTyped(f"a condition is bool, and this is {found}", expr.span, hint)
        return found

    def comparison(self, a: Expr, b: Expr) -> Type:
        """The type in which two operands are compared."""
        return join(self(a), self(b))

    def integer(self, expr: Expr, what: str) -> Type:
        """The type of an expression that must be an integer."""
        found = self(expr)
        if found.known and not found.kind.integral:
            hint = "write `//` to divide integers" if _divides(expr) else "write i64(...)"
            raise IllTyped(f"{what} is an integer, and this is {found}", expr.span, hint)
        return found

    def _type(self, expr: Expr) -> Type:
        match expr:
            case Value(name=name):
                return self.values[name]
            case Var():
                return INDEX_INT
            case Int(value=value):
                return LITERAL_INT if value < I32_LIMIT else INDEX_INT
            case Compare(operands=operands):
                return type_of(Kind.BOOL, max([self(o).origin for o in operands]))
            case Binary():
                return self._binary(expr)
            case Apply():
                return self._apply(expr)
            case Logical(left=left, right=right):
                return join(self.condition(left), self.condition(right))
            case Bool():
                return LITERAL_BOOL
            case Choice(condition=condition, then=then, other=other):
                return self._branches(then, other, self.condition(condition).origin)
            case Float():
                return LITERAL_FLOAT
            case Absent():
                return UNKNOWN
            case Read():
                for i in expr.index:
                    self.integer(i, "an index")
                if expr.tensor in self.unknown:
                    raise Unknown
                found = self.tensors[expr.tensor]
                return found if found is not None else UNKNOWN
            case Unary(op="not", operand=operand):
                return self.condition(operand)
            case Unary(op="~", operand=operand):
                return self._bits(operand, "~")
            case Unary(operand=operand):
                return number(self(operand))
            case Reduce():
                return self._reduce(expr)
            case Scan(op=op, body=body):
                found = number(self(body))
                return _accumulated(found) if op in ("cumsum", "cumprod") else found
            case Arg(body=body) | TopK(body=body):
                return type_of(Kind.I64, max(self(body).origin, Origin.INDEX))
            case Name() | Call():
                raise TypeError("an unresolved expression has no type")
            case _:
                assert_never(expr)

    def _branches(self, then: Expr, other: Expr, origin: Origin = Origin.LITERAL) -> Type:
        a, b = self(then), self(other)
        if not (a.known and b.known):
            return join(a, b)
        joined = join(a, b)
        if (a.kind is Kind.BOOL) != (b.kind is Kind.BOOL):
            joined = number(joined)
        return joined.at_least(origin) if joined.kind is Kind.BOOL else joined

    def _bits(self, expr: Expr, op: str) -> Type:
        found = self(expr)
        if found.kind.floating:
            hint = "a power is written with `**`" if op == "^" else None
            message = f"`{op}` takes integers and bools, and this is {found}"
            raise IllTyped(message, expr.span, hint)
        return found

    def _binary(self, expr: Binary) -> Type:
        if expr.op in ("&", "|", "^"):
            return join(self._bits(expr.left, expr.op), self._bits(expr.right, expr.op))
        if expr.op in ("<<", ">>"):
            self.integer(expr.right, "a shift")
            return number(self._bits(expr.left, expr.op))
        a, b = self(expr.left), self(expr.right)
        if expr.op == "/":
            return join(floating(a), floating(b)) if _both_float(a, b) else floating(join(a, b))
        if expr.op == "**":
            if not a.kind.floating and isinstance(expr.right, Int):
                return number(a)
            return floating(join(number(a), number(b)))
        return arithmetic(a, b)

    def _apply(self, expr: Apply) -> Type:
        name, arguments = expr.function, expr.arguments
        match name:
            case "only":
                self.condition(arguments[1])
                return self(arguments[0])
            case "default":
                return self._branches(arguments[0], arguments[1])
            case "present":
                return type_of(Kind.BOOL, self(arguments[0]).origin)
            case "detach":
                return self(arguments[0])
            case "random":
                found = [self.integer(a, "an argument of random") for a in arguments]
                origin = max(f.origin for f in found)
                kind = Kind.FLOAT if origin is Origin.TENSOR else Kind.F64
                return type_of(kind, origin)
            case _:
                pass
        types = [self(a) for a in arguments]
        match FUNCTIONS[name].rule:
            case "float":
                result = floating(number(types[0]))
                for other in types[1:]:
                    result = join(result, floating(number(other)))
                return result
            case "same":
                return number(types[0])
            case "join":
                result = number(types[0])
                for other in types[1:]:
                    result = arithmetic(result, other)
                return result
            case "integer":
                a, b = (self.integer(a, f"an argument of {name}") for a in arguments)
                return join(a, b)
            case "cast":
                return type_of(CASTS[name], Origin.TENSOR)
            case _:
                raise TypeError(f"no typing rule for {name}")

    def _reduce(self, expr: Reduce) -> Type:
        if expr.op in ("any", "all", "count"):
            found = self.condition(expr.body)
            kind = Kind.I64 if expr.op == "count" else Kind.BOOL
            return type_of(kind, max(found.origin, Origin.INDEX))
        found = number(self(expr.body)).at_least(Origin.INDEX)
        if expr.op in ("sum", "prod"):
            return _accumulated(found)
        return floating(found) if expr.op == "mean" else found


def _accumulated(found: Type) -> Type:
    """Sums and products of integers are held in i64."""
    return type_of(Kind.I64, found.origin) if found.kind.integral else found


def _both_float(a: Type, b: Type) -> bool:
    return a.kind.floating and b.kind.floating


def _divides(expr: Expr) -> bool:
    return isinstance(expr, Binary) and expr.op == "/"


def _short(expr: Expr) -> str:
    text = printer.expression(expr, printer.COMPARE + 1)
    return text if len(text) <= 40 else "..."


def report_ill_typed(error: IllTyped, report: Report) -> None:
    """Reports what a typing attempt raised."""
    report.error(error.message, error.place, hints=error.hints)
