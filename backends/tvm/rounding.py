"""Operands of products: left as they are, but for what takes them as they would be rounded."""

from __future__ import annotations

from dataclasses import replace

from attnc.ir.expr import Apply, Expr, Name
from attnc.ir.tiles import Dot, Kernel, Load, Map, Plan, Statement
from attnc.ir.tiles_walk import mapped, statements, with_body
from attnc.ir.types import Kind
from attnc.ir.walk import children, rebuild


def narrow_products(plan: Plan, kernel: Kernel) -> frozenset[str]:
    """Products whose operands have no more bits than elements of bf16, if the inputs are bf16.

    They are loaded from inputs that declare no type, or bf16, or rounded to the type of the inputs.
    """
    elements = {i.name: i.element for i in plan.inputs}
    body = list(statements(kernel.body))
    narrow: set[str] = set()
    for item in body:
        match item:
            case Load(target=target, tensor=tensor, kind=kind):
                if kind.floating and elements.get(tensor, "f32") in (None, "bf16"):
                    narrow.add(target)
            case Map(target=target, value=Apply(function="rounded")):
                narrow.add(target)
            case _:
                pass
    dots = [s for s in body if isinstance(s, Dot)]
    kinds = (Kind.FLOAT, Kind.F32)
    return frozenset(d.target for d in dots if d.kind in kinds and {d.left, d.right} <= narrow)


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
