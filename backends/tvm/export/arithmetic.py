"""Numbers of sizes and parameters, as an exported function computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from attnc.backends.refused import NotPrinted
from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Unary,
    Value,
)

FLOATS: Final = {
    "exp": "exp",
    "exp2": "exp2",
    "log": "log",
    "log2": "log2",
    "log1p": "log1p",
    "tanh": "tanh",
    "sin": "sin",
    "cos": "cos",
    "erf": "erf",
}
"""Functions of a float that are functions of C too, by their names there."""

OWN: Final = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round": "nearbyint"}
"""Functions that processors have, by TVM's names."""


@dataclass(frozen=True, slots=True)
class Number:
    """An expression of TVM's, and the condition under which there is no such number, if any."""

    value: Any
    fails: Any = None


@dataclass(frozen=True)
class Arithmetic:
    """Makes expressions of TVM's: 64-bit integers and floats, and truths.

    `known` gives those of values.
    """

    tirx: Any
    known: Callable[[str], Any]

    def __call__(self, expr: Expr) -> Number:
        """An expression; raises `NotPrinted` for one that reads tensors."""
        tirx = self.tirx
        match expr:
            case Int(value=number):
                return Number(tirx.IntImm("int64", number))
            case Float(value=number):
                return Number(tirx.FloatImm("float64", number))
            case Bool(value=truth):
                return Number(tirx.IntImm("bool", int(truth)))
            case Value(name=name):
                return Number(self.known(name))
            case Unary(op="-", operand=operand):
                x = self(operand)
                return Number(self._number(x.value) * -1, x.fails)
            case Unary(op="not", operand=operand):
                x = self(operand)
                return Number(tirx.Not(self.truth(x.value)), x.fails)
            case Binary(op=op, left=left, right=right):
                return self._binary(op, self(left), self(right), expr)
            case Logical(op=word, left=left, right=right):
                return self._logical(word, self(left), self(right))
            case Compare(ops=ops, operands=operands):
                return self._compared(ops, [self(o) for o in operands])
            case Choice(condition=condition, then=then, other=other):
                return self._chosen(self(condition), self(then), self(other))
            case Apply(function=function, arguments=arguments):
                return self._applied(function, [self(a) for a in arguments], expr)
            case _:
                raise NotPrinted("a number that reads tensors", expr)

    def truth(self, value: Any) -> Any:
        """A number as a truth."""
        return value if _kind(value) == "bool" else self.tirx.NE(value, self._zero(value))

    def whole(self, value: Any) -> Any:
        """A number as an integer."""
        return value if _kind(value) == "int64" else self.tirx.Cast("int64", value)

    def real(self, value: Any) -> Any:
        """A number as a float."""
        return value if _kind(value) == "float64" else self.tirx.Cast("float64", value)

    def either(self, a: Any, b: Any) -> Any:
        """The condition that one of two holds, each of which may be none."""
        if a is None or b is None:
            return b if a is None else a
        return self.tirx.Or(a, b)

    def quotient(self, a: Any, b: Any) -> Any:
        """The quotient of integers, rounded down; by 0 it is 0.

        By a function of its own: TVM's reads its operands many times.
        """
        return self.tirx.call_pure_extern("int64", "attnc_quotient", a, b)

    def _zero(self, value: Any) -> Any:
        tirx = self.tirx
        return (
            tirx.FloatImm("float64", 0)
            if _kind(value) == "float64"
            else tirx.IntImm(_kind(value), 0)
        )

    def _number(self, value: Any) -> Any:
        return self.whole(value) if _kind(value) == "bool" else value

    def _alike(self, *values: Any) -> list[Any]:
        """Operands in one type."""
        numbers = [self._number(v) for v in values]
        if any(_kind(n) == "float64" for n in numbers):
            return [self.real(n) for n in numbers]
        return numbers

    def _binary(self, op: str, left: Number, right: Number, expr: Expr) -> Number:
        tirx = self.tirx
        fails = self.either(left.fails, right.fails)
        a, b = self._alike(left.value, right.value)
        match op:
            case "+":
                return Number(a + b, fails)
            case "-":
                return Number(a - b, fails)
            case "*":
                return Number(a * b, fails)
            case "/":
                return Number(tirx.Div(self.real(a), self.real(b)), fails)
            case "//" | "%":
                none = tirx.EQ(b, self._zero(b))
                if isinstance(b, tirx.IntImm) and b.value:
                    none = None
                if _kind(a) == "float64":
                    down = tirx.floor(tirx.Div(a, b))
                else:
                    down = self.quotient(a, b)
                return Number(down if op == "//" else a - down * b, self.either(fails, none))
            case "**" if _kind(a) == "float64":
                return Number(tirx.pow(a, b), fails)
            case "**" if isinstance(b, tirx.IntImm) and 0 <= b.value <= 16:
                found = tirx.IntImm("int64", 1)
                for _ in range(b.value):
                    found = found * a
                return Number(found, fails)
            case "&" | "|" | "^" if _kind(a) != "float64":
                return Number({"&": a & b, "|": a | b, "^": a ^ b}[op], fails)
            case "<<" | ">>" if _kind(a) != "float64":
                none = tirx.Or(b < 0, b > 63)
                by = tirx.Select(none, tirx.IntImm("int64", 0), b)
                return Number(a << by if op == "<<" else a >> by, self.either(fails, none))
            case _:
                raise NotPrinted(f"the operation {op} on sizes and parameters", expr)

    def _logical(self, word: str, left: Number, right: Number) -> Number:
        tirx = self.tirx
        a, b = self.truth(left.value), self.truth(right.value)
        asked = a if word == "and" else tirx.Not(a)
        fails = None if right.fails is None else tirx.And(asked, right.fails)
        found = tirx.And(a, b) if word == "and" else tirx.Or(a, b)
        return Number(found, self.either(left.fails, fails))

    def _compared(self, ops: tuple[str, ...], operands: list[Number]) -> Number:
        tirx = self.tirx
        fails, found = operands[0].fails, None
        for op, left, right in zip(ops, operands, operands[1:], strict=False):
            fails = self.either(fails, right.fails)
            a, b = self._alike(left.value, right.value)
            kinds = {
                "<": tirx.LT,
                "<=": tirx.LE,
                ">": tirx.GT,
                ">=": tirx.GE,
                "==": tirx.EQ,
                "!=": tirx.NE,
            }
            test = kinds[op](a, b)
            found = test if found is None else tirx.And(found, test)
        return Number(found, fails)

    def _chosen(self, condition: Number, then: Number, other: Number) -> Number:
        tirx = self.tirx
        test = self.truth(condition.value)
        a, b = self._alike(then.value, other.value)
        fails = None
        if then.fails is not None:
            fails = tirx.And(test, then.fails)
        if other.fails is not None:
            fails = self.either(fails, tirx.And(tirx.Not(test), other.fails))
        return Number(tirx.Select(test, a, b), self.either(condition.fails, fails))

    def _applied(self, function: str, given: list[Number], expr: Expr) -> Number:
        tirx = self.tirx
        fails = None
        for one in given:
            fails = self.either(fails, one.fails)
        values = [one.value for one in given]
        match function, values:
            case (("min" | "max"), [_, *_]):
                first, *rest = self._alike(*values)
                for one in rest:
                    less = first < one if function == "min" else first > one
                    first = tirx.Select(less, first, one)
                return Number(first, fails)
            case "clip", [x, low, high]:
                x, low, high = self._alike(x, low, high)
                x = tirx.Select(x < low, low, x)
                return Number(tirx.Select(x > high, high, x), fails)
            case "abs", [x]:
                x = self._number(x)
                return Number(tirx.Select(x < self._zero(x), x * -1, x), fails)
            case "ceildiv", [a, b]:
                a, b = Number(self.whole(a) * -1), Number(b)
                found = self._binary("//", a, b, expr)
                return Number(found.value * -1, self.either(fails, found.fails))
            case "rsqrt", [x]:
                one = tirx.FloatImm("float64", 1)
                return Number(tirx.Div(one, tirx.sqrt(self.real(x))), fails)
            case "pow", [_, _]:
                return self._binary("**", given[0], given[1], expr)
            case (("i32" | "i64"), [x]):
                if _kind(x) != "float64":
                    return Number(self.whole(x), fails)
                fits = tirx.And(x > -(2.0**63), x < 2.0**63)
                inside = tirx.Select(fits, x, self._zero(x))
                return Number(self.whole(inside), self.either(fails, tirx.Not(fits)))
            case "f64", [x]:
                return Number(self.real(x), fails)
            case "bool", [x]:
                return Number(self.truth(x), fails)
            case _, [x] if function in OWN:
                return Number(getattr(tirx, OWN[function])(self.real(x)), fails)
            case _, [x] if function in FLOATS:
                name = FLOATS[function]
                return Number(tirx.call_pure_extern("float64", name, self.real(x)), fails)
            case _:
                raise NotPrinted(f"the function {function} of sizes and parameters", expr)


def _kind(value: Any) -> str:
    """The type of an expression."""
    return str(value.ty)
