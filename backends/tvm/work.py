"""How much a kernel computes, of sizes alone: whether it is worth waking a thread for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attnc.ir.expr import Expr
from attnc.ir.tiles import Dot, Find, Fold, Kernel, Load, Map, Scan, Statement, TopK
from attnc.ir.tiles_walk import statements

FUNCTION: Final = 16
"""So many products of matrices take as long as a function of one number, or more."""


def work(kernel: Kernel, factor: Callable[[Expr], str]) -> str:
    """A product of sizes: about how many products of matrices take as long as the kernel does.

    All points along parallel and streamed axes count, absent ones as well. At each of them, those
    lanes count along axes that are held whole over which products go, and a function of one number;
    without products, such a function for each lane of any statement. `factor` prints a size.
    """
    sizes = {a.name: factor(a.size) for a in kernel.axes}
    whole = [a.name for a in kernel.axes if a.kind == "whole"]
    items = list(statements(kernel.body))
    dots = [{*i.axes, *i.over} for i in items if isinstance(i, Dot)]
    lanes = dict.fromkeys(tuple(a for a in whole if a in names) for names in dots or _all(items))
    terms = [" * ".join(map(sizes.__getitem__, names)) for names in lanes if names]
    around = [sizes[a.name] for a in kernel.axes if a.kind != "whole"]
    if dots:
        around.append(f"({' + '.join([*terms, str(FUNCTION)])})")
    elif len(terms) > 1:
        around.append(f"({' + '.join(terms)})")
    else:
        around += terms
    return " * ".join(around if dots else [str(FUNCTION), *around])


def _all(items: Sequence[Statement]) -> list[set[str]]:
    """The axes that each statement goes over."""
    found: list[set[str]] = []
    for item in items:
        match item:
            case Fold(axes=axes, over=over):
                found.append({*axes, *over})
            case Scan(axes=axes, over=name) | TopK(axes=axes, over=name):
                found.append({*axes, name})
            case Load(axes=axes) | Map(axes=axes) | Find(axes=axes):
                found.append({*axes})
            case _:
                pass
    return found
