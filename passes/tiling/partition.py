"""Which Einsums run together in one kernel.

Results over one streamed rank share a kernel as far as running forms are derived. One that is
refused goes to a later kernel, with what reads it, and finds the finished results in buffers. A
recurrence is a kernel of its own, which the recurrences and maps that follow it step by step join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Arg, Expr, Reduce, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.types import Type
from attnc.ir.walk import bound, subexpressions
from attnc.passes.algebra.sizes import Nominal
from attnc.passes.running.derive import Refusal
from attnc.passes.tiling.deriving import Deriving
from attnc.passes.tiling.epilogue import epilogues
from attnc.passes.tiling.groups import Group
from attnc.passes.tiling.inline import Inliner, Variables
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.observers import combined, observes, scans
from attnc.passes.tiling.recompute import Recompute, Sizes
from attnc.passes.tiling.steps import Follows, Steps


@dataclass(frozen=True)
class Partition:
    """Groups in order, what is stored between them, and what kept them from being one.

    `variables` are all rank variables of the groups with their sizes, `types` those of all tensors.
    """

    groups: tuple[Group, ...]
    buffers: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    variables: Mapping[str, Expr]
    types: Mapping[str, Type]


def partition(
    facts: Facts, sizes: Mapping[str, int] | None = None, late: Sequence[Refusal] = ()
) -> Partition:
    """The kernels of a cascade whose reductions are Einsums of their own.

    `sizes` are those at which costs are compared; others are nominal. `late` are results that have
    to wait until what they read is finished.
    """
    variables = Variables(dict(facts.variables))
    measured = Sizes(Nominal(facts, dict(sizes or {})), variables)
    return _Partitioner(facts, measured, list(late), frozenset(r.tensor for r in late)).run()


class _BothWaysError(Exception):
    """Scans in both directions have come together in one kernel."""


@dataclass
class _Partitioner:
    facts: Facts
    sizes: Sizes
    refusals: list[Refusal]
    late: frozenset[str]

    def run(self) -> Partition:
        alone = {s.einsum.tensor: s.einsum for s in self.facts.stages if not isinstance(s, Loop)}
        outputs = frozenset(o.name for o in self.facts.cascade.outputs)
        refusals = list(self.refusals)
        more, apart = frozenset[str](), False
        while True:
            decided = Recompute(self.facts, self.sizes, alone, outputs | more, scans_apart=apart)
            kept = decided.run()
            # a map that is an output is put where it is read all the same
            stored = more | decided.stored
            stored |= {t for t in kept if t not in alone or observes(alone[t])}
            self.refusals = list(refusals)
            try:
                groups = self._grouped(alone, kept, stored)
            except _BothWaysError:
                apart = True
                continue
            found = epilogues(alone, kept, stored, groups) - more
            if not found:
                break
            more |= found
        return Partition(
            tuple(groups),
            self._buffers(groups),
            tuple(self.refusals),
            self.sizes.variables.sizes,
            self.deriving.types,
        )

    def _grouped(
        self, alone: Mapping[str, Einsum], kept: frozenset[str], stored: frozenset[str]
    ) -> list[Group]:
        """The kernels, where some tensors are kept and those that are stored are read as such."""
        inline = Inliner(alone, stored, self.sizes.variables, self.sizes.short)
        self.bodies: dict[str, Einsum] = {}
        self.recurrences: dict[str, Steps] = {}
        for stage in self.facts.stages:
            if isinstance(stage, Loop):
                steps = Steps.of(stage, self.facts, inline)
                self.recurrences |= dict.fromkeys((s.tensor for s in steps.steps), steps)
            elif stage.einsum.tensor in kept:
                self.bodies[stage.einsum.tensor] = inline.whole(stage.einsum)
        self.deriving = Deriving(self.facts, self.sizes.variables)
        self.streams: dict[str, tuple[str, ...]] = {}
        self.turned: dict[str, set[bool]] = {}
        self._connect()
        return self._merged(self._groups())

    def _connect(self) -> None:
        """What reads what, members of a recurrence as one node."""
        self.before: dict[str, set[str]] = {}
        self.names = {t: s.name for t, s in self.recurrences.items()}
        order: dict[str, int] = {}
        for stage in self.facts.stages:
            einsum = stage.steps[0] if isinstance(stage, Loop) else stage.einsum
            order.setdefault(self.names.get(einsum.tensor, einsum.tensor), len(order))
        for einsum in self.bodies.values():
            self.before.setdefault(einsum.tensor, set())
            self._edges(einsum, einsum.tensor)
        for steps in dict.fromkeys(self.recurrences.values()):
            self.before.setdefault(steps.name, set())
            for einsum in (*steps.initial, *steps.steps):
                self._edges(einsum, steps.name)
        self.order = list(_in_order(self.before, order))

    def _edges(self, einsum: Einsum, node: str) -> None:
        for read in tensor_reads(einsum):
            source = self.names.get(read.tensor, read.tensor)
            if source != node and (source in self.bodies or read.tensor in self.names):
                self.before.setdefault(source, set())
                self.before.setdefault(node, set()).add(source)

    # What runs together

    def _groups(self) -> list[Group]:
        """Kernels in an order in which each finds what it reads finished, or makes it."""
        pending = list(self.order)
        finished: set[str] = set()
        groups: list[Group] = []
        while pending:
            ready = (n for n in pending if finished.issuperset(self.before[n]))
            group = self._group(next(ready), pending, finished)
            groups.append(group)
            made = {self.names.get(e.tensor, e.tensor) for e in group.einsums}
            finished |= made
            pending = [n for n in pending if n not in made]
        return groups

    def _group(self, node: str, pending: Sequence[str], finished: set[str]) -> Group:
        """The kernel of a tensor whose operands are finished, with what can join it."""
        if node not in self.bodies:
            return self._recurrence(self.recurrences[node], pending, finished)
        first = self.bodies[node]
        over = self._streamed(first)
        if not over:
            return Group(maps=(first,))
        members: list[Einsum] = []
        together: set[str] = set()
        backward: bool | None = None
        for name in pending:
            einsum = self.bodies.get(name)
            if einsum is None or set(self._streamed(einsum)) != set(over):
                continue
            turned = self._direction(einsum)
            if turned is not None and backward not in (None, turned):
                continue
            known = finished if name in self.late else finished | together
            if known.issuperset(self.before[name]):
                if not self._alike(einsum, members):
                    continue
                members.append(einsum)
                together.add(name)
                backward = turned if turned is not None else backward
        return self._derived(members, over, bool(backward))

    def _derived(self, members: list[Einsum], over: tuple[str, ...], backward: bool) -> Group:
        """The kernel of those members that can run in one pass."""
        found = self.deriving(members)
        self.refusals += found.refusals
        if not found.results and not found.rows:
            raise NotLowered(members[0].value, "its reduction has no running form")
        return Group(over, found.results, found.forms, found.rows, backward=backward)

    def _streamed(self, einsum: Einsum) -> tuple[str, ...]:
        """The variables that an Einsum streams: long ones that it reduces or scans."""
        found = self.streams.get(einsum.tensor)
        if found is None:
            found = self.streams[einsum.tensor] = self._stream(einsum.value)
        return found

    def _stream(self, value: Expr) -> tuple[str, ...]:
        if isinstance(value, Reduce | Arg):
            over = value.variables if isinstance(value, Reduce) else (value.variable,)
            return self.sizes.long(over)
        return tuple(dict.fromkeys(v for s in scans(value) for v in self.sizes.long((s.variable,))))

    def _direction(self, einsum: Einsum) -> bool | None:
        """Whether its scans go backward; None if there are none."""
        if not self._streamed(einsum):
            return None
        if einsum.tensor not in self.turned:
            self.turned[einsum.tensor] = {
                s.reverse for s in scans(einsum.value) if not self.sizes.short(s.variable)
            }
        turned = self.turned[einsum.tensor]
        if len(turned) > 1:
            raise _BothWaysError
        return next(iter(turned), None)

    def _alike(self, einsum: Einsum, members: Sequence[Einsum]) -> bool:
        """Whether an Einsum shares the grid of others: what they do not share is short."""
        over = set(self._streamed(einsum))
        lefts = [set(e.variables) - over for e in (*members, einsum)]
        common = set.intersection(*lefts)
        others = {v for left in lefts for v in left} - common
        if members and not all(self.sizes.short(v) for v in others):
            return False
        mine = bound(einsum.value)
        for other in members:  # what one of them combines is no axis of another
            if mine & {*other.variables} or bound(other.value) & {*einsum.variables}:
                return False
        return _aligned(einsum, members)

    # Recurrences

    def _recurrence(self, steps: Steps, pending: Sequence[str], finished: set[str]) -> Group:
        """The kernel of a recurrence, with the recurrences and maps that follow it."""
        joined, rows = steps, list[Einsum]()
        made = {steps.name}
        following = Follows(self.facts, self.sizes)
        for name in pending:
            if name in made or not (finished | made).issuperset(self.before[name]):
                continue
            if not made & self.before[name]:
                continue
            if name in self.bodies:
                row = following.row(joined, rows, self.bodies[name])
                if row is not None:
                    rows.append(row)
                    made.add(name)
            else:
                other = self.recurrences[name]
                merged = following.joined(joined, other) if not rows else None
                if merged is not None:
                    joined = merged
                    made.add(name)
        return Group((joined.variable,), rows=tuple(rows), steps=joined)

    # What comes last

    def _merged(self, groups: list[Group]) -> list[Group]:
        """Maps at the end of the kernel that computes what they read, where their axes are its."""
        found: list[Group] = []
        for group in groups:
            target = None
            if not group.over:
                (einsum,) = group.maps
                reads = {r.tensor for r in tensor_reads(einsum)}
                for i, other in enumerate(found):
                    if reads & {e.tensor for e in other.einsums}:
                        target = i  # the last that makes something of it
                if target is not None and not self._fits(einsum, found[target]):
                    target = None
            if target is None:
                found.append(group)
            else:
                other = found[target]
                found[target] = replace(other, maps=(*other.maps, *group.maps))
        return found

    def _fits(self, einsum: Einsum, group: Group) -> bool:
        """Whether a map has the axes of a kernel, and no long one besides."""
        if group.steps is not None:
            return Follows(self.facts, self.sizes).ends(group.steps, group.rows, einsum)
        over = set(group.over)
        if {r.tensor for r in tensor_reads(einsum)} & {e.tensor for e in group.rows}:
            return False  # a row is complete when the loop has ended
        lefts = [set(e.variables) - over for e in group.einsums]
        common = set.intersection(*lefts)
        if not common <= set(einsum.variables) or not _aligned(einsum, group.einsums):
            return False
        mine = _variables(einsum.value) | set(einsum.variables)
        if over & mine:
            return False
        others = mine - {v for left in lefts for v in left}
        return all(self.sizes.short(v) for v in others)

    def _buffers(self, groups: Sequence[Group]) -> tuple[str, ...]:
        """Tensors that a later kernel reads, or a recurrence reads of its own earlier steps."""
        made: dict[str, int] = {}
        for i, group in enumerate(groups):
            made |= {e.tensor: i for e in group.einsums}
        needed: dict[str, None] = {}
        for i, group in enumerate(groups):
            if group.steps is not None:
                needed |= dict.fromkeys(group.steps.stored(group.rows))
            initial = group.steps.initial if group.steps else ()
            for einsum in (*initial, *group.einsums):
                for read in tensor_reads(einsum):
                    if made.get(read.tensor, i) < i:
                        needed.setdefault(read.tensor)
        return tuple(needed)


def _aligned(einsum: Einsum, others: Iterable[Einsum]) -> bool:
    """Whether what is read of others is read at their own points, so that a tile holds it."""
    own = {e.tensor: tuple(Var(v) for v in e.variables) for e in others}
    return all(r.index == own.get(r.tensor, r.index) for r in tensor_reads(einsum))


def _variables(expr: Expr) -> set[str]:
    """Every variable of an expression, free or bound."""
    return {n.name for n in subexpressions(expr) if isinstance(n, Var)} | combined(expr)


def _in_order(before: Mapping[str, set[str]], place: Mapping[str, int]) -> Iterator[str]:
    """Each name behind those that are before it, else by its place."""
    sorter = TopologicalSorter(before)
    sorter.prepare()
    ready: list[tuple[int, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, (place[name], name))
        _, name = heappop(ready)
        yield name
        sorter.done(name)
