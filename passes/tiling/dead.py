"""Tiles that nothing uses are left out."""

from __future__ import annotations

from dataclasses import replace

from attnc.ir.tiles import If, Kernel, Let, Loop, Statement, Store
from attnc.ir.tiles_walk import names, reads, statements


def without_dead(kernel: Kernel) -> Kernel:
    """The kernel without what no store needs, carried tiles included."""
    return replace(kernel, body=_live(kernel.body, set())[0])


def _live(
    body: tuple[Statement, ...], needed: set[str]
) -> tuple[tuple[Statement, ...], set[str]]:
    """What is needed of some statements and before them, given what is needed after them."""
    needed = set(needed)
    kept: list[Statement] = []
    for item in reversed(body):
        match item:
            case Store() | Let():
                kept.append(item)
                needed |= reads(item)
            case Loop():
                loop = _loop(item, needed)
                if loop.carries or any(isinstance(s, Store) for s in statements(loop.body)):
                    kept.append(loop)
                    needed |= reads(loop)
            case If():
                inner, needed = _live(item.body, needed)
                kept.append(replace(item, body=inner))
                needed |= names(item.condition)
            case _:
                if item.target in needed:
                    kept.append(item)
                    needed |= reads(item)
    return tuple(reversed(kept)), needed


def _loop(loop: Loop, after: set[str]) -> Loop:
    """The loop with what it carries for those after it, or for itself."""
    wanted = {c.name for c in loop.carries} & after
    while True:
        carries = tuple(c for c in loop.carries if c.name in wanted)
        body, needed = _live(loop.body, names(*(c.next for c in carries)))
        more = {c.name for c in loop.carries} & needed - wanted
        if not more:
            return replace(loop, carries=carries, body=body)
        wanted |= more
