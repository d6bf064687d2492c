"""Level 2 as a NumPy module: any tile sizes, and nothing but rubbish in lanes that do not exist.

It is the instrument by which schedules are judged, not a fast kernel. Tiles have their full size
everywhere, also beyond an extent; what a load does not cover is NaN, or the least integer. A
predicate that is missing or wrong shows in the results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from attnc.backends.numpy.emit import Function
from attnc.backends.numpy.functions import Functions
from attnc.backends.numpy.layout import HELD_AS, INDENT, dtype_text, literal
from attnc.backends.numpy.terms import Code, Term, aligned
from attnc.backends.options import Options
from attnc.ir.expr import (
    Apply,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Unary,
    Value,
    Var,
)
from attnc.ir.facts import Facts
from attnc.ir.stages import Stage
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import (
    Axis,
    Carry,
    Dot,
    Fold,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Statement,
    Store,
)
from attnc.ir.types import Kind

LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DEFAULTS: Final = {"par": "16", "stream": "32", "whole": "None"}


def emit_tiled(facts: Facts, options: Options, plan: Plan) -> str:
    """The text of a module that runs a plan.

    Its function takes what the unoptimised one takes, and `_tiles`, which maps rank variables to
    tile sizes.
    """
    return TiledFunction(facts, options, plan=plan).module()


class TileExpressions(Functions):
    """Emits expressions over tiles, all of whose lanes have some value."""

    def top(self, expr: Expr) -> Term:
        """The term of an expression; predicates are tiles like any other."""
        match expr:
            case Int(value=number):
                return Term(Code(str(number)), Kind.I64, python=True)
            case Float(value=real):
                text = "np.inf" if math.isinf(real) else repr(real)
                return Term(Code(text), Kind.F64, python=True)
            case Bool(value=truth):
                return Term(Code(str(truth)), Kind.BOOL, python=True)
            case Value(name=name):
                return Term(Code(self.around.value(name)), self._kind(expr))
            case Var(name=name):
                return Term(Code(self.around.coordinate(name), (name,)), Kind.I64)
            case Name(name=name):
                function = self.around
                assert isinstance(function, TiledFunction)
                return Term(Code(function.tile(name), function.axes[name]), self._kind(expr))
            case Unary():
                return self._plain(self._unary(expr))
            case Binary():
                return self._plain(self._binary(expr))
            case Logical():
                return self._plain(self._logical(expr))
            case Compare():
                return self._plain(self._compare(expr))
            case Choice():
                return self._plain(self._choice(expr))
            case Apply():
                return self._plain(self._apply(expr))
            case _:
                raise TypeError(f"{type(expr).__name__} is no expression over tiles")

    def _plain(self, term: Term) -> Term:
        """A term without presence: predicates carry that, apart from it."""
        return Term(term.value, term.kind, python=term.python)


@dataclass
class TiledFunction(Function):
    """Emits the function of one plan."""

    plan: Plan | None = None
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _order: tuple[str, ...] = ()

    def note(self) -> str:
        """What the head of the module says of it."""
        return (
            "Kernels derived from the cascade, as loops over tiles in NumPy: to judge a schedule,\n"
            "not to be fast. `_tiles` maps rank variables to tile sizes."
        )

    def tile(self, name: str) -> str:
        """The Python name of a tile."""
        return self.names.of("tile", name)

    def coordinate(self, variable: str) -> str:
        """The array of a tile's coordinates along an axis; outside of kernels, of all of it."""
        if not self._order:
            return super().coordinate(variable)
        return self.names.of("coordinates", variable)

    def _signature(self) -> str:
        found = super()._signature()
        if "*" not in found:
            return f"{found}, *, _tiles=None"
        given, others, rest = found.partition(", **")
        return f"{given}, _tiles=None{others}{rest}"

    def _stage(self, stage: Stage) -> None:
        """Nothing: kernels compute what the stages say."""

    def _outputs(self) -> None:
        assert self.plan is not None
        stored = (*(o.name for o in self.plan.outputs), *(b.name for b in self.plan.buffers))
        for name in dict.fromkeys(stored):
            kind, shape = HELD_AS[self.facts.types[name].kind], self._shape_of(name)
            self.lines.extend(
                [
                    f"{self._array(name)} = np.zeros({shape}, {kind})",
                    f"{self._here(name)} = np.zeros({shape}, bool)",
                ]
            )
        for kernel in self.plan.kernels:
            self._kernel(kernel)
        self.lines.append("")
        results = []
        for output in self.plan.outputs:
            element = "_type" if output.element is None else dtype_text(output.element)
            empty = output.empty
            if empty is None:
                empty = False if output.element == "bool" else 0
            array, here = self._array(output.name), self._here(output.name)
            shape = self._shape_of(output.name)
            results.append(f"_store({array}, {shape}, {element}, {literal(empty)}, here={here})")
        names = [self.names.temporary() for _ in results]
        self.lines.extend([f"{n} = {r}" for n, r in zip(names, results, strict=True)])
        self.lines.append(f"return {', '.join(names)}")

    def _array(self, tensor: str) -> str:
        if tensor.endswith("?"):
            return self._here(tensor.removesuffix("?"))
        return self.names.of("tensor", tensor)

    def _here(self, tensor: str) -> str:
        return self.names.of("presence", f"{tensor}_here")

    def _shape_of(self, tensor: str) -> str:
        return _tuple([self.extent(d.range) for d in self.facts.tensors[tensor].dimensions])

    # Kernels

    def _kernel(self, kernel: Kernel) -> None:
        self._order = tuple(a.name for a in kernel.axes)
        self.lines.extend(["", f"# {kernel.name}"])
        depth = 0
        for axis in kernel.axes:
            size = f'_tile(_tiles, "{axis.name}", {self._text(axis.size)}, {DEFAULTS[axis.kind]})'
            self.lines.append(f"{self._tile_size(axis.name)} = {size}")
        for axis in kernel.axes:
            if axis.kind == "whole":
                self.lines.append(f"{self.coordinate(axis.name)} = {self._padded(axis)}")
        for axis in kernel.axes:
            if axis.kind == "par":
                self._for(axis.name, "0", self._text(axis.size), depth)
                depth += 1
        self._statements(kernel.body, depth)

    def _tile_size(self, axis: str) -> str:
        return self.names.of("tile size", f"_t_{axis}")

    def _padded(self, axis: Axis) -> str:
        size, tile = self._text(axis.size), self._tile_size(axis.name)
        return f"np.arange(-(-{size} // {tile}) * {tile})"

    def _for(self, axis: str, low: str, high: str, depth: int) -> None:
        start, tile = self.names.of("start", f"_{axis}0"), self._tile_size(axis)
        self._line(f"for {start} in range({low}, {high}, {tile}):", depth)
        self._line(f"{self.coordinate(axis)} = np.arange({start}, {start} + {tile})", depth + 1)

    def _line(self, text: str, depth: int) -> None:
        self.lines.append(INDENT * depth + text)

    def _statements(self, statements: tuple[Statement, ...], depth: int) -> None:
        for item in statements:
            self._statement(item, depth)

    def _statement(self, item: Statement, depth: int) -> None:
        match item:
            case Load():
                index = _tuple([self._code(i, item.axes, depth) for i in item.index])
                where = self._code(item.where, item.axes, depth)
                arguments = f"{self._array(item.tensor)}, {index}, {where}"
                call = f"_load({arguments}, {self._lengths(item.axes)})"
                self._define(item.target, item.axes, item.kind, call, depth)
            case Map():
                text = self._code(item.value, item.axes, depth, item.kind)
                self._define(item.target, item.axes, item.kind, text, depth)
            case Dot():
                self._dot(item, depth)
            case Fold():
                self._fold(item, depth)
            case Let():
                self._line(f"{self.value(item.name)} = {self._text(item.value)}", depth)
            case Loop():
                self._loop_of(item, depth)
            case Store():
                self._store(item, depth)
            case _:
                assert_never(item)

    def _define(
        self, target: str, axes: tuple[str, ...], kind: Kind, text: str, depth: int
    ) -> None:
        self.axes[target] = axes
        self._kinds[target] = kind
        self._line(f"{self.tile(target)} = {text}", depth)

    def _dot(self, item: Dot, depth: int) -> None:
        letters = dict(zip(self._order, LETTERS, strict=False))
        sides = [self.axes[item.left], self.axes[item.right]]
        term = self._term(item.where, depth)
        axes = term.value.axes
        subscripts = ["".join(letters[a] for a in group) for group in (*sides, axes, item.axes)]
        left, right = self.tile(item.left), self.tile(item.right)
        product = f"{','.join(subscripts[:3])}->{subscripts[3]}"
        text = f'_dot("{product}", {left}, {right}, {term.value.text})'
        self._define(item.target, item.axes, item.kind, text, depth)

    def _fold(self, item: Fold, depth: int) -> None:
        axes = tuple(a for a in self._order if a in (*item.axes, *item.over))
        value = self._code(item.value, axes, depth, item.kind)
        where = self._code(item.where, axes, depth)
        places = tuple(axes.index(a) for a in item.over)
        kind = HELD_AS[item.kind]
        text = f'_fold("{item.op}", {value}, {where}, {self._lengths(axes)}, {places}, {kind})'
        self._define(item.target, item.axes, item.kind, text, depth)

    def _loop_of(self, item: Loop, depth: int) -> None:
        for carry in item.carries:
            start = self._code(carry.start, carry.axes, depth, carry.kind)
            kind = HELD_AS[carry.kind]
            text = f"np.full({self._lengths(carry.axes)}, {start}, {kind})"
            self._define(carry.name, carry.axes, carry.kind, text, depth)
        for part in item.ranges:
            self._for(item.axis, self._text(part.low), self._text(part.high), depth)
            self._statements(item.body, depth + 1)
            nexts = [self._next(c, depth + 1) for c in item.carries]
            names = [self.tile(c.name) for c in item.carries]
            self._line(f"{', '.join(names)} = {', '.join(nexts)}", depth + 1)

    def _next(self, carry: Carry, depth: int) -> str:
        text = self._code(carry.next, carry.axes, depth, carry.kind)
        return f"np.broadcast_to({text}, {self._lengths(carry.axes)})"

    def _store(self, item: Store, depth: int) -> None:
        axes = tuple(
            a
            for a in self._order
            if a in self._axes_of(item.value, item.where, item.guard, *item.index)
        )
        index = _tuple([self._code(i, axes, depth) for i in item.index])
        kind = self.facts.types[item.tensor].kind
        value = self._code(item.value, axes, depth, kind)
        where = self._code(item.where, axes, depth)
        guard = self._code(item.guard, axes, depth)
        arrays = f"{self._array(item.tensor)}, {self._here(item.tensor)}"
        self._line(
            f"_put({arrays}, {index}, {value}, {where}, {guard}, {self._lengths(axes)})", depth
        )

    # Expressions

    def _axes_of(self, *exprs: Expr) -> set[str]:
        found: set[str] = set()
        for expr in exprs:
            found |= set(self._emitter([]).top(expr).value.axes)
        return found

    def _emitter(self, lines: list[str]) -> TileExpressions:
        return TileExpressions(self, TileTypes(self.facts, self._kinds), self._order, lines=lines)

    def _term(self, expr: Expr, depth: int) -> Term:
        lines: list[str] = []
        emitter = self._emitter(lines)
        term = emitter.array(emitter.top(expr))
        for line in lines:
            self._line(line, depth)
        axes = tuple(sorted(term.value.axes, key=self._order.index))
        return Term(aligned(term.value, axes, self._order.index), term.kind)

    def _code(self, expr: Expr, axes: tuple[str, ...], depth: int, kind: Kind | None = None) -> str:
        """An expression as an array that broadcasts over some axes."""
        lines: list[str] = []
        emitter = self._emitter(lines)
        term = emitter.top(expr)
        if kind is not None:
            term = emitter.convert(term, kind)
        term = emitter.array(term)
        for line in lines:
            self._line(line, depth)
        return aligned(term.value, axes, self._order.index).text

    def _text(self, expr: Expr) -> str:
        """A number of the whole kernel."""
        return self._emitter([]).top(expr).value.text

    def _lengths(self, axes: tuple[str, ...]) -> str:
        return _tuple([f"{self.coordinate(a)}.size" for a in axes])


def _tuple(texts: Sequence[str]) -> str:
    """A tuple of so many items."""
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
