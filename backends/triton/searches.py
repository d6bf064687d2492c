"""Searches in a sorted rank, by halves: each halves what is left of it, and waits for one load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from attnc.backends.numpy.layout import INDENT
from attnc.backends.triton.addresses import Addresses
from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import Held, Term, spread
from attnc.ir.comparisons import TURNED
from attnc.ir.expr import Expr, Int
from attnc.ir.printer import COMPARE
from attnc.ir.tiles import Find
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.types import Kind

START: Final = "tl.full({}, 0, tl.int64)"


@dataclass(frozen=True)
class Searches:
    """Prints searches in one rank of a tensor, with the same coordinates along the others."""

    scope: KernelScope
    addresses: Addresses

    def lines(
        self, items: Sequence[Find], value: Callable[[Expr, Kind], Term], mask: Term
    ) -> Iterator[str]:
        """The lines of one loop, in which each search goes on behind what it has passed.

        An element that does not compare as it is to passes all before it. What is left has the same
        size for all of them. Offsets are in 64 bits.
        """
        scope, first = self.scope, items[0]
        tensor = first.tensor
        left, half = (scope.names.fresh(f"{tensor}_{word}") for word in ("left", "half"))
        step = self.addresses.tensor(tensor).strides[first.rank]
        row = (*first.index[: first.rank], Int(0), *first.index[first.rank :])
        inside: list[str] = []
        for item in items:
            axes = scope.dimensions(item.axes)
            name = scope.names.of("tile", item.target)
            scope.tiles[item.target] = Term(name, axes, Held.I64)
            yield f"{name} = {START.format(scope.shape(axes) if axes else '()')}"
            with scope.ordered(axes):
                pointer = spread(self.addresses.of(tensor, row, axes), axes)
                sought = spread(value(item.value, Kind.I64), axes)
            at = f"{pointer.text} + ({name} + {half} - 1) * {step}"
            here = "" if mask.true else f", mask={spread(mask, axes).text}, other=0"
            element = scope.names.fresh(f"{name}_now")
            inside.append(f"{element} = tl.load({at}{here})")
            passed = f"{element} {TURNED[item.op]} {sought.at(COMPARE + 1)}"
            inside.append(f"{name} += tl.where({passed}, {half}, 0)")
        size = scope.text(tensor_sizes(scope.plan)[tensor][first.rank])
        yield f"{left} = tl.full((), {size.text}, tl.int64)"
        yield f"while {left} > 0:"
        yield f"{INDENT}{half} = ({left} + 1) // 2"
        yield from (INDENT + line for line in inside)
        yield f"{INDENT}{left} -= {half}"
