"""What a plan costs: operations, bytes of each kernel, state and buffers, as formulas over sizes.

Counted as a cascade is in `cost`, so that the two compare: a kernel reads each tensor that it uses
once and writes each that it makes once, whole. Conditions, index arithmetic and tiles made of
presence alone are not counted, and neither is what conditions save. The presence of a buffer counts
where it is stored beside it, a byte for each element.

What depends on tiles is said at given sizes of tiles: `loaded`, the bytes that all tiles load
together, and operations, since a carried tile is brought along once for each streamed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, assert_never

from attnc.ir.expr import Apply, Binary, Bool, Compare, Expr, Float, Int, Value, Var
from attnc.ir.facts import Facts
from attnc.ir.tiles import (
    AxisKind,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import names, reads, statements
from attnc.ir.types import Kind
from attnc.passes.analysis.cost import (
    ELEMENT_BYTES,
    KIND_BYTES,
    Cost,
    Formulas,
    TensorCost,
    computed,
    counts,
    element_bytes,
)
from attnc.passes.analysis.reach import Reach

if TYPE_CHECKING:
    import sympy

Tiles: TypeAlias = Mapping[AxisKind, int | None]
"""The size of tiles along axes of each kind; None for all of the axis."""

OF_TILES = frozenset(("low", "high", "tile", "within"))
"""What is said of a tile, and computes nothing."""


@dataclass(frozen=True)
class KernelCost:
    """One kernel, in bytes and scalar operations.

    `state` is what a program with one point of each parallel axis holds while it streams, for each
    loop: carried tiles, and those made before it that are used in it.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    operations: sympy.Expr
    read: sympy.Expr
    written: sympy.Expr
    loaded: sympy.Expr
    state: tuple[sympy.Expr, ...]


@dataclass(frozen=True)
class Stored:
    """A buffer between kernels: who makes it, reducing which axes, and who reads it."""

    name: str
    size: sympy.Expr
    maker: str
    over: tuple[str, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class PlanCost:
    """All kernels, the buffers between them, and their sum in the form of a cascade's cost."""

    kernels: tuple[KernelCost, ...]
    buffers: tuple[Stored, ...]
    total: Cost
    loaded: sympy.Expr


def plan_cost(
    plan: Plan, facts: Facts, dtype: str, tiles: Tiles, formulas: Formulas | None = None
) -> PlanCost:
    """The cost of a plan; `facts` are of the cascade it was made from."""
    formulas = formulas or Formulas(facts)
    zero = formulas.of(Int(0))
    elements, sizes = _tensors(plan, facts, dtype, formulas)
    kernels = tuple(
        _Costs(k, formulas, tiles, 8 if dtype == "f64" else 4, elements, sizes).found()
        for k in plan.kernels
    )
    outputs = [o.name for o in plan.outputs]
    written = zero
    for output in plan.outputs:
        written += formulas.volume(output.name) * ELEMENT_BYTES[output.element or dtype]
    buffers = tuple(_stored(plan, sizes))
    places = {k.name: i for i, k in enumerate(kernels)}
    total = Cost(
        sum((k.operations for k in kernels), start=zero),
        sum((sizes[i.name] for i in plan.inputs), start=zero),
        written,
        sum((k.read + k.written for k in kernels), start=zero),
        tuple(
            TensorCost(b.name, b.size, places[b.maker], max(places[r] for r in b.readers))
            for b in buffers
            if b.name not in outputs
        ),
    )
    return PlanCost(kernels, buffers, total, sum((k.loaded for k in kernels), start=zero))


def _tensors(
    plan: Plan, facts: Facts, dtype: str, formulas: Formulas
) -> tuple[dict[str, int], dict[str, sympy.Expr]]:
    """The bytes of an element and of all of every tensor, and of the presence `T?` of buffers."""
    elements: dict[str, int] = {}
    volumes: dict[str, sympy.Expr] = {}
    for buffer in plan.buffers:
        volume = formulas.of(Int(1))
        for size in buffer.sizes:
            volume *= formulas.of(size)
        elements[buffer.name] = KIND_BYTES.get(buffer.kind, 8 if dtype == "f64" else 4)
        volumes[buffer.name] = volume
        if buffer.presence == "byte":
            elements[f"{buffer.name}?"], volumes[f"{buffer.name}?"] = 1, volume
    for name in (*(i.name for i in plan.inputs), *(o.name for o in plan.outputs)):
        elements[name] = element_bytes(facts, name, dtype)
        volumes[name] = formulas.volume(name)
    return elements, {t: volume * elements[t] for t, volume in volumes.items()}


def _stored(plan: Plan, sizes: Mapping[str, sympy.Expr]) -> Iterator[Stored]:
    """The buffers that some kernel reads, be it the one that makes them."""
    for buffer in plan.buffers:
        makers = [k for k in plan.kernels if buffer.name in _stores(k)]
        readers = [k.name for k in plan.kernels if buffer.name in _loads(k)]
        if makers and readers:
            size = sizes[buffer.name]
            if buffer.presence == "byte":
                size += sizes[f"{buffer.name}?"]
            over = _reduced(makers[-1], buffer.name)
            yield Stored(buffer.name, size, makers[-1].name, over, tuple(readers))


def _loads(kernel: Kernel) -> set[str]:
    items = statements(kernel.body)
    return {s.tensor.removesuffix("?") for s in items if isinstance(s, Load)}


def _stores(kernel: Kernel) -> tuple[str, ...]:
    found = (s.tensor for s in statements(kernel.body) if isinstance(s, Store))
    return tuple(dict.fromkeys(found))


def _reduced(kernel: Kernel, tensor: str) -> tuple[str, ...]:
    """The axes over which a kernel reduces what it stores into a tensor, in the last place."""
    needs: dict[str, set[str]] = {}
    over: dict[str, set[str]] = {}
    pending: set[str] = set()
    for item in statements(kernel.body):
        match item:
            case Loop(carries=carries) | If(carries=carries):
                needs |= {c.name: names(c.start, c.next) for c in carries}
            case Store(tensor=name, value=value):
                pending |= names(value) if name == tensor else set()
            case Dot(target=target, over=axes) | Fold(target=target, over=axes):
                over[target] = set(axes)
            case TopK(target=target, over=axis):
                over[target] = {axis}
            case Map(target=target) | Scan(target=target):
                needs[target] = reads(item)
            case _:
                pass
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        seen.add(name)
        pending |= needs.get(name, set()) - seen
    found = set[str]().union(*(over.get(name, set()) for name in seen))
    return tuple(a.name for a in kernel.axes if a.name in found)


@dataclass
class _Costs:
    """Counts one kernel; `wide` are the bytes of a number whose type the call decides."""

    kernel: Kernel
    formulas: Formulas
    tiles: Tiles
    wide: int
    elements: Mapping[str, int]
    sizes: Mapping[str, sympy.Expr]
    _operations: list[sympy.Expr] = field(default_factory=list["sympy.Expr"])
    _loaded: list[sympy.Expr] = field(default_factory=list["sympy.Expr"])

    def found(self) -> KernelCost:
        """All of it."""
        kernel, zero = self.kernel, self.formulas.of(Int(0))
        items = list(statements(kernel.body))
        self._reach = Reach(kernel)
        self._kinds = {a.name: a.kind for a in kernel.axes}
        self._span = {a.name: self.formulas.of(a.size) for a in kernel.axes}
        self._lets = {s.name: s.value for s in items if isinstance(s, Let)}
        self._presence = _presence(items)
        stored = _stores(kernel)
        loads = dict.fromkeys(s.tensor for s in items if isinstance(s, Load))
        read = [t for t in loads if t.removesuffix("?") not in stored]
        written = [*stored, *(f"{t}?" for t in stored if f"{t}?" in self.sizes)]
        self._body(kernel.body, tuple(a.name for a in kernel.axes if a.kind == "par"))
        return KernelCost(
            kernel.name,
            tuple(dict.fromkeys(t.removesuffix("?") for t in read)),
            stored,
            sum(self._operations, start=zero),
            sum((self.sizes[t] for t in read), start=zero),
            sum((self.sizes[t] for t in written), start=zero),
            sum(self._loaded, start=zero),
            tuple(self._states(kernel.body, {}, zero)),
        )

    # How often

    def _times(self, axes: Iterable[str], around: tuple[str, ...]) -> sympy.Expr:
        """Lanes along some axes, in all rounds of the loops around them."""
        lanes = frozenset(axes)
        found = self.formulas.of(Int(1))
        for axis in lanes:
            found *= self._span[axis]
        for axis in around:
            if axis not in lanes:
                tile = self.tiles[self._kinds[axis]]
                found *= 1 if tile is None else self.formulas.tiles(self._span[axis], tile)
        return found

    def _body(self, body: tuple[Statement, ...], around: tuple[str, ...]) -> None:
        """Counts statements that run inside of loops along some axes, parallel ones first."""
        for item in body:
            match item:
                case Load(axes=axes, tensor=tensor):
                    self._loaded.append(self._times(axes, around) * self.elements[tensor])
                case If(carries=carries):
                    for carry in carries:
                        self._count(carry.start, around)
                        self._count(carry.next, around)
                    self._body(item.body, around)
                case Loop():
                    self._loop(item, around)
                case Store(value=value):
                    self._count(value, around)
                case Let() | Find():
                    pass
                case _ if item.target in self._presence:
                    pass
                case Map(value=value):
                    self._count(value, around)
                case Dot(axes=axes, over=over):
                    self._operations.append(2 * self._times((*axes, *over), around))
                case Fold(value=value, over=over):
                    self._count(value, around)
                    inside = self._reach.of(value) | set(over)
                    self._operations.append(self._times(inside, around))
                case Scan(value=value, over=axis) | TopK(value=value, over=axis):
                    self._count(value, around)
                    inside = self._reach.of(value) | {axis}
                    self._operations.append(self._times(inside, around))
                case _:
                    assert_never(item)

    def _loop(self, loop: Loop, around: tuple[str, ...]) -> None:
        for carry in loop.carries:
            self._count(carry.start, around)
        before = self._span[loop.axis]
        self._span[loop.axis] = self._length(loop)
        self._body(loop.body, (*around, loop.axis))
        for carry in loop.carries:
            self._count(carry.next, (*around, loop.axis))
        self._span[loop.axis] = before

    def _count(self, value: Expr, around: tuple[str, ...]) -> None:
        """The operations of an expression, each distinct subexpression once."""
        seen: set[Expr] = set()
        stack = [value]
        while stack:
            node = stack.pop()
            if node in seen or (isinstance(node, Apply) and node.function in OF_TILES):
                continue
            seen.add(node)
            if counts(node) and not (isinstance(node, Apply) and node.function == "rounded"):
                chained = len(node.ops) if isinstance(node, Compare) else 1
                self._operations.append(chained * self._times(self._reach.of(node), around))
            stack.extend(computed(node))

    # How far a loop goes

    def _length(self, loop: Loop) -> sympy.Expr:
        """The coordinates that a loop goes through; where that is not plain, the whole axis."""
        found = self.formulas.of(Int(0))
        for part in loop.ranges:
            low, high = self._bound(part.low), self._bound(part.high)
            length = None if low is None or high is None else (high - low).expand()
            if length is None or any(str(s).startswith("low ") for s in length.free_symbols):
                return self._span[loop.axis]
            if isinstance(part.step, Int):
                length = self.formulas.tiles(length, part.step.value)
            found += length
        return found

    def _bound(self, expr: Expr) -> sympy.Expr | None:
        """A bound of a range as a formula; where a tile begins is a symbol."""
        match expr:
            case Value(name=name) if name in self._lets:
                return self._bound(self._lets[name])
            case Int() | Value():
                return self.formulas.of(expr)
            case Binary(op="+" | "-" | "*" as op, left=left, right=right):
                a, b = self._bound(left), self._bound(right)
                if a is None or b is None:
                    return None
                return {"+": a + b, "-": a - b, "*": a * b}[op]
            case Apply(function="low" | "high" as which, arguments=(Var(name=axis),)):
                if axis not in self._kinds:
                    return None
                tile = self.tiles[self._kinds[axis]]
                if tile is None:
                    return self._span[axis] - 1 if which == "high" else self.formulas.of(Int(0))
                start = self.formulas.of_name(f"low {axis}")
                return start + tile - 1 if which == "high" else start
            case _:
                return None

    # State

    def _states(
        self, body: tuple[Statement, ...], before: Mapping[str, sympy.Expr], held: sympy.Expr
    ) -> Iterator[sympy.Expr]:
        """What is held in each loop; `before` are tiles made so far that are not counted yet."""
        made = dict(before)
        for item in body:
            match item:
                case Loop(carries=carries):
                    carried = {c.name: self._tile(c.axes, c.kind) for c in carries}
                    used = {n: size for n, size in made.items() if n in reads(item)}
                    now = held + sum(carried.values()) + sum(used.values())
                    yield now
                    left = {n: size for n, size in made.items() if n not in used}
                    yield from self._states(item.body, left, now)
                    made |= carried
                case If(carries=carries):
                    yield from self._states(item.body, made, held)
                    made |= {c.name: self._tile(c.axes, c.kind) for c in carries}
                case Let() | Store():
                    pass
                case _:
                    made[item.target] = self._tile(item.axes, item.kind)

    def _tile(self, axes: tuple[str, ...], kind: Kind) -> sympy.Expr:
        """The bytes of a tile with one point of each parallel axis."""
        found = self.formulas.of(Int(KIND_BYTES.get(kind, self.wide)))
        for axis in axes:
            if self._kinds[axis] != "par":
                tile = self.tiles[self._kinds[axis]]
                found *= self._span[axis] if tile is None else tile
        return found


def _presence(items: Iterable[Statement]) -> frozenset[str]:
    """The tiles that say whether something is present, and are made of nothing else."""
    found: set[str] = set()
    for item in items:
        match item:
            case Loop(carries=carries) | If(carries=carries):
                found |= {c.name for c in carries if isinstance(c.start, Bool)}
            case Load(target=target, tensor=tensor) if tensor.endswith("?"):
                found.add(target)
            case Fold(target=target, value=Int() | Float() | Bool()):
                found.add(target)
            case Map(target=target, kind=Kind.BOOL, value=value):
                used = names(value)
                if used and used <= found:
                    found.add(target)
            case _:
                pass
    return frozenset(found)
