"""Which ranks are taken to be short, where no size is known.

A rank that is the innermost of every input which declares it is taken for features: contiguous,
and as long as a tile. All others may be long. `--size` will decide where sizes are given.
"""

from __future__ import annotations

from attnc.ir.expr import Expr, Int, Value
from attnc.ir.facts import Facts

SHORT = 512
"""Up to this a literal size is short."""


def short_sizes(facts: Facts) -> frozenset[Expr]:
    """The sizes that are taken to be short."""
    inner: set[str] = set()
    outer: set[str] = set()
    for item in facts.cascade.inputs:
        names = [s for s in item.sizes if isinstance(s, str)]
        if names and isinstance(item.sizes[-1], str) and len(item.sizes) > 1:
            inner.add(names[-1])
            names = names[:-1]
        outer.update(names)
    return frozenset(Value(n) for n in inner - outer)


def is_short(size: Expr, short: frozenset[Expr]) -> bool:
    """Whether a size is short: a small literal, or an extent taken to be."""
    return size in short or (isinstance(size, Int) and size.value <= SHORT)
