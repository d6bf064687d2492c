"""What one kernel's text knows: its names, arguments, coordinates and tiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Final

from attnc.backends.names import TAKEN, Names
from attnc.backends.refused import NotPrinted
from attnc.backends.triton.expressions import Expressions
from attnc.backends.triton.intervals import LIMIT, Interval, interval
from attnc.backends.triton.naming import labels
from attnc.backends.triton.terms import HELD, Held, Term, spread
from attnc.ir import printer
from attnc.ir.assumed import assumed
from attnc.ir.cascade import Input, Output
from attnc.ir.expr import (
    Apply,
    Binary,
    Compare,
    Expr,
    Float,
    Int,
    Unary,
    Value,
    Var,
)
from attnc.ir.printer import COMPARE, PRODUCT, SUM
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import Axis, Kernel, Plan
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.types import Kind, Type
from attnc.ir.walk import subexpressions
from attnc.passes.tiling.context import Context

RESERVED: Final = TAKEN | {"tl", "triton", "torch", "INDEX", "FLOAT", "TYPE", "program"}

ON_HOST: Final = frozenset(("sqrt", "rsqrt", "exp", "exp2", "log", "log2", "min", "max", "abs"))
"""Functions that are computed before the launch where they are of sizes and parameters alone."""


@dataclass
class Argument:
    """An argument that is computed for the launch: its name in the kernel and what it is."""

    name: str
    value: Expr


@dataclass
class KernelScope:
    """Names and terms of one kernel."""

    SMALLER: ClassVar[str] = "tl.minimum"
    """The smaller of two numbers, as the text says it."""

    plan: Plan
    kernel: Kernel
    context: Context
    tiled: frozenset[str]
    precision: str = "ieee"
    names: Names = field(default_factory=lambda: Names(set(RESERVED)))
    tiles: dict[str, Term] = field(default_factory=dict[str, Term])
    values: dict[str, Type] = field(default_factory=dict[str, Type])
    """Types of the kernel's own values."""
    locals: dict[str, Term] = field(default_factory=dict[str, Term])
    used: dict[str, None] = field(default_factory=dict[str, None])
    """Values of the plan that the kernel takes as arguments, in order."""
    sizes: dict[str, Expr] = field(default_factory=dict[str, Expr])
    """Sizes that the kernel takes as arguments of their own."""
    hoists: dict[tuple[str, Kind], tuple[Argument, str]] = field(
        default_factory=dict[tuple[str, Kind], tuple[Argument, str]]
    )
    ends: dict[str, str] = field(default_factory=dict[str, str])
    """The end of the range of an axis that is gone through."""
    whole_ends: dict[str, bool] = field(default_factory=dict[str, bool])

    _order: tuple[str, ...] = ()
    _typed: tuple[dict[str, Type], dict[str, Kind], TileTypes] | None = None
    """What types are told by, and for what: both grow as the text does."""

    def __post_init__(self) -> None:
        kinds = self.context.facts.values
        tensors: tuple[Input | Output, ...] = (*self.plan.inputs, *self.plan.outputs)
        extents = {s for t in tensors for s in t.sizes} | {n for n in kinds if n.isupper()}
        self.bounds: dict[str, Interval] = {
            n: (0 if n in extents else 1 - LIMIT, LIMIT - 1)
            for n, t in kinds.items()
            if t.kind is Kind.I64
        }
        self.bounds |= dict.fromkeys(self.plan.tiles, (1, LIMIT - 1))
        for let in self.plan.lets:
            found = interval(let.value, self.bounds)
            if found is not None and let.name in self.bounds:
                low, high = self.bounds[let.name]
                self.bounds[let.name] = max(low, found[0]), min(high, found[1])
        self.counted: dict[Expr, str] = {}
        """Sizes of axes that are no values of the plan: arguments of their own."""
        for axis in self.kernel.axes:
            if not isinstance(axis.size, Value | Int) and axis.size not in self.counted:
                self.counted[axis.size] = self.names.of("size", axis.name.upper())
        self.text: Expressions = Expressions(self)
        for tensor in tensor_sizes(self.plan):
            self.names.of("tensor", tensor)
        for axis in self.kernel.axes:
            self.names.of("coordinates", axis.name)
        for tile, label in labels(self.kernel).items():
            self.names.call("tile", tile, label)

    # Axes

    def axis(self, name: str) -> Axis:
        """An axis of the kernel."""
        return self.kernel.axis(name)

    def is_tile(self, axis: str) -> bool:
        """Whether tiles have this axis as a dimension."""
        return axis in self.tiled or self.axis(axis).kind == "whole"

    def dimensions(self, axes: Sequence[str]) -> tuple[str, ...]:
        """Those of some axes that are dimensions of tiles."""
        return tuple(a for a in axes if self.is_tile(a))

    def place(self, axis: str) -> int:
        """The position of an axis among the kernel's, or as a statement orders them."""
        return (*self._order, *self.context.order).index(axis)

    @contextmanager
    def ordered(self, axes: tuple[str, ...]) -> Iterator[None]:
        """Within it, tiles that are made have their dimensions in this order."""
        before, self._order = self._order, axes
        yield
        self._order = before

    def size_of(self, axis: str) -> str:
        """The name of the size of an axis' tiles."""
        return self.names.of("tile size", f"{axis.upper()}_TILE")

    def start_of(self, axis: str) -> str:
        """The name of the first coordinate of the current tile."""
        return self.names.of("start", f"{axis}0" if axis.isalpha() else f"{axis}_0")

    def shape(self, axes: Sequence[str]) -> str:
        """The shape of a tile."""
        sizes = [self.size_of(a) for a in axes]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    # What expressions ask

    def types(self) -> TileTypes:
        """The types of what stands in expressions."""
        facts, kinds = self.context.facts, self.context.kinds
        if self._typed is None or self._typed[:2] != (self.values, kinds):
            found = TileTypes({**facts.values, **self.values}, facts.types, kinds)
            self._typed = {**self.values}, {**kinds}, found
        return self._typed[2]

    def value(self, name: str) -> Term:
        """A number that all programs share."""
        if name in self.locals:
            return self.locals[name]
        kind = self.context.facts.values[name].kind
        if kind.floating:
            found = self.hoisted(Value(name), kind)
            assert found is not None
            return found
        self.used[name] = None
        text = self.names.of("value", name)
        if kind is Kind.BOOL:  # passed as 0 or 1
            return Term(f"{text} != 0", (), Held.BOOL, COMPARE)
        return Term(text, (), Held.INT)

    def known(self, expr: Expr) -> Term | None:
        """The size of an axis, where it has been computed before the launch."""
        if expr not in self.counted:
            return None
        self.sizes[self.counted[expr]] = expr
        return Term(self.counted[expr], (), Held.INT)

    def variable(self, name: str) -> Term:
        """The coordinates along an axis."""
        text = self.names.of("coordinates", name)
        for coord in self.kernel.coords:
            if coord.name == name:
                axes = self.context.sorted(self.context.varies(coord.value))
                return Term(text, self.dimensions(axes), Held.INT)
        if self.is_tile(name):
            return Term(text, (name,), Held.INT)
        return Term(text, (), Held.I64 if self.axis(name).kind == "par" else Held.INT)

    def coordinates(self, loops: frozenset[str], axis: str | None = None) -> Iterator[str]:
        """The lines of coordinates that are computed of axes gone through by some loops.

        Those of parallel axes alone, or with an axis those of it.
        """
        moving = {a.name for a in self.kernel.axes if a.kind in ("stream", "step")}
        for coord in self.kernel.coords:
            own = self.context.mentions(coord.value) & moving
            if own <= loops and (axis in own if axis is not None else not own):
                value = self.text.held(self.text(coord.value), Held.INT)
                yield f"{self.variable(coord.name).text} = {value.text}"

    def tile(self, name: str) -> Term:
        """A tile."""
        return self.tiles[name]

    def tile_size(self, variable: str) -> Term:
        """The size of tiles."""
        if not self.is_tile(variable):
            return Term("1", (), Held.INT, literal=True)
        return Term(self.size_of(variable), (), Held.INT)

    def within(self, variable: str) -> Term:
        """Which lanes lie in the range that is gone through."""
        if not self.is_tile(variable):
            return Term("True", (), Held.BOOL, literal=True)
        text = f"{self.names.of('coordinates', variable)} < {self.ends[variable]}"
        return Term(text, (variable,), Held.BOOL, printer.COMPARE)

    def bound(self, which: str, variable: str) -> Term:
        """The least or greatest coordinate of the current tile within its extent."""
        coords = {c.name: c for c in self.kernel.coords}
        if variable in coords:
            return self._bound_of(which, coords[variable].value)
        if not self.is_tile(variable):
            return self.variable(variable)
        axis = self.axis(variable)
        if axis.kind == "whole":
            if which == "low":
                return Term("0", (), Held.INT, literal=True)
            size = self.text(axis.size)
            return Term(f"{size.at(SUM)} - 1", (), Held.INT, SUM)
        start = self.start_of(variable)
        if which == "low":
            return Term(start, (), Held.INT)
        end = self.ends.get(variable) or self.text(axis.size).text
        text = f"{self.SMALLER}({start} + {self.size_of(variable)}, {end}) - 1"
        return Term(text, (), Held.INT, SUM)

    def _bound_of(self, which: str, expr: Expr) -> Term:
        """The bound of a coordinate that is computed and grows with each axis in it."""
        if not self.dimensions(self.context.sorted(self.context.varies(expr))):
            return self.text(expr)
        match expr:
            case Var(name=name):
                return self.bound(which, name)
            case Binary(op="+" | "*" | "//" as op, left=left, right=right) if not (
                self.context.varies(right) and op == "//"
            ):
                a, b = self._bound_of(which, left), self._bound_of(which, right)
                level = SUM if op == "+" else PRODUCT
                return self.text.infix(op, level, a, b, Held.INT)
            case Binary(op="%", left=_, right=right):
                if which == "low":
                    return Term("0", (), Held.INT, literal=True)
                end = self.text(right)
                return Term(f"{end.at(SUM)} - 1", (), Held.INT, SUM)
            case _:
                raise NotPrinted("the bounds of a coordinate that does not grow", expr)

    def hoisted(self, expr: Expr, kind: Kind) -> Term | None:
        """A floating number of sizes and parameters alone: an argument, cast once."""
        if not self._is_uniform(expr):
            return None
        found = TileTypes(self.context.facts.values, {}, {})(expr).kind
        if not found.floating:
            return None
        key = printer.expression(expr), kind
        if key not in self.hoists:
            others = [a for (text, _), (a, _) in self.hoists.items() if text == key[0]]
            argument = others[0] if others else Argument(self._argument(expr), expr)
            local = argument.name
            if others:
                local = self.names.fresh(f"{argument.name}_{kind}")
            self.hoists[key] = argument, local
        return Term(self.hoists[key][1], (), HELD[kind])

    def arguments(self) -> list[Argument]:
        """The arguments that are computed for the launch, each once."""
        return list({a.name: a for a, _ in self.hoists.values()}.values())

    def is_constant(self, value: str) -> bool:
        """Whether a kernel is compiled for a value: the size of an axis that is held whole."""
        return any(a.kind == "whole" and a.size == Value(value) for a in self.kernel.axes)

    def _argument(self, expr: Expr) -> str:
        if isinstance(expr, Value):
            return self.names.of("value", expr.name)
        words = re.findall(r"[A-Za-z0-9]+", printer.expression(expr))
        name = "_".join(words)
        return self.names.fresh(name if name[0].isalpha() and len(name) <= 16 else "c")

    def _is_uniform(self, expr: Expr) -> bool:
        """Whether the wrapper can compute an expression: of the plan's values, and something."""
        some = False
        for node in subexpressions(expr):
            match node:
                case Value(name=name):
                    if name in self.locals or name not in self.context.facts.values:
                        return False
                    some = True
                case Apply(function=function):
                    if function not in ON_HOST:
                        return False
                case Int() | Float() | Unary(op="-"):
                    pass
                case Binary(op="+" | "-" | "*" | "/" | "//" | "%" | "**"):
                    pass
                case _:
                    return False
        return some

    # Tiles of a shape

    def full(self, term: Term, axes: Sequence[str], kind: Kind) -> str:
        """A term as a tile of all the given dimensions, in what its kind is held in."""
        held = HELD[kind]
        term = self.text.held(term, held)
        if term.literal:
            return f"tl.full({self.shape(axes)}, {term.text}, {held.value})"
        if set(term.axes) == set(axes):
            return spread(term, axes).text
        if not term.axes:
            if not axes:
                return term.text
            if kind is Kind.BOOL:
                return f"tl.where({term.text}, True, tl.full({self.shape(axes)}, False, tl.int1))"
            return f"{term.at(SUM)} + tl.full({self.shape(axes)}, 0, {held.value})"
        return f"tl.broadcast_to({spread(term, axes).text}, {self.shape(axes)})"

    def folded(self, expr: Expr, holds: Callable[[Expr], bool]) -> Expr:
        """An expression without the conditions that are known to hold here."""
        return assumed(expr, lambda e: self._holds(e) or holds(e))

    def _holds(self, expr: Expr) -> bool:
        """Whether a condition says that a single coordinate lies within its extent."""
        match expr:
            case Compare(ops=("<",), operands=(Var(name=name), size)):
                axis = next((a for a in self.kernel.axes if a.name == name), None)
                if axis is None or self.is_tile(name) or axis.size != size:
                    return False
                return axis.kind == "par" or self.whole_ends.get(name, False)
            case Apply(function="within", arguments=(Var(name=name),)):
                return not self.is_tile(name)
            case _:
                return False
