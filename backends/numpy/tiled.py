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

from attnc.backends.numpy.emit import Function, quiet
from attnc.backends.numpy.functions import Functions
from attnc.backends.numpy.layout import (
    HELD_AS,
    INDENT,
    dtype_text,
    folded,
    indented,
    literal,
    tuple_of,
)
from attnc.backends.numpy.terms import Code, Term, aligned
from attnc.backends.options import Options
from attnc.ir import tiles_printer
from attnc.ir.assumed import assumed
from attnc.ir.cascade import Binding, Require
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
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import (
    Axis,
    AxisKind,
    Carry,
    Coord,
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
from attnc.ir.tiles_facts import facts_of
from attnc.ir.tiles_full import Full, Round
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import (
    ahead,
    in_full,
    in_turn,
    last_with,
    names,
    pieces_of,
    scanned,
    targets,
)
from attnc.ir.types import Kind, Type

LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DEFAULTS: Final = {"par": "16", "stream": "32", "step": "1", "whole": "None"}
POINTS: Final = 64
"""Points of a piece of a stream, where a plan leaves that to the call."""


def emit_tiled(plan: Plan, options: Options) -> str:
    """The text of a module that runs a plan.

    Its function takes what the unoptimised one takes; `_tiles`, which maps axes to tile sizes;
    and `_shuffle`, a seed: parallel tiles, and streamed ones where no order is stated, then run in
    a random order.
    """
    return TiledFunction(facts_of(plan), options, plan=plan).module()


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
                function = self._function_of()
                if name in function.coords:
                    return self.convert(self.top(function.coords[name].value), Kind.I64)
                axes = () if function.tile_kind(name) == "step" else (name,)
                return Term(Code(self.around.coordinate(name), axes), Kind.I64)
            case Name(name=name):
                function = self._function_of()
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
            case Apply(function="low" | "high" as name, arguments=(Var(name=variable),)):
                return Term(Code(self._function_of().bound(name, variable, self)), Kind.I64)
            case Apply(function="tile", arguments=(Var(name=variable),)):
                return Term(Code(self._function_of().tile_size(variable)), Kind.I64)
            case Apply(function="within", arguments=(Var(name=variable),)):
                here = self._function_of().within(variable)
                return Term(Code(here, (variable,)), Kind.BOOL)
            case Apply(function="float", arguments=(operand,)):
                return self.convert(self.array(self.top(operand)), Kind.FLOAT)
            case Apply(function="rounded", arguments=(operand,)):
                term = self.array(self.top(operand))
                return Term(Code(f"_rounded({term.value.text}, _type)", term.value.axes), term.kind)
            case Apply():
                return self._plain(self._apply(expr))
            case _:
                raise TypeError(f"{type(expr).__name__} is no expression over tiles")

    def _function_of(self) -> TiledFunction:
        assert isinstance(self.around, TiledFunction)
        return self.around

    def _plain(self, term: Term) -> Term:
        """A term without presence: predicates carry that, apart from it."""
        return Term(term.value, term.kind, python=term.python)


@dataclass
class TiledFunction(Function):
    """Emits the function of one plan."""

    plan: Plan | None = None
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    coords: dict[str, Coord] = field(default_factory=dict)
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _order: tuple[str, ...] = ()
    _kernel_axes: tuple[Axis, ...] = ()
    _values: dict[str, Type] = field(default_factory=dict)
    """Types of the kernel's own values."""
    _around: Round = Round()
    """The full ranges whose rounds are emitted."""
    _true: set[str] = field(default_factory=set[str])
    """Tiles that are true in all lanes of these."""

    def _bounded(self, name: str) -> bool:
        assert self.plan is not None
        return name in self.plan.bounded

    def _taken(self) -> list[str]:
        """The lines so far, which are no longer kept."""
        found = self.lines[:]
        self.lines.clear()
        return found

    def _title(self) -> str:
        assert self.plan is not None
        lines = tiles_printer.plan(self.plan).rstrip().splitlines()
        shown = "\n".join(INDENT + line if line else "" for line in lines)
        head = f"{self.plan.name}: emitted by attnc {self.options.version}."
        return f'"""{head}\n\n{self.note()}\n\n{shown}\n"""'

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

    # The module: what a call comes to, apart from what it is computed from

    def _definitions(self, function: str) -> list[str]:
        """`_shapes`, `_check` and `_launch`, and the function that calls them.

        `_shapes` takes the shapes of the inputs and gives those of the outputs, so that a call can
        be planned without data; `_check` gives what `_launch` takes.
        """
        signature = str(self.call)
        handed = self._handed()
        checked = self._checked_lines()
        shapes = self._shapes_lines()
        self._outputs()
        launched, given, others, rest = self.lines, *self._parted(signature)
        own = f"{given}, _tiles=None, _shuffle=None{others}{rest}"
        call = f"_check({self.call.forwarded()})"
        return [
            f"def {function}({own}):",
            *indented(self._docstring()),
            f"{INDENT}return _launch(*{call}, _tiles, _shuffle)",
            "",
            "",
            f"def _shapes({signature}):",
            f'{INDENT}"""The shapes of the outputs, from those of the inputs."""',
            *indented(shapes),
            "",
            "",
            f"def _check({signature}):",
            f'{INDENT}"""What `_launch` takes: arguments that are checked, and values."""',
            *indented(checked),
            *indented(folded(f"return {tuple_of(handed)}", 1)),
            "",
            "",
            *folded(f"def _launch({', '.join([*handed, '_tiles', '_shuffle'])}):", 0),
            f'{INDENT}"""Runs the kernels."""',
            *indented(quiet(launched)),
        ]

    def _handed(self) -> list[str]:
        """What `_check` hands to `_launch`."""
        tensors = [self.names.of("tensor", i.name) for i in self.facts.cascade.inputs]
        assert self.plan is not None
        values = [v for v in self.facts.values if v not in self.plan.tiles]
        return [*tensors, *map(self.value, values), "_type", "_float"]

    def _checked_lines(self) -> list[str]:
        """Arguments, bindings and requirements."""
        self._parameters()
        self._inputs()
        arguments = self._taken()
        for statement in self.facts.cascade.statements:
            if isinstance(statement, Binding):
                self._binding(statement)
            elif isinstance(statement, Require):
                self._require(statement)
        inner = self._taken()
        return [*arguments, *quiet(inner)]

    def _shapes_lines(self) -> list[str]:
        """Extents of given shapes, bindings, and the shapes of outputs."""
        self._coordinates.clear()
        self._parameters()
        for item in self.facts.cascade.inputs:
            if item.sizes:
                names = [self.value(s) if isinstance(s, str) else "_" for s in item.sizes]
                shape = self.names.of("tensor", item.name)
                self.lines.append(f"{tuple_of(names)[1:-1]} = map(np.int64, {shape})")
        arguments = self._taken()
        for statement in self.facts.cascade.statements:
            if isinstance(statement, Binding):
                self._binding(statement)
        inner = self._taken()
        shapes = [self._shape_of(o.name) for o in self.facts.cascade.outputs]
        result = self._taken()
        self._coordinates.clear()
        return [*arguments, *quiet(inner), *result, *folded(f"return {tuple_of(shapes)}", 1)]

    def _parted(self, signature: str) -> tuple[str, str, str]:
        """A signature, with a place for more arguments by keyword."""
        given, others, rest = signature.partition(", **")
        star = "" if "*" in given else ", *" if given else "*"
        return f"{given}{star}", others, rest

    def _outputs(self) -> None:
        assert self.plan is not None
        cut = {piece.points: piece.size for piece in pieces_of(self.plan)}
        for name in self.plan.tiles:
            if name in cut:
                size = f'"{name.lower()}", {self._text(cut[name])}, {POINTS}'
            else:
                axis = last_with(self.plan, name)[1]
                size = f'"{axis.name}", {self._text(axis.size)}, {DEFAULTS[axis.kind]}'
            self.lines.append(f"{self.value(name)} = _tile(_tiles, {size})")
        stored = (*(o.name for o in self.plan.outputs), *(b.name for b in self.plan.buffers))
        for name in dict.fromkeys(stored):
            kind, shape = HELD_AS[self.facts.types[name].kind], self._shape_of(name)
            self.lines.extend(
                [
                    f"{self._array(name)} = _unset({shape}, {kind})",
                    f"{self._here(name)} = np.zeros({shape}, bool)",
                ]
            )
        if self.plan.given:
            holds = " and ".join(self._text(condition) for condition in self.plan.given)
            before = [*self._taken(), *folded(f"if not ({holds}):", 0)]
            self._results()
            self.lines[:] = [*before, *indented(self._taken())]
        for kernel in self.plan.kernels:
            self._kernel(kernel)
        self.lines.append("")
        self._results()

    def _results(self) -> None:
        """What is returned: outputs as far as they have been stored, else their empty values."""
        assert self.plan is not None
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
        return tuple_of([self._text(d.range) for d in self.facts.tensors[tensor].dimensions])

    # Kernels

    def _kernel(self, kernel: Kernel) -> None:
        self._kernel_axes = kernel.axes
        self._order = tuple(a.name for a in kernel.axes)
        self.coords = {c.name: c for c in kernel.coords}
        self._kinds, self._values, self.axes = {}, {}, {}
        assert self.plan is not None
        known = known_of(self.plan, self.facts.values)
        self._full: Full = Full.of(known, kernel, self._kind_of, self._axes_of)
        self.lines.extend(["", f"# {kernel.name}"])
        depth = 0
        for axis in kernel.axes:
            high = self._high(axis.name)
            self._line(f"{high} = {self._text(axis.size, depth)}", depth)
            size = f'_tile(_tiles, "{axis.name}", {high}, {DEFAULTS[axis.kind]})'
            size = self.value(axis.tile) if axis.tile else size
            self._line(f"{self.tile_size(axis.name)} = {size if axis.kind != 'step' else 1}", depth)
        for axis in kernel.axes:
            if axis.kind == "whole":
                self.lines.append(f"{self.coordinate(axis.name)} = {self._padded(axis)}")
        parallel = [a for a in kernel.axes if a.kind == "par"]
        if parallel:
            self._programs(parallel, kernel.reversed)
            depth += 1
        self._statements(kernel.body, depth)

    def _programs(self, axes: Sequence[Axis], backward: tuple[str, ...]) -> None:
        """One loop over the tiles of all parallel axes: Python nests only so many."""
        ranges, starts = [], []
        for axis in axes:
            part = f"range(0, {self._high(axis.name)}, {self.tile_size(axis.name)})"
            ranges.append(part + ("[::-1]" if axis.name in backward else ""))
            starts.append(self._start(axis.name))
        self._line(f"for {tuple_of(starts)} in _programs(_shuffle, {', '.join(ranges)}):", 0)
        for axis, start in zip(axes, starts, strict=True):
            tile = self.tile_size(axis.name)
            self._line(f"{self.coordinate(axis.name)} = np.arange({start}, {start} + {tile})", 1)

    def tile_size(self, axis: str) -> str:
        """The Python name of the size of an axis' tiles."""
        return self.names.of("tile size", f"_t_{axis}")

    def _high(self, axis: str) -> str:
        """The end of the range of an axis that is gone through."""
        return self.names.of("range end", f"_{axis}1")

    def within(self, axis: str) -> str:
        """Which lanes of an axis lie in the range that is gone through."""
        return f"({self.coordinate(axis)} < {self._high(axis)})"

    def bound(self, which: str, variable: str, emitter: TileExpressions) -> str:
        """The least or greatest coordinate of a tile within its extents."""
        term = emitter.top(Var(variable))
        axes = sorted(term.value.axes, key=self._order.index)
        inside = [aligned(Code(self.within(a), (a,)), tuple(axes), self._order.index) for a in axes]
        holds = " & ".join(i.text for i in inside)
        array = aligned(term.value, tuple(axes), self._order.index)
        return f"_{which}({array.text}, {holds})"

    def _padded(self, axis: Axis) -> str:
        size, tile = self._high(axis.name), self.tile_size(axis.name)
        return f"np.arange(-(-{size} // {tile}) * {tile})"

    def _start(self, axis: str) -> str:
        """The first coordinate of the current tile."""
        return self.names.of("start", f"_{axis}0")

    def _for(self, item: Loop, parts: tuple[Range, ...], depth: int) -> None:
        """The head of a loop over the tiles of one range, or of all of a class."""
        axis, kind = item.axis, self.tile_kind(item.axis)
        start, tile, high = self._start(axis), self.tile_size(axis), self._high(axis)
        stride = tile
        if len(parts) > 1:  # no lane asks for the end of its range
            self._line(f"{high} = {self._text(self._size(axis), depth)}", depth)
            pairs = [f"({self._text(p.low, depth)}, {self._text(p.high, depth)})" for p in parts]
            starts = f"_starts({tile}, {parts[0].full}, {', '.join(pairs)})"
        else:
            (part,) = parts
            of = part.of
            beyond = part.high if of is None else self._size(axis)
            self._line(f"{high} = {self._text(beyond, depth)}", depth)
            low = self._text(part.low, depth)
            if part.step != Int(1):
                step = self.temporary()
                self._line(f"{step} = {self._text(part.step, depth)}", depth)
                stride = f"{tile} * {step}"
            starts = f"range({low}, {high}, {stride})"
            if of is not None:
                row = tuple_of([self._text(at, depth) for at in of.index])
                places = f"{low}, {self._text(part.high, depth)}"
                starts = f"_listed({self._array(of.tensor)}[{row}], {places}, {tile})"
        if item.backward:
            starts = f"reversed({starts})"
        elif not (item.ordered or kind == "step" or scanned(item)):
            starts = f"_any_order({starts}, _shuffle)"
        self._line(f"for {start} in {starts}:", depth)
        if kind == "step":
            self._line(f"{self.coordinate(axis)} = np.int64({start})", depth + 1)
            return
        end = f"{start} + {stride}" + ("" if stride == tile else f", {step}")
        self._line(f"{self.coordinate(axis)} = np.arange({start}, {end})", depth + 1)

    def _line(self, text: str, depth: int) -> None:
        self.lines.append(INDENT * depth + text)

    def _statements(
        self, statements: tuple[Statement, ...], depth: int, claims: Sequence[Expr] = ()
    ) -> None:
        """Statements in order; each claim is asserted as soon as the tiles in it are there."""
        own = {t for item in statements for t in targets(item)}
        waiting = {claim: names(claim) & own for claim in claims}
        for claim, missing in waiting.items():
            if not missing:
                self._claimed(claim, depth)
        for item in statements:
            self._statement(item, depth)
            for claim, missing in waiting.items():
                waiting[claim] = missing - set(targets(item))
                if missing and not waiting[claim]:
                    self._claimed(claim, depth)

    def _statement(self, item: Statement, depth: int) -> None:
        match item:
            case Load():
                index = tuple_of([self._code(i, item.axes, depth) for i in item.index])
                where = self._mask(item.where, item.axes, depth)
                arguments = f"{self._array(item.tensor)}, {index}, {where}"
                fill = "" if item.fill is None else f", {literal(item.fill)}"
                call = f"_load({arguments}, {self._lengths(item.axes)}{fill})"
                self._define(item.target, item.axes, item.kind, call, depth)
            case Map():
                self._map(item, depth)
            case Dot():
                self._dot(item, depth)
            case Fold():
                self._fold(item, depth)
            case Scan():
                self._scan(item, depth)
            case TopK():
                self._topk(item, depth)
            case Find():
                index = tuple_of([self._code(i, item.axes, depth) for i in item.index])
                value = self._code(item.value, item.axes, depth)
                where = self._mask(item.where, item.axes, depth)
                arguments = f'{self._array(item.tensor)}, {index}, {item.rank}, "{item.op}"'
                call = f"_find({arguments}, {value}, {where}, {self._lengths(item.axes)})"
                self._define(item.target, item.axes, item.kind, call, depth)
            case Let():
                value = self._code(item.value, (), depth, item.kind)
                self._values[item.name] = self._types_of()(item.value)
                self._line(f"{self.value(item.name)} = {value}", depth)
            case If():
                self._starts(item.carries, depth)
                self._line(f"if {self._text(item.condition, depth)}:", depth)
                self._inside(item, depth + 1)
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

    def _map(self, item: Map, depth: int) -> None:
        value = self._assumed(item.value)
        if self._around and value == Bool(True):
            self._true.add(item.target)
            self.axes[item.target], self._kinds[item.target] = item.axes, item.kind
            return
        text = self._code(value, item.axes, depth, item.kind)
        if value != item.value and self._axes_of(value) != set(item.axes):
            text = f"np.broadcast_to({text}, {self._lengths(item.axes)})"
        self._define(item.target, item.axes, item.kind, text, depth)

    def _dot(self, item: Dot, depth: int) -> None:
        letters = dict(zip(self._order, LETTERS, strict=False))
        sides = [self.axes[item.left], self.axes[item.right]]
        term = self._term(self._assumed(item.where), depth)
        axes = term.value.axes
        subscripts = ["".join(letters[a] for a in group) for group in (*sides, axes, item.axes)]
        left, right = self.tile(item.left), self.tile(item.right)
        product = f"{','.join(subscripts[:3])}->{subscripts[3]}"
        kind = HELD_AS[item.kind]
        text = f'_dot("{product}", {left}, {right}, {term.value.text}, {kind})'
        self._define(item.target, item.axes, item.kind, text, depth)

    def _fold(self, item: Fold, depth: int) -> None:
        axes = tuple(a for a in self._order if a in (*item.axes, *item.over))
        first = item.op in ("argmax", "argmin")
        value = self._code(item.value, axes, depth, None if first else item.kind)
        where = self._code(item.where, axes, depth)
        if first:
            (over,) = item.over
            lanes = f"np.broadcast_to({value}, {self._lengths(axes)}), {where}"
            place = f"_first(np.{item.op[3:]}imum, {lanes}, {axes.index(over)})"
            text = f"_at({self.coordinate(over)}, {place})"
            self._define(item.target, item.axes, item.kind, text, depth)
            return
        places = tuple(axes.index(a) for a in item.over)
        kind = HELD_AS[item.kind]
        text = f'_fold("{item.op}", {value}, {where}, {self._lengths(axes)}, {places}, {kind})'
        self._define(item.target, item.axes, item.kind, text, depth)

    def _scan(self, item: Scan, depth: int) -> None:
        value = self._code(item.value, item.axes, depth, item.kind)
        where = self._code(item.where, item.axes, depth)
        lanes, place = self._lengths(item.axes), item.axes.index(item.over)
        arguments = f'"{item.op}", {value}, {where}, {lanes}, {place}, {HELD_AS[item.kind]}'
        text = f"_scan_tile({arguments}, {item.reverse})"
        self._define(item.target, item.axes, item.kind, text, depth)

    def _topk(self, item: TopK, depth: int) -> None:
        axes = tuple(item.over if a == item.into else a for a in item.axes)
        axes = tuple(sorted(axes, key=self._order.index))
        value = f"np.broadcast_to({self._code(item.value, axes, depth)}, {self._lengths(axes)})"
        where = self._code(item.where, axes, depth)
        place = axes.index(item.over)
        count = f"{self.coordinate(item.into)}.size"
        text = f"_at({self.coordinate(item.over)}, _argtopk({value}, {where}, {place}, {count})[0])"
        result = tuple(item.into if a == item.over else a for a in axes)
        if result != item.axes:
            text = f"np.transpose({text}, {tuple(result.index(a) for a in item.axes)})"
        self._define(item.target, item.axes, item.kind, text, depth)

    def _loop_of(self, item: Loop, depth: int) -> None:
        self._starts(item.carries, depth)
        for parts in in_turn(item, self.tile_kind(item.axis)):
            self._for(item, parts, depth)
            before = self._around, set(self._true)
            if parts[0].full:
                self._around = self._around.inside(item)
                self._inside(in_full(item), depth + 1, self._claims(item))
            else:
                self._inside(item, depth + 1)
            self._around, self._true = before

    def _starts(self, carries: tuple[Carry, ...], depth: int) -> None:
        """What a block carries, before it."""
        for carry in carries:
            start = self._code(carry.start, carry.axes, depth, carry.kind)
            kind = HELD_AS[carry.kind]
            text = f"np.full({self._lengths(carry.axes)}, {start}, {kind})"
            self._define(carry.name, carry.axes, carry.kind, text, depth)

    def _inside(self, item: Loop | If, depth: int, claims: Sequence[Expr] = ()) -> None:
        """The body of a block and the next values of what it carries.

        Of a loop that leaves out rounds, the statements that tell so come before a test.
        """
        body = item.body
        if isinstance(item, Loop) and item.where != Bool(True):
            first = ahead(item)
            self._statements(body[:first], depth)
            self._line(f"if not ({self._text(item.where, depth)}):", depth)
            self._line("continue", depth + 1)
            body = body[first:]
        self._statements(body, depth, claims)
        nexts = [self._next(c, depth) for c in item.carries]
        names = [self.tile(c.name) for c in item.carries]
        if names:
            self._line(f"{', '.join(names)} = {', '.join(nexts)}", depth)
        elif not item.body:
            self._line("pass", depth)

    def _claims(self, item: Loop) -> tuple[Expr, ...]:
        """What a full range claims."""
        inside = Compare(("<=", "<"), (Int(0), Var(item.axis), self._size(item.axis)))
        return (*item.given, inside, Apply("within", (Var(item.axis),)))

    def _claimed(self, condition: Expr, depth: int) -> None:
        """Asserts what a full range claims, for the lanes within parallel extents.

        Those beyond are rows that nothing stores. That a lane is within such an extent itself is
        claimed for all of them.
        """
        term = self._term(assumed(condition, self._is_true), depth)
        text = f"({term.value.text})"
        for axis in self._kernel_axes:
            own = Compare(("<",), (Var(axis.name), axis.size))
            if axis.kind == "par" and axis.name in term.value.axes and condition != own:
                beyond = Code(f"~{self.within(axis.name)}", (axis.name,))
                text += f" | {aligned(beyond, term.value.axes, self._order.index).text}"
        self._line(f"assert np.all({text})", depth)

    def _size(self, axis: str) -> Expr:
        """The extent of an axis of the current kernel."""
        return next(a.size for a in self._kernel_axes if a.name == axis)

    def tile_kind(self, axis: str) -> AxisKind:
        """The kind of an axis of the current kernel."""
        return next((a.kind for a in self._kernel_axes if a.name == axis), "whole")

    def _assumed(self, expr: Expr) -> Expr:
        """An expression without what holds in the range that is emitted."""
        if not self._around:
            return expr
        return assumed(expr, lambda e: self._is_true(e) or self._full.holds(self._around, e))

    def _is_true(self, condition: Expr) -> bool:
        """Whether a condition is a tile that is true in all lanes of the range."""
        return isinstance(condition, Name) and condition.name in self._true

    def _mask(self, predicate: Expr, axes: tuple[str, ...], depth: int) -> str:
        """A predicate on memory without what holds there."""
        found = self._full.mask(self._around, predicate)
        return self._emitted(assumed(found, self._is_true), axes, depth)

    def _next(self, carry: Carry, depth: int) -> str:
        text = self._code(carry.next, carry.axes, depth, carry.kind)
        return f"np.broadcast_to({text}, {self._lengths(carry.axes)})"

    def _store(self, item: Store, depth: int) -> None:
        axes = tuple(
            a
            for a in self._order
            if a in self._axes_of(item.value, item.where, item.guard, *item.index)
        )
        index = tuple_of([self._code(i, axes, depth) for i in item.index])
        kind = self.facts.types[item.tensor].kind
        value = self._code(item.value, axes, depth, kind)
        where = self._code(item.where, axes, depth)
        guard = self._mask(item.guard, axes, depth)
        arrays = f"{self._array(item.tensor)}, {self._here(item.tensor)}"
        combine = f', "{item.combine}"' if item.combine else ""
        lanes = self._lengths(axes)
        self._line(f"_put({arrays}, {index}, {value}, {where}, {guard}, {lanes}{combine})", depth)

    # Expressions

    def _axes_of(self, *exprs: Expr) -> set[str]:
        found: set[str] = set()
        for expr in exprs:
            found |= set(self._emitter([]).top(expr).value.axes)
        return found

    def _kind_of(self, expr: Expr) -> Kind:
        return self._types_of()(expr).kind

    def _types_of(self) -> TileTypes:
        return TileTypes({**self.facts.values, **self._values}, self.facts.types, self._kinds)

    def _emitter(self, lines: list[str]) -> TileExpressions:
        return TileExpressions(self, self._types_of(), self._order, lines=lines)

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
        return self._emitted(self._assumed(expr), axes, depth, kind)

    def _emitted(
        self, expr: Expr, axes: tuple[str, ...], depth: int, kind: Kind | None = None
    ) -> str:
        lines: list[str] = []
        emitter = self._emitter(lines)
        term = emitter.top(expr)
        if kind is not None:
            term = emitter.convert(term, kind)
        term = emitter.array(term)
        for line in lines:
            self._line(line, depth)
        return aligned(term.value, axes, self._order.index).text

    def _text(self, expr: Expr, depth: int = 0) -> str:
        """A number of the whole tile."""
        return self._code(expr, (), depth)

    def _lengths(self, axes: tuple[str, ...]) -> str:
        return tuple_of([f"{self.coordinate(a)}.size" for a in axes])
