"""One kernel: what its group computes, as statements on tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from attnc.ir.cascade import Constant, Einsum
from attnc.ir.expr import Expr, Read, TopK, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import tensor_reads
from attnc.ir.tiles import Axis, AxisKind, Kernel, Statement, Store
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.groups import Group
from attnc.passes.tiling.loop import LoopBuilder
from attnc.passes.tiling.lower import Block, Scope
from attnc.passes.tiling.merge import MergeBuilder, Parts
from attnc.passes.tiling.observers import combined, looked_along, observers
from attnc.passes.tiling.presence import Valued
from attnc.passes.tiling.recurrence import RecurrenceBuilder
from attnc.passes.tiling.split import Split, partial_body
from attnc.passes.tiling.steps import Steps

PARTS: Final = "_parts"
"""How the name of a kernel ends that goes through the pieces of a stream."""


@dataclass
class KernelBuilder:
    """Builds the kernel of one group; `storage` are the buffers of tensors."""

    facts: Facts
    group: Group
    storage: Mapping[str, str]

    def build(self, name: str) -> Kernel:
        """The kernel; raises `Late` for a result that has to wait, `NotLowered`."""
        outputs = {o.name: o.empty for o in self.facts.cascade.outputs}
        self.outputs: dict[str, Constant | None] = outputs
        self.order: tuple[str, ...] = self._order()
        if self.group.steps is not None:
            body = self._recurrence(self.group.steps.with_rows(self.group.rows))
        else:
            body = self._stream()
        return Kernel(name, self._axes(), tuple(body))

    def build_split(self, name: str, found: Split) -> tuple[Kernel, Kernel]:
        """Two kernels: one goes through the pieces of the stream, one merges what they left."""
        self.outputs = {o.name: o.empty for o in self.facts.cascade.outputs}
        partial = replace(self, facts=found.facts, group=found.group)
        partial.order = (found.piece, *(v for v in partial._order() if v != found.piece))
        scope = Scope(found.facts, partial.order, storage=self.storage)
        body, told = partial_body(found, scope)
        first = Kernel(f"{name}{PARTS}", partial._axes(), tuple(body))
        self.facts = found.facts
        self.group = replace(self.group, over=(found.piece,))
        self.order = self._order()
        scope = Scope(self.facts, self.order, storage=self.storage)
        before, einsums = Block(scope), {e.tensor: e for e in self.group.results}
        parts = Parts(found.parts, told)
        loop = MergeBuilder(scope, before, found.piece, einsums, self.group.forms, parts)
        return first, Kernel(name, self._axes(), tuple(self._around(scope, before, loop)))

    def _stream(self) -> list[Statement]:
        """A loop with running results, if anything is streamed, and what follows it."""
        group = self.group
        scope = Scope(self.facts, self.order, storage=self.storage)
        before, einsums = Block(scope), {e.tensor: e for e in group.results}
        if not group.over:
            self._finish(scope, before, group.maps)
            return before.statements
        loop = LoopBuilder(scope, before, group.over, einsums, group.forms, backward=group.backward)
        return self._around(scope, before, loop)

    def _around(self, scope: Scope, before: Block, loop: LoopBuilder) -> list[Statement]:
        """A loop with what comes before it, and what its results are after it."""
        group, after = self.group, Block(scope)
        statement = loop.build(group.rows, lambda e, v: self._stored(scope, e, v))
        for form in group.forms:
            scope.results[form.tensor] = loop.final(after, form)
        self._finish(scope, after, (*group.results, *group.maps))
        return [*before.statements, statement, *after.statements]

    def _recurrence(self, steps: Steps) -> list[Statement]:
        """A loop over steps, again with more presence carried where it turns out to be needed."""
        tracked: set[str] = set()
        while True:
            scope = Scope(
                self.facts,
                tuple(v for v in self.order if v != steps.variable),
                storage=self.storage,
                steps=frozenset((steps.variable,)),
            )
            before, after = Block(scope), _LastRows(scope)
            builder = RecurrenceBuilder(
                scope,
                before,
                steps,
                self.group.maps,
                frozenset(self.storage) & steps.places.keys(),
                self.outputs,
                tracked,
            )
            body = builder.build()
            if body is not None:
                after.rows = builder.last()
                self._finish(scope, after, self.group.maps)
                return [*body, *after.statements]

    def _finish(self, scope: Scope, after: Block, einsums: Iterable[Einsum]) -> None:
        """Stores what is known when all loops have ended."""
        read = {r.tensor for e in self.group.maps for r in tensor_reads(e)}
        for einsum in einsums:
            known = scope.results.get(einsum.tensor)
            value = after(einsum.value) if known is None else known
            inner = after.held(value.value, self.facts.types[einsum.tensor].kind)
            if einsum.tensor in read:  # a tile, lest expressions grow from map to map
                inner = after.tile(value.value, einsum.tensor.lower())
            value = Valued(inner, value.here)
            after.statements += self._stored(scope, einsum, value)
            scope.results.setdefault(einsum.tensor, value)

    def _stored(self, scope: Scope, einsum: Einsum, value: Valued) -> list[Store]:
        """The store of a tensor, if others need it."""
        if einsum.tensor not in self.outputs and einsum.tensor not in self.storage:
            return []
        empty = self.outputs.get(einsum.tensor)
        index = tuple(Var(v) for v in einsum.variables)
        guard = scope.valid(einsum.variables)
        name = self.storage.get(einsum.tensor, einsum.tensor)
        fill = 0 if empty is None else empty
        return [Store(name, index, value.value, value.here, fill, guard)]

    def _axes(self) -> tuple[Axis, ...]:
        steps = self.group.steps
        if steps is not None:
            whole = steps.with_rows(self.group.rows)
            parallel = whole.parallel()
        else:
            lefts = [set(e.variables) for e in self.group.einsums]
            parallel = frozenset(set.intersection(*lefts) - set(self.group.over))
        inner = {v for e in self.group.einsums for n in observers(e.value) for v in looked_along(n)}
        parallel -= inner

        def kind(variable: str) -> AxisKind:
            if steps is not None and variable == steps.variable:
                return "step"
            if variable in self.group.over:
                return "stream"
            return "par" if variable in parallel else "whole"

        return tuple(Axis(v, self.facts.variables[v], kind(v)) for v in self.order)

    def _order(self) -> tuple[str, ...]:
        """All axes: those of left sides, then the streamed ones, then those of inner reductions."""
        group = self.group
        einsums: Sequence[Einsum] = group.einsums
        over = dict.fromkeys(group.over)
        found = dict.fromkeys(v for e in einsums for v in e.variables if v not in over)
        found.update(over)
        initial = group.steps.initial if group.steps else ()
        for expr in (e.value for e in (*einsums, *initial)):
            found.update(dict.fromkeys(_variables(expr)))
        return tuple(found)


class _LastRows(Block):
    """What follows the steps of a recurrence, and reads their last rows."""

    rows: Mapping[Read, Valued]

    def _read(self, expr: Read) -> Valued:
        return self.rows[expr] if expr in self.rows else super()._read(expr)


def _variables(expr: Expr) -> list[str]:
    """Every variable of an expression, free or bound."""
    found = []
    for node in subexpressions(expr):
        match node:
            case Var(name=name):
                found.append(name)
            case TopK(into=into):
                found.append(into)
            case _:
                pass
    return [*found, *sorted(combined(expr))]
