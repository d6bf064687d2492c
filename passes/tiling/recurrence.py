"""The kernel of a recurrence: a loop over its steps, whose last rows are carried as tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnc.ir.cascade import Constant, Einsum
from attnc.ir.expr import Compare, Expr, Int, Name, Read, Var
from attnc.ir.tiles import Carry, Loop, Range, Statement, Store
from attnc.ir.types import Kind
from attnc.passes.running.build import added
from attnc.passes.tiling.lower import Block, Scope, shifted
from attnc.passes.tiling.presence import FALSE, TRUE, Valued, both
from attnc.passes.tiling.steps import Steps


class StepBlock(Block):
    """The statements of one step, which reads rows of this step and of earlier ones."""

    def __init__(self, builder: RecurrenceBuilder, outer: Block) -> None:
        steps = builder.steps
        super().__init__(
            builder.scope, outer, frozenset((steps.variable,)), frozenset(steps.places)
        )
        self.builder: RecurrenceBuilder = builder

    def _read(self, expr: Read) -> Valued:
        if expr.tensor not in self.builder.steps.places:
            return super()._read(expr)
        return self.builder.row(self, expr)

    def load(self, expr: Read) -> Valued:
        """A row that was stored."""
        return super()._read(expr)

    def forget(self, tensor: str) -> None:
        """What was known of a tensor is no longer so: a row was added."""
        self.known.clear()
        self.tiles: dict[tuple[str, tuple[Expr, ...]], str] = {
            k: n for k, n in self.tiles.items() if k[0].removesuffix("?") != tensor
        }


@dataclass
class RecurrenceBuilder:
    """Builds the loop over the steps.

    `tracked` are the tensors whose rows may be absent: they carry their presence, too.
    """

    scope: Scope
    outside: Block
    steps: Steps
    maps: Sequence[Einsum]
    stored: frozenset[str]
    outputs: dict[str, Constant | None]
    tracked: set[str]

    def build(self) -> list[Statement] | None:
        """What comes before the loop, and the loop; None if more tensors have to be tracked."""
        carried = self.steps.carried(self.maps)
        self.now: dict[str, Valued] = {}
        self.before: dict[str, Valued] = {}
        self.done: set[str] = set()
        carries: dict[str, Carry] = {}
        self.block: StepBlock = StepBlock(self, self.outside)
        start = {e.tensor: e for e in self.steps.initial}
        first: list[Statement] = []
        for step in self.steps.steps:
            initial = start.get(step.tensor)
            value = Valued(Int(0), FALSE) if initial is None else self.outside(initial.value)
            of = self.scope.facts.types[step.tensor]
            value = Valued(self.outside.held(value.value, of.kind), value.here)
            if initial is not None and step.tensor in self.stored:
                first.append(self._stored(step, value, Int(0)))
            if step.tensor not in carried:
                continue
            kind, axes = of.kind, self._axes(step)
            name = self.block.new(step.tensor.lower(), axes, kind, of.origin)
            carries[step.tensor] = Carry(name, axes, kind, value.value, Int(0))
            if value.here != TRUE and step.tensor not in self.tracked:
                self.tracked.add(step.tensor)
                return None
            here: Expr = TRUE
            if step.tensor in self.tracked:
                flag = self.block.new(f"{name}_here", axes, Kind.BOOL)
                carries[f"{step.tensor}?"] = Carry(flag, axes, Kind.BOOL, value.here, FALSE)
                here = Name(flag)
            self.before[step.tensor] = Valued(Name(name), here)
        for step in self.steps.steps:
            value = self.block(step.value)
            kind = self.scope.facts.types[step.tensor].kind
            tile = self.block.tile(value.value, step.tensor.lower())
            value = Valued(self.block.held(tile, kind), value.here)
            if value.here != TRUE and step.tensor in carried and step.tensor not in self.tracked:
                self.tracked.add(step.tensor)
                return None
            self.now[step.tensor] = value
            self.done.add(step.tensor)
            if step.tensor in self.stored or step.tensor in self.outputs:
                self._store(step, value)
            self.block.forget(step.tensor)
        for tensor, carry in carries.items():
            whole = self.now[tensor.removesuffix("?")]
            new = whole.here if tensor.endswith("?") else whole.value
            carries[tensor] = replace(carry, next=self.block.held(new, carry.kind))
        loop = Loop(
            self.steps.variable,
            (Range(Int(0), self.scope.size(self.steps.variable)),),
            tuple(carries.values()),
            tuple(self.block.statements),
        )
        self.final: dict[str, Valued] = self.before
        return [*self.outside.statements, *first, loop]

    def _axes(self, step: Einsum) -> tuple[str, ...]:
        return tuple(v for v in self.scope.order if v in step.variables)

    def row(self, block: StepBlock, read: Read) -> Valued:
        """A row of the group where it is read."""
        distance = self.steps.distance(read)
        done = read.tensor in self.done
        if self.steps.aligned(read):
            if distance == 0 and done:
                return self.now[read.tensor]
            if distance == 1:
                return self.before[read.tensor]
        if distance is not None and distance < (0 if done else 1):
            return Valued(Int(0), FALSE)  # it is not computed yet
        place = self.steps.places[read.tensor]
        found = block.load(read)
        if distance is not None:
            return found
        at = block(read.index[place.position])
        latest = added(Var(self.steps.variable), Int(place.offset))
        known = Compare(("<=",) if done else ("<",), (at.value, latest))
        return Valued(found.value, both(found.here, known))

    def _store(self, step: Einsum, value: Valued) -> None:
        place = self.steps.places[step.tensor]
        coordinate = added(Var(self.steps.variable), Int(place.offset))
        if step.tensor in self.stored:
            row = shifted(coordinate, -place.dimension.low)
            self.block.statements.append(self._stored(step, value, row))
        if step.tensor in self.outputs and self.scope.storage.get(step.tensor) != step.tensor:
            self.block.statements.append(self._written(step.tensor, step, value, coordinate))

    def _stored(self, step: Einsum, value: Valued, row: Expr) -> Store:
        return self._written(self.scope.storage[step.tensor], step, value, row)

    def _written(self, name: str, step: Einsum, value: Valued, row: Expr) -> Store:
        at = self.steps.places[step.tensor].position
        own = [v for i, s in enumerate(step.slots) if i != at and (v := s.variable) is not None]
        index: list[Expr] = [Var(v) for v in own]
        index.insert(at, row)
        empty = self.outputs.get(step.tensor)
        return Store(
            name,
            tuple(index),
            value.value,
            value.here,
            0 if empty is None else empty,
            self.scope.valid(tuple(own)),
        )

    def last(self) -> dict[Read, Valued]:
        """The last rows, as they are read after the loop."""
        found: dict[Read, Valued] = {}
        for step in self.steps.steps:
            if step.tensor in self.final:
                place = self.steps.places[step.tensor]
                index: list[Expr] = [Var(s.variable or "") for s in step.slots]
                index[place.position] = place.last
                found[Read(step.tensor, tuple(index))] = self.final[step.tensor]
        return found
