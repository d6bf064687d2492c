"""The loop that merges partial states: pieces of a stream that were gone through apart.

Each piece has left the state of every reduction, right for the results of its own points. Pieces
come by as the points of a stream do. Extremes and plain reductions combine with their own
operation. A state of sums is brought from the piece's results to the common ones by the same T that
carries a state from round to round, and added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Binary, Compare, Expr, Name, Var
from attnc.ir.tiles import Load
from attnc.ir.types import Kind
from attnc.passes.running.build import multiplied, total
from attnc.passes.running.checks import renamed
from attnc.passes.running.derive import Extreme, Plain, Running, Sum
from attnc.passes.tiling.loop import LoopBuilder, State, at_rest, combined
from attnc.passes.tiling.lower import Block, Scope
from attnc.passes.tiling.presence import TRUE, both, either

PIECE = "''"
"""What marks the results of a piece."""


@dataclass(frozen=True)
class Parts:
    """The buffers of each tensor's state, and that which says whether it is present."""

    states: Mapping[str, Sequence[str]]
    told: Mapping[str, str]


class MergeBuilder(LoopBuilder):
    """Builds the loop over pieces."""

    def __init__(
        self,
        scope: Scope,
        outside: Block,
        piece: str,
        einsums: Mapping[str, Einsum],
        forms: Sequence[Running],
        parts: Parts,
    ) -> None:
        super().__init__(scope, outside, (piece,), einsums, forms)
        self.parts = parts
        self.present: dict[str, Expr] = {}
        self.block.volatile |= {f"{n}{PIECE}" for n in self.names}
        self.of_piece: Callable[[Expr], Expr] = renamed(self.names, PIECE)

    def _over(self, tensor: str) -> tuple[str, ...]:
        return self.over

    def _step(self, form: Running) -> dict[str, Expr]:
        state = self.states[form.tensor]
        found: dict[str, Expr] = {}
        always = isinstance(form, Plain) and form.op in ("count", "any", "all")
        here = TRUE if always else self._present(form)
        tiles = [self._loaded(form, name) for name in self.parts.states[form.tensor]]
        where = both(self.scope.valid(self.over), here)
        self._see(state, self.over, where, found)
        piece = self._result(self.block, form, tiles, here, PIECE)
        self.scope.results[f"{form.tensor}{PIECE}"] = piece
        match form:
            case Plain(op="argmax" | "argmin"):
                new = self._first(form, state, tiles, where)
            case Plain(op=op) | Extreme(op=op):
                op = "sum" if op == "count" else op
                tile = self.block.fold(op, self.over, tiles[0], where, "t")
                new = [self.block.tile(combined(op, Name(state.tiles[0]), tile), "t")]
            case Sum():
                new = [self._brought(form, state, tiles, j, where) for j in range(len(tiles))]
        return self._finished(form, state, new, found)

    def _brought(self, form: Sum, state: State, tiles: Sequence[Expr], j: int, where: Expr) -> Expr:
        """Row j of the common state: of what was merged, and of the pieces of this round."""
        terms = []
        for k, entries in form.basis.transition[j].items():
            entry = at_rest(
                total(e.expr(self.of_piece) for e in entries), self.of_piece, self.names
            )
            terms.append(multiplied(self.block(entry).value, tiles[k]))
        tile = self.block.fold("sum", self.over, total(terms), where, "t")
        return self.block.tile(Binary("+", self._carried(state, j), tile), "t")

    def _first(self, form: Plain, state: State, tiles: Sequence[Expr], where: Expr) -> list[Expr]:
        """The least index of those that have the extreme."""
        op = form.op[3:]
        value, index = tiles
        tile = self.block.fold(op, self.over, value, where, "t")
        equal: Expr = Compare(("==",), (value, tile))
        if self.scope.kind(value).floating:
            odd = [Compare(("!=",), (x, x)) for x in (value, tile)]
            equal = either(equal, both(*odd))
        first = self.block.fold("min", self.over, index, both(where, equal), "i")
        return self._better(form, state, tile, first, where)

    # What the pieces left

    def _loaded(self, form: Running, name: str) -> Expr:
        """A part of a state, for each piece."""
        order = (self.over[0], *self.einsums[form.tensor].variables)
        axes = tuple(v for v in self.scope.order if v in order)
        index = tuple(Var(v) for v in order)
        kind = self.scope.facts.types[name].kind
        tile = self.block.new(name.lower(), axes, kind, self.scope.facts.types[name].origin)
        self.block.statements.append(Load(tile, axes, kind, name, index, self.scope.valid(axes)))
        return Name(tile)

    def _present(self, form: Running) -> Expr:
        """Whether a piece had a point of a reduction."""
        name = self.parts.told[form.tensor]
        if name not in self.present:
            owner = next(t for t, parts in self.parts.states.items() if name in parts)
            order = (self.over[0], *self.einsums[owner].variables)
            axes = tuple(v for v in self.scope.order if v in order)
            tile = self.block.new(f"{name.lower()}_here", axes, Kind.BOOL)
            index, valid = tuple(Var(v) for v in order), self.scope.valid(axes)
            self.block.statements.append(Load(tile, axes, Kind.BOOL, f"{name}?", index, valid))
            self.present[name] = Name(tile)
        return self.present[name]
