"""A cascade as a plan of kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from attnc.ir.cascade import Binding, Require
from attnc.ir.expr import Expr, Int, Value
from attnc.ir.facts import Facts
from attnc.ir.tiles import Buffer, Kernel, Let, Plan
from attnc.ir.types import INDEX_INT
from attnc.ir.walk import bound, subexpressions
from attnc.passes.algebra.program import Names
from attnc.passes.running.build import added
from attnc.passes.running.derive import Refusal
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.groups import Group
from attnc.passes.tiling.kernel import PARTS, KernelBuilder
from attnc.passes.tiling.loop import Late
from attnc.passes.tiling.partition import Partition, partition
from attnc.passes.tiling.split import Cut, can_split, in_length, in_number, split


@dataclass(frozen=True)
class Fused:
    """A plan, the groups it was made from, and what kept them from being one."""

    plan: Plan
    partition: Partition
    first: Partition
    """The partition where no result is late."""
    split: frozenset[str] = frozenset()
    """The variables that were gone through in pieces."""

    @property
    def can_split(self) -> tuple[str, ...]:
        """The variables that kernels stream and that could be gone through in pieces."""
        return tuple(dict.fromkeys(g.over[0] for g in self.partition.groups if can_split(g)))

    @property
    def in_pieces(self) -> frozenset[str]:
        """The kernels whose streams could be gone through in pieces, by name."""
        groups = enumerate(self.partition.groups)
        return frozenset(kernel_name(i) for i, g in groups if can_split(g))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Reductions that needed a pass of their own."""
        return self.partition.refusals


def fuse(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    pieces: Mapping[str, int] | None = None,
    points: int | str | None = None,
    known: Partition | None = None,
) -> Fused:
    """The plan of a cascade whose reductions are Einsums of their own.

    `sizes` are those at which costs are compared. A kernel that streams one of the variables in
    `pieces` goes through it in so many pieces, and another merges them; with `points`, so does each
    that can be split, in pieces of so many points. A name is that of a value of the plan, told when
    kernels are to run; each kernel has its own. `known` is the partition where
    no result is late, if it was made before. Raises `NotLowered` for what tiles cannot do.
    """
    late: list[Refusal] = []
    first = partition(facts, sizes) if known is None else known
    while True:
        parts = partition(facts, sizes, late) if late else first
        whole = replace(facts, variables=parts.variables, types=parts.types)
        try:
            fused = Fused(_plan(whole, parts, pieces or {}, points), parts, first)
            return replace(fused, split=frozenset(fused.can_split) & (pieces or {}).keys())
        except Late as found:
            late.append(Refusal(found.tensor, found.term, str(found)))


def _plan(
    facts: Facts, parts: Partition, pieces: Mapping[str, int], points: int | str | None
) -> Plan:
    cascade = facts.cascade
    names = Names(cascade)
    storage = _storage(facts, parts, names)
    kernels: list[Kernel] = []
    left: list[Buffer] = []
    told: list[str] = []
    for i, group in enumerate(parts.groups):
        number: Expr | None = Int(points) if isinstance(points, int) else None
        if isinstance(points, str) and can_split(group):
            told.append(names(points))
            number = Value(told[-1])
            facts = replace(facts, values={**facts.values, told[-1]: INDEX_INT})
        builder = KernelBuilder(facts, group, storage)
        cut = _cut(facts, group, pieces, number)
        if cut is None:
            kernels.append(builder.build(kernel_name(i)))
            continue
        found = split(facts, group, cut, names)
        kernels += builder.build_split(kernel_name(i), found)
        left += found.buffers
    lets = tuple(
        Let(s.name, s.value, facts.values[s.name].kind)
        for s in cascade.statements
        if isinstance(s, Binding)
    )
    requires = tuple(s.condition for s in cascade.statements if isinstance(s, Require))
    buffers = tuple(
        Buffer(storage[name], _sizes(facts, name), facts.types[name].kind) for name in parts.buffers
    )
    return Plan(
        cascade.name,
        cascade.inputs,
        cascade.parameters,
        cascade.outputs,
        lets,
        requires,
        (*buffers, *left),
        tuple(map(without_dead, kernels)),
        _bound(facts, (*(x.value for x in lets), *requires)),
        tiles=tuple(told),
    )


def kernel_name(index: int) -> str:
    """The name of the kernel of a group; of one in pieces, that of the kernel that merges them."""
    return f"k{index}"


def parted(kernel: Kernel) -> str:
    """The name of the kernel, where streams are gone through whole, that has these pieces."""
    return kernel.name.removesuffix(PARTS)


def _cut(facts: Facts, group: Group, pieces: Mapping[str, int], points: Expr | None) -> Cut | None:
    """How the stream of a group is cut, if it is."""
    if not can_split(group):
        return None
    size = facts.variables[group.over[0]]
    if group.over[0] in pieces:
        return in_number(size, pieces[group.over[0]])
    return None if points is None else in_length(size, points)


def _storage(facts: Facts, parts: Partition, names: Names) -> dict[str, str]:
    """The names of buffers; an output whose rows begin elsewhere is no buffer by itself."""
    outputs = {o.name for o in facts.cascade.outputs}
    found: dict[str, str] = {}
    for tensor in parts.buffers:
        plain = all(d.low == 0 and d.extra == 0 for d in facts.tensors[tensor].dimensions)
        found[tensor] = tensor if plain or tensor not in outputs else names(f"{tensor}_rows")
    return found


def _sizes(facts: Facts, tensor: str) -> tuple[Expr, ...]:
    return tuple(added(d.range, Int(d.extra)) for d in facts.tensors[tensor].dimensions)


def _bound(facts: Facts, exprs: Sequence[Expr]) -> tuple[tuple[str, Expr], ...]:
    """The variables that reductions in some expressions bind, with their sizes."""
    names = dict.fromkeys(v for e in exprs for n in subexpressions(e) for v in sorted(bound(n)))
    return tuple((v, facts.variables[v]) for v in names)
