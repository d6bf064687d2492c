"""Operands that this backend leaves as they are: it multiplies in the type that it adds in."""

from __future__ import annotations

from dataclasses import replace

from attnc.ir.expr import Apply, Expr, Name
from attnc.ir.tiles import Dot, Kernel, Map, Statement
from attnc.ir.tiles_walk import mapped, statements, with_body
from attnc.ir.walk import children, rebuild


def unrounded(kernel: Kernel) -> Kernel:
    """A kernel in which nothing is rounded to the type of operands, nor has two names for it."""
    same: dict[str, str] = {}
    for item in statements(kernel.body):
        match item:
            case Map(target=target, value=Apply(function="rounded") as value):
                bare = _bare(value, same)
                if isinstance(bare, Name):
                    same[target] = bare.name
            case _:
                pass

    def changed(item: Statement) -> tuple[Statement, ...]:
        if isinstance(item, Map) and item.target in same:
            return ()
        item = mapped(item, lambda e: _bare(e, same))
        if isinstance(item, Dot):
            left, right = same.get(item.left, item.left), same.get(item.right, item.right)
            item = replace(item, left=left, right=right)
        return (item,)

    return with_body(kernel, changed)


def _bare(expr: Expr, same: dict[str, str]) -> Expr:
    match expr:
        case Apply(function="rounded", arguments=(operand,)):
            return _bare(operand, same)
        case Name(name=name):
            return Name(same.get(name, name))
        case _:
            parts = children(expr)
            return rebuild(expr, tuple(_bare(p, same) for p in parts)) if parts else expr
