"""Passes per rank of a plan, counted as those of a cascade are.

A plan is written out as Einsums again, one for each tile, carried tile and stored tensor, and those
are counted. Within a kernel nothing waits for a reduction of lanes, since what a tile holds stays
there: the result is read as any one lane of it. What finishes a rank is the end of a loop, a store,
or that an address depends on it; each finishes all that was loaded for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from attnc.ir.cascade import Einsum, Slot
from attnc.ir.expr import Apply, Expr, Name, Read, Reduce, Value, Var
from attnc.ir.facts import Dimension, Facts, TensorInfo
from attnc.ir.stages import Single
from attnc.ir.tiles import If, Kernel, Let, Load, Loop, Plan, Statement, Store
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.walk import children, free_variables, rebuild, subexpressions
from attnc.passes.analysis.passes import Count, passes
from attnc.passes.analysis.reach import Reach


def plan_passes(plan: Plan, facts: Facts) -> dict[str, Count]:
    """Passes by rank variable over all kernels, as `passes` counts them for a cascade.

    `facts` are of the cascade that the plan was made from.
    """
    writer = _Writer(facts)
    for kernel in plan.kernels:
        writer.kernel(kernel)
    einsums = tuple(writer.einsums)
    axes = {a.name: a.size for k in plan.kernels for a in k.axes}
    sizes = {**facts.variables, **axes}
    made = {e.tensor: TensorInfo(tuple(Dimension(sizes[v]) for v in e.variables)) for e in einsums}
    cascade = replace(facts.cascade, statements=einsums)
    return passes(
        replace(
            facts,
            cascade=cascade,
            stages=tuple(Single(e) for e in einsums),
            variables=sizes,
            tensors={**facts.tensors, **made},
        )
    )


def kernel_passes(kernel: Kernel, plan: Plan) -> dict[str, int]:
    """How often a kernel streams ranks, by the variables that `passes` would name them by.

    A loop along `m1` that reads `K[m1 * M0 + m0]` goes over K's rank. Loops within each other go
    over one rank together, loops one after the other each by themselves.
    """
    sizes: dict[str, tuple[object, ...]] = {i.name: i.sizes for i in plan.inputs}
    for buffer in plan.buffers:
        extents = tuple(s.name if isinstance(s, Value) else s for s in buffer.sizes)
        sizes.setdefault(buffer.name, extents)
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

    facts: Facts
    einsums: list[Einsum] = field(default_factory=list[Einsum])
    _kernel: str = ""
    _coords: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    _tiles: dict[str, Read] = field(default_factory=dict[str, Read])
    _sources: dict[str, dict[Read, None]] = field(default_factory=dict[str, dict[Read, None]])
    """What each tile was made of: loaded tiles, and carried ones after their loop."""

    def kernel(self, kernel: Kernel) -> None:
        """Adds what a kernel computes."""
        self._kernel, self._tiles, self._sources = kernel.name, {}, {}
        self._coords = {c.name: c.value for c in kernel.coords}
        self._body(kernel.body)

    def _body(self, body: Iterable[Statement]) -> None:
        for item in body:
            match item:
                case Load():
                    index = tuple(self._address(i) for i in item.index)
                    read = Read(item.tensor.removesuffix("?"), index)
                    where = self._expr(item.where)
                    self._define(item.target, item.axes, Apply("only", (read, where)))
                    self._sources[item.target] = {self._tiles[item.target]: None}
                case Store():
                    self._store(item)
                case Loop():
                    self._loop(item)
                case If():
                    self._body(item.body)
                case Let():
                    pass
                case _:
                    parts = expressions(item)
                    self._define(item.target, item.axes, _joined(map(self._expr, parts)))
                    self._sources[item.target] = self._made_of(*parts)

    def _define(self, name: str, axes: tuple[str, ...], value: Expr, mark: str = "") -> None:
        """A tile as a tensor over its axes; those along which it was reduced are gone."""
        self._tiles[name] = Read(f"{self._kernel}.{name}{mark}", tuple(map(Var, axes)))
        self.einsums.append(Einsum(self._tiles[name].tensor, tuple(map(Slot, axes)), value))

    def _loop(self, loop: Loop) -> None:
        """Carried tiles are what they start from inside of the loop, and finished after it."""
        for carry in loop.carries:
            self._define(carry.name, carry.axes, self._expr(carry.start))
            self._sources[carry.name] = self._made_of(carry.start)
        self._body(loop.body)
        finished = [self._finished(set(c.axes), c.next) for c in loop.carries]
        for carry, value in zip(loop.carries, finished, strict=True):
            self._define(carry.name, carry.axes, value, mark="'")
            self._sources[carry.name] = {self._tiles[carry.name]: None}

    def _store(self, store: Store) -> None:
        index = [self._expr(i) for i in store.index]
        kept = set[str]().union(*map(free_variables, index))
        value = self._finished(kept, store.value, store.where, *store.index)
        varying = free_variables(value)
        slots = []
        for i, at in enumerate(index):  # of several axes, one that says how far it has come
            axes = sorted(free_variables(at), key=lambda v: (v not in varying, v))
            slots.append(Slot(axes[0] if axes else f"{store.tensor}.{i}"))
        self.einsums.append(Einsum(store.tensor, tuple(slots), value))

    def _address(self, index: Expr) -> Expr:
        """An index, with what tiles in it were reduced from."""
        axes = free_variables(self._expr(index))
        folded = [source for source in self._made_of(index) if not free_variables(source) <= axes]
        return _joined([self._expr(index), *(_closed(source, axes) for source in folded)])

    def _finished(self, axes: Iterable[str], *exprs: Expr) -> Expr:
        """All that expressions are made of, reduced to these axes."""
        return _joined(_closed(source, axes) for source in self._made_of(*exprs))

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

    def _expr(self, expr: Expr) -> Expr:
        """An expression over tiles as one over tensors."""
        match expr:
            case Name(name=name):
                return self._tiles[name]
            case Var(name=name) if name in self._coords:
                return self._expr(self._coords[name])
            case _:
                return rebuild(expr, tuple(self._expr(c) for c in children(expr)))


def _joined(parts: Iterable[Expr]) -> Expr:
    """Something that is had when all parts are."""
    return Apply("only", tuple(parts))


def _closed(source: Read, axes: Iterable[str]) -> Expr:
    """A tile reduced to some axes; the operation does not matter."""
    over = tuple(sorted(free_variables(source) - set(axes)))
    return Reduce("sum", over, source) if over else source
