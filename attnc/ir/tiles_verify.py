"""Whether a plan is sound: names, axes, kinds, and a predicate for each that looks at lanes.

It is run between passes, and on plans that were read. It knows nothing of what a plan computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from attnc.errors import InternalError
from attnc.ir import printer, tiles_printer
from attnc.ir.claims import DOWN, UP, sorted_ranks
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Bool,
    Call,
    Compare,
    Expr,
    Int,
    Name,
    Read,
    Reduce,
    Value,
    Var,
)
from attnc.ir.expr import Scan as ScanExpr
from attnc.ir.expr import TopK as TopKExpr
from attnc.ir.integers import Integers
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import (
    FUNCTIONS,
    Carry,
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
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_facts import PARAMETERS, loaded_types, tensor_sizes
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_prove import Prover, bare, numbered
from attnc.ir.tiles_walk import ahead, conjuncts, expressions, names, pieces_of, statements
from attnc.ir.types import INDEX_INT, Kind, Origin, Type, join, number
from attnc.ir.typing import IllTyped, Types
from attnc.ir.walk import children, subexpressions

TRUE = Bool(True)


def verify(plan: Plan, *, filled: bool = False) -> None:
    """Raises `InternalError`, which names the kernel and the statement, unless a plan is sound.

    Every name is defined once, before its use and in scope. The axes and kinds that are declared
    are those of what is computed. Axes are used as their kinds say. Whatever looks at lanes tests
    that they exist, every index is within its tensor, and bounds are numbers of the whole tile.
    Outputs are stored, and what is loaded was stored before. `filled`: whoever combines lanes may
    test nothing, since those that do not count are filled.
    """
    try:
        _Plan(plan, filled).check()
    except _WrongError as error:
        raise InternalError(f"the plan is not valid: {error}", tiles_printer.plan(plan)) from None


class _WrongError(Exception):
    """Something that is wrong, and where."""


@dataclass
class _Plan:
    """What kernels have in common."""

    plan: Plan
    filled: bool = False
    values: dict[str, Type] = field(default_factory=dict)
    sizes: dict[str, Expr] = field(default_factory=dict)
    """Of the variables that reductions outside of kernels bind."""
    stored: set[str] = field(default_factory=set)
    """Outputs and buffers that the kernels so far have stored."""
    known: Integers | None = None
    """What the plan says of its values; asked for where nothing else tells."""

    def integers(self) -> Integers:
        """What the plan says of its values."""
        if self.known is None:
            self.known = known_of(self.plan, self.values)
        return self.known

    def check(self) -> None:
        """The whole plan."""
        plan = self.plan
        names = [*(i.name for i in plan.inputs), *(o.name for o in plan.outputs)]
        names += [b.name for b in plan.buffers if b.name not in {o.name for o in plan.outputs}]
        _once(names, "tensors")
        _once([k.name for k in plan.kernels], "kernels")
        self._values()
        for kernel in plan.kernels:
            _Body.of(self, kernel).kernel_()
            self.stored |= {s.tensor for s in statements(kernel.body) if isinstance(s, Store)}
        for output in plan.outputs:
            if output.name not in self.stored:
                raise _WrongError(f"no kernel stores the output {output.name}")

    def _values(self) -> None:
        plan, values = self.plan, self.values
        for item in plan.inputs:
            values |= {s: INDEX_INT for s in item.sizes if isinstance(s, str)}
        sizes = {s for o in plan.outputs for s in o.sizes if isinstance(s, str)}
        values |= {p.name: PARAMETERS[p.type] for p in plan.parameters}
        self._tiles()
        _once([p.name for p in plan.parameters], "parameters")
        self.sizes |= dict(plan.variables)
        for let in plan.lets:
            place = f"let {let.name}"
            if let.name in values:
                raise _WrongError(f"{place}: the name is taken")
            found = self._level1(let.value, place)
            if found.kind is not let.kind:
                raise _WrongError(f"{place}: it is {found.kind}, and said to be {let.kind}")
            values[let.name] = found
        whole = {p.name for p in plan.parameters if p.type == "int"}
        _once(plan.bounded, "bounds")
        for name in plan.bounded:
            if name not in whole - {*sizes}:
                raise _WrongError(f"bound {name}: it is no int parameter, or an extent")
        for condition in plan.requires:
            if self._level1(condition, "require").kind is not Kind.BOOL:
                raise _WrongError("require: a condition is bool")
        for condition in plan.given:
            if any(isinstance(n, Read | Var) for n in subexpressions(condition)):
                raise _WrongError("given: it is of values alone")
            if self._level1(condition, "given").kind is not Kind.BOOL:
                raise _WrongError("given: a condition is bool")
        for size in (*sizes, *(s for _, s in plan.variables), *self._buffer_sizes()):
            self._level1(Value(size) if isinstance(size, str) else size, "a size")

    def _tiles(self) -> None:
        """The sizes of tiles that kernels share: each is that of some axis, and no other value.

        So are sizes of pieces, which an axis counts.
        """
        shared = {a.tile for k in self.plan.kernels for a in k.axes if a.kind in ("par", "stream")}
        shared |= {piece.points for piece in pieces_of(self.plan)}
        for name in self.plan.tiles:
            if name in self.values or name in {p.name for p in self.plan.parameters}:
                raise _WrongError(f"tile {name}: the name is taken")
            if name not in shared:
                raise _WrongError(f"tile {name}: no axis has tiles of that size")
            self.values[name] = INDEX_INT

    def _buffer_sizes(self) -> Iterable[Expr]:
        return (s for b in self.plan.buffers for s in b.sizes)

    def _level1(self, expr: Expr, place: str) -> Type:
        """The type of an expression outside of kernels."""
        tensors = {i.name for i in self.plan.inputs}
        for node in subexpressions(expr):
            match node:
                case Value(name=name) if name not in self.values:
                    raise _WrongError(f"{place}: there is no value {name} yet")
                case Var(name=name) if name not in self.sizes:
                    raise _WrongError(f"{place}: there is no variable {name}")
                case Read(tensor=tensor) if tensor not in tensors:
                    raise _WrongError(f"{place}: there is no tensor {tensor}")
                case Name(name=name) | Call(name=name):
                    raise _WrongError(f"{place}: {name} is no value")
                case Apply(function=name) if name in FUNCTIONS:
                    raise _WrongError(f"{place}: {name} belongs into kernels")
                case _:
                    pass
        try:
            return Types(self.values, loaded_types(self.plan))(expr)
        except IllTyped as error:
            raise _WrongError(f"{place}: {error.message}") from None

    def readable(self, tensor: str) -> Kind:
        """The kind of what is loaded from a tensor; raises if it cannot be."""
        name = tensor.removesuffix("?")
        buffers = {b.name: b for b in self.plan.buffers}
        types = loaded_types(self.plan)
        if name not in types:
            raise _WrongError(f"{name} is no input and no buffer")
        if name == tensor:
            return types[name].kind
        if name in {i.name for i in self.plan.inputs}:
            raise _WrongError(f"the input {name} is present everywhere")
        if name in buffers and buffers[name].presence == "all":
            raise _WrongError(f"the buffer {name} has no presence: all of it is there")
        return Kind.BOOL


def _once(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise _WrongError(f"two {what} are called {name}")


@dataclass(frozen=True)
class _Tile:
    axes: tuple[str, ...]
    kind: Kind


@dataclass
class _Body:
    """The statements of one scope of a kernel, and what is known there."""

    outer: _Plan
    kernel: Kernel
    prover: Prover
    values: dict[str, Type]
    used: set[str]
    """All names of the kernel so far, those out of scope included."""
    stores: frozenset[str]
    """What is stored in the kernel before this scope, or around it in rounds before."""
    tiles: dict[str, _Tile] = field(default_factory=dict)
    loops: tuple[Loop, ...] = ()
    item: Statement | None = None

    @classmethod
    def of(cls, outer: _Plan, kernel: Kernel) -> _Body:
        """The scope of a whole kernel."""
        axes = {a.name: a for a in kernel.axes}
        coords = {c.name: (c.value, c.size) for c in kernel.coords}
        meanings: dict[Expr, Expr] = {Value(x.name): x.value for x in outer.plan.lets}
        sizes = {s for tensor in tensor_sizes(outer.plan).values() for s in tensor}
        sizes |= {a.size for a in kernel.axes} | {c.size for c in kernel.coords}
        sizes |= set(map(bare, sizes))
        prover = Prover(axes, coords, frozenset(sizes), meanings, integers=outer.integers)
        prover.given = outer.plan.given
        return cls(outer, kernel, prover, dict(outer.values), set(outer.values), frozenset())

    def wrong(self, reason: str) -> _WrongError:
        """The error that says what is wrong, and where."""
        text = ""
        if self.item is not None:
            text = f", `{next(iter(tiles_printer.statement(self.item)))}`"
        return _WrongError(f"kernel {self.kernel.name}{text}: {reason}")

    def kernel_(self) -> None:
        """The kernel."""
        kernel = self.kernel
        for axis in kernel.axes:
            self._name(axis.name)
            self._size(axis.size)
            if axis.tile and axis.tile not in self.outer.plan.tiles:
                raise self.wrong(f"{axis.tile} is no size of tiles")
        for coord in kernel.coords:
            self._name(coord.name)
            self._size(coord.size)
            for node in subexpressions(coord.value):
                if isinstance(node, Var) and node.name not in self.prover.axes:
                    raise self.wrong(f"the coordinate {coord.name} is not made of axes")
        for name in kernel.reversed:
            if name not in self.prover.axes or self.prover.axes[name].kind != "par":
                raise self.wrong(f"{name} is run last first and no parallel axis")
        self.body(kernel.body)

    def _size(self, size: Expr) -> None:
        for node in subexpressions(size):
            if isinstance(node, Name | Var) or (
                isinstance(node, Apply) and node.function in FUNCTIONS
            ):
                raise self.wrong("a size is made of values alone")
        self.integer(size, "a size")

    def _name(self, name: str) -> None:
        if name in self.used:
            raise self.wrong(f"the name {name} is taken")
        self.used.add(name)

    def body(self, items: Iterable[Statement]) -> None:
        """Statements in order."""
        for item in items:
            self.item = item
            self.statement(item)

    def statement(self, item: Statement) -> None:
        match item:
            case Load():
                self._load(item)
            case Map():
                self._same_kind(item.kind, self.type(item.value).kind)
                self._same_axes(item.axes, self.axes_of(item.value))
                self._define(item)
                if item.kind is Kind.BOOL or not item.axes:
                    self.prover.meanings[Name(item.target)] = item.value
            case Dot():
                self._dot(item)
            case Fold():
                self._fold(item)
            case Scan():
                self._scan(item)
            case TopK():
                self._topk(item)
            case Find():
                self._find(item)
            case Let():
                self._whole(item.value, "a value")
                found = self.type(item.value)
                self._same_kind(item.kind, found.kind)
                self._name(item.name)
                self.values[item.name] = found
                self.prover.meanings[Value(item.name)] = item.value
            case If():
                self._whole(item.condition, "a condition of `if`")
                self.condition(item.condition)
                self._block(item, self._inner(self.loops))
            case Loop():
                self._loop(item)
            case Store():
                self._store(item)

    # Expressions

    def axes_of(self, *exprs: Expr) -> set[str]:
        """The axes along which expressions vary; raises if one uses what is not there."""
        found: set[str] = set()
        for expr in exprs:
            found |= self._axes_of(expr)
        return found

    def _axes_of(self, expr: Expr) -> set[str]:
        match expr:
            case Var(name=name) if name in self.prover.coords:
                return self._axes_of(self.prover.coords[name][0])
            case Var(name=name):
                self._within_loop(name)
                return {name} if self.prover.axes[name].kind != "step" else set()
            case Name(name=name):
                if name not in self.tiles:
                    raise self.wrong(f"there is no tile {name} here")
                return set(self.tiles[name].axes)
            case Value(name=name):
                if name not in self.values:
                    raise self.wrong(f"there is no value {name} here")
                return set()
            case Apply(function="low" | "high" | "tile" | "within" as name, arguments=arguments):
                return self._of_axis(name, arguments)
            case Apply(function="only" | "default" | "present" as name):
                raise self.wrong(
                    f"{name} is for what may be absent, and tiles say that by predicates"
                )
            case Read() | Reduce() | ScanExpr() | Arg() | TopKExpr() | Call() | Absent():
                raise self.wrong(f"{type(expr).__name__} is no expression over tiles")
            case _:
                return set().union(*map(self._axes_of, children(expr)))

    def _of_axis(self, function: str, arguments: tuple[Expr, ...]) -> set[str]:
        match arguments:
            case (Var(name=name),) if name in self.prover.axes:
                if function != "tile":
                    self._within_loop(name)
                of_lanes = function == "within" and self.prover.axes[name].kind != "step"
                return {name} if of_lanes else set()
            case (Var(name=name) as coord,) if function in ("low", "high"):
                self._axes_of(coord)
                return set()
            case _:
                raise self.wrong(f"{function} takes an axis")

    def _within_loop(self, name: str) -> None:
        axis = self.prover.axes.get(name)
        if axis is None:
            raise self.wrong(f"there is no axis {name}")
        if axis.kind in ("stream", "step") and all(x.axis != name for x in self.loops):
            raise self.wrong(f"{name} is a {axis.kind} axis and stands outside of its loop")

    def type(self, expr: Expr) -> Type:
        """The type of an expression whose names are there."""
        self.axes_of(expr)
        kinds = {name: t.kind for name, t in self.tiles.items()}
        try:
            return TileTypes(self.values, {}, kinds)(expr)
        except IllTyped as error:
            raise self.wrong(error.message) from None

    def condition(self, expr: Expr) -> None:
        """Checks a predicate."""
        if self.type(expr).kind is not Kind.BOOL:
            raise self.wrong(f"a predicate is bool, not {self.type(expr).kind}")

    def integer(self, expr: Expr, what: str) -> None:
        """Checks an index or a bound."""
        if not self.type(expr).kind.integral:
            raise self.wrong(f"{what} is an integer, not {self.type(expr).kind}")

    def _whole(self, expr: Expr, what: str) -> None:
        axes = self.axes_of(expr)
        if axes:
            raise self.wrong(
                f"{what} varies along {_listed(axes)}, and is one number of the whole tile"
            )

    def _exist(self, axes: Iterable[str], predicate: Expr, what: str) -> None:
        """Checks that a predicate tests the lanes of some axes."""
        self.condition(predicate)
        for axis in axes:
            self._within_loop(axis)
            if not self.prover.exists(axis, predicate):
                raise self.wrong(f"{what} does not test that lanes of {axis} exist")

    def _counted(self, axes: Iterable[str], predicate: Expr, what: str) -> None:
        """Checks that what is combined along some axes is made of lanes that exist."""
        if not (self.outer.filled and predicate == TRUE):
            self._exist(axes, predicate, what)

    # Definitions

    def _define(self, item: Load | Map | Dot | Fold | Scan | TopK | Find | Carry) -> None:
        name = item.name if isinstance(item, Carry) else item.target
        self._name(name)
        self.tiles[name] = _Tile(item.axes, item.kind)

    def _same_axes(self, declared: tuple[str, ...], found: set[str]) -> None:
        self._ordered(declared)
        if set(declared) != found:
            raise self.wrong(f"it varies along {_listed(found)}, not along {_listed(declared)}")

    def _ordered(self, axes: tuple[str, ...]) -> None:
        order = list(self.prover.axes)
        for axis in axes:
            self._within_loop(axis)
            if self.prover.axes[axis].kind == "step":
                raise self.wrong(f"{axis} is gone through step by step: no tile varies along it")
        if sorted(set(axes), key=order.index) != list(axes):
            raise self.wrong("its axes are not in the order of the kernel's")

    def _same_kind(self, declared: Kind, found: Kind) -> None:
        if declared is not found:
            raise self.wrong(f"it is {found}, and said to be {declared}")

    def _load(self, item: Load) -> None:
        try:
            kind = self.outer.readable(item.tensor)
        except _WrongError as error:
            raise self.wrong(str(error)) from None
        tensor = item.tensor.removesuffix("?")
        written = {o.name for o in self.outer.plan.outputs} | {
            b.name for b in self.outer.plan.buffers
        }
        if tensor in written and tensor not in self.outer.stored | self.stores:
            raise self.wrong(f"{tensor} is loaded before it is stored")
        self._same_kind(item.kind, kind)
        if item.fill is not None and isinstance(item.fill, bool) != (kind is Kind.BOOL):
            raise self.wrong(f"the fill {item.fill} is not {kind}")
        axes = self.axes_of(*item.index, item.where)
        self._exist(axes, item.where, "the load")
        self._indices(tensor, item.index, item.where)
        self._same_axes(item.axes, axes)
        self._define(item)

    def _indices(self, tensor: str, index: tuple[Expr | None, ...], predicate: Expr) -> None:
        sizes = tensor_sizes(self.outer.plan)[tensor]
        if len(index) != len(sizes):
            raise self.wrong(f"{tensor} has {len(sizes)} ranks")
        for at, size in zip(index, sizes, strict=True):
            if at is None:  # which is searched
                continue
            self.integer(at, "an index")
            if not self.prover.inside(at, size, predicate):
                text, bound = map(printer.expression, (at, size))
                raise self.wrong(f"nothing tests that the index {text} is within {bound}")

    def _dot(self, item: Dot) -> None:
        for side in (item.left, item.right):
            if side not in self.tiles:
                raise self.wrong(f"there is no tile {side} here")
        left, right = self.tiles[item.left], self.tiles[item.right]
        axes = self.axes_of(item.where)
        if not item.over:
            raise self.wrong("a dot sums over some axis")
        for axis in item.over:
            if axis not in axes and not (axis in left.axes and axis in right.axes):
                raise self.wrong(f"neither both operands nor the predicate carry {axis}")
        found = join(*(Type(t.kind, Origin.TENSOR) for t in (left, right)))
        self._same_kind(item.kind, _accumulated(found))
        self._counted(item.over, item.where, "the dot")
        self._same_axes(item.axes, {*left.axes, *right.axes, *axes} - set(item.over))
        self._define(item)

    def _fold(self, item: Fold) -> None:
        if item.op in ("argmax", "argmin") and len(item.over) != 1:
            raise self.wrong(f"{item.op} is over one axis")
        if not item.over:
            raise self.wrong("a reduction is over some axis")
        self._same_kind(item.kind, self._combined(item.op, item.value))
        self._counted(item.over, item.where, "the reduction")
        self._same_axes(item.axes, self.axes_of(item.value, item.where) - set(item.over))
        self._define(item)

    def _combined(self, op: str, value: Expr) -> Kind:
        """The kind of what some values combine to."""
        found = self.type(value)
        match op:
            case "any" | "all":
                if found.kind is not Kind.BOOL:
                    raise self.wrong(f"{op} combines bools, not {found.kind}")
                return Kind.BOOL
            case "argmax" | "argmin":
                return Kind.I64
            case "sum" | "prod":
                return _accumulated(number(found))
            case "max" | "min":
                return number(found).kind
            case _:
                raise self.wrong(f"there is no reduction {op}")

    def _scan(self, item: Scan) -> None:
        self._same_kind(item.kind, self._combined(item.op, item.value))
        self._counted([item.over], item.where, "the scan")
        self._same_axes(item.axes, self.axes_of(item.value, item.where))
        if item.over not in item.axes:
            raise self.wrong(f"it does not vary along {item.over}")
        self._define(item)

    def _topk(self, item: TopK) -> None:
        axes = self.axes_of(item.value, item.where)
        self._counted([item.over], item.where, "the sort")
        self._ordered((item.into,))
        if self.prover.axes[item.into].kind != "whole" or item.into in axes:
            raise self.wrong(f"{item.into} is filled whole, and is no axis of what is sorted")
        self.type(item.value)
        self._same_kind(item.kind, Kind.I64)
        self._same_axes(item.axes, axes - {item.over} | {item.into})
        self._define(item)

    def _find(self, item: Find) -> None:
        if item.tensor not in {i.name for i in self.outer.plan.inputs}:
            raise self.wrong(f"{item.tensor} is no input")
        down = {**dict.fromkeys(UP, False), **dict.fromkeys(DOWN, True)}.get(item.op)
        if down is None or (item.tensor, item.rank, down) not in sorted_ranks(self.outer.plan):
            raise self.wrong(f"no requirement says that {item.tensor} is sorted so")
        self.integer(item.value, "what is searched for")
        axes = self.axes_of(*item.index, item.value, item.where)
        self._exist(axes, item.where, "the search")
        index = (*item.index[: item.rank], None, *item.index[item.rank :])
        self._indices(item.tensor, index, item.where)
        self._same_kind(item.kind, Kind.I64)
        self._same_axes(item.axes, axes)
        self._define(item)

    # Blocks

    def _inner(self, loops: tuple[Loop, ...]) -> _Body:
        prover = replace(
            self.prover,
            meanings=dict(self.prover.meanings),
            ranges={x.axis: x.ranges for x in loops},
        )
        inner = replace(
            self, prover=prover, values=dict(self.values), tiles=dict(self.tiles), loops=loops
        )
        inner.used = self.used  # a name is used once, wherever it is
        return inner

    def _loop(self, item: Loop) -> None:
        axis = self.prover.axes.get(item.axis)
        if axis is None:
            raise self.wrong(f"there is no axis {item.axis}")
        if axis.kind not in ("stream", "step"):
            raise self.wrong(f"{item.axis} is a {axis.kind} axis: no loop runs over it")
        if any(x.axis == item.axis for x in self.loops):
            raise self.wrong(f"a loop over {item.axis} is around it")
        for part in (*item.ranges, *item.present):
            for bound in (part.low, part.high, part.step):
                self._whole(bound, "a bound")
                self.integer(bound, "a bound")
            if part.of is not None:
                self._list(item, part)
        inner = self._inner((*self.loops, item))
        for carry in item.carries:
            if item.axis in carry.axes:
                raise self.wrong(f"{carry.name} would carry tiles of {item.axis} out of its loop")
        if self._ordered_rounds(item):  # rounds before have stored
            inner.stores |= _stored(item.body)
        self._block(item, inner)
        carried = {c.name for c in item.carries}
        for condition in item.given:
            inner.condition(condition)
            if names(condition) & carried:
                raise self.wrong("what is given depends on what the loop carries")
        if names(item.where) & carried or any(
            isinstance(s, Store) or names(*expressions(s)) & carried
            for s in item.body[: ahead(item)]
        ):
            raise self.wrong("which rounds a loop has depends on what it does in them")
        inner._whole(item.where, "which rounds a loop has")
        inner.condition(item.where)

    def _list(self, item: Loop, part: Range) -> None:
        """A range of a list: places in a row of a buffer of integers that was stored before."""
        assert part.of is not None
        of = part.of
        if of.tensor not in {b.name for b in self.outer.plan.buffers} & self.outer.stored:
            raise self.wrong(f"{of.tensor} is no buffer that a kernel before stores")
        if self.outer.readable(of.tensor) not in (Kind.I32, Kind.I64):
            raise self.wrong(f"{of.tensor} does not hold numbers of tiles")
        if part.step != Int(1) or self._ordered_rounds(item):
            raise self.wrong("the tiles of a list have no order, nor steps")
        for at in of.index:
            self._whole(at, "a list")
        self._indices(of.tensor, (*of.index, None), TRUE)

    def _block(self, item: Loop | If, inner: _Body) -> None:
        """What a block carries, and its body."""
        for carry in item.carries:
            self._fits(self.type(carry.start), carry.name, carry.kind)
            self._along(carry, self.axes_of(carry.start))
        for carry in item.carries:
            self._ordered(carry.axes)
            self._define(carry)
            inner.tiles[carry.name] = self.tiles[carry.name]
        inner.body(item.body)
        inner.item = item
        for carry in item.carries:
            inner._fits(inner.type(carry.next), carry.name, carry.kind)
            inner._along(carry, inner.axes_of(carry.next))
        self.stores |= _stored(item.body)

    def _ordered_rounds(self, item: Loop) -> bool:
        """Whether the rounds of a loop run in the order of its ranges."""
        return item.ordered or item.backward or self.prover.axes[item.axis].kind == "step"

    def _along(self, carry: Carry, axes: set[str]) -> None:
        if not axes <= set(carry.axes):
            raise self.wrong(f"{carry.name} would vary along {_listed(axes - set(carry.axes))}")

    def _fits(self, found: Type, name: str, kind: Kind) -> None:
        """Checks that what is of a kind can hold a value."""
        match found.origin:
            case _ if found.kind is Kind.BOOL or kind is Kind.BOOL:
                holds = found.kind is kind
            case Origin.TENSOR:
                holds = kind >= found.kind
            case Origin.INDEX if found.kind.integral:
                holds = kind >= found.kind
            case _:
                holds = kind.floating or found.kind.integral
        if not holds:
            raise self.wrong(f"{name} is {kind}, and gets what is {found.kind}")

    def _store(self, item: Store) -> None:
        plan = self.outer.plan
        buffers = {b.name: b for b in plan.buffers}
        if item.tensor not in buffers and item.tensor not in {o.name for o in plan.outputs}:
            raise self.wrong(f"{item.tensor} is no output and no buffer")
        index = self.axes_of(*item.index)
        lanes = self.axes_of(item.value, item.where, item.guard) | index
        index |= {a for at in item.index if (a := numbered(at))}
        self.condition(item.where)
        self._exist(lanes, item.guard, "the store")
        self._indices(item.tensor, item.index, item.guard)
        found = self.type(item.value)
        if item.tensor in buffers:
            buffer = buffers[item.tensor]
            self._fits(found, buffer.name, buffer.kind)
            if buffer.presence == "all" and item.where != TRUE:
                raise self.wrong(f"all of {item.tensor} is present, and this may be absent")
        else:
            output = next(o for o in plan.outputs if o.name == item.tensor)
            if (found.kind is Kind.BOOL) and output.element != "bool":
                raise self.wrong(f"{item.tensor} holds numbers")
        if item.combine is None:
            self._apart(item, index, lanes)
        elif item.combine not in ("sum", "max", "min"):
            raise self.wrong(f"nothing is stored by {item.combine}")
        self.stores |= {item.tensor}

    def _apart(self, item: Store, index: set[str], lanes: set[str]) -> None:
        """Checks that no two lanes, tiles or rounds set one place."""
        rounds = {x.axis for x in self.loops if not self._ordered_rounds(x)}
        parallel = {a.name for a in self.kernel.axes if a.kind == "par"}
        fixed = {n for part in conjuncts(item.guard) for n in _fixed(part)}
        missing = (lanes | rounds | parallel) - index - fixed
        if missing:
            raise self.wrong(f"places are set anew along {_listed(missing)}")


def _stored(body: Iterable[Statement]) -> frozenset[str]:
    return frozenset(s.tensor for s in statements(body) if isinstance(s, Store))


def _fixed(condition: Expr) -> Iterator[str]:
    """The axis whose one lane a condition picks: `f == 0`."""
    match condition:
        case Compare(ops=("==",), operands=(Var(name=name), Int())):
            yield name
        case _:
            pass


def _accumulated(found: Type) -> Kind:
    """Sums and products of integers are held in i64."""
    return found.kind if found.kind.floating else Kind.I64


def _listed(axes: Iterable[str]) -> str:
    return ", ".join(sorted(axes)) or "no axis"
