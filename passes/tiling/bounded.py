"""Parameters of which no comparison sees how far beyond all coordinates they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.comparisons import pairs
from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Name, Unary, Value, Var
from attnc.ir.tiles import Map, Plan
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.tiling.context import Context

MOST_INDEX: Final = 2**31
"""Coordinates, extents and elements of 32 bits are at most this far from 0."""
MOST: Final = 2**39
"""What is compared with a parameter, or added to it, is not farther from 0 than this in all."""
MOST_FACTOR: Final = 64


@dataclass(frozen=True)
class Bounded:
    """Parameters that may be taken for the nearest number within 40 bits.

    A window of `2**63 - 1` is one that has no end. What solves `m - n < window` for `n` would add
    coordinates to it and wrap around. Where a parameter is only compared with what coordinates and
    extents are, a number that is beyond all of them does as well.
    """

    name: str = field(default="bounded", init=False)

    def __call__(self, plan: Plan) -> Plan:
        sizes = {size for tensor in tensor_sizes(plan).values() for size in tensor}
        extents = {s.name for s in sizes if isinstance(s, Value)}
        whole = [p.name for p in plan.parameters if p.type == "int" and p.name not in extents]
        if not whole:
            return plan
        lets = {let.name: let.value for let in plan.lets}
        every = list(_expressions(plan))
        found = tuple(p for p in whole if all(_Uses(p, extents, lets).fine(e) for e in every))
        return plan if found == plan.bounded else replace(plan, bounded=found)


def _expressions(plan: Plan) -> Iterator[Expr]:
    """What is computed by a plan, with integer tiles as what they are computed from."""
    yield from plan.requires
    yield from plan.given
    yield from (let.value for let in plan.lets)
    yield from (size for _, size in plan.variables)
    yield from (size for sizes in tensor_sizes(plan).values() for size in sizes)
    for kernel in plan.kernels:
        context = Context(plan, kernel)
        yield from (a.size for a in kernel.axes)
        yield from (e for c in kernel.coords for e in (c.value, c.size))
        for item in statements(kernel.body):
            if isinstance(item, Map) and item.kind.integral:
                continue  # it stands where it is used
            yield from (_opened(context, e) for e in expressions(item))


def _opened(context: Context, expr: Expr) -> Expr:
    """An expression with what integer tiles are computed from; those of 32 bits as `i32(...)`."""
    match expr:
        case Name(name=name):
            item = context.defined.get(name)
            if isinstance(item, Map) and item.kind in (Kind.BOOL, Kind.I64):
                return _opened(context, item.value)
            small = context.kind(expr) in (Kind.BOOL, Kind.I32)
            value = item.value if isinstance(item, Map) and item.kind.integral else Int(0)
            inside = (_opened(context, value),) if isinstance(item, Map) else ()
            return Apply("i32", inside) if small else expr
        case _:
            parts = tuple(_opened(context, c) for c in children(expr))
            return rebuild(expr, parts) if parts else expr


@dataclass(frozen=True)
class _Uses:
    """What is asked of the expressions in which one parameter is."""

    name: str
    extents: set[str]
    lets: Mapping[str, Expr]

    def fine(self, expr: Expr) -> bool:
        """Whether the parameter is in no part of an expression but comparisons that may see it."""
        if not self._inside(expr):
            return True
        match expr:
            case Value():
                return False
            case Compare():
                return all(self._compared(left, right) for _, left, right in pairs(expr))
            case _:
                return all(map(self.fine, children(expr)))

    def _inside(self, expr: Expr) -> bool:
        return any(n == Value(self.name) for n in subexpressions(expr))

    def _compared(self, left: Expr, right: Expr) -> bool:
        if self._inside(right):
            left, right = right, left
        reach, most = self._reach(left), self._most(right)
        if reach is not None and most is not None and reach + most <= MOST:
            return True
        return self.fine(left) and self.fine(right)

    def _reach(self, expr: Expr) -> int | None:
        """How far an expression may be from a multiple of the parameter, or from 0 where not so.

        For a parameter beyond all bounds it is either as far on one side, or the same number. None
        where that is not known.
        """
        if any(isinstance(n, Apply) and n.function == "i32" for n in subexpressions(expr)):
            return None  # tensors of 32 bits take parameters into theirs, and wrap around
        match expr:
            case Value(name=self.name):
                return 0
            case Unary(op="-", operand=inner) | Apply(function="abs" | "i64", arguments=(inner,)):
                return self._reach(inner)
            case Binary(op="+" | "-", left=left, right=right):
                own, other = (left, right) if self._inside(left) else (right, left)
                return _sum(self._reach(own), self._most(other))
            case Binary(op="*", left=Int(value=by), right=inner) if 0 < by <= MOST_FACTOR:
                return _times(self._reach(inner), by)
            case Binary(op="*", left=inner, right=Int(value=by)) if 0 < by <= MOST_FACTOR:
                return _times(self._reach(inner), by)
            case Apply(function="min" | "max" | "clip", arguments=arguments):
                with_it = [a for a in arguments if self._inside(a)]
                found = self._reach(with_it[0]) if len(with_it) == 1 else None
                for argument in arguments:
                    found = found if argument in with_it else _sum(found, self._most(argument))
                return found
            case _:
                return None

    def _most(self, expr: Expr) -> int | None:
        """The most that an integer without the parameter may be away from 0, if known."""
        if self._inside(expr):
            return None
        match expr:
            case Int(value=value):
                return abs(value)
            case Var() | Apply(function="i32" | "low" | "high"):
                return MOST_INDEX
            case Value(name=name):
                if name in self.extents:
                    return MOST_INDEX
                return self._most(self.lets[name]) if name in self.lets else None
            case Unary(op="-", operand=inner) | Apply(function="abs" | "i64", arguments=(inner,)):
                return self._most(inner)
            case Binary(op="+" | "-", left=left, right=right):
                return _sum(self._most(left), self._most(right))
            case Binary(op="*", left=left, right=right):
                return _times(self._most(left), self._most(right))
            case Binary(op="//", left=left):
                return _sum(self._most(left), 1)
            case Binary(op="%", right=right):
                return self._most(right)
            case Choice(then=left, other=right):
                return _sum(self._most(left), self._most(right))
            case Apply(function="min" | "max" | "clip", arguments=arguments):
                found: int | None = 0
                for argument in arguments:
                    found = _sum(found, self._most(argument))
                return found
            case _:
                return None


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _times(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a * b
