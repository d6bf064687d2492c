"""Recurrences as kernels that go step by step, and what can follow them within the same steps.

A program of such a kernel has all that its steps read of each other: a rank is parallel only if
every step has it and reads the others at its own coordinate. A row of the step itself or of the
one before is a tile; any other row is stored and loaded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from attnc.ir.cascade import Einsum
from attnc.ir.expr import Binary, Expr, Int, Read, Var
from attnc.ir.facts import Dimension, Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.walk import bound, subexpressions, substitute
from attnc.passes.tiling.inline import Inliner, Variables
from attnc.passes.tiling.observers import combined, observers
from attnc.passes.tiling.recompute import Sizes


@dataclass(frozen=True)
class Place:
    """Where a tensor has the rank that the steps go along, and which row each step computes.

    At step t it is the row of coordinate t + `offset`; `dimension` is that rank.
    """

    position: int
    offset: int
    dimension: Dimension

    @property
    def last(self) -> Expr:
        """The coordinate of the last row."""
        size = self.dimension.range
        return size if self.offset == 1 else Binary("-", size, Int(1))


@dataclass(frozen=True)
class Steps:
    """A recurrence: initial values, and what is computed at each step, in order.

    Values hold inputs and tensors that are computed, conditions as `only`.
    """

    name: str
    variable: str
    initial: tuple[Einsum, ...]
    steps: tuple[Einsum, ...]
    places: Mapping[str, Place]

    def __hash__(self) -> int:
        return hash(self.name)

    @staticmethod
    def of(stage: Loop, facts: Facts, inline: Inliner) -> Steps:
        """The recurrence of a stage."""
        places: dict[str, Place] = {}
        for step in stage.steps:
            at = next(i for i, s in enumerate(step.slots) if s.variable == stage.variable)
            dimension = facts.tensors[step.tensor].dimensions[at]
            places[step.tensor] = Place(at, step.slots[at].offset, dimension)
        steps = tuple(inline.step(s, stage.variable) for s in stage.steps)
        lefts = {s.tensor: s for s in steps}
        initial = tuple(
            _as_in(lefts[e.tensor], inline.step(e, stage.variable), inline.variables)
            for e in stage.initial
        )
        return Steps(stage.steps[0].tensor, stage.variable, initial, steps, places)

    def with_rows(self, rows: Sequence[Einsum]) -> Steps:
        """The recurrence with what follows it as steps of its own."""
        places = dict(self.places)
        for row in rows:
            at = row.variables.index(self.variable)
            size = self.places[self.steps[0].tensor].dimension.range
            places[row.tensor] = Place(at, 0, Dimension(size))
        return replace(self, steps=(*self.steps, *rows), places=places)

    def parallel(self) -> frozenset[str]:
        """The rank variables along which steps do not read each other."""
        common = frozenset.intersection(*(frozenset(s.variables) for s in self.steps))
        lefts = {s.tensor: s.slots for s in self.steps}
        for einsum in (*self.steps, *self.initial):
            for read in tensor_reads(einsum):
                slots = lefts.get(read.tensor, ())
                for slot, index in zip(slots, read.index, strict=bool(slots)):
                    if slot.variable in common and index != Var(slot.variable):
                        common -= {slot.variable}
            common -= combined(einsum.value)
        return common - {self.variable}

    def distance(self, read: Read) -> int | None:
        """How many steps before the current one a row was computed; None if that varies."""
        place = self.places[read.tensor]
        number = offset(read.index[place.position], self.variable)
        return None if number is None else place.offset - number

    def aligned(self, read: Read) -> bool:
        """Whether a row is read at its own points."""
        place = self.places[read.tensor]
        step = next(s for s in self.steps if s.tensor == read.tensor)
        own = [None if s.variable is None else Var(s.variable) for s in step.slots]
        return all(
            a == b
            for i, (a, b) in enumerate(zip(own, read.index, strict=True))
            if i != place.position
        )

    def reads(self) -> Iterator[Read]:
        """Each read of a row."""
        reads = (read for step in self.steps for read in tensor_reads(step))
        return (read for read in reads if read.tensor in self.places)

    def carried(self, maps: Sequence[Einsum]) -> frozenset[str]:
        """The tensors whose last row is kept as a tile for the next step, or for `maps`."""
        found = {r.tensor for r in self.reads() if self.distance(r) == 1 and self.aligned(r)}
        ends = (r.tensor for m in maps for r in tensor_reads(m) if r.tensor in self.places)
        return frozenset(found.union(ends))

    def stored(self, rows: Sequence[Einsum]) -> tuple[str, ...]:
        """The tensors whose rows are loaded again within the kernel, which `rows` follow."""
        whole = self.with_rows(rows)
        return tuple(
            dict.fromkeys(
                r.tensor
                for r in whole.reads()
                if not (whole.aligned(r) and whole.distance(r) in (0, 1))
            )
        )


def _as_in(step: Einsum, start: Einsum, variables: Variables) -> Einsum:
    """An initial value whose variables are called as those of the step."""
    pairs = zip(start.slots, step.slots, strict=True)
    names = {a.variable: b.variable for a, b in pairs if a.variable and b.variable}
    new: dict[str, Expr] = {a: Var(b) for a, b in names.items() if a != b}
    if not new:
        return start
    slots = tuple(replace(s, variable=names.get(s.variable or "")) for s in start.slots)
    return replace(start, slots=slots, value=substitute(start.value, new, variables.fresh))


def offset(index: Expr, variable: str) -> int | None:
    """The number n of an index `variable + n`."""
    match index:
        case Var(name=name) if name == variable:
            return 0
        case Binary(op="+", left=Var(name=name), right=Int(value=value)) if name == variable:
            return value
        case Binary(op="-", left=Var(name=name), right=Int(value=value)) if name == variable:
            return -value
        case _:
            return None


@dataclass(frozen=True)
class Follows:
    """Decides what joins the steps of a recurrence."""

    facts: Facts
    sizes: Sizes

    def row(self, steps: Steps, rows: Sequence[Einsum], einsum: Einsum) -> Einsum | None:
        """An Einsum that reads rows as it goes along itself, in the steps' own variable."""
        whole = steps.with_rows(rows)
        found = {
            n.name
            for r in tensor_reads(einsum)
            if r.tensor in whole.places
            for n in subexpressions(r.index[whole.places[r.tensor].position])
            if isinstance(n, Var)
        }
        if len(found) != 1 or not found <= set(einsum.variables):
            return None
        if steps.variable in combined(einsum.value):
            return None
        (variable,) = found
        if self._range(variable) != self._range(steps.variable):
            return None
        renamed = self._renamed(einsum, variable, steps.variable)
        if renamed is None:
            return None
        for read in tensor_reads(renamed):
            if read.tensor in whole.places:
                distance = whole.distance(read)
                if distance is None or distance < 0:
                    return None
        more = whole.with_rows([renamed])
        own = {v for s in whole.steps for v in s.variables}
        mine = {*renamed.variables, *combined(renamed.value)} - own - {steps.variable}
        lost = whole.parallel() - more.parallel()
        if not all(map(self.sizes.short, mine | lost)):
            return None
        return renamed

    def joined(self, steps: Steps, other: Steps) -> Steps | None:
        """Two recurrences as one, if the second reads of the first what is computed by then."""
        if self._range(steps.variable) != self._range(other.variable):
            return None
        if any(r.tensor in steps.places for e in other.initial for r in tensor_reads(e)):
            return None
        found = [self._renamed(s, other.variable, steps.variable) for s in other.steps]
        members = [s for s in found if s is not None]
        if len(members) < len(found):
            return None
        whole = replace(
            steps,
            initial=(*steps.initial, *other.initial),
            steps=(*steps.steps, *members),
            places={**steps.places, **other.places},
        )
        for member in members:
            for read in tensor_reads(member):
                if read.tensor in steps.places:
                    distance = whole.distance(read)
                    if distance is None or distance < 0:
                        return None
        lost = (steps.parallel() | other.parallel()) - whole.parallel()
        if not all(self.sizes.short(v) for v in lost):
            return None
        return whole

    def ends(self, steps: Steps, rows: Sequence[Einsum], einsum: Einsum) -> bool:
        """Whether an Einsum reads the last rows alone, at their own points."""
        made = {r.tensor for r in rows}
        parallel = steps.with_rows(rows).parallel()
        if not parallel <= set(einsum.variables) or steps.variable in einsum.variables:
            return False
        if any(steps.variable in combined(n) | bound(n) for n in observers(einsum.value)):
            return False
        for read in tensor_reads(einsum):
            if read.tensor in made:
                return False
            place = steps.places.get(read.tensor)
            if place is not None and not (
                steps.aligned(read) and read.index[place.position] == place.last
            ):
                return False
        own = {v for s in steps.steps for v in s.variables}
        mine = {*einsum.variables, *combined(einsum.value)} - own
        return all(self.sizes.short(v) for v in mine)

    def _range(self, variable: str) -> Expr:
        return self.sizes.variables.sizes[variable]

    def _renamed(self, einsum: Einsum, variable: str, new: str) -> Einsum | None:
        """An Einsum with one of its variables called by another name, unless that is in use."""
        if variable == new:
            return einsum
        inner = {v for n in observers(einsum.value) for v in combined(n)}
        if new in einsum.variables or new in inner or variable in inner:
            return None
        fresh = Variables(dict(self.sizes.variables.sizes)).fresh
        value = substitute(einsum.value, {variable: Var(new)}, fresh)
        slots = tuple(
            replace(s, variable=new) if s.variable == variable else s for s in einsum.slots
        )
        return replace(einsum, slots=slots, value=value)
