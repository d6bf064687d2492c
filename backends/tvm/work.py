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
    """About how many products of matrices take as long as a kernel does; `factor` prints a size."""
    around, lanes, products = counted(kernel)
    sizes = [factor(size) for size in around]
    terms = [" * ".join(map(factor, lane)) for lane in lanes]
    if products:
        sizes.append(f"({' + '.join([*terms, str(FUNCTION)])})")
    elif len(terms) > 1:
        sizes.append(f"({' + '.join(terms)})")
    else:
        sizes += terms
    return " * ".join(sizes if products else [str(FUNCTION), *sizes])


def counted(kernel: Kernel) -> tuple[list[Expr], list[list[Expr]], bool]:
    """The sizes of what a kernel goes through, of the lanes at each point, and what they do.

    All points along parallel and streamed axes count, absent ones as well. At each of them, those
    lanes count along axes that are held whole over which products go, and a function of one number;
    without products, such a function for each lane of any statement. The last tells which it is.
    """
    whole = [a.name for a in kernel.axes if a.kind == "whole"]
    items = list(statements(kernel.body))
    dots = [{*i.axes, *i.over} for i in items if isinstance(i, Dot)]
    lanes = dict.fromkeys(tuple(a for a in whole if a in names) for names in dots or _all(items))
    terms = [[kernel.axis(a).size for a in names] for names in lanes if names]
    around = [a.size for a in kernel.axes if a.kind != "whole"]
    return around, terms, bool(dots)


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
