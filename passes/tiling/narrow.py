"""Tiles along the axes that they vary along, when what they are computed from lacks some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from attnc.ir.expr import Apply, Expr, Name, Var
from attnc.ir.tiles import (
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.walk import children


def narrowed(kernel: Kernel) -> Kernel:
    """The kernel with the axes of tiles and of what is carried as they are computed."""
    return replace(kernel, body=_Axes(kernel).body(kernel.body))


class _Axes:
    """The axes of tiles so far."""

    def __init__(self, kernel: Kernel) -> None:
        self.order: list[str] = [a.name for a in kernel.axes]
        self.steps: set[str] = {a.name for a in kernel.axes if a.kind == "step"}
        self.coords: dict[str, Expr] = {c.name: c.value for c in kernel.coords}
        self.tiles: dict[str, frozenset[str]] = {}

    def body(self, items: Iterable[Statement]) -> tuple[Statement, ...]:
        """Statements in order."""
        return tuple(map(self._statement, items))

    def _statement(self, item: Statement) -> Statement:
        match item:
            case Let() | Store():
                return item
            case Loop() | If():
                return self._block(item)
            case Load(index=index, where=where):
                axes = self._along(*index, where)
            case Find(index=index, value=value, where=where):
                axes = self._along(*index, value, where)
            case Map(value=value):
                axes = self._along(value)
            case Dot(left=left, right=right, over=over, where=where):
                axes = self._along(Name(left), Name(right), where) - set(over)
            case Fold(value=value, where=where, over=over):
                axes = self._along(value, where) - set(over)
            case Scan(value=value, where=where, over=along):
                axes = self._along(value, where) | {along}
            case TopK(value=value, where=where, over=along, into=into):
                axes = self._along(value, where) - {along} | {into}
        self.tiles[item.target] = axes
        return replace(item, axes=self._sorted(axes))

    def _block(self, item: Loop | If) -> Loop | If:
        for carry in item.carries:
            self.tiles[carry.name] = self._along(carry.start)
        while True:
            body = self.body(item.body)
            before = {c.name: self.tiles[c.name] for c in item.carries}
            for carry in item.carries:
                self.tiles[carry.name] |= self._along(carry.next)
            if all(self.tiles[name] == axes for name, axes in before.items()):
                break
        carries = tuple(replace(c, axes=self._sorted(self.tiles[c.name])) for c in item.carries)
        return replace(item, body=body, carries=carries)

    def _sorted(self, axes: frozenset[str]) -> tuple[str, ...]:
        return tuple(a for a in self.order if a in axes)

    def _along(self, *exprs: Expr) -> frozenset[str]:
        found: set[str] = set()
        stack = list(exprs)
        while stack:
            match stack.pop():
                case Apply(function="low" | "high" | "tile"):
                    pass
                case Var(name=name) if name in self.coords:
                    stack.append(self.coords[name])
                case Var(name=name):
                    found |= {name} - self.steps
                case Name(name=name):
                    found |= self.tiles[name]
                case node:
                    stack += children(node)
        return frozenset(found)
