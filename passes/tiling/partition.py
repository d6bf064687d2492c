"""Which Einsums run together in one kernel.

Maps are put where they are read. A reduction is put where it is read, too, if that computes nothing
twice and holds only short ranks whole; else it is a result. Results over one streamed rank share a
kernel as far as running forms are derived; one that is refused goes to a later kernel, with
what reads it, and finds the finished results in buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Expr, Read, Reduce, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.walk import subexpressions
from attnc.passes.running.checks import check
from attnc.passes.running.derive import Refusal, Running, Sum, derive
from attnc.passes.tiling.inline import Inliner
from attnc.passes.tiling.lower import NotLowered
from attnc.passes.tiling.nominal import is_short, short_sizes


@dataclass(frozen=True)
class Group:
    """What one kernel computes.

    `over` are the streamed rank variables, the first of which is the loop; without them there is
    no loop. `results` are their reductions with running forms, `maps` what follows.
    """

    over: tuple[str, ...]
    results: tuple[Einsum, ...]
    forms: tuple[Running, ...]
    maps: tuple[Einsum, ...]


@dataclass(frozen=True)
class Partition:
    """Groups in order, what is stored between them, and what kept them from being one."""

    groups: tuple[Group, ...]
    buffers: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def partition(facts: Facts) -> Partition:
    """The kernels of a cascade whose reductions are Einsums of their own."""
    return _Partitioner(facts).run()


@dataclass
class _Partitioner:
    facts: Facts
    order: list[Einsum] = field(default_factory=list)
    short: frozenset[Expr] = frozenset()
    refusals: list[Refusal] = field(default_factory=list)

    def run(self) -> Partition:
        for stage in self.facts.stages:
            if isinstance(stage, Loop):
                raise NotLowered(stage.steps[0].value, "tiles have no recurrence yet")
            self.order.append(stage.einsum)
        self.short = short_sizes(self.facts)
        definitions = {e.tensor: e for e in self.order}
        outputs = {o.name for o in self.facts.cascade.outputs}
        kept = self._kept(definitions, outputs)
        # a map that is an output is put where it is read all the same
        stored = frozenset(t for t in kept if _reduces(definitions[t]))
        inline = Inliner(definitions, stored, self.facts.variables, _no_name)
        bodies = {
            e.tensor: replace(e, value=inline.body(e), where=())
            for e in self.order
            if e.tensor in kept
        }
        for einsum in bodies.values():
            _check_names(einsum)
        groups = self._groups(bodies)
        groups = self._merged(groups)
        return Partition(tuple(groups), self._buffers(groups), tuple(self.refusals))

    # What is computed by itself

    def _kept(self, definitions: Mapping[str, Einsum], outputs: set[str]) -> frozenset[str]:
        """Outputs, and reductions that are not put where they are read."""
        kept = set(outputs)
        readers: dict[str, list[tuple[Einsum, Read]]] = {}
        for einsum in self.order:
            for read in tensor_reads(einsum):
                readers.setdefault(read.tensor, []).append((einsum, read))
        for einsum in reversed(self.order):
            if _reduces(einsum) and not self._goes_inside(einsum, definitions, readers, kept):
                kept.add(einsum.tensor)
        return frozenset(kept)

    def _goes_inside(
        self,
        einsum: Einsum,
        definitions: Mapping[str, Einsum],
        readers: Mapping[str, Sequence[tuple[Einsum, Read]]],
        kept: set[str],
    ) -> bool:
        """Whether a reduction is computed where it is read."""
        inner = {v for e in subexpressions(einsum.value) for v in _bound(e)}
        if not all(is_short(self.facts.variables[v], self.short) for v in inner):
            return False
        for reader, read in readers.get(einsum.tensor, ()):
            index = {v for i in read.index for e in subexpressions(i) for v in _var(e)}
            for axes, bound in self._uses(reader, readers, kept, definitions):
                if not index & bound:
                    return False  # it is finished before the reader's stream begins
                missing = (axes | bound) - index
                if not all(is_short(self.facts.variables[v], self.short) for v in missing):
                    return False
        return True

    def _uses(
        self,
        reader: Einsum,
        readers: Mapping[str, Sequence[tuple[Einsum, Read]]],
        kept: set[str],
        definitions: Mapping[str, Einsum],
    ) -> list[tuple[set[str], set[str]]]:
        """The axes, and those reduced over, of what a reader ends up in."""
        bound = {v for e in subexpressions(reader.value) for v in _bound(e)}
        axes = set(reader.variables)
        if bound or reader.tensor in kept or reader.tensor not in readers:
            return [(axes, bound)]
        found = []
        for further, _ in readers[reader.tensor]:
            found += self._uses(further, readers, kept, definitions)
        return found

    # What runs together

    def _groups(self, bodies: Mapping[str, Einsum]) -> list[Group]:
        """Kernels in an order in which each finds what it reads finished, or makes it."""
        pending = list(bodies.values())
        finished: set[str] = set()
        groups: list[Group] = []
        extents = [d.name for d in self.facts.variables.values() if isinstance(d, Value)]
        while pending:
            ready = [e for e in pending if not _unfinished(e, bodies, finished)]
            first = ready[0]
            over = self._streamed(first)
            if not over:
                groups.append(Group((), (), (), (first,)))
                finished.add(first.tensor)
                pending.remove(first)
                continue
            members: list[Einsum] = []
            together: set[str] = set()
            for einsum in pending:
                if self._streamed(einsum) == over and not _unfinished(
                    einsum, bodies, finished | together
                ):
                    members.append(einsum)
                    together.add(einsum.tensor)
            members = self._alike(members)
            derived = derive(members, over, extents)
            self.refusals += derived.refusals
            names = {form.tensor for form in derived.running}
            for form in derived.running:
                if isinstance(form, Sum) and not form.basis.constant:
                    whole = next(e for e in members if e.tensor == form.tensor).value
                    assert isinstance(whole, Reduce)
                    check(form.basis, whole.body, frozenset(names), symbolic=False)
            results = tuple(e for e in members if e.tensor in names)
            if not results:
                raise NotLowered(first.value, "its reduction has no running form")
            groups.append(Group(over, results, derived.running, ()))
            finished |= names
            pending = [e for e in pending if e.tensor not in names]
        return groups

    def _streamed(self, einsum: Einsum) -> tuple[str, ...]:
        """The variables that an Einsum streams: those of its reduction, unless all are short."""
        value = einsum.value
        if not isinstance(value, Reduce):
            return ()
        if all(is_short(self.facts.variables[v], self.short) for v in value.variables):
            return ()
        return value.variables

    def _alike(self, members: list[Einsum]) -> list[Einsum]:
        """Those of some results that can share a grid: what they do not share is short."""
        found: list[Einsum] = []
        for einsum in members:
            lefts = [set(e.variables) for e in (*found, einsum)]
            common = set.intersection(*lefts)
            others = {v for left in lefts for v in left} - common
            alike = all(is_short(self.facts.variables[v], self.short) for v in others)
            reads = {r.tensor for r in tensor_reads(einsum)}
            later = {e.tensor for e in members} - {e.tensor for e in found}
            if (alike or not found) and not reads & later and _aligned(einsum, found):
                found.append(einsum)
        return found

    def _merged(self, groups: list[Group]) -> list[Group]:
        """Maps at the end of the kernel that computes what they read, where their axes are its."""
        found: list[Group] = []
        for group in groups:
            target = None
            if not group.over:
                (einsum,) = group.maps
                reads = {r.tensor for r in tensor_reads(einsum)}
                for i, other in enumerate(found):
                    names = {e.tensor for e in (*other.results, *other.maps)}
                    if reads & names:
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
        lefts = [set(e.variables) for e in (*group.results, *group.maps)]
        common = set.intersection(*lefts)
        if not common <= set(einsum.variables) or not _aligned(
            einsum, (*group.results, *group.maps)
        ):
            return False
        mine = {v for e in subexpressions(einsum.value) for v in (*_var(e), *_bound(e))}
        if set(group.over) & (mine | set(einsum.variables)):
            return False
        others = (mine | set(einsum.variables)) - {v for left in lefts for v in left}
        return all(is_short(self.facts.variables[v], self.short) for v in others)

    def _buffers(self, groups: Sequence[Group]) -> tuple[str, ...]:
        """Tensors that a later kernel reads."""
        made: dict[str, int] = {}
        for i, group in enumerate(groups):
            for einsum in (*group.results, *group.maps):
                made[einsum.tensor] = i
        needed: dict[str, None] = {}
        for i, group in enumerate(groups):
            for einsum in (*group.results, *group.maps):
                for read in tensor_reads(einsum):
                    if made.get(read.tensor, i) < i:
                        needed.setdefault(read.tensor)
        return tuple(needed)


def _aligned(einsum: Einsum, others: Sequence[Einsum]) -> bool:
    """Whether what is read of others is read at their own points, so that a tile holds it."""
    own = {e.tensor: tuple(Var(v) for v in e.variables) for e in others}
    return all(r.index == own.get(r.tensor, r.index) for r in tensor_reads(einsum))


def _check_names(einsum: Einsum) -> None:
    """Raises `NotLowered` where one name is an axis twice: it would be one axis of the tiles."""
    reductions = [e for e in subexpressions(einsum.value) if isinstance(e, Reduce)]
    for outer in reductions:
        inside = {v for e in subexpressions(outer.body) for v in _bound(e)}
        if set(outer.variables) & (inside | set(einsum.variables)):
            raise NotLowered(einsum.value, "a bound variable would have to be renamed")


def _no_name(base: str) -> str:
    raise NotLowered(Var(base), "a bound variable would have to be renamed")


def _reduces(einsum: Einsum) -> bool:
    return any(_bound(e) for e in subexpressions(einsum.value))


def _bound(expr: Expr) -> tuple[str, ...]:
    return expr.variables if isinstance(expr, Reduce) else ()


def _var(expr: Expr) -> tuple[str, ...]:
    return (expr.name,) if isinstance(expr, Var) else ()


def _unfinished(einsum: Einsum, bodies: Mapping[str, Einsum], finished: set[str]) -> set[str]:
    """What an Einsum reads that is not computed yet."""
    return {r.tensor for r in tensor_reads(einsum) if r.tensor in bodies} - finished
