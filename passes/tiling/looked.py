"""Rounds in which no point is present, where only a look at the lanes tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attnc.ir.expr import Apply, Expr, Name
from attnc.ir.tiles import Fold, Load, Loop, Map, Statement
from attnc.ir.tiles_walk import expressions, names, targets
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.presence import TRUE, both, either
from attnc.passes.tiling.rounds import Rounds


def looked(rounds: Rounds, loop: Loop, predicates: Sequence[Sequence[Expr]]) -> Loop:
    """The loop, where the rest of a round is left out if no lane is present in it.

    A look costs what the predicate does, loads of its own included, and spares what comes behind:
    loads of what is combined, and products. So it is taken where the predicate needs no products,
    nor what loops inside go along, and is no matter of chance.
    """
    found = both()
    for i, parts in enumerate(predicates):
        found = both(*parts) if i == 0 else either(found, both(*parts))
    axes = rounds.context.varies(found)
    needed = _needed(loop, names(found))
    random = any(isinstance(n, Apply) and n.function == "random" for n in _parts(found, needed))
    if needed is None or random or axes & rounds.inner or rounds.stream not in axes:
        return loop
    over = rounds.context.sorted(axes)
    where = both(rounds.context.valid(over), found)
    name = rounds.context.fresh(f"{loop.axis}_some")
    some = Fold(name, (), Kind.BOOL, "any", over, TRUE, where)
    rounds.context.add([some])
    rest = [s for s in loop.body if s not in needed]
    return replace(loop, body=(*needed, some, *rest), where=both(loop.where, Name(name)))


def _needed(loop: Loop, wanted: set[str]) -> list[Statement] | None:
    """What of a body some tiles are computed from; None if that is more than loads and maps."""
    wanted = set(wanted)
    found: list[Statement] = []
    for item in reversed(loop.body):
        if not wanted & set(targets(item)):
            continue
        match item:
            case Load() | Map() | Fold(op="any" | "all"):
                found.append(item)
                wanted |= names(*expressions(item))
            case _:
                return None
    return None if wanted & {c.name for c in loop.carries} else found[::-1]


def _parts(predicate: Expr, needed: Sequence[Statement] | None) -> list[Expr]:
    exprs = [predicate, *(e for s in needed or () for e in expressions(s))]
    return [node for expr in exprs for node in subexpressions(expr)]
