"""Names for tiles that have none of their own, by what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attnc.ir.expr import Expr, Name
from attnc.ir.tiles import Carry, Dot, Fold, If, Kernel, Let, Loop, Map, Store
from attnc.ir.tiles_walk import names, statements

NAMELESS: Final = re.compile(r"(t\d*)(_[a-z]\w*)?")
"""What lowering calls a tile that stands for no tensor, and what passes make of that."""


def labels(kernel: Kernel) -> dict[str, str]:
    """Names for tiles, by those that they have: `x_max` for the maximum of `x`."""
    found: dict[str, str] = {}
    carries = list(_carries(kernel))
    nexts = {c.next.name: c.name for c in carries if isinstance(c.next, Name)}
    defined = {s.target: s.value for s in statements(kernel.body) if isinstance(s, Map)}
    for item in statements(kernel.body):
        if isinstance(item, Loop | If | Let | Store):
            continue
        target = item.target
        if not (match := NAMELESS.fullmatch(target)):
            continue
        base, suffix = match.groups()
        if suffix is not None:
            if base in found:
                found[target] = found[base] + suffix
            continue
        if target in nexts:
            found[target] = f"{nexts[target]}_new"
            continue
        match item:
            case Fold(value=Name(name=name), op=op):
                found[target] = f"{found.get(name, name)}_{op}"
            case Dot(left=left, right=right):
                first, second = (_short(found.get(n, n)) for n in (left, right))
                joined = f"{first}{second}" if len(first) == len(second) == 1 else ""
                found[target] = joined or f"{first}_{second}"
            case Map(value=value):
                changed = next((c for c in carries if _brings_along(value, c, defined)), None)
                if changed is not None:
                    found[target] = f"{changed.name}_shift"
            case _:
                pass
    return {name: label for name, label in found.items() if len(label) <= 32}


def _carries(kernel: Kernel) -> Iterator[Carry]:
    for item in statements(kernel.body):
        if isinstance(item, Loop | If):
            yield from item.carries


def _short(name: str) -> str:
    """A name without what a pass has put behind it."""
    return name.removesuffix("_r").removesuffix("_p")


def _brings_along(value: Expr, carry: Carry, defined: dict[str, Expr]) -> bool:
    """Whether a value compares what is carried with what it becomes."""
    read = names(value)
    if carry.name not in read or not isinstance(carry.next, Name):
        return False
    reach, size = set(read - {carry.name}), -1
    while size != len(reach):
        size = len(reach)
        reach |= {n for r in reach & defined.keys() for n in names(defined[r])}
    return carry.next.name in reach
