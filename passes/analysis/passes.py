"""Passes per rank of a cascade, after FuseMax (Nayak et al., 2024, section III).

A pass is one traversal of a rank's fibre. An Einsum that needs the finished result of a reduction
over the rank before it can touch the rank again starts another. Passes are counted for the ranks
of inputs, whatever variables index them: `K[m1*M0 + m0]` traverses K's rank with m1 and m0
together, and a reduction over m0 alone finishes nothing.

For one fibre (an input and one of its ranks) every expression has the number of passes that are
finished before it can be had, and the open variables that carry the fibre. A reduction that
closes the last of them finishes the pass. What is left when only some are closed, as the maximum
of each tile, is a summary: going over it again is no traversal of the fibre. A recurrence carries
the fibre along its loop variable without finishing; reading it at a fixed coordinate afterwards
does finish it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Arg, Expr, Read, Reduce, Scan, TopK, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, Stage, tensor_reads
from attnc.ir.walk import bound, children, free_variables, subexpressions


@dataclass(frozen=True, slots=True)
class Fibre:
    """One rank of one input."""

    tensor: str
    position: int
    rank: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the traversals of a fibre are when a value can be had.

    `done` passes are finished before it, `after` of them once its carriers are closed. It is
    `whole` if it still varies with every element of the fibre.
    """

    done: int = 0
    after: int = 0
    carriers: frozenset[str] = frozenset()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Stored:
    """The progress of a tensor, its carriers as positions of its ranks."""

    progress: Progress
    positions: frozenset[int]
    loop: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A number of passes: `fixed`, plus some for every round of a loop."""

    fixed: int
    rounds: tuple[tuple[str, int], ...] = ()
    """Loop variables with the passes that each round of the loop adds."""

    def at(self, trips: Mapping[str, int]) -> int:
        """The number for known trip counts of the loops."""
        return self.fixed + sum(trips[v] * each for v, each in self.rounds)


def passes(facts: Facts) -> dict[str, Count]:
    """Passes by rank variable: each input rank's own, and others that index an input directly.

    A rank whose fibres are traversed by several variables, as queries and keys of one sequence,
    counts for its own variable what the most demanding of them needs.
    """
    return dict(courses(facts).counts)


@dataclass(frozen=True)
class Course:
    """How the expressions of a cascade stand to the passes over one rank.

    `progress` is by the `id` of each expression of the cascade. A loop whose rounds add passes is
    followed for its first round only; `bands` passes are begun when that is done.
    """

    variable: str
    count: Count
    bands: int
    progress: Mapping[int, Progress]


@dataclass(frozen=True)
class Courses:
    """The passes of a cascade, and for each rank how its expressions stand to them."""

    facts: Facts
    counts: Mapping[str, Count]
    """As `passes` has them."""
    _groups: Mapping[str, frozenset[Fibre]]
    _active: frozenset[str]

    def over(self, variable: str) -> Course:
        """How the expressions stand to the passes over a rank that is counted."""
        count = self.counts[variable]
        once = {loop: 1 for loop, _ in count.rounds}
        found = _Analysis(self.facts, self._groups[variable], self._active, once).run()
        return Course(variable, count, found.count, found.reached)


def courses(facts: Facts) -> Courses:
    """The passes over all ranks, counted once."""
    active = _active(facts)
    found = _demanding(facts, active)
    counts = {v: count for v, (count, _) in found.items()}
    return Courses(facts, counts, {v: group for v, (_, group) in found.items()}, active)


def _demanding(facts: Facts, active: frozenset[str]) -> dict[str, tuple[Count, frozenset[Fibre]]]:
    """By rank variable, the fibres that need most passes, and how many."""
    single = {f: _Analysis(facts, frozenset((f,)), active).run() for f in _fibres(facts)}
    found: dict[str, tuple[Count, frozenset[Fibre]]] = {}
    for group in _classes(single):
        count = _count(facts, group, active)
        for fibre in group:
            for name in {fibre.rank.lower()} | (_direct(facts, fibre) & active):
                if name not in found or _weight(count) > _weight(found[name][0]):
                    found[name] = count, group
    return {v: found[v] for v in facts.variables if v in found}


def _weight(count: Count) -> tuple[int, int]:
    return sum(each for _, each in count.rounds), count.fixed


TRIED = 6
"""Rounds a loop is followed for; by then each further round adds the same."""


def _count(facts: Facts, group: frozenset[Fibre], active: frozenset[str]) -> Count:
    loops = [s.variable for s in facts.stages if isinstance(s, Loop)]
    total = _Analysis(facts, group, active).run().count
    rounds = []
    for variable in dict.fromkeys(loops):
        more = _Analysis(facts, group, active, {variable: TRIED + 1}).run().count
        if more > total:
            rounds.append((variable, more - total))
    return Count(total - sum(TRIED * each for _, each in rounds), tuple(rounds))


def _fibres(facts: Facts) -> list[Fibre]:
    return [
        Fibre(item.name, position, size)
        for item in facts.cascade.inputs
        for position, size in enumerate(item.sizes)
        if isinstance(size, str)
    ]


def _reads(facts: Facts) -> Iterable[Read]:
    for einsum in facts.cascade.einsums:
        for expr in (einsum.value, *einsum.where):
            for node in subexpressions(expr):
                if isinstance(node, Read):
                    yield node


def used(facts: Facts) -> set[str]:
    """The variables that index any tensor by themselves."""
    return {i.name for read in _reads(facts) for i in read.index if isinstance(i, Var)}


def indexing(facts: Facts) -> set[str]:
    """The variables that index an input by themselves."""
    return set[str]().union(*(_direct(facts, fibre) for fibre in _fibres(facts)))


def _direct(facts: Facts, fibre: Fibre) -> set[str]:
    """The variables that index a fibre by themselves, over its whole rank."""
    found = set()
    for read in _reads(facts):
        if read.tensor != fibre.tensor:
            continue
        index = read.index[fibre.position]
        if isinstance(index, Var):
            found.add(index.name)
    return found


def _active(facts: Facts) -> frozenset[str]:
    """Variables that some reduction closes or some recurrence runs over, by any name.

    A variable that stands for the same rank of a tensor as an active one is active too, unless
    the two meet in one Einsum, as a row and a column do.
    """
    groups = {v: {v} for v in sorted(_closed(facts))}
    meets, shared = _meetings(facts), _shared_ranks(facts)
    grown = True
    while grown:
        grown = False
        for variables in shared:
            for v in variables:
                near = (groups[w] for w in variables if w in groups)
                home = next((g for g in near if v not in groups and not g & meets[v]), None)
                if home is not None:
                    home.add(v)
                    groups[v] = home
                    grown = True
    return frozenset(groups)


def _meetings(facts: Facts) -> dict[str, set[str]]:
    """For each variable the others that occur in some Einsum with it."""
    found: dict[str, set[str]] = {}
    for einsum in facts.cascade.einsums:
        names = set(einsum.variables)
        for read in tensor_reads(einsum):
            names.update(*(free_variables(index) for index in read.index))
        for name in names:
            found.setdefault(name, set()).update(names - {name})
    return found


def _shared_ranks(facts: Facts) -> list[list[str]]:
    """The variables that stand for each rank of each defined tensor."""
    found: dict[tuple[str, int], set[str]] = {}
    for einsum in facts.cascade.einsums:
        for i, slot in enumerate(einsum.slots):
            if slot.variable is not None:
                found.setdefault((einsum.tensor, i), set()).add(slot.variable)
        for read in tensor_reads(einsum):
            for i, index in enumerate(read.index):
                if isinstance(index, Var) and not facts.tensors[read.tensor].input:
                    found.setdefault((read.tensor, i), set()).add(index.name)
    return [sorted(variables) for _, variables in sorted(found.items()) if len(variables) > 1]


def _closed(facts: Facts) -> set[str]:
    """The variables that reductions bind and that recurrences run over."""
    found = {s.variable for s in facts.stages if isinstance(s, Loop)}
    for einsum in facts.cascade.einsums:
        for expr in (einsum.value, *einsum.where):
            for node in subexpressions(expr):
                found |= bound(node)
    return found


def _classes(single: Mapping[Fibre, _Analysis]) -> list[frozenset[Fibre]]:
    """Fibres of one rank that are traversed together, by the same variable and never crosswise."""
    classes: list[set[Fibre]] = []
    for fibre, analysis in single.items():
        home = next(
            (
                group
                for group in classes
                if next(iter(group)).rank == fibre.rank
                and any(_together(analysis, single[o]) for o in group)
                and not any(_crosswise(analysis, single[o]) for o in group)
            ),
            None,
        )
        if home is None:
            classes.append({fibre})
        else:
            home.add(fibre)
    return [frozenset(c) for c in classes]


def _together(a: _Analysis, b: _Analysis) -> bool:
    return bool(
        {v for c in a.carried.values() for v in c} & {v for c in b.carried.values() for v in c}
    )


def _crosswise(a: _Analysis, b: _Analysis) -> bool:
    """Whether some expression carries one fibre along one variable, the other along another."""
    return any(
        carriers and b.carried.get(node) and not carriers & b.carried[node]
        for node, carriers in a.carried.items()
    )


@dataclass
class _Analysis:
    """The passes of the whole cascade over one class of fibres."""

    facts: Facts
    fibres: frozenset[Fibre]
    active: frozenset[str]
    trips: Mapping[str, int] = field(default_factory=dict)
    count: int = 1
    carried: dict[int, frozenset[str]] = field(default_factory=dict)
    reached: dict[int, Progress] = field(default_factory=dict)
    _tensors: dict[str, _Stored] = field(default_factory=dict)
    _loops: dict[str, str] = field(default_factory=dict)
    _group: frozenset[str] = frozenset()
    _variable: str | None = None
    _apart: bool = False

    def run(self) -> _Analysis:
        """Goes through the stages in order."""
        for stage in self.facts.stages:
            self._stage(stage)
        return self

    def _stage(self, stage: Stage) -> None:
        if not isinstance(stage, Loop):
            self._define(stage.einsum, None)
            return
        for start in stage.initial:
            self._define(start, None)
        for step in stage.steps:
            self._loops[step.tensor] = stage.variable
        self._group = frozenset(s.tensor for s in stage.steps)
        self._variable = stage.variable
        self._apart = self._steps_apart(stage)
        for _ in range(self.trips.get(stage.variable, TRIED)):
            for step in stage.steps:
                self._define(step, stage.variable)
        self._group, self._variable = frozenset(), None

    def _steps_apart(self, loop: Loop) -> bool:
        """Whether each step of a loop reads fibres of its own: `K[t,e]` in a loop over t."""
        if any(self._tensors[start.tensor].positions for start in loop.initial):
            return False
        names = {f.tensor for f in self.fibres}
        names |= {t for t, stored in self._tensors.items() if stored.positions}
        names -= {step.tensor for step in loop.steps}
        reads = [r for step in loop.steps for r in tensor_reads(step) if r.tensor in names]
        return bool(reads) and all(
            any(loop.variable in free_variables(i) for i in read.index) for read in reads
        )

    def _define(self, einsum: Einsum, variable: str | None) -> None:
        found = _merge(self._progress(e) for e in (einsum.value, *einsum.where))
        positions = frozenset(i for i, s in enumerate(einsum.slots) if s.variable in found.carriers)
        loop = next((i for i, s in enumerate(einsum.slots) if s.variable == variable), None)
        old = self._tensors.get(einsum.tensor)
        if old is not None:
            found, positions = _merge((found, old.progress)), positions | old.positions
        self._tensors[einsum.tensor] = _Stored(found, positions, loop)

    def _progress(self, expr: Expr) -> Progress:
        found = self._rule(expr)
        self.reached[id(expr)] = found
        if found.carriers:
            if found.whole:
                self.count = max(self.count, found.done + 1)
            self.carried[id(expr)] = self.carried.get(id(expr), frozenset()) | found.carriers
        return found

    def _rule(self, expr: Expr) -> Progress:
        inner = _merge(self._progress(c) for c in children(expr))
        match expr:
            case Read():
                return self._read(expr, inner)
            case Reduce() | Arg() | TopK():
                return self._close(inner, bound(expr))
            case Scan(variable=variable, reverse=True) if variable in inner.carriers:
                return _merge((inner, Progress(inner.after)))
            case _:
                return inner

    def _close(self, inner: Progress, variables: frozenset[str]) -> Progress:
        """What a reduction over some variables leaves."""
        left = inner.carriers - variables
        if left == inner.carriers:
            return inner
        if not left:
            return Progress(inner.after, inner.after)
        return replace(inner, carriers=left, whole=inner.whole and any(map(self._spans, left)))

    def _spans(self, variable: str) -> bool:
        """Whether a variable by itself ranges over the whole rank, as n in `K[n - r]`."""
        size = self.facts.variables[variable]
        return any(self.facts.equalities.equal(size, Value(f.rank)) for f in self.fibres)

    def _same_step(self, read: Read) -> bool:
        """Whether a read inside a group stays at the current step."""
        return any(i == Var(self._variable or "") for i in read.index)

    def _read(self, read: Read, index: Progress) -> Progress:
        """A read is had when its index is; it carries what indexes the fibre."""
        names = [free_variables(i) & self.active for i in read.index]
        own = [f.position for f in self.fibres if f.tensor == read.tensor]
        if own:
            carriers = frozenset[str]().union(*(names[p] for p in own))
            return _merge((index, _carried(Progress(0, 1, whole=True), carriers)))
        stored = self._tensors.get(read.tensor)
        if stored is None:
            return index
        running = read.tensor in self._group
        along = stored.loop in stored.positions
        if running and self._apart and not along and not self._same_step(read):
            return index
        fixed = along and not names[stored.loop or 0]
        if along and (running or fixed) and stored.loop is not None:
            # earlier rows of a running group: the traversal goes on
            names[stored.loop] = frozenset((self._loops[read.tensor],))
        carriers = frozenset[str]().union(*(names[p] for p in stored.positions))
        found = _carried(stored.progress, carriers)
        if fixed and not running:
            found = self._close(found, frozenset((self._loops[read.tensor],)))
        return _merge((index, found))


def _carried(progress: Progress, carriers: frozenset[str]) -> Progress:
    """A value read along some variables; a single element of a fibre is no traversal."""
    if not carriers:
        return Progress(progress.done, progress.done)
    return replace(progress, carriers=carriers)


def _merge(parts: Iterable[Progress]) -> Progress:
    """What is had when all parts are."""
    done, after, carriers, whole = 0, 0, frozenset[str](), False
    for part in parts:
        done = max(done, part.done)
        whole = whole or part.whole
        after = max(after, part.after, done + whole)
        carriers |= part.carriers
    return Progress(done, after, carriers, whole)
