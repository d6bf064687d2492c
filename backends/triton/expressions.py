"""Expressions over tiles as the text of a kernel."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from attnc.backends.refused import NotPrinted
from attnc.backends.triton.functions import FUNCTIONS, INTEGER, PLAIN
from attnc.backends.triton.intervals import Interval, fits, interval, non_negative
from attnc.backends.triton.terms import HELD, Held, Term, spread, united
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
    Name,
    Unary,
    Value,
    Var,
)
from attnc.ir.printer import ATOM, BINARY, BIT_AND, BIT_OR, COMPARE, SIGN
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import Plan
from attnc.ir.types import Kind

_FLOAT: Final = Term("FLOAT", (), Held.FLOAT, literal=True)
_TRUE: Final = Term("True", (), Held.BOOL, literal=True)
_FALSE: Final = Term("False", (), Held.BOOL, literal=True)
TRUTHS: Final[Mapping[str, Callable[[bool, bool], bool]]] = {
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
INTEGERS: Final = (Held.INT, Held.I32, Held.I64)


class Scope(Protocol):
    """What expressions ask of the kernel in which they stand."""

    @property
    def plan(self) -> Plan:
        """The plan of the kernel."""
        ...

    @property
    def bounds(self) -> Mapping[str, Interval]:
        """Between which numbers integer values lie."""
        ...

    def types(self) -> TileTypes:
        """The types of what stands in expressions."""
        ...

    def place(self, axis: str) -> int:
        """The position of an axis among the kernel's."""
        ...

    def value(self, name: str) -> Term:
        """A number that all programs share."""
        ...

    def known(self, expr: Expr) -> Term | None:
        """What has been computed before the launch."""
        ...

    def variable(self, name: str) -> Term:
        """The coordinates along an axis."""
        ...

    def tile(self, name: str) -> Term:
        """A tile."""
        ...

    def hoisted(self, expr: Expr, kind: Kind) -> Term | None:
        """A floating number of sizes and parameters alone, which is computed before the launch."""
        ...

    def bound(self, which: str, variable: str) -> Term:
        """The least or greatest coordinate of the current tile within its extent."""
        ...

    def tile_size(self, variable: str) -> Term:
        """The size of tiles."""
        ...

    def within(self, variable: str) -> Term:
        """Which lanes lie in the range that is gone through."""
        ...


@dataclass
class Expressions:
    """Prints expressions; each operation takes its operands in the type of its result."""

    scope: Scope

    def __call__(self, expr: Expr) -> Term:
        """The term of an expression."""
        known = self.scope.known(expr)
        if known is not None:
            return known
        match expr:
            case Int(value=number):
                held = Held.INT if fits((number, number)) else Held.I64
                return Term(str(number), (), held, literal=True)
            case Float(value=number):
                text = 'float("inf")' if math.isinf(number) else repr(number)
                return Term(text, (), Held.FLOAT, literal=True)
            case Bool(value=truth):
                return Term(str(truth), (), Held.BOOL, literal=True)
            case Value(name=name):
                return self.scope.value(name)
            case Var(name=name):
                return self.scope.variable(name)
            case Name(name=name):
                return self.scope.tile(name)
            case Unary():
                return self._unary(expr)
            case Binary():
                return self._binary(expr)
            case Logical():
                return self._logical(expr)
            case Compare():
                return self._compare(expr)
            case Choice():
                return self._choice(expr)
            case Apply():
                return self._apply(expr)
            case _:
                raise TypeError(f"{type(expr).__name__} is no expression over tiles")

    def kind(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        return self.scope.types()(expr).kind

    def interval(self, expr: Expr) -> Interval | None:
        """Bounds of an integer expression."""
        return interval(expr, self.scope.bounds)

    def truth(self, expr: Expr) -> Term:
        """A condition."""
        return self(expr)

    def in_kind(self, expr: Expr, kind: Kind) -> Term:
        """The term of an expression in a kind."""
        if kind.floating and not isinstance(expr, Int | Float | Value):
            found = self.scope.hoisted(expr, kind)
            if found is not None:
                return found
        return self.convert(self(expr), kind)

    def convert(self, term: Term, kind: Kind) -> Term:
        """A term in what values of a kind are held in; literals adapt by themselves."""
        if kind is Kind.I64 and term.held in INTEGERS:
            return term
        return self.held(term, HELD[kind])

    def held(self, term: Term, target: Held) -> Term:
        """A term in another type."""
        if term.held is target:
            return term
        if term.literal:
            if term.held is Held.BOOL and target is not Held.BOOL:
                return replace(term, text=str(int(term.text == "True")), held=target)
            return replace(term, held=target)
        if not term.axes:
            text = f"tl.cast({term.text}, {target.value})"
        else:
            text = f"{term.at(ATOM)}.to({target.value})"
        return replace(term, text=text, held=target, level=ATOM)

    def infix(self, sign: str, level: int, left: Term, right: Term, held: Held) -> Term:
        """Two terms with an operator between them, aligned."""
        if held is Held.BOOL and left.literal and right.literal and sign in TRUTHS:
            truth = TRUTHS[sign](left.text == "True", right.text == "True")
            return Term(str(truth), (), Held.BOOL, literal=True)
        axes = united(self.scope.place, left, right)
        left, right = self._meeting(left, right)
        left, right = spread(left, axes), spread(right, axes)
        text = f"{left.at(level)} {sign} {right.at(level + 1)}"
        literal = left.literal and right.literal and held is not Held.BOOL
        return Term(text, axes, held, level, literal)

    def _meeting(self, left: Term, right: Term) -> tuple[Term, Term]:
        """Two terms as an operator takes them.

        A condition on numbers that meets a tile is a choice, since the interpreter takes it for a
        number of what it compares.
        """

        def chosen(one: Term, other: Term) -> Term:
            if one.held is not Held.BOOL or one.axes or one.literal or not other.axes:
                return one
            return replace(one, text=f"tl.where({one.text}, True, False)", level=ATOM)

        return chosen(left, right), chosen(right, left)

    def alike(self, *terms: Term) -> tuple[Term, ...]:
        """Integers, in 64 bits where one of them is a number of the text that needs these."""
        if any(t.literal and t.held is Held.I64 for t in terms):
            return tuple(t if t.literal else self.held(t, Held.I64) for t in terms)
        return terms

    def call(self, function: str, held: Held, *terms: Term) -> Term:
        """A function of several terms, aligned."""
        axes = united(self.scope.place, *terms)
        texts = [spread(t, axes).text for t in terms]
        return Term(f"{function}({', '.join(texts)})", axes, held)

    def number(self, expr: Expr) -> Term:
        """A term in arithmetic, where a bool counts as 0 or 1."""
        term = self(expr)
        return self.held(term, Held.I32) if term.held is Held.BOOL else term

    # Operators

    def _logical(self, expr: Logical) -> Term:
        """Conditions joined, those on numbers apart from those on lanes.

        A number and a tile meet in a choice, since the interpreter takes the one for an integer.
        """
        parts = [self.truth(e) for e in joined(expr, expr.op)]
        sign, level = ("&", BIT_AND) if expr.op == "and" else ("|", BIT_OR)
        numbers = [p for p in parts if not p.axes]
        lanes = [p for p in parts if p.axes]
        one, many = self._all(sign, level, numbers), self._all(sign, level, lanes)
        if one is None or many is None:
            found = one or many
            assert found is not None
            return found
        pair = (one, many, _FALSE) if expr.op == "and" else (one, _TRUE, many)
        return self.call("tl.where", Held.BOOL, *pair)

    def _all(self, sign: str, level: int, terms: list[Term]) -> Term | None:
        """Terms joined by an operator, those with fewest axes first."""
        if not terms:
            return None
        first, *rest = sorted(terms, key=lambda t: len(t.axes))
        for term in rest:
            first = self.infix(sign, level, first, term, Held.BOOL)
        return first

    def _unary(self, expr: Unary) -> Term:
        if expr.op == "not" or (expr.op == "~" and self.kind(expr) is Kind.BOOL):
            term = self.truth(expr.operand)
            if term.literal:
                return replace(term, text=str(term.text != "True"))
            if term.text.endswith(" != 0") and term.text.removesuffix(" != 0").isidentifier():
                return replace(term, text=f"{term.text.removesuffix(' != 0')} == 0")
            return Term(f"({term.at(ATOM)} == 0)", term.axes, Held.BOOL)
        term = self.number(expr.operand)
        return Term(f"{expr.op}{term.at(SIGN)}", term.axes, term.held, SIGN, term.literal)

    def _binary(self, expr: Binary) -> Term:
        op, kind = expr.op, self.kind(expr)
        if op in ("&", "|", "^", "<<", ">>"):
            return self._bits(expr, kind)
        if op == "**":
            return self._power(expr.left, expr.right, kind)
        if kind.floating:
            left, right = self.in_kind(expr.left, kind), self.in_kind(expr.right, kind)
            if op in ("//", "%"):
                function = "_floor_of" if op == "//" else "_rest_of"
                return self.call(function, HELD[kind], left, right)
            return self.infix(op, BINARY[op], left, right, HELD[kind])
        return self._integers(expr, kind)

    def _integers(self, expr: Binary, kind: Kind) -> Term:
        """Integer arithmetic, in 64 bits where 32 may not hold the result."""
        op = expr.op
        left, right = self.number(expr.left), self.number(expr.right)
        held = Held.I32
        if kind is Kind.I64:
            small = fits(self.interval(expr)) and Held.I64 not in (left.held, right.held)
            held = Held.INT if small else Held.I64
            if held is Held.I64 and Held.I64 not in (left.held, right.held):
                if left.literal:
                    right = self.held(right, Held.I64)
                else:
                    left = self.held(left, Held.I64)
        if op in ("//", "%"):
            bounds = [self.interval(e) for e in (expr.left, expr.right)]
            if not all(map(non_negative, bounds)) or not self._never_zero(expr.right):
                return self.call("_floordiv" if op == "//" else "_floormod", held, left, right)
        return self.infix(op, BINARY[op], left, right, held)

    def _never_zero(self, expr: Expr) -> bool:
        """Whether one may divide by an integer: a division by zero makes what is around undefined,
        also in lanes that do not count."""
        found = self.interval(expr)
        if found is not None and found[0] > 0:
            return True
        return Compare(("!=",), (expr, Int(0))) in self.scope.plan.given

    def _bits(self, expr: Binary, kind: Kind) -> Term:
        if kind is Kind.BOOL:
            left, right = self.truth(expr.left), self.truth(expr.right)
            return self.infix(expr.op, BINARY[expr.op], left, right, Held.BOOL)
        left, right = self.number(expr.left), self.number(expr.right)
        held = Held.I32 if kind is Kind.I32 else Held.I64
        if held is Held.I64:
            left = self.held(left, Held.I64)
        return self.infix(expr.op, BINARY[expr.op], left, right, held)

    def _power(self, base: Expr, exponent: Expr, kind: Kind) -> Term:
        x = self.convert(self.number(base), kind)
        x = self._solid(x)
        if isinstance(exponent, Int) and 0 <= exponent.value <= 64:
            return self.call("_whole_power", x.held, x, self(exponent))
        if not kind.floating:
            raise NotPrinted("an integer to a power that is no small literal", exponent)
        y = self.in_kind(exponent, kind)
        return self.call("_pow", HELD[kind], x, self._solid(y))

    def _compare(self, expr: Compare) -> Term:
        parts: list[Term] = []
        pairs = zip(expr.ops, expr.operands, expr.operands[1:], strict=False)
        for op, a, b in pairs:
            kind = self.scope.types().comparison(a, b).kind
            if kind.floating:
                left, right = self.in_kind(a, kind), self.in_kind(b, kind)
            else:
                left, right = self.alike(self(a), self(b))
            parts.append(self.infix(op, COMPARE, left, right, Held.BOOL))
            # An operator binds both its sides more strongly than it does itself.
            left, right = self._meeting(left, right)
            first, second = spread(left, parts[-1].axes), spread(right, parts[-1].axes)
            text = f"{first.at(COMPARE + 1)} {op} {second.at(COMPARE + 1)}"
            parts[-1] = replace(parts[-1], text=text, literal=False)
        term = parts[0]
        for other in parts[1:]:
            term = self.infix("&", BIT_AND, term, other, Held.BOOL)
        return term

    def _choice(self, expr: Choice) -> Term:
        kind = self.kind(expr)
        test = self.truth(expr.condition)
        if test.literal:
            return self.in_kind(expr.then if test.text == "True" else expr.other, kind)
        then, other = self.alike(*(self.in_kind(e, kind) for e in (expr.then, expr.other)))
        if then.literal and other.literal:
            other = replace(other, literal=False)
        held = HELD[kind]
        if kind is Kind.I64:
            held = Held.I64 if Held.I64 in (then.held, other.held) else Held.INT
        return self.call("tl.where", held, test, then, other)

    # Functions

    def _apply(self, expr: Apply) -> Term:
        name, arguments = expr.function, expr.arguments
        match name, arguments:
            case (("low" | "high"), (Var(name=variable),)):
                return self.scope.bound(name, variable)
            case "tile", (Var(name=variable),):
                return self.scope.tile_size(variable)
            case "within", (Var(name=variable),):
                return self.scope.within(variable)
            case "float", (Apply(function="sin" | "cos" as wave, arguments=(angle,)),) if (
                self.kind(angle) is Kind.F64
            ):
                quarters = Term("0" if wave == "sin" else "1", (), Held.INT, literal=True)
                term = self.in_kind(angle, Kind.F64)
                return self.call("_sine", Held.FLOAT, term, quarters, _FLOAT)
            case "float", (operand,):
                return self.in_kind(operand, Kind.FLOAT)
            case "rounded", (operand,):
                return self.held(self(operand), Held.TYPE)
            case (("f16" | "bf16"), (operand,)):
                term = self.in_kind(operand, Kind.F32)
                narrow = "tl.float16" if name == "f16" else "tl.bfloat16"
                text = f"{self.as_tensor(term)}.to({narrow}).to(tl.float32)"
                return replace(term, text=text, level=ATOM, literal=False)
            case (("i32" | "i64" | "f32" | "f64" | "bool"), (operand,)):
                return self._cast(name, operand)
            case "ceildiv", (over, by):
                if non_negative(self.interval(over)) and self._never_zero(by):
                    return self.call("tl.cdiv", Held.INT, self(over), self(by))
                return self(Unary("-", Binary("//", Unary("-", over), by)))
            case "pow", (base, exponent):
                return self._power(base, exponent, self.kind(expr))
            case "random", _:
                terms = [self.held(self(a), Held.I64) for a in arguments]
                state = Term("_seed()", (), Held.I64)
                for term in terms:
                    state = self.call("_mixed", Held.I64, state, term)
                return self.convert(self.call("_uniform", Held.F32, state), self.kind(expr))
            case (("max" | "min"), _):
                return self._extreme(name, expr)
            case "clip", (x, low, high):
                kind = self.kind(expr)
                a, b, c = self.alike(*(self.in_kind(e, kind) for e in (x, low, high)))
                least = self.call(_extreme_name("max", kind), a.held, a, b)
                return self.call(_extreme_name("min", kind), a.held, least, c)
            case _:
                return self._function(name, expr)

    def _extreme(self, name: str, expr: Apply) -> Term:
        kind = self.kind(expr)
        first, *others = self.alike(*(self.in_kind(a, kind) for a in expr.arguments))
        for other in others:
            held = HELD[kind]
            if kind is Kind.I64:
                held = Held.I64 if Held.I64 in (first.held, other.held) else Held.INT
            first = self.call(_extreme_name(name, kind), held, first, other)
        return first

    def _function(self, name: str, expr: Apply) -> Term:
        kind = self.kind(expr)
        terms = [self.in_kind(a, kind) for a in expr.arguments]
        if kind.integral:
            if name in ("floor", "ceil", "round"):
                return terms[0]
            return self.call(INTEGER[name], terms[0].held, *map(self._solid, terms))
        terms[0] = replace(terms[0], text=self.as_tensor(terms[0]))
        return self.call(PLAIN.get(name) or FUNCTIONS[name], HELD[kind], *terms)

    def _cast(self, name: str, operand: Expr) -> Term:
        term = self(operand)
        match name:
            case "bool":
                return (
                    term
                    if term.held is Held.BOOL
                    else self.infix(
                        "!=", COMPARE, term, Term("0", (), term.held, literal=True), Held.BOOL
                    )
                )
            case "i32" | "i64":
                held = Held.I32 if name == "i32" else Held.I64
                if name == "i64" and term.held in INTEGERS:
                    return term
                return self.held(replace(term, literal=False), held)
            case _:
                kind = Kind.F32 if name == "f32" else Kind.F64
                return self.in_kind(operand, kind)

    def _solid(self, term: Term) -> Term:
        """A term that is a tensor also where it is a number of the text, or, in the interpreter,
        the counter of a loop."""
        if term.held in INTEGERS and not (term.axes or term.literal):
            return replace(term, text=f"tl.cast({term.text}, {term.held.value})", level=ATOM)
        return replace(term, text=self.as_tensor(term), literal=False)

    def as_tensor(self, term: Term) -> str:
        """The text of what must be a tensor, not a number of the text."""
        if not term.literal:
            return term.text
        return f"tl.full((), {term.text}, {term.held.value})"


def joined(expr: Expr, op: str) -> Iterator[Expr]:
    """The conditions that an operation joins."""
    match expr:
        case Logical(op=other, left=left, right=right) if other == op:
            yield from joined(left, op)
            yield from joined(right, op)
        case _:
            yield expr


def _extreme_name(name: str, kind: Kind) -> str:
    """Extremes pass NaN on; integers have none."""
    if kind.floating:
        return "_larger" if name == "max" else "_smaller"
    return "tl.maximum" if name == "max" else "tl.minimum"
