"""The classes of expressions over the tiles of a kernel, under an assumption about its lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
from attnc.ir.tiles import Carry, Dot, Fold, Load, Map
from attnc.ir.types import Kind
from attnc.passes.tiling import classes
from attnc.passes.tiling.classes import (
    EXACT,
    NAN,
    NINF,
    NO,
    NUMBER,
    PINF,
    POS,
    TRUTH,
    WHOLE,
    YES,
    ZERO,
)
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.identities import identity
from attnc.passes.tiling.scalars import extents, scalar


@dataclass(frozen=True)
class Evaluator:
    """Gives classes where not all of `false` holds: a predicate that has all of it is false.

    `row`: that is so of each lane along `away`, not of one alone. `clean`: the results of a row,
    which do not vary along `away`, are no NaN; one would be what some point of the row has read.
    `finite`: so is what is loaded finite. `known` are classes that were found otherwise, `starts`
    carried tiles with their first value.
    """

    context: Context
    away: frozenset[str]
    false: frozenset[Expr] = frozenset()
    row: bool = False
    clean: bool = True
    finite: bool = False
    known: Mapping[Expr, int] = field(default_factory=dict[Expr, int])
    starts: frozenset[str] = frozenset()
    _seen: dict[str, int] = field(default_factory=dict[str, int], compare=False)

    def __call__(self, expr: Expr) -> int:
        """The class of an expression."""
        found = self.known.get(expr)
        return self._class(expr) if found is None else found

    def assuming(self, known: Mapping[Expr, int]) -> Evaluator:
        """The same with more known."""
        return replace(self, known={**self.known, **known}, _seen={})

    def fails(self, predicate: Expr) -> bool:
        """Whether a predicate is false by the assumption."""
        return bool(self.false) and self.false <= self.context.conditions(predicate)

    def _class(self, expr: Expr) -> int:
        match expr:
            case Int() | Float() | Bool():
                return classes.of_constant(expr.value)
            case Value(name=name) if name in self.context.lets:
                return POS if self._positive(name) else self._any(expr)
            case Value() | Var():
                return self._any(expr)
            case Name(name=name):
                if name not in self._seen:
                    self._seen[name] = self._tile(name)
                return self._seen[name]
            case Unary(op="-", operand=operand):
                return classes.negative(self(operand))
            case Unary(op="not", operand=operand):
                a = self(operand)
                return (NO if a & YES else 0) | (YES if a & NO else 0)
            case Binary():
                return self._binary(expr)
            case Logical(op=op, left=left, right=right):
                return self._logical(expr, op, left, right)
            case Compare(ops=ops, operands=operands):
                if self.fails(expr):
                    return NO
                parts = zip(ops, operands, operands[1:], strict=False)
                found = [classes.compared(op, self(a), self(b)) for op, a, b in parts]
                if NO in found:
                    return NO
                return YES if all(f == YES for f in found) else TRUTH
            case Choice(condition=condition, then=then, other=other):
                truth = self(condition)
                a = self.where(condition, True)(then) if truth & YES else 0
                b = self.where(condition, False)(other) if truth & NO else 0
                return a | b
            case Apply(function="max" | "min" as name, arguments=(first, *others)):
                join = classes.greatest if name == "max" else classes.least
                found_ = self(first)
                for other in others:
                    found_ = join(found_, self(other))
                return found_
            case Apply(function=function, arguments=(operand,)) if function not in (
                "low",
                "high",
                "tile",
                "within",
            ):
                if self.context.kind(expr).floating:
                    return classes.applied(function, self(operand))
                return self._any(expr)
            case _:
                return self._any(expr)

    def _positive(self, name: str) -> bool:
        """Whether a number of the kernel is proved to be positive, and of moderate size."""
        found = scalar(Value(name), self.context.lets)
        known = extents(self.context.plan, self.context.kernel)
        return found is not None and found.positive(known)

    def _any(self, expr: Expr) -> int:
        """Anything of its kind."""
        return _of_kind(self.context.kind(expr))

    def _binary(self, expr: Binary) -> int:
        a, b = self(expr.left), self(expr.right)
        if (a | b) & TRUTH:
            return self._any(expr)
        match expr.op:
            case "+":
                found = classes.added(a, b)
            case "-":
                found = classes.added(a, classes.negative(b))
            case "*":
                found = classes.multiplied(a, b)
            case "/":
                found = classes.divided(a, b)
            case "**" if isinstance(expr.left, Int | Float) and expr.left.value > 1:
                found = classes.exponential(b)
            case "**" if isinstance(expr.right, Int) and expr.right.value > 0:
                found = a
                if expr.right.value > 1:
                    found = classes.multiplied(a, a)
                    found = classes.multiplied(found, a) if expr.right.value % 2 else found
            case _:
                return self._any(expr)
        if self.context.kind(expr).floating or found == ZERO:
            return found
        return WHOLE

    def _logical(self, expr: Expr, op: str, left: Expr, right: Expr) -> int:
        if self.fails(expr):
            return NO
        a, b = self(left), self(right)
        decides = NO if op == "and" else YES
        if decides in (a, b):
            return decides
        return (TRUTH ^ decides) if a == b == TRUTH ^ decides else TRUTH

    # Tiles

    def _tile(self, name: str) -> int:
        context = self.context
        if self.fails(Name(name)):
            return NO
        if name in context.carried:
            carry, _ = context.carried[name]
            if name in self.starts:
                return self(carry.start)
            return self._result(name, carry.kind)
        item = context.defined[name]
        match item:
            case Map(value=value):
                found = self(value)
                if item.kind.floating or found & TRUTH:
                    return found
                return found if found in (ZERO, NO, YES) else _of_kind(item.kind)
            case Load(where=where, fill=fill) if fill is not None and self.fails(where):
                return classes.of_constant(fill)
            case Load():
                found = _of_kind(item.kind)
                return found & ~(NINF | PINF | NAN) if self.finite else found
            case Fold(op=op, over=over, value=value, where=where) if self._same(over, item.axes):
                return self._fold(item, op, value, where)
            case Dot(left=left, right=right, where=where) if self._same(item.over, item.axes):
                if self.fails(where) or ZERO in (self(Name(left)), self(Name(right))):
                    return ZERO
                return self._result(name, item.kind)
            case _:
                return self._result(name, item.kind)

    def _same(self, over: tuple[str, ...], axes: tuple[str, ...]) -> bool:
        """Whether what is assumed of one lane holds for each that is combined with it."""
        inside = self.context.varies(*self.false) <= {*axes, *self.away}
        return self.row and inside and set(over) <= self.away

    def _fold(self, item: Fold, op: str, value: Expr, where: Expr) -> int:
        if op in ("argmax", "argmin"):
            return _of_kind(item.kind)
        start = classes.of_constant(identity(op, item.kind))
        if self.fails(where):
            return start
        found = self(value)
        if found == start:
            return start
        return self._result(item.target, item.kind)

    def _result(self, name: str, kind: Kind) -> int:
        """What a reduction gives: no NaN of its own, where it is one of the whole row."""
        found = _of_kind(kind)
        own = not set(self.context.axes[name]) & self.away
        return found & ~NAN if own and self.clean else found

    # What a condition tells

    def where(self, condition: Expr, truth: bool) -> Evaluator:
        """The evaluator of a branch."""
        match condition:
            case Logical(op="and", left=left, right=right) if truth:
                return self.where(left, True).where(right, True)
            case Logical(op="or", left=left, right=right) if not truth:
                return self.where(left, False).where(right, False)
            case Unary(op="not", operand=operand):
                return self.where(operand, not truth)
            case Compare(ops=("==" | "!=" as op,), operands=(a, b)):
                same = (op == "==") == truth
                found = self
                for one, other in ((a, b), (b, a)):
                    kinds = found(other)
                    if same:
                        found = found._narrowed(one, kinds)
                    elif kinds in EXACT:
                        found = found._narrowed(one, ~kinds)
                return found
            case _:
                return self

    def _narrowed(self, expr: Expr, kinds: int) -> Evaluator:
        """The evaluator that knows an expression to be of these kinds."""
        match expr:
            case Int() | Float() | Bool():
                return self
            case Unary(op="-", operand=operand):
                opposite = classes.negative(kinds & NUMBER)
                return self._narrowed(operand, opposite)
            case Apply(function="abs", arguments=(operand,)):
                inner = sum(k for k in classes.bits(NUMBER) if classes.magnitude(k) & kinds)
                return self._narrowed(operand, inner)
            case _:
                return self.assuming({expr: self(expr) & kinds})


def _of_kind(kind: Kind) -> int:
    if kind is Kind.BOOL:
        return TRUTH
    return NUMBER if kind.floating else WHOLE


def steady(evaluate: Evaluator, carries: Sequence[Carry]) -> Evaluator:
    """The evaluator that knows which carried tiles stay as they were, by its own assumption.

    All that start with one number alone are taken to, as long as what is carried on is that number.
    """
    names = {c.name for c in carries}
    while True:
        inside = replace(evaluate, starts=evaluate.starts | names, _seen={})
        failed = {
            c.name
            for c in carries
            if c.name in names
            and (inside(c.start) not in (*EXACT, YES, NO) or inside(c.next) != inside(c.start))
        }
        if not failed:
            return inside
        names -= failed
