"""Passes per rank of a plan, counted as those of a cascade are.

A plan is written out as Einsums again, one for each tile, carried tile and stored tensor, and those
are counted. Within a kernel nothing waits for a reduction of lanes, since what a tile holds stays
there: the result is read as any one lane of it. What finishes a rank is that a loop begins or ends,
a store, or that an address depends on it; each finishes all that was loaded for it. A loop whose
rounds each need the one before is written out for several rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum, Slot
from attnc.ir.expr import Apply, Expr, Int, Name, Read, Reduce, Value, Var
from attnc.ir.facts import Dimension, Facts, TensorInfo
from attnc.ir.stages import Single
from attnc.ir.tiles import If, Kernel, Let, Load, Loop, Plan, Statement, Store
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.walk import children, free_variables, rebuild, subexpressions
from attnc.passes.analysis.passes import Count, indexing, passes, used
from attnc.passes.analysis.reach import Reach


def plan_passes(plan: Plan, facts: Facts) -> dict[str, Count]:
    """Passes by rank variable over all kernels, as `passes` counts them for a cascade.

    `facts` are of the cascade that the plan was made from. A variable for which nothing is
    counted counts what the rank does over which it goes, unless it indexes other tensors alone.
    """
    found = _counted(plan, facts, {})
    rounds: dict[str, list[tuple[str, int]]] = {}
    for axis in dict.fromkeys(axis for k in plan.kernels for axis in _again(k)):
        few, more = (_counted(plan, facts, {axis: n}) for n in (TRIED, TRIED + 1))
        for rank, total in more.items():
            each = total - few[rank]
            if each:
                rounds.setdefault(rank, []).append((axis, each))
                found[rank] += few[rank] - found[rank] - TRIED * each
    counts = {v: Count(n, tuple(rounds.get(v, ()))) for v, n in found.items()}
    others = used(facts) - indexing(facts)
    for variable, size in facts.variables.items():
        if variable in others:
            continue
        if isinstance(size, Value) and size.name.lower() in counts:
            counts.setdefault(variable, counts[size.name.lower()])
    return counts


TRIED = 2
"""Rounds of a loop that are written out; each further one adds the same."""


def _again(kernel: Kernel) -> Iterator[str]:
    """The axes of steps each of which loads something that is not its own."""
    reach = Reach(kernel)
    for loop in statements(kernel.body):
        if isinstance(loop, Loop) and kernel.axis(loop.axis).kind == "step":
            loads = (s.index for s in statements(loop.body) if isinstance(s, Load))
            if any(loop.axis not in set().union(*map(reach.of, index)) for index in loads):
                yield loop.axis


def axis_sizes(plan: Plan, facts: Facts) -> dict[str, Expr]:
    """The sizes of all variables: of the cascade, and of the axes of the plan."""
    return {**facts.variables, **{a.name: a.size for k in plan.kernels for a in k.axes}}


def _counted(plan: Plan, facts: Facts, rounds: Mapping[str, int]) -> dict[str, int]:
    """Passes by rank variable, if steps along some axes are so many."""
    writer = _Writer(rounds)
    for kernel in plan.kernels:
        writer.kernel(kernel)
    einsums = tuple(writer.einsums)
    sizes = axis_sizes(plan, facts)
    made = {b.name: TensorInfo(tuple(map(Dimension, b.sizes))) for b in plan.buffers}
    for einsum in einsums:
        dimensions = tuple(Dimension(sizes.get(v, Int(1))) for v in einsum.variables)
        made.setdefault(einsum.tensor, TensorInfo(dimensions))
    cascade = replace(facts.cascade, statements=einsums)
    found = passes(
        replace(
            facts,
            cascade=cascade,
            stages=tuple(Single(e) for e in einsums),
            variables=sizes,
            tensors={**facts.tensors, **made},
        )
    )
    return {v: max(count.fixed, 1) for v, count in found.items()}


def kernel_passes(kernel: Kernel, plan: Plan) -> dict[str, int]:
    """How often a kernel streams ranks, by the variables that `passes` would name them by.

    A loop along `m1` that reads `K[m1 * M0 + m0]` goes over K's rank. Loops within each other go
    over one rank together, loops one after the other each by themselves.
    """
    known = {size for i in plan.inputs for size in i.sizes}
    sizes: dict[str, tuple[object, ...]] = {i.name: i.sizes for i in plan.inputs}
    for buffer in plan.buffers:
        extents = (s.name if isinstance(s, Value) else None for s in buffer.sizes)
        sizes.setdefault(buffer.name, tuple(e if e in known else None for e in extents))
    reach = Reach(kernel)
    found: dict[str, set[str]] = {}
    for item in statements(kernel.body):
        if isinstance(item, Load) and item.tensor in sizes:
            for index, size in zip(item.index, sizes[item.tensor], strict=True):
                for axis in reach.along(index, size):
                    found.setdefault(axis, set()).add(str(size).lower())
    streamed = [a.name for a in kernel.axes if a.kind in ("stream", "step")]
    names = {axis: found.get(axis) or {axis} for axis in streamed}
    ranks = dict.fromkeys(rank for axis in streamed for rank in sorted(names[axis]))
    counts = {
        rank: _times(kernel.body, {a for a in streamed if rank in names[a]}) for rank in ranks
    }
    return {rank: count for rank, count in counts.items() if count}


def _times(body: Iterable[Statement], axes: set[str]) -> int:
    """How often some statements go over a rank, by loops along these axes."""
    found = 0
    for item in body:
        if isinstance(item, Loop | If):
            inner = _times(item.body, axes)
            found += max(inner, int(isinstance(item, Loop) and item.axis in axes))
    return found


@dataclass
class _Writer:
    """Writes kernels as Einsums; tiles get the name of their kernel in front."""

    rounds: Mapping[str, int]
    einsums: list[Einsum] = field(default_factory=list[Einsum])
    _kernel: Kernel = Kernel("", (), ())
    _coords: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    _axes: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    _tiles: dict[str, Read | None] = field(default_factory=dict[str, "Read | None"])
    """How each tile is read; None for one that nothing was read for."""
    _sources: dict[str, dict[Read, None]] = field(default_factory=dict[str, dict[Read, None]])
    """What each tile was made of: loaded tiles, and carried ones after their loop."""
    _looped: tuple[str, ...] = ()
    """The axes of the loops that stand around."""
    _count: int = 0

    def kernel(self, kernel: Kernel) -> None:
        """Adds what a kernel computes."""
        self._kernel, self._axes, self._tiles, self._sources = kernel, {}, {}, {}
        self._coords = {c.name: c.value for c in kernel.coords}
        self._body(kernel.body)

    def _body(self, body: Iterable[Statement]) -> None:
        for item in body:
            match item:
                case Load():
                    index = tuple(self._address(i) for i in item.index)
                    read = Read(item.tensor.removesuffix("?"), index)
                    self._define(item.target, item.axes, _joined([read, *self._read(item.where)]))
                    self._sources[item.target] = self._itself(item.target)
                case Store():
                    self._store(item)
                case Loop():
                    self._loop(item)
                case If():
                    self._if(item)
                case Let():
                    pass
                case _:
                    parts = expressions(item)
                    self._define(item.target, item.axes, _joined(self._read(*parts)))
                    self._sources[item.target] = self._made_of(*parts)

    def _define(self, name: str, axes: tuple[str, ...], value: Expr) -> None:
        """A tile as a tensor over its axes; those along which it was reduced are gone."""
        self._axes[name] = axes
        self._tiles[name] = None
        if isinstance(value, Int):
            return
        self._count += 1
        read = Read(f"{self._kernel.name}.{name}.{self._count}", tuple(map(Var, axes)))
        self._tiles[name] = read
        self.einsums.append(Einsum(read.tensor, tuple(map(Slot, axes)), value))

    def _if(self, item: If) -> None:
        """What it carries is made of both, what it was and what it becomes."""
        for carry in item.carries:
            self._define(carry.name, carry.axes, _joined(self._read(carry.start)))
            self._sources[carry.name] = self._made_of(carry.start)
        self._body(item.body)
        found = [
            (c, self._read(c.start, c.next, item.condition), self._made_of(c.start, c.next))
            for c in item.carries
        ]
        for carry, reads, sources in found:
            self._define(carry.name, carry.axes, _joined(reads))
            self._sources[carry.name] = sources

    def _loop(self, loop: Loop) -> None:
        """Carried tiles are what they start from inside of the loop, and finished after it."""
        for carry in loop.carries:
            self._define(carry.name, carry.axes, _joined(self._read(carry.start)))
            self._sources[carry.name] = self._made_of(carry.start)
        carried = {c.name for c in loop.carries}
        before = [name for name in self._tiles if name not in carried]
        for name in before:
            sources = self._sources[name]
            self._define(name, self._axes[name], self._finished(self._axes[name], sources))
            self._sources[name] = sources
        for remaining in reversed(range(self.rounds.get(loop.axis, 1))):
            self._looped = (*self._looped, loop.axis)
            self._body(loop.body)
            self._looped = self._looped[:-1]
            self._next(loop, last=not remaining)
            for name in before:  # what was there before is there still
                held = self._tiles[name]
                if held is not None:
                    self._tiles[name] = Read(held.tensor, tuple(Int(0) for _ in held.index))

    def _next(self, loop: Loop, *, last: bool) -> None:
        """What is carried on, or out; a round reads rows of its own along the axis of the loop."""
        found = []
        for carry in loop.carries:
            sources = self._made_of(carry.next)
            if not last:
                sources = {s: None for s in sources if loop.axis not in free_variables(s)}
            found.append((carry, self._finished(carry.axes, sources), sources))
        for carry, value, sources in found:
            self._define(carry.name, carry.axes, value)
            self._sources[carry.name] = self._itself(carry.name) if last else sources

    def _store(self, store: Store) -> None:
        index = [self._expr(i) for i in store.index]
        kept = set[str]().union(*map(free_variables, index))
        made_of = self._made_of(store.value, store.where, *store.index)
        value = _joined(_closed(source, kept) for source in made_of)
        varying = free_variables(value)
        slots = []
        for i, at in enumerate(index):  # of several axes, one that says how far it has come
            axes = sorted(free_variables(at), key=lambda v: (v not in varying, v))
            slots.append(Slot(axes[0] if axes else f"{store.tensor}.{i}"))
        self.einsums.append(Einsum(store.tensor, tuple(slots), value))

    def _address(self, index: Expr) -> Expr:
        """An index, with what tiles in it were reduced from."""
        axes = free_variables(self._expr(index))
        folded = {s: None for s in self._made_of(index) if not free_variables(s) <= axes}
        return _joined([self._expr(index), self._finished(axes, folded)])

    def _finished(self, axes: Iterable[str], sources: Iterable[Read]) -> Expr:
        """All that something was made of, reduced to these axes, and those of loops around."""
        return _joined(_closed(source, {*axes, *self._looped}) for source in sources)

    def _itself(self, name: str) -> dict[Read, None]:
        read = self._tiles[name]
        return {} if read is None else {read: None}

    def _made_of(self, *exprs: Expr) -> dict[Read, None]:
        found: dict[Read, None] = {}
        for expr in exprs:
            for node in subexpressions(expr):
                match node:
                    case Name(name=name):
                        found |= self._sources[name]
                    case Var(name=name) if name in self._coords:
                        found |= self._made_of(self._coords[name])
                    case _:
                        pass
        return found

    def _read(self, *exprs: Expr) -> dict[Expr, None]:
        """The tiles that some expressions read."""
        found: dict[Expr, None] = {}
        for expr in exprs:
            for node in subexpressions(expr):
                match node:
                    case Name(name=name):
                        read = self._tiles[name]
                        found |= {} if read is None else {read: None}
                    case Var(name=name) if name in self._coords:
                        found |= self._read(self._coords[name])
                    case _:
                        pass
        return found

    def _expr(self, expr: Expr) -> Expr:
        """An expression over tiles as one over tensors."""
        match expr:
            case Name(name=name):
                return self._tiles[name] or Int(0)
            case Var(name=name) if name in self._coords:
                return self._expr(self._coords[name])
            case _:
                return rebuild(expr, tuple(self._expr(c) for c in children(expr)))


def _joined(parts: Iterable[Expr]) -> Expr:
    """Something that is had when all parts are; 0 if there are none."""
    known = tuple(p for p in parts if not isinstance(p, Int))
    return Apply("only", known) if known else Int(0)


def _closed(source: Read, axes: Iterable[str]) -> Expr:
    """A tile reduced to some axes; the operation does not matter."""
    over = tuple(sorted(free_variables(source) - set(axes)))
    return Reduce("sum", over, source) if over else source
