"""Tiles that nothing uses are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from attnc.ir.expr import Expr, Var
from attnc.ir.tiles import Dot, Fold, If, Kernel, Let, Loop, Scan, Statement, Store, TopK
from attnc.ir.tiles_walk import expressions, names, reads, statements
from attnc.ir.walk import subexpressions


def without_dead(kernel: Kernel) -> Kernel:
    """The kernel without what no store needs, carried tiles and axes included."""
    body = _live(kernel.body, set())[0]
    used = {n.name for e in _all(body, kernel) for n in subexpressions(e) if isinstance(n, Var)}
    used |= {item.axis for item in statements(body) if isinstance(item, Loop)}
    for item in statements(body):
        match item:
            case Dot(over=over) | Fold(over=over):
                used |= {*over}
            case Scan(over=along):
                used.add(along)
            case TopK(over=along, into=into):
                used |= {along, into}
            case _:
                pass
    axes = tuple(a for a in kernel.axes if a.kind == "par" or a.name in used)
    return replace(kernel, axes=axes, body=body)


def _all(body: tuple[Statement, ...], kernel: Kernel) -> Iterator[Expr]:
    """The expressions of a kernel."""
    yield from (c.value for c in kernel.coords)
    for item in statements(body):
        yield from expressions(item)


def _live(body: tuple[Statement, ...], needed: set[str]) -> tuple[tuple[Statement, ...], set[str]]:
    """What is needed of some statements and before them, given what is needed after them."""
    needed = set(needed)
    kept: list[Statement] = []
    for item in reversed(body):
        match item:
            case Store() | Let():
                kept.append(item)
                needed |= reads(item)
            case Loop() | If():
                block = _block(item, needed)
                if block.carries or any(isinstance(s, Store) for s in statements(block.body)):
                    kept.append(block)
                    needed |= reads(block)
            case _:
                if item.target in needed:
                    kept.append(item)
                    needed |= reads(item)
    return tuple(reversed(kept)), needed


def _block(block: Loop | If, after: set[str]) -> Loop | If:
    """The block with what it carries for those after it, or for itself."""
    wanted = {c.name for c in block.carries} & after
    while True:
        carries = tuple(c for c in block.carries if c.name in wanted)
        tested = names(block.where) if isinstance(block, Loop) else set[str]()
        body, needed = _live(block.body, tested | names(*(c.next for c in carries)))
        more = {c.name for c in block.carries} & needed - wanted
        if not more:
            return replace(block, carries=carries, body=body)
        wanted |= more
