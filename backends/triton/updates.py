"""Which carried tiles a loop can update where they are, and where their sums are scaled.

`next a = t` needs no second name for `t` if nothing reads the old `a` once `t` is there. And of
`t = c * a + dot(p, v)` the product `c * a` goes ahead of the loads for `p` and `v`, so that fewer
tiles are alive at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attnc.ir.expr import Expr, Name
from attnc.ir.tiles import Carry, If, Loop, Map, Statement, Store
from attnc.ir.tiles_walk import names, reads, targets


@dataclass
class Updates:
    """What a block updates in place."""

    aliases: dict[str, str] = field(default_factory=dict[str, str])
    """Tiles that take the name of what is carried."""
    early: dict[int, list[tuple[Map, Expr]]] = field(
        default_factory=dict[int, list[tuple[Map, Expr]]]
    )
    """What is added to a product, after which statement it is computed."""

    def since(self, first: int) -> Updates:
        """The same for what is left of a block from a statement on."""
        early: dict[int, list[tuple[Map, Expr]]] = {}
        for place, items in sorted(self.early.items()):
            early.setdefault(max(place - first, -1), []).extend(items)
        return Updates(self.aliases, early)


def updates(
    body: tuple[Statement, ...], carries: tuple[Carry, ...], sums: Mapping[str, Expr]
) -> Updates:
    """In-place updates of a block; `sums` are maps of a product and what it is added to."""
    found = Updates()
    places = {t: i for i, s in enumerate(body) for t in targets(s)}
    for carry in carries:
        if not isinstance(carry.next, Name) or carry.next.name not in places:
            continue
        target = carry.next.name
        others = [c.next for c in carries if c is not carry]
        if target in found.aliases or carry.name in names(*others):
            continue
        at = places[target]
        if any(carry.name in reads(s) for s in body[at + 1 :]):
            continue
        if isinstance(body[at], Loop | If | Store):
            continue
        found.aliases[target] = carry.name
        item = body[at]
        if isinstance(item, Map) and target in sums and sums[target] != Name(carry.name):
            _go_ahead(found, body, carry, item, sums[target], at)
    return found


def _go_ahead(
    found: Updates,
    body: tuple[Statement, ...],
    carry: Carry,
    item: Map,
    addend: Expr,
    at: int,
) -> None:
    """Notes the place after which what is added to a product can be computed."""
    if carry.name not in names(addend):
        return
    needed = names(addend)
    after = -1
    for place, other in enumerate(body[:at]):
        if set(targets(other)) & needed or carry.name in reads(other):
            after = place
    found.early.setdefault(after, []).append((item, addend))
