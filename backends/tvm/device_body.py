"""The statements of a kernel for a device: lanes are given to the threads of a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from attnc.backends.refused import NotPrinted
from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.barriers import Barriers, Owner
from attnc.backends.tvm.body import Body
from attnc.backends.tvm.device_memory import DeviceMemory
from attnc.backends.tvm.device_scope import DeviceScope
from attnc.backends.tvm.nests import Nest, as_fold
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Expr, Name
from attnc.ir.tiles import (
    Dot,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import expressions, names, statements
from attnc.ir.types import Kind

BARRIER: Final = 'T.tvm_storage_sync("shared")'
FENCE: Final = "T.evaluate(_fence())"
"""A barrier behind which threads see what others have written to tensors, too."""


@dataclass
class DeviceBody(Body):
    """Prints statements.

    A tile lies in memory that the threads of a program share; one without axes, a number, is
    computed by each thread for itself. A nest of loops is one loop over its lanes, of which each
    thread takes every so manieth; a fold goes along its axes in the thread that has the result.
    """

    depth: int = 2
    uniform: bool = False
    """Whether barriers may depend on nothing that threads compute together, as in WebGPU."""
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The buffers that threads share, with the names of their sizes."""
    _told: set[str] = field(default_factory=set[str])
    """Numbers that are made of what threads compute together."""
    _agreed: set[str] = field(default_factory=set[str])
    """Numbers that all threads have taken from the first."""
    _outer: bool = False
    """Whether the next loops are given to the threads."""
    _given: tuple[str, ...] | None = None
    """Axes that the next loops are given to the threads with."""

    def __post_init__(self) -> None:
        Body.__post_init__(self)
        assert isinstance(self.scope, DeviceScope)
        self.device: DeviceScope = self.scope
        self.memory: DeviceMemory = DeviceMemory(self.scope)
        self.barriers: Barriers = Barriers()
        asked: set[str] = set()
        for item in statements(self.scope.kernel.body):
            match item:
                case Loop():
                    asked |= names(item.where, *(e for r in item.ranges for e in edges(r)))
                case If():
                    asked |= names(item.condition)
                case Let():
                    asked |= names(item.value)
                case _:
                    pass
        self.asked: frozenset[str] = frozenset(asked)
        """Numbers that loops and blocks ask for."""
        self.own: frozenset[str] = read_again(self.scope.kernel)
        self.barrier: str = FENCE if self.own else BARRIER

    # Room, and who waits for whom

    def _room(self, name: str) -> str:
        python = self.scope.buffer(name)
        if python not in self.buffers:
            Body._room(self, name)
            self._lies(python, self.scope.layouts[name])
        return python

    def _lies(self, python: str, axes: Sequence[str]) -> None:
        """Says where a buffer lies."""
        line, mark, note = self.buffers[python].partition("  # ")
        place = "shared" if axes else "local"
        self.buffers[python] = f'{line.removesuffix(")")}, scope="{place}"){mark}{note}'
        if axes:
            self.shared[python] = tuple(map(self.scope.size_of, axes))

    @contextmanager
    def _together(
        self, axes: Owner, written: Sequence[str] = (), *, read: str = "", stored: str = ""
    ) -> Iterator[None]:
        """What threads do without waiting, lanes along `axes` being given to them.

        `read`, `stored`: a tensor of which elements are; no thread owns one of these.
        """
        start, scope = len(self.lines), self.device
        scope.touched.clear()
        depth = self.depth
        yield
        touched: dict[str, Owner] = {}
        for name in (*scope.touched, *written):
            layout = scope.layouts.get(name, ())
            if not layout or name in scope.numbers:
                continue
            python = scope.buffer(name)
            mine = bool(axes) and set(axes or ()) <= set(layout)
            owner = axes if mine and touched.get(python, axes) == axes else None
            touched[python] = owner
        tensors = {f"{t} in memory": None for t in (read, stored) if t in self.own}
        touched |= tensors
        told = touched or any(n in self._told for n in scope.touched)
        if not axes and told:
            self._told.update(written)
        changed = {*(scope.buffer(n) for n in written), f"{stored} in memory"}
        if self.barriers.needed(touched, changed):
            self.lines.insert(start, "    " * depth + self.barrier)
        scope.touched.clear()

    def _wait(self) -> None:
        """All threads wait."""
        self.line(self.barrier)
        self.barriers.waited()

    def _same(self, expr: Expr) -> None:
        """Raises an error if threads may differ in what a loop or a block asks, where that is so
        much as possible by what a compiler sees."""
        if not self.uniform:
            return
        found = sorted(names(expr) & self._told)
        if found:
            raise NotPrinted("a range or a condition that is made of results", Name(found[0]))

    # Nests

    def _nest(self, nest: Nest) -> None:
        part: list[Load | Map | Fold] = []
        key: object = None
        for item in nest.items:
            here = self._result(item, nest)
            if part and here != key:
                self._part(part, nest)
                part = []
            key = here
            part.append(item)
        self._part(part, nest)

    def _result(self, item: Load | Map | Fold, nest: Nest) -> object:
        """What tells which statements of a nest share loops."""
        if isinstance(item, Load) and tensor_of(item) in self.own:
            return item
        if isinstance(item, Fold):
            return self.scope.layouts[item.target], self.scope.dimensions(item.over)
        return nest.loops

    def _part(self, items: Sequence[Load | Map | Fold], nest: Nest) -> None:
        """Statements that share loops."""
        scope = self.device
        first = items[0]
        axes = scope.layouts[first.target] if isinstance(first, Fold) else nest.loops
        inside = Counter(n for i in items for n in names(*expressions(i)))
        before = self.depth
        written = [i.target for i in items]
        for item in items:
            if item.target in self._agreed:
                scope.buffers.pop(item.target)
                self._told.discard(item.target)
                self._agreed.discard(item.target)
        read = tensor_of(first) if isinstance(first, Load) else ""
        with self._together(axes, written, read=read):
            self._threads(axes)
            if isinstance(first, Fold):
                for item in items:
                    assert isinstance(item, Fold)
                    self._begin(item)
                self._serial(scope.dimensions(first.over))
            numbers = self._numbers(items, inside)
            for item in items:
                self._lane(item, local=item.target in numbers, vector=True)
            self.depth = before
            for name in numbers:
                written.remove(name)
                scope.touched.pop(name, None)
        scope.numbers.clear()
        if self.uniform and not axes:
            for item in items:
                if item.target in self._told & self.asked:
                    self._agree(item)

    def _agree(self, item: Load | Map | Fold) -> None:
        """Has all threads take a number from the first, so that barriers may depend on it."""
        scope = self.device
        if item.target in self._aliases or item.kind.floating:
            return
        mine = scope.buffer(item.target)
        same, given = (scope.names.of(k, f"{mine}{k}") for k in ("same", "given"))
        self.buffers[same] = f'{same} = T.alloc_buffer((1,), "int32", scope="local")'
        self.buffers[given] = f'{given} = T.alloc_buffer((1,), "int32", scope="shared")'
        self.line(f"_agreed({same}, {given}, {mine}, thread)")
        scope.buffers[item.target] = same
        self._told.discard(item.target)
        self._agreed.add(item.target)
        if not self.own:
            self.barriers.waited()

    def _threads(self, axes: Sequence[str]) -> None:
        """The head of a loop over lanes that are given to the threads."""
        if not axes:
            return
        scope = self.scope
        turn, at = scope.names.of("turn", "turn"), scope.names.of("lane", "lane")
        lanes = " * ".join(map(scope.size_of, axes))
        self.line(f"for {turn} in T.serial(({lanes} + THREADS - 1) // THREADS):")
        self.depth += 1
        self.line(f"{at}: T.let = {turn} * THREADS + thread")
        self.line(f"if {at} < {lanes}:")
        self.depth += 1
        rest = at
        for place, axis in enumerate(reversed(axes)):
            size = scope.size_of(axis)
            last = place == len(axes) - 1
            self.line(f"{scope.lane(axis)}: T.let = {rest if last else f'{rest} % {size}'}")
            rest = f"{rest} // {size}"

    def _serial(self, axes: Sequence[str]) -> None:
        for axis in axes:
            self.line(f"for {self.scope.lane(axis)} in T.serial({self.scope.size_of(axis)}):")
            self.depth += 1

    def _loops(self, axes: Sequence[str], *, vector: bool) -> None:
        if self._outer:
            self._outer = False
            self._threads(axes)
        elif self._given is not None:
            self._threads(self._given)
            self._given = ()
        elif not vector:
            self._serial(axes)

    def _begin(self, item: Fold) -> None:
        """What a fold begins with, in the thread that has the result."""
        self._room(item.target)
        given, self._given = self._given, ()
        Body._begin(self, item)
        self._given = given

    def _best(self, item: Fold) -> tuple[str, str]:
        found = Body._best(self, item)
        for python in found:
            self._lies(python, self.scope.layouts[item.target])
        return found

    # Products

    def _split(self, body: Sequence[Statement]) -> Iterator[list[Statement]]:
        matrices = self.scope.products.matrices
        part: list[Statement] = []
        for item in body:
            if isinstance(item, Map) and item.target in self.scope.products.sums:
                yield part
                part = []
                self._sum(item)
            elif isinstance(item, Dot) and item.target not in matrices:
                part.append(as_fold(item))
            else:
                part.append(item)
        yield part

    def _sum(self, item: Map) -> None:
        """A product that is added onto something."""
        dot, addend = self.scope.products.sums[item.target]
        lanes = ", ".join(map(self.scope.lane, self.scope.layouts[item.target]))
        self.device.touched.clear()
        text = self._typed(addend, item.kind)
        read = list(self.device.touched)
        self._product(dot, item.target, f"lambda {lanes}: {text}", read)

    def _has_extremes(self, dot: Dot, nest: Nest) -> bool:
        """Never: products leave nothing in registers here."""
        return False

    def _product(self, item: Dot, target: str, begin: str, read: Sequence[str] = ()) -> None:
        """A product, in blocks that threads compute, onto what a function gives for a lane."""
        scope = self.device
        found = scope.products.matrices[item.target]
        rows, columns = scope.layouts[target]
        left, right = found.left, found.right
        if rows == found.columns:
            left, right = right, left
        with self._together(None, [target]):
            tiles = ", ".join(self._room(t) for t in (target, left, right))
            sizes = ", ".join(map(scope.size_of, (rows, columns, found.over)))
            turned = scope.layouts[left] == (found.over, rows)
            across = scope.layouts[right] == (columns, found.over)
            self.line(f"_dot({tiles}, {sizes}, thread, {turned}, {across}, {begin})")
            for name in (left, right, *read):
                scope.touched[name] = None

    # Memory

    def _store(self, item: Store) -> None:
        scope = self.scope
        varying = scope.context.varies(*item.index, item.value, item.where, item.guard)
        axes = scope.natural(item, scope.dimensions(scope.context.sorted(varying)))
        before = self.depth
        with self._together(axes, stored=tensor_of(item)):
            if axes:
                self._given = axes
            else:
                self.line("if thread == 0:")
                self.depth += 1
            Body._store(self, item)
            self._given = None
            self.depth = before

    # Along an axis, in order

    def _scan(self, item: Scan) -> None:
        scope, over = self.scope, item.over
        if not scope.is_tile(over):
            Body._scan(self, item)
            return
        room = self._room(item.target)
        rest = tuple(a for a in scope.layouts[item.target] if a != over)
        run = scope.names.of("run", f"{room}_run")
        dtype = '"int8"' if item.kind is Kind.BOOL else DTYPES[HELD[item.kind]]
        self.buffers[run] = f'{run} = T.alloc_buffer((1,), {dtype}, scope="local")'
        before = self.depth
        with self._together(rest, [item.target]):
            self._threads(rest)
            self._assign(f"{run}[0]", item.kind, self._identity(item.op, item.kind))
            lane, size = scope.lane(over), scope.size_of(over)
            if item.reverse:
                turn = scope.names.of("turn", f"{over}_turn")
                self.line(f"for {turn} in T.serial({size}):")
                self.depth += 1
                self.line(f"{lane}: T.let = {size} - 1 - {turn}")
            else:
                self._serial((over,))
            value = self._taken_in(item)
            value = self._combined(item.op, item.kind, f"{run}[0]", value)
            self._assign(f"{run}[0]", item.kind, value)
            self.line(f"{scope.element(item.target)} = {run}[0]")
            self.depth = before

    def _topk(self, item: TopK) -> None:
        rest = tuple(a for a in self.scope.layouts[item.target] if a != item.into)
        known = set(self.buffers)
        with self._together(rest, [item.target]):
            self._outer = True
            Body._topk(self, item)
            self._outer = False
        for python in set(self.buffers) - known - set(self.shared):
            self._lies(python, ())

    # Numbers and blocks

    def _let(self, item: Let) -> None:
        self.device.touched.clear()
        Body._let(self, item)
        if any(n in self._told for n in self.device.touched):
            self._told.add(item.name)

    def _inside(self, item: Loop | If) -> None:
        if isinstance(item, Loop):
            self._wait()
            self._same(item.where)
        Body._inside(self, item)

    def _rounds(self, item: Loop, parts: tuple[Range, ...], *, apart: bool) -> None:
        for part in parts:
            for bound in edges(part):
                self._same(bound)
        Body._rounds(self, item, parts, apart=False)
        self._wait()

    def _if(self, item: If) -> None:
        self._same(item.condition)
        Body._if(self, item)
        self._wait()


def tensor_of(item: Load | Store) -> str:
    """The tensor that is read or written, itself or its presence."""
    return item.tensor.removesuffix("?")


def read_again(kernel: Kernel) -> frozenset[str]:
    """The tensors that a kernel writes and reads."""
    items = list(statements(kernel.body))
    stored = {tensor_of(s) for s in items if isinstance(s, Store)}
    return frozenset(stored & {tensor_of(s) for s in items if isinstance(s, Load)})


def edges(part: Range) -> tuple[Expr, Expr, Expr]:
    """The bounds of a range, and its step."""
    return part.low, part.high, part.step
