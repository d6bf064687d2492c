"""Tiles that take the room of one that is read for the last time where they are made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from attnc.backends.triton.terms import HELD
from attnc.backends.triton.updates import updates
from attnc.backends.tvm.scope import LaneScope
from attnc.ir.tiles import Carry, Dot, Fold, If, Load, Loop, Map, Statement
from attnc.ir.tiles_walk import names, reads, statements
from attnc.ir.types import Kind


def shared(scope: LaneScope, placed: Collection[str]) -> dict[str, str]:
    """Tiles, and those whose room they take: lane by lane, each is read before it is written.

    `placed` are tiles that may have no room.
    """
    body = scope.kernel.body
    # What a truth is made of is read again wherever the truth is.
    kept = set(placed).union(
        *(reads(s) for s in statements(body) if isinstance(s, Map) and s.kind is Kind.BOOL)
    )
    found: dict[str, str] = {}
    for part, carries in _bodies(body, ()):
        found |= _shared(scope, part, carries, kept)
    return found


def _bodies(
    body: Sequence[Statement], carries: tuple[Carry, ...]
) -> Iterator[tuple[tuple[Statement, ...], tuple[Carry, ...]]]:
    yield tuple(body), carries
    for item in body:
        if isinstance(item, Loop | If):
            yield from _bodies(item.body, item.carries)


def _shared(
    scope: LaneScope, body: tuple[Statement, ...], carries: tuple[Carry, ...], kept: set[str]
) -> dict[str, str]:
    context, sums = scope.context, scope.products.sums
    carried = set(updates(body, carries, {}).aliases)
    late = {dot.target: target for target, (dot, _) in sums.items()}
    places = {s.target: i for i, s in enumerate(body) if isinstance(s, Load | Map | Fold | Dot)}
    last = {n: len(body) for c in carries for n in names(c.next)}
    for i, item in enumerate(body):
        if isinstance(item, Dot) and item.target in late:  # is computed where it is added
            i = places[late[item.target]]
        for name in reads(item):
            last[name] = max(last.get(name, 0), i)
    found: dict[str, str] = {}
    for i, item in enumerate(body):
        if not isinstance(item, Map) or item.target in sums or item.target in carried:
            continue
        for name in sorted(names(item.value) - kept - carried - set(sums)):
            alike = (
                places.get(name, i) < i
                and last[name] == i
                and scope.layouts[name] == scope.layouts[item.target] != ()
                and HELD[context.kinds[name]] is HELD[item.kind]
            )
            if alike and name not in found.values():
                found[item.target] = name
                break
    return found
