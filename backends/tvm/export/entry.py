"""The function that C calls: it checks its arguments, and runs the kernels of a plan in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from attnc.backends.signature import FAR
from attnc.backends.tvm.export.arithmetic import Arithmetic
from attnc.backends.tvm.export.builds import Builds
from attnc.backends.tvm.export.interface import BUILT, MEMORY, NULL, SIZE, Interface
from attnc.backends.tvm.kernel import Printed
from attnc.backends.tvm.work import FUNCTION, counted
from attnc.ir.cascade import Constant, Output
from attnc.ir.expr import Expr
from attnc.ir.types import Kind

MOST: Final = 2**29
"""More than a size can be."""

FRACTIONS: Final = {"float8_e4m3fn": 3, "float8_e5m2": 2}
"""How many digits the fractions of short floats have."""

LITTLE: Final = 2**19
"""So many products of matrices take less time than it takes to make a thread."""

BYTES: Final = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


@dataclass
class Entry:
    """Makes the function, as one of TVM's: its first argument is where it puts what C returns.

    `tvm` is the compiler's module, `builds` are the kernels, `whole` the sizes they are built for.
    """

    tvm: Any
    interface: Interface
    builds: list[Builds]
    whole: Mapping[Expr, int]
    number: str
    """The type that is computed in."""
    script: Any
    """The helpers that kernels are written with."""
    lines: list[Any] = field(default_factory=list[Any])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[str, Any] = field(default_factory=dict[str, Any])
    """Where the elements of each tensor begin."""
    strides: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    calls: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """The kernels by the names under which they are called."""

    def __post_init__(self) -> None:
        self.tirx: Any = self.tvm.tirx
        self.number_of: Arithmetic = Arithmetic(self.tirx, lambda name: self.values[name])
        self.code: Any = self._pointer("status", "int32")
        self.status: Any = self._buffer("status", "int32", self.code, [1])

    @property
    def inner(self) -> str:
        """What the function is called, around which there is the one for C."""
        return f"{self.interface.symbol}_attnc"

    def function(self) -> Any:
        """The function; `calls` are those that it calls."""
        tirx = self.tirx
        variables = self._variables()
        threads = variables[-1]
        self._checked(dict(zip(self.interface.arguments, variables, strict=True)))
        for tensor in self.interface.plan.outputs:
            if tensor.name in self._between():
                self.places[f"{tensor.name} as given"] = self.places.pop(tensor.name)
                self.strides[f"{tensor.name} as given"] = self.strides.pop(tensor.name)
        self._nothing()
        workers = self._let("workers", self._workers(threads))
        room = self._room()
        for i, builds in enumerate(self.builds):
            self._ran(builds, i, workers, room)
        for output in self.interface.plan.outputs:
            if output.name in self._between():
                self._finished(output)
        if room is not None:
            self.lines.append(self._outside("int32", "attnc_leave", room))
        self.lines += self._return(0)
        body = tirx.SeqStmt([tirx.DeclBuffer(self.status, data=self.code), *self.lines])
        return tirx.PrimFunc([self.code, *variables], body, self.tvm.ir.PrimType("int32"))

    # Pieces

    def _pointer(self, name: str, dtype: str) -> Any:
        ir = self.tvm.ir
        return self.tirx.Var(name, ir.PointerType(ir.PrimType(dtype), "global"))

    def _buffer(
        self, name: str, dtype: str, data: Any, shape: list[Any], strides: Any = None
    ) -> Any:
        return self.tirx.decl_buffer(
            shape, dtype, name, data=data, strides=strides, data_alignment=1
        )

    def _whole(self, number: int, kind: str = "int64") -> Any:
        return self.tirx.IntImm(kind, number)

    def _let(self, name: str, value: Any) -> Any:
        variable = self.tirx.Var(name, value.ty)
        self.lines.append(self.tirx.Bind(variable, value))
        return variable

    def _outside(self, kind: Any, name: str, *arguments: Any) -> Any:
        return self.tirx.Evaluate(self.tirx.call_extern(kind, name, *arguments))

    def _return(self, code: int) -> list[Any]:
        tirx = self.tirx
        stored = tirx.BufferStore(self.status, self._whole(code, "int32"), [0])
        return [stored, tirx.Return(self._whole(0, "int32"))]

    def _unless(self, fails: Any, code: int) -> None:
        """Returns an error where something fails."""
        if fails is not None:
            self._if(fails, self._return(code))

    def _if(self, condition: Any, lines: list[Any]) -> None:
        self.lines.append(self._chosen(condition, lines, None))

    def _chosen(self, condition: Any, then: list[Any], other: Any) -> Any:
        return self.tirx.IfThenElse(condition, self._sequence(then), other)

    def _sequence(self, lines: list[Any]) -> Any:
        return lines[0] if len(lines) == 1 else self.tirx.SeqStmt(lines)

    def _product(self, sizes: list[Any]) -> Any:
        found = self._whole(1)
        for size in sizes:
            found = found * size
        return found

    def _size(self, expr: Expr) -> Any:
        return self.number_of.whole(self.number_of(expr).value)

    # Arguments and checks

    def _variables(self) -> list[Any]:
        types = {"size": "int64", "int": "int64", "float": "float64", "bool": "int32"}
        elements = {t.name: self.interface.element(t) for t in self.interface.tensors}
        found: list[Any] = []
        for argument in self.interface.arguments:
            match argument.role:
                case "input" | "output":
                    stored = elements[argument.of]
                    kind = _stored(stored)
                    found.append(self._pointer(argument.name, kind))
                case "strides":
                    found.append(self._pointer(argument.name, "int64"))
                case "threads":
                    found.append(self.tirx.Var(argument.name, "int32"))
                case role:
                    found.append(self.tirx.Var(argument.name, types[role]))
        return found

    def _checked(self, given: Mapping[Any, Any]) -> None:
        tirx, interface = self.tirx, self.interface
        for name, value in interface.options.static.items():
            self.values[name] = self._constant(name, value)
        for argument, variable in given.items():
            match argument.role:
                case "size" | "int" | "float":
                    self.values[argument.of] = variable
                case "bool":
                    self.values[argument.of] = tirx.NE(variable, self._whole(0, "int32"))
                case _:
                    pass
        for name in interface.plan.bounded:
            least, most = self._whole(-FAR), self._whole(FAR)
            x = self.values[name]
            x = tirx.Select(x < least, least, x)
            self.values[name] = self._let(name, tirx.Select(x > most, most, x))
        parameters = [p.name for p in interface.free if interface.is_extent(p.name)]
        for name in (*interface.extents(), *parameters):
            size = self.values[name]
            self._unless(tirx.Or(size < 0, size >= self._whole(MOST)), SIZE)
        for check in interface.checks:
            found = self.number_of(check.expr)
            self._unless(found.fails, check.code)
            if check.value is None:
                self._unless(tirx.Not(self.number_of.truth(found.value)), check.code)
            else:
                self._bound(check.value, found.value, check.code)
        for expr, number in self.whole.items():
            self._unless(tirx.NE(self._size(expr), self._whole(number)), BUILT)
        self._tensors(given)

    def _constant(self, name: str, value: Constant) -> Any:
        kinds = {p.name: p.type for p in self.interface.plan.parameters}
        match kinds[name]:
            case "float":
                return self.tirx.FloatImm("float64", float(value))
            case "bool":
                return self._whole(int(value), "bool")
            case _:
                number = int(value)
                bounded = name in self.interface.plan.bounded
                return self._whole(max(-FAR, min(number, FAR)) if bounded else number)

    def _bound(self, name: str, value: Any, code: int) -> None:
        """A binding, in its type."""
        kind = self.interface.facts.values[name].kind
        if kind in (Kind.I64, Kind.I32):
            value = self.number_of.whole(value)
        elif kind is not Kind.BOOL:
            value = self.number_of.real(value)
        self.values[name] = self._let(name, value)
        if self.interface.is_extent(name):
            size = self.values[name]
            self._unless(self.tirx.Or(size < 0, size >= self._whole(MOST)), code)

    def _tensors(self, given: Mapping[Any, Any]) -> None:
        """Where tensors are, and their strides: without any, rows lie one after the other."""
        tirx = self.tirx
        for argument, variable in given.items():
            if argument.role not in ("input", "output", "strides"):
                continue
            sizes = [self._size(s) for s in self.interface.shape(argument.of)]
            none = tirx.isnullptr(variable)
            if argument.role != "strides":
                some = self._product(sizes) > 0
                self._unless(tirx.And(none, some), NULL)
                self.places[argument.of] = variable
                self.strides[argument.of] = []
                continue
            table = self._buffer(argument.name, "int64", variable, [len(sizes)])
            self.lines.append(tirx.DeclBuffer(table, data=variable))
            for rank in range(len(sizes)):
                step = tirx.if_then_else(none, self._product(sizes[rank + 1 :]), table[rank])
                self.strides[argument.of].append(self._let(f"{argument.name}_{rank}", step))

    # Around kernels

    def _between(self) -> dict[str, Any]:
        return {b.name: b for b in self.interface.plan.buffers}

    def _kind(self, kind: Kind) -> str:
        kinds = {Kind.BOOL: "bool", Kind.I32: "int32", Kind.I64: "int64", Kind.F32: "float32"}
        return kinds.get(kind, "float64" if kind is Kind.F64 else self.number)

    def _workers(self, threads: Any) -> Any:
        tirx = self.tirx
        asked = tirx.Cast("int64", threads)
        return tirx.if_then_else(asked > 0, asked, tirx.call_extern("int64", "attnc_processors"))

    def _room(self) -> Any:
        """Memory for what lies between kernels, in one piece; none if nothing does."""
        tirx, ir = self.tirx, self.tvm.ir
        total = self._whole(0)
        starts: list[tuple[str, str, Any]] = []
        for buffer in self.interface.plan.buffers:
            sizes = [self._size(s) for s in buffer.sizes]
            count = self._product(sizes)
            parts = [(buffer.name, self._kind(buffer.kind))]
            if buffer.presence == "byte":
                parts.append((f"{buffer.name}?", "bool"))
            for name, kind in parts:
                starts.append((name, kind, total))
                taken = self.number_of.quotient(count * BYTES[kind] + 63, self._whole(64)) * 64
                total = self._let(f"room_{len(starts)}", total + taken)
                steps = [self._product(sizes[rank + 1 :]) for rank in range(len(sizes))]
                self.strides[name] = steps
        if not starts:
            return None
        of_bytes = ir.PointerType(ir.PrimType("uint8"), "global")
        room = self._let("room", tirx.call_extern(of_bytes, "attnc_take", total))
        self._unless(tirx.isnullptr(room), MEMORY)
        for name, kind, start in starts:
            pointer = ir.PointerType(ir.PrimType(kind), "global")
            place = tirx.call_extern(pointer, "attnc_at", room, start)
            self.places[name] = self._let(name.replace("?", "_here"), place)
        return room

    def _ran(self, builds: Builds, number: int, workers: Any, room: Any) -> None:
        """The call of a kernel: of the build for so many rows as there are."""
        kernel, tirx = builds.kernel, self.tirx
        scope = kernel.scope
        given = [self.places[t.name] for t in kernel.tensors]
        for tensor in kernel.tensors:
            given += self.strides[tensor.name][: len(tensor.strides)]
        for value in kernel.values:
            if not scope.is_constant(value):
                given.append(self.number_of.whole(self.values[value]))
        given += [self._size(size) for size in kernel.sizes]
        given += [self.number_of.real(self.number_of(h.value).value) for h in kernel.hoists]
        given.append(self._crew(kernel, workers))
        chosen: Any = None
        for build in reversed(builds.all):
            name = self.tvm.ir.GlobalVar(f"k{number}_{build.tile or ''}".rstrip("_"))
            self.calls[name] = build.function
            code = tirx.Var("code", "int32")
            call = self.tvm.ir.Call(name, given, ret_ty="int32")
            lines = [tirx.Bind(code, call)]
            left = [] if room is None else [self._outside("int32", "attnc_leave", room)]
            failed = tirx.NE(code, self._whole(0, "int32"))
            lines.append(self._chosen(failed, [*left, *self._return(MEMORY)], None))
            if chosen is None:
                chosen = self._sequence(lines)
            else:
                chosen = self._chosen(self._many(builds, build.tile or 1, workers), lines, chosen)
        self.lines.append(chosen)

    def _crew(self, kernel: Printed, workers: Any) -> Any:
        """How many threads are worth making: the caller's alone, where there is little to do."""
        around, lanes, products = counted(kernel.scope.kernel)
        real = self.number_of.real
        each = sum((self._real_product(lane) for lane in lanes), real(self._whole(0)))
        if products:
            each = each + real(self._whole(FUNCTION))
        else:
            each = (each if lanes else real(self._whole(1))) * real(self._whole(FUNCTION))
        enough = self._real_product(around) * each >= real(self._whole(LITTLE))
        return self._let("crew", self.tirx.Select(enough, workers, self._whole(1)))

    def _real_product(self, sizes: list[Expr]) -> Any:
        found = self.number_of.real(self._whole(1))
        for size in sizes:
            found = found * self.number_of.real(self._size(size))
        return found

    def _many(self, builds: Builds, tile: int, workers: Any) -> Any:
        """Whether there are rows enough for a tile, and then a program for each thread."""
        tirx, scope = self.tirx, builds.kernel.scope
        assert builds.rows is not None
        rows = self._size(scope.axis(builds.rows).size)
        some = builds.all[1].tile or 1
        if tile <= some:
            return rows * 4 > tile
        others = [a for a in scope.kernel.axes if a.kind == "par" and not scope.is_tile(a.name)]
        beside = self._product([self._size(a.size) for a in others])
        count = self.number_of.quotient(rows + (tile - 1), self._whole(tile)) * beside
        return tirx.And(rows > self._whole(some), count >= workers)

    # Outputs without kernels

    def _nothing(self) -> None:
        """Outputs where sizes leave no point of any: each its empty value everywhere."""
        holds: Any = None
        for condition in self.interface.plan.given:
            found = self.number_of(condition)
            here = self.number_of.truth(found.value)
            if found.fails is not None:
                here = self.tirx.And(self.tirx.Not(found.fails), here)
            holds = here if holds is None else self.tirx.And(holds, here)
        if holds is None:
            return
        filled: list[Any] = []
        for output in self.interface.plan.outputs:
            filled += self._each(output, lambda o, _: self._empty(o))
        self._if(self.tirx.Not(holds), [*filled, *self._return(0)])

    def _finished(self, output: Output) -> None:
        """An output that kernels have read again: its absent points filled, in its own type."""
        buffer = self._between()[output.name]
        sizes = [self._size(s) for s in buffer.sizes]
        kept = self._buffer(output.name, self._kind(buffer.kind), self.places[output.name], sizes)
        self.lines.append(self.tirx.DeclBuffer(kept, data=self.places[output.name]))
        here: Any = None
        if buffer.presence == "byte":
            place = self.places[f"{output.name}?"]
            here = self._buffer(f"{output.name}_here", "bool", place, sizes)
            self.lines.append(self.tirx.DeclBuffer(here, data=place))

        def value(output: Output, index: list[Any]) -> Any:
            found = self._as(output, kept[tuple(index)] if index else kept[0])
            if here is None:
                return found
            there = here[tuple(index)] if index else here[0]
            return self.tirx.Select(there, found, self._empty(output))

        self.lines += self._each(output, value)

    def _each(self, output: Output, value: Callable[[Output, list[Any]], Any]) -> list[Any]:
        """Every element of an output becomes what a function of its place gives."""
        tirx = self.tirx
        given = f"{output.name} as given"
        name = given if given in self.places else output.name
        sizes = [self._size(s) for s in self.interface.shape(output.name)]
        data = self.places[name]
        kind = _stored(self.interface.element(output))
        to = self._buffer(output.name, kind, data, sizes or [1], self.strides[name] or None)
        index = [tirx.Var(f"i{rank}", "int64") for rank in range(len(sizes))]
        body = tirx.BufferStore(to, value(output, index), index or [self._whole(0)])
        for i, size in zip(reversed(index), reversed(sizes), strict=True):
            body = tirx.For(i, self._whole(0), size, tirx.ForKind.SERIAL, body)
        return [tirx.DeclBuffer(to, data=data), body]

    def _empty(self, output: Output) -> Any:
        empty = output.empty if output.empty is not None else 0
        number = self.tirx.FloatImm("float64", float(empty))
        if not self.interface.element(output).startswith(("float", "bfloat")):
            number = self._whole(int(empty))
        return self._as(output, number)

    def _as(self, output: Output, value: Any) -> Any:
        """A number as an element of an output."""
        element = self.interface.element(output)
        if element == "bfloat16":
            return self.script._narrow(self.tirx.Cast("float32", value), element)
        if element in FRACTIONS:
            return self.script._to_f8(value, FRACTIONS[element])
        return self.tirx.Cast(_stored(element), value)


def _stored(element: str) -> str:
    """As what elements lie in memory."""
    if element == "bfloat16":
        return "uint16"
    return "uint8" if element.startswith("float8") else element
