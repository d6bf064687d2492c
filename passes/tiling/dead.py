"""Tiles that nothing uses are left out."""

from __future__ import annotations

from dataclasses import replace

from attnc.ir.expr import Expr, Name
from attnc.ir.tiles import Dot, Fold, Kernel, Let, Load, Loop, Map, Statement, Store
from attnc.ir.walk import subexpressions


def without_dead(kernel: Kernel) -> Kernel:
    """The kernel without what no store needs, carried tiles included."""
    return replace(kernel, body=_live(kernel.body, set())[0])


def _live(
    statements: tuple[Statement, ...], needed: set[str]
) -> tuple[tuple[Statement, ...], set[str]]:
    """What is needed of some statements and before them, given what is needed after them."""
    needed = set(needed)
    kept: list[Statement] = []
    for item in reversed(statements):
        match item:
            case Store() | Let():
                kept.append(item)
                needed |= _reads(item)
            case Loop():
                loop = _loop(item, needed)
                if loop.carries:
                    kept.append(loop)
                    needed |= _reads(loop)
            case Load() | Map() | Dot() | Fold():
                if item.target in needed:
                    kept.append(item)
                    needed |= _reads(item)
    return tuple(reversed(kept)), needed


def _loop(loop: Loop, after: set[str]) -> Loop:
    """The loop with what it carries for those after it, or for itself."""
    wanted = {c.name for c in loop.carries} & after
    while True:
        carries = tuple(c for c in loop.carries if c.name in wanted)
        body, needed = _live(loop.body, _names(*(c.next for c in carries)))
        more = {c.name for c in loop.carries} & needed - wanted
        if not more:
            return replace(loop, carries=carries, body=body)
        wanted |= more


def _reads(item: Statement) -> set[str]:
    """The tiles that a statement reads."""
    match item:
        case Load(index=index, where=where):
            return _names(*index, where)
        case Map(value=value) | Let(value=value):
            return _names(value)
        case Dot(left=left, right=right, where=where):
            return {left, right} | _names(where)
        case Fold(value=value, where=where):
            return _names(value, where)
        case Store(index=index, value=value, where=where, guard=guard):
            return _names(*index, value, where, guard)
        case Loop(carries=carries, body=body):
            found = _names(*(e for c in carries for e in (c.start, c.next)))
            return found.union(*map(_reads, body))


def _names(*exprs: Expr) -> set[str]:
    return {n.name for e in exprs for n in subexpressions(e) if isinstance(n, Name)}
