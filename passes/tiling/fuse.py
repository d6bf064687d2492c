"""A cascade as a plan of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnc.ir.cascade import Binding, Constant, Einsum, Require
from attnc.ir.expr import Expr, Read, Reduce, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import Axis, Buffer, Kernel, Let, Plan, Statement, Store
from attnc.ir.walk import bound, subexpressions
from attnc.passes.running.derive import Refusal
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.loop import LoopBuilder
from attnc.passes.tiling.lower import Block, Scope
from attnc.passes.tiling.partition import Group, Partition, partition


@dataclass(frozen=True)
class Fused:
    """A plan, the groups it was made from, and what kept them from being one."""

    plan: Plan
    partition: Partition

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Reductions that needed a pass of their own."""
        return self.partition.refusals


def fuse(facts: Facts) -> Fused:
    """The plan of a cascade whose reductions are Einsums of their own.

    Raises `NotLowered` for what tiles cannot do yet.
    """
    cascade = facts.cascade
    parts = partition(facts)
    kernels = tuple(
        without_dead(_KernelBuilder(facts, group, frozenset(parts.buffers)).build(f"k{i}"))
        for i, group in enumerate(parts.groups)
    )
    lets = tuple(
        Let(s.name, s.value, facts.values[s.name].kind)
        for s in cascade.statements
        if isinstance(s, Binding)
    )
    requires = tuple(s.condition for s in cascade.statements if isinstance(s, Require))
    definitions = {e.tensor: e for e in cascade.einsums}
    buffers = tuple(
        Buffer(
            name,
            tuple(facts.variables[v] for v in definitions[name].variables),
            facts.types[name].kind,
        )
        for name in parts.buffers
    )
    plan = Plan(
        cascade.name,
        cascade.inputs,
        cascade.parameters,
        cascade.outputs,
        lets,
        requires,
        buffers,
        kernels,
        _bound(facts, (*(x.value for x in lets), *requires)),
    )
    return Fused(plan, parts)


def _bound(facts: Facts, exprs: Sequence[Expr]) -> tuple[tuple[str, Expr], ...]:
    """The variables that reductions in some expressions bind, with their sizes."""
    names = dict.fromkeys(v for e in exprs for n in subexpressions(e) for v in sorted(bound(n)))
    return tuple((v, facts.variables[v]) for v in names)


@dataclass
class _KernelBuilder:
    facts: Facts
    group: Group
    buffers: frozenset[str]

    def build(self, name: str) -> Kernel:
        """The kernel of one group."""
        group = self.group
        stored = {o.name: o.empty for o in self.facts.cascade.outputs}
        einsums = (*group.results, *group.maps)
        order = self._order(einsums)
        scope = Scope(self.facts, order)
        before, after = Block(scope), Block(scope)
        body: list[Statement] = []
        if group.over:
            results = {e.tensor: e for e in group.results}
            loop = LoopBuilder(scope, before, group.over, results, group.forms)
            statement = loop.build()
            body = [*before.statements, statement]
            for form in group.forms:
                scope.results[form.tensor] = loop.final(after, form)
        for einsum in einsums:
            if einsum.tensor in scope.results:
                value = scope.results[einsum.tensor]
            else:
                value = after(einsum.value)
            if einsum.tensor in stored or einsum.tensor in self.buffers:
                empty: Constant | None = stored.get(einsum.tensor)
                after.statements.append(
                    Store(
                        einsum.tensor,
                        tuple(Var(v) for v in einsum.variables),
                        value.value,
                        value.here,
                        0 if empty is None else empty,
                        scope.valid(einsum.variables),
                    )
                )
            scope.results.setdefault(einsum.tensor, value)
        return Kernel(name, self._axes(order, einsums), (*body, *after.statements))

    def _axes(self, order: Sequence[str], einsums: Sequence[Einsum]) -> tuple[Axis, ...]:
        lefts = [set(e.variables) for e in einsums]
        common = set.intersection(*lefts)
        stream = self.group.over[0] if self.group.over else None
        return tuple(
            Axis(
                v,
                self.facts.variables[v],
                "stream" if v == stream else "par" if v in common else "whole",
            )
            for v in order
        )

    def _order(self, einsums: Sequence[Einsum]) -> tuple[str, ...]:
        """All axes: those of left sides, then the streamed ones, then those of inner sums."""
        found = dict.fromkeys(v for e in einsums for v in e.variables)
        found.update(dict.fromkeys(self.group.over))
        for expr in (e.value for e in einsums):
            found.update(dict.fromkeys(_variables(expr)))
        return tuple(found)


def _variables(expr: Expr) -> list[str]:
    """Every variable of an expression, free or bound."""
    found = []
    for node in subexpressions(expr):
        match node:
            case Var(name=name):
                found.append(name)
            case Reduce(variables=variables):
                found += variables
            case Read():
                pass
            case _:
                pass
    return found
