"""Which extremes may leave NaN out, since what is made of them shows it all the same.

A maximum passes NaN on; a device's own does not. But if a sum over the same lanes is NaN then, and
every result that depends on the maximum depends on that sum, too, nothing is lost: so it is with
the maximum that keeps exponentials small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Float, Logical, Name, Unary
from attnc.ir.tiles import Carry, Dot, Fold, If, Kernel, Loop, Map, Statement, Store
from attnc.ir.tiles_walk import expressions, names, statements, targets

STRICT: Final = frozenset(
    "exp exp2 expm1 log log2 log1p sqrt rsqrt tanh sigmoid gelu silu softplus erf sin cos abs "
    "floor ceil round max min clip float rounded f16 bf16 f32 f64".split()
)
"""Functions that are NaN wherever an argument is."""


def without_nan(kernel: Kernel) -> frozenset[str]:
    """The tiles that are extremes of which NaN may be left out."""
    folds = [s for s in statements(kernel.body) if isinstance(s, Fold) and s.op in ("max", "min")]
    return frozenset(f.target for f in folds if isinstance(f.value, Name) and _shown(kernel, f))


def _shown(kernel: Kernel, fold: Fold) -> bool:
    """Whether each result that depends on an extreme is NaN if a lane of it is."""
    assert isinstance(fold.value, Name)
    rows = _tainted(kernel, fold.value.name, frozenset(fold.over))
    dependent = _dependent(kernel, fold.target)
    for item in statements(kernel.body):
        match item:
            case Store(value=value, where=where, index=index, guard=guard):
                if names(*index, guard, where) & dependent:
                    return False
                if names(value) & dependent and not _stored(value, rows, dependent):
                    return False
            case If(condition=condition) if names(condition) & dependent - _flags(kernel):
                return False
            case _:
                pass
    return True


def _stored(value: Expr, rows: set[str], dependent: set[str]) -> bool:
    """Whether a stored value is NaN; where it is chosen by presence, what is chosen."""
    match value:
        case Choice(then=then, other=other):
            parts = [e for e in (then, other) if names(e) & dependent]
            return all(_stored(e, rows, dependent) for e in parts)
        case _:
            return strict(value, rows)


def strict(expr: Expr, tiles: set[str]) -> bool:
    """Whether an expression is NaN wherever one of some tiles is."""
    match expr:
        case Name(name=name):
            return name in tiles
        case Binary(op="+" | "-" | "*" | "/", left=left, right=right):
            return strict(left, tiles) or strict(right, tiles)
        case Unary(op="-", operand=operand):
            return strict(operand, tiles)
        case Choice(then=then, other=other):
            return strict(then, tiles) and strict(other, tiles)
        case Apply(function=function, arguments=arguments) if function in STRICT:
            return any(strict(a, tiles) for a in arguments)
        case _:
            return False


def _tainted(kernel: Kernel, source: str, over: frozenset[str]) -> set[str]:
    """Tiles that are NaN if any lane of a tile along some axes is."""
    lanes, rows = {source}, set[str]()
    size = -1
    while size != len(lanes) + len(rows):
        size = len(lanes) + len(rows)
        for item in statements(kernel.body):
            match item:
                case Map(target=target, value=value):
                    if strict(value, lanes):
                        lanes.add(target)
                    if strict(value, rows):
                        rows.add(target)
                case Fold(target=target, op="sum", value=value, over=axes) if over <= set(axes):
                    if strict(value, lanes):
                        rows.add(target)
                case Dot(target=target, over=axes, left=left, right=right):
                    if over <= set(axes) and {left, right} & lanes:
                        rows.add(target)
                case Loop(carries=carries) | If(carries=carries):
                    rows |= {c.name for c in carries if _kept(c, kernel, rows)}
                case _:
                    pass
    return rows


def _kept(carry: Carry, kernel: Kernel, rows: set[str]) -> bool:
    """Whether what is carried becomes NaN with some tiles, and stays so."""
    if not strict(carry.next, rows):
        return False
    return strict(_inlined(carry.next, kernel), {carry.name})


def _inlined(expr: Expr, kernel: Kernel) -> Expr:
    """A tile's own definition in the place of its name, where it is a map."""
    if isinstance(expr, Name):
        for item in statements(kernel.body):
            if isinstance(item, Map) and item.target == expr.name:
                return item.value
    return expr


def _dependent(kernel: Kernel, source: str) -> set[str]:
    """The tiles that are made of one, flags that tell presence left out."""
    found = {source}
    flags = _flags(kernel)
    size = 0
    while size != len(found):
        size = len(found)
        for item in statements(kernel.body):
            for target, exprs in _made(item):
                if target not in flags and names(*exprs) & found:
                    found.add(target)
    return found


def _flags(kernel: Kernel) -> set[str]:
    """Tiles that are true or false by whether something is infinite: presence, in the end."""
    found: set[str] = set()
    for item in statements(kernel.body):
        if isinstance(item, Map) and _tells(item.value):
            found.add(item.target)
    return found


def _tells(expr: Expr) -> bool:
    match expr:
        case Compare(operands=(Name(), other)):
            return _infinite(other)
        case Logical(left=left, right=right):
            return _tells(left) and _tells(right)
        case _:
            return False


def _infinite(expr: Expr) -> bool:
    match expr:
        case Unary(op="-", operand=operand):
            return _infinite(operand)
        case Float(value=value):
            return value in (float("inf"), float("-inf"))
        case _:
            return False


def _made(item: Statement) -> Iterator[tuple[str, tuple[Expr, ...]]]:
    if isinstance(item, Loop | If):
        for carry in item.carries:
            yield carry.name, (carry.start, carry.next)
        return
    for target in targets(item):
        yield target, expressions(item)
