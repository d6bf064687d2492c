"""What stands around kernels: the function that is called, its checks, and the launches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from attnc.backends.names import TAKEN, Names
from attnc.backends.numpy.layout import (
    INDENT,
    NUMPY_NAMES,
    indented,
    keywords,
    literal,
    tuple_of,
)
from attnc.backends.options import Options
from attnc.backends.signature import READERS, Signature, nearest
from attnc.backends.triton.host import Host, may_fail
from attnc.backends.triton.kernel import Printed
from attnc.backends.triton.layout import laid_out
from attnc.backends.triton.sizes import Sizes
from attnc.ir import printer
from attnc.ir.cascade import Binding, Constant, Input, Output, Require
from attnc.ir.claims import Claim, claims_of
from attnc.ir.expr import Expr, Value
from attnc.ir.facts import Facts
from attnc.ir.printer import AND, PRODUCT
from attnc.ir.tiles import Buffer, Plan
from attnc.ir.tiles_facts import facts_of, tensor_sizes
from attnc.ir.tiles_walk import last_with, pieces_of
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions

RESERVED: Final = TAKEN | {"tl", "triton", "torch", "math"}
TORCH: Final = {
    Kind.BOOL: "torch.bool",
    Kind.I32: "torch.int32",
    Kind.I64: "torch.int64",
    Kind.F32: "torch.float32",
    Kind.FLOAT: "_float",
    Kind.F64: "torch.float64",
}


@dataclass
class Launcher:
    """Prints the wrapper of a plan's kernels."""

    plan: Plan
    options: Options
    kernels: list[Printed]
    names: Names = field(default_factory=lambda: Names(set(RESERVED)))
    lines: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.facts: Facts = facts_of(self.plan)
        self.function: str = self.names.of("function", self.plan.name)
        for tensor in tensor_sizes(self.plan):
            self.names.of("tensor", tensor)
        for parameter in self.plan.parameters:
            self.names.of("value", parameter.name)
        for name in self.facts.values:
            self.names.of("value", name)
        self.host: Host = Host(self.value)

    def value(self, name: str) -> str:
        """The Python name of a value."""
        return self.names.of("value", name)

    def tensor(self, name: str) -> str:
        """The Python name of a tensor."""
        if name.endswith("?"):
            return self.names.of("presence", f"{self.names.of('tensor', name[:-1])}_here")
        return self.names.of("tensor", name)

    def text(self) -> list[str]:
        """The lines of the functions."""
        signature = str(self.call)
        handed = self._handed()
        checked = self._checked()
        shapes = self._shapes()
        launched = self._launched()
        return [
            *laid_out(f"def {self.function}({signature}):"),
            *indented(self._docstring()),
            *body_of(self._called()),
            "",
            "",
            *laid_out(f"def _shapes({signature}):"),
            f'{INDENT}"""The shapes of the outputs, from those of the inputs."""',
            *body_of(shapes),
            "",
            "",
            *laid_out(f"def _check({signature}):"),
            f'{INDENT}"""What `_launch` takes: tensors that are checked, sizes and values."""',
            *body_of(checked),
            *body_of([f"return {tuple_of(handed)}"]),
            "",
            "",
            *laid_out(f"def _launch({', '.join(handed)}):"),
            *indented([self._does()]),
            *body_of(launched),
        ]

    def _called(self) -> list[str]:
        """The lines of the function that is called."""
        return [f"return _launch(*_check({self.call.forwarded()}))"]

    def _does(self) -> str:
        """What `_launch` says of itself."""
        return '"""Runs the kernels."""'

    # Arguments

    @property
    def call(self) -> Signature:
        """How the function is called."""
        shown = self.plan.inputs, self.plan.outputs, self.plan.parameters
        return Signature(*shown, self.options.static, self.names, _python)

    def _handed(self) -> list[str]:
        """What `_check` hands to `_launch`."""
        tensors = [self.tensor(i.name) for i in self.plan.inputs]
        values = [v for v in self.facts.values if v not in self.plan.tiles]
        return [*tensors, *map(self.value, values), "_type", "_device"]

    def _is_extent(self, name: str) -> bool:
        return self.facts.variables.get(name.lower()) == Value(name)

    # Checks

    def _parameters(self) -> list[str]:
        lines = self.call.renaming()
        for parameter in self.plan.parameters:
            name = self.value(parameter.name)
            bounded = parameter.name in self.plan.bounded
            if parameter.name in self.options.static:
                fixed = self.options.static[parameter.name]
                value = _python(nearest(int(fixed)) if bounded else fixed)
                lines.append(f"{name} = {value}  # fixed when this was compiled")
                continue
            reader = "_near" if bounded else READERS[parameter.type]
            read = f'{reader}("{parameter.name}", {name})'
            if self._is_extent(parameter.name):
                read = f'_size("{parameter.name}", {read})'
            lines.append(f"{name} = {read}")
        return lines

    def _checked(self) -> list[str]:
        lines = self._parameters()
        declared = {s for i in self.plan.inputs for s in i.sizes}
        given = {p.name for p in self.plan.parameters if self._is_extent(p.name)}
        preset = sorted(n for n in given if n in declared)
        pairs = ", ".join(f'"{n}": ({self.value(n)}, "the parameter {n}")' for n in preset)
        if self.plan.inputs:
            lines.append(f"_sizes = {{{pairs}}}")
        for item in self.plan.inputs:
            lines.append(self._tensor_check(item))
        lines += self._type_of([i for i in self.plan.inputs if i.element is None])
        names = {i.name: self.tensor(i.name) for i in self.plan.inputs}
        lines.append(self._device(names))
        for item in self.plan.inputs:
            if any(isinstance(s, str) for s in item.sizes):
                left = [self.value(s) if isinstance(s, str) else "_" for s in item.sizes]
                lines.append(f"{tuple_of(left)[1:-1]} = {self.tensor(item.name)}.shape")
        return [*lines, *self._bindings(check=True)]

    def _device(self, names: dict[str, str]) -> str:
        """The line that tells where all tensors are."""
        return f"_device = _device_of(_k0, {keywords(names)})"

    def _tensor_check(self, item: Input) -> str:
        ranks = [f'"{s}"' if isinstance(s, str) else str(s) for s in item.sizes]
        element = item.element or self.options.dtype
        types = "_FLOATS" if element is None else f'("{torch_name(element)}",)'
        return (
            f'_tensor("{item.name}", {self.tensor(item.name)}, {tuple_of(ranks)}, {types}, _sizes)'
        )

    def _type_of(self, untyped: list[Input]) -> list[str]:
        if self.options.dtype is not None:
            return [f"_type = torch.{torch_name(self.options.dtype)}"]
        if not untyped:
            return ["_type = torch.float32"]
        names = {i.name: self.tensor(i.name) for i in untyped}
        return [f"_type = _common({keywords(names)})"]

    def _bindings(self, *, check: bool) -> list[str]:
        """The bindings; without checks, those that sizes of outputs need."""
        lines = []
        needed = self._needed()
        for statement in self.facts.cascade.statements:
            match statement:
                case Binding(name=name, value=value) if check or name in needed:
                    text = self.host(value)
                    if may_fail(value):
                        text = f'_value("{name}", lambda: {text})'
                    if self._is_extent(name):
                        text = f'_size("{name}", {text})'
                    lines.append(f"{self.value(name)} = {text}")
                case Require(condition=condition) if check:
                    lines.append(self._require(condition))
                case _:
                    pass
        return lines

    def _needed(self) -> set[str]:
        """The values of which the sizes of outputs are made."""
        sizes = tensor_sizes(self.plan)
        found = _values(*(s for o in self.plan.outputs for s in sizes[o.name]))
        for let in reversed(self.plan.lets):
            if let.name in found:
                found |= _values(let.value)
        return found

    def _require(self, condition: Expr) -> str:
        claims = claims_of(self.plan, condition)
        if claims is not None:
            return self._claim(condition, claims)
        nodes = subexpressions(condition)
        values = dict.fromkeys(n.name for n in nodes if isinstance(n, Value))
        shown = keywords({v: self.value(v) for v in values})
        text = printer.expression(condition)
        rest = f", {shown}" if shown else ""
        return f'_require("{text}", lambda: {self.host(condition)}{rest})'

    def _claim(self, condition: Expr, claims: tuple[Claim, ...]) -> str:
        """A requirement on tensors: a call believes it, unless it is told to look."""
        text = printer.expression(condition)
        parts = (f'({self.tensor(c.tensor)}, {c.rank}, "{c.op}")' for c in claims)
        return f'_claim("{text}", {", ".join(parts)})'

    def _docstring(self) -> list[str]:
        """That of the function that is called."""
        lines = self.call.docstring()
        if not any(claims_of(self.plan, r) for r in self.plan.requires):
            return lines
        lines[-1] = lines[-1].removesuffix('"""')
        note = "What is required of tensors is believed; with ATTNC_CHECK=1 in the environment,"
        return [*lines, *([""] if lines[-1] else []), note, "each call checks it.", '"""']

    def _shapes(self) -> list[str]:
        lines = self._parameters()
        for item in self.plan.inputs:
            if item.sizes:
                names = [self.value(s) if isinstance(s, str) else "_" for s in item.sizes]
                lines.append(f"{tuple_of(names)[1:-1]} = {self.tensor(item.name)}")
        lines += self._bindings(check=False)
        return [*lines, f"return {tuple_of([self._shape(o.name) for o in self.plan.outputs])}"]

    def _shape(self, tensor: str) -> str:
        return tuple_of([self.host(s) for s in tensor_sizes(self.plan)[tensor]])

    # Launches

    def _launched(self) -> list[str]:
        lines = ["_float = torch.float64 if _type == torch.float64 else torch.float32"]
        buffers = {b.name: b for b in self.plan.buffers}
        for output in self.plan.outputs:
            dtype = _dtype(output)
            if output.name in buffers:
                continue
            made = f"torch.empty({self._shape(output.name)}, dtype={dtype}, device=_device)"
            lines.append(f"{self.tensor(output.name)} = {made}")
        lists = [b for b in self.plan.buffers if self._of_tiles(b)]
        for buffer in self.plan.buffers:
            if buffer in lists:
                continue
            shape = self._shape(buffer.name)
            made = f"torch.empty({shape}, dtype={TORCH[buffer.kind]}, device=_device)"
            lines.append(f"{self.tensor(buffer.name)} = {made}")
            if buffer.presence == "byte":
                made = f"torch.empty({shape}, dtype=torch.bool, device=_device)"
                lines.append(f"{self.tensor(buffer.name + '?')} = {made}")
        if not any("_float" in x for x in lines[1:]):
            lines.pop(0)
        lines += self._nothing()
        target = "_target_of(_device)"
        if self.options.target:
            target = f'_only("{self.options.target}", _device)'
        lines.append(f"_target = {target}")
        known: set[str] = set()
        for kernel in self.kernels:
            lines += ["", *self._agreed(kernel, known)]
            for buffer in lists:
                if buffer.name in kernel.scope.context.stored:
                    shape, kind = self._shape(buffer.name), TORCH[buffer.kind]
                    made = f"torch.empty({shape}, dtype={kind}, device=_device)"
                    lines.append(f"{self.tensor(buffer.name)} = {made}")
            lines += self._launch(kernel)
        return [*lines, "", self._returned()]

    def _returned(self) -> str:
        """The line that returns the outputs."""
        buffers = {b.name for b in self.plan.buffers}
        results = [
            self._finished(o.name) if o.name in buffers else self.tensor(o.name)
            for o in self.plan.outputs
        ]
        return f"return {', '.join(results)}"

    def _of_tiles(self, buffer: Buffer) -> bool:
        """Whether a buffer has a size that is made of those of tiles."""
        told = {piece.points for piece in pieces_of(self.plan)}
        return bool(_values(*buffer.sizes) & (set(self.plan.tiles) - told))

    def _agreed(self, kernel: Printed, known: set[str]) -> list[str]:
        """The sizes of tiles that a kernel shares with later ones, as those need them."""
        lines: list[str] = []
        for axis in kernel.scope.kernel.axes:
            if not axis.tile or axis.tile in known:
                continue
            last = last_with(self.plan, axis.tile)[0]
            other = next(k for k in self.kernels if k.scope.kernel == last)
            names = self._tiles(other, Names(set(self.names.used)))
            lines += Sizes(other, self.host, names).lines()
            shared = [a.tile for a in last.axes if a.tile and not other.scope.is_tile(a.name)]
            lines += [f"{self.value(tile)} = 1" for tile in shared]
            lines.append("_held = _warps, _stages, _beside")
            known |= {a.tile for a in last.axes}
        return lines

    def _tiles(self, kernel: Printed, taken: Names) -> dict[str, str]:
        """What the sizes of tiles along axes are called."""
        shared = {a.name: a.tile for a in kernel.scope.kernel.axes}
        return {
            axis: self.value(shared[axis]) if shared[axis] else taken.of("tile", size)
            for axis, size in kernel.tiles
        }

    def _nothing(self) -> list[str]:
        """What is returned where sizes leave no point of any output."""
        if not self.plan.given:
            return []
        holds = " and ".join(self.host(c, AND + 1) for c in self.plan.given)
        if any(map(may_fail, self.plan.given)):
            holds = f"_holds(lambda: {holds})"
        test = f"if not {holds}:" if holds.startswith("_holds") else f"if not ({holds}):"
        return [f"{test}  # no output has a point", f"{INDENT}return {self._nothing_else()}"]

    def _nothing_else(self) -> str:
        """What the function gives whose outputs have no point."""
        return ", ".join(self._empties())

    def _empties(self) -> list[str]:
        """The outputs, each its empty value everywhere."""
        results = []
        for output in self.plan.outputs:
            empty, dtype = empty_of(output), _dtype(output)
            text = f"{self.tensor(output.name)}.fill_({empty})"
            if any(b.name == output.name for b in self.plan.buffers):
                shape = self._shape(output.name)
                text = f"torch.full({shape}, {empty}, dtype={dtype}, device=_device)"
            results.append(text)
        return results

    def _finished(self, name: str) -> str:
        """An output that kernels have read again: its absent points filled, in its own type."""
        output = next(o for o in self.plan.outputs if o.name == name)
        buffer = next(b for b in self.plan.buffers if b.name == name)
        text = self.tensor(name)
        if buffer.presence == "byte":
            text = f"torch.where({self.tensor(name + '?')}, {text}, {empty_of(output)})"
        return f"{text}.to({_dtype(output)})"

    def _launch(self, kernel: Printed) -> list[str]:
        scope = kernel.scope
        lines: list[str] = []
        strided = [t for t in kernel.tensors if t.strides]
        taken = Names(set(self.names.used))
        factors: dict[str, str] = {}
        steps: dict[str, str] = {}
        for tensor in strided:
            name = self.tensor(tensor.name)
            if not tensor.factored:
                steps[tensor.name] = f"{name}.stride()"
                continue
            factors[tensor.name] = taken.of("factor", f"{name}_by")
            steps[tensor.name] = taken.of("strides", f"{name}_strides")
            divided = "_strides" if tensor.even else "_long_strides"
            lines.append(f"{factors[tensor.name]}, {steps[tensor.name]} = {divided}({name})")
        tiles = self._tiles(kernel, taken)
        if any(a.tile for a in scope.kernel.axes):
            lines.append("_warps, _stages, _beside = _held")
        else:
            lines += Sizes(kernel, self.host, tiles).lines()
        counts = []
        for axis in kernel.parallel:
            size = self.host(scope.axis(axis).size, PRODUCT + 1)
            if axis in tiles:
                size = f"triton.cdiv({self.host(scope.axis(axis).size)}, {tiles[axis]})"
            counts.append(size)
        grid = " * ".join(counts) or "1"
        lines.append(f"_programs = {grid}")
        call: list[str] = [self.tensor(t.name) for t in kernel.tensors]
        for box in kernel.boxes:
            tile = tuple_of([tiles[axis] if axis else "1" for axis in box.axes])
            factor = factors[box.tensor]
            call.append(f"_box({self.tensor(box.tensor)}, {factor}, {tile}, _target, _warps)")
        call += [f"*{steps[t.name]}" for t in strided]
        evened = {v: taken.of("factor", by) for v, by in kernel.factored.items()}
        lines += [f"{by} = _factor({self.value(v)})" for v, by in evened.items()]
        for value in kernel.values:
            if not scope.is_constant(value):
                by = f" // {evened[value]}" if value in evened else ""
                call.append(self._passed(value) + by)
        call += [self.host(size) for size in kernel.sizes]
        call += [self._hoisted(a.value) for a in kernel.hoists]
        fixed = {
            scope.names.of("value", v): self.value(v) for v in kernel.values if scope.is_constant(v)
        }
        fixed |= {size: tiles[axis] for axis, size in kernel.tiles}
        fixed |= {t.factor: factors[t.name] for t in strided if t.factored}
        fixed |= {by: evened[v] for v, by in kernel.factored.items()}
        spans = [
            f"({self.tensor(t.name)}, {tuple_of([str(r) for r in sorted(t.lanes)])})"
            for t in kernel.tensors
            if t.lanes
        ]
        declared = {s for i in self.plan.inputs for s in i.sizes}
        numbers = [self._passed(v) for v in kernel.values if v not in declared]
        numbers += map(self.host, kernel.sizes)
        types = {
            "INDEX": f"_index([{', '.join(spans)}]{''.join(f', {n}' for n in numbers)})",
            "FLOAT": "tl.float64 if _type == torch.float64 else tl.float32",
            "TYPE": "_type_of(_type)",
        }
        fixed |= {n: types[n] for n in kernel.constants}
        rows = [x for line in filled_rows(call) for x in laid_out(line)]
        rows += [f"{name}={text}," for name, text in fixed.items()]
        rows += ["num_warps=_warps,", "num_stages=_stages,"]
        if kernel.products:
            rows.append("**_limited(_target, _type, _warps, _beside),")
        rows.append(f"enable_fp_fusion={not kernel.ranks},")
        lines.append("if _programs:")
        lines.append(f"{INDENT}with _on(_device):")
        lines.append(f"{INDENT * 2}{kernel.name}[(_programs,)](")
        lines += [f"{INDENT * 3}{row}" for row in rows]
        lines.append(f"{INDENT * 2})")
        return lines

    def _passed(self, value: str) -> str:
        """A value as an argument: a truth as 0 or 1."""
        text = self.value(value)
        return f"int({text})" if self.facts.values[value].kind is Kind.BOOL else text

    def _hoisted(self, expr: Expr) -> str:
        text = self.host(expr)
        if isinstance(expr, Value):
            return text
        return f"_real_number(lambda: {text})" if may_fail(expr) else text


def _values(*exprs: Expr) -> set[str]:
    """The values in some expressions."""
    return {n.name for e in exprs for n in subexpressions(e) if isinstance(n, Value)}


def filled_rows(texts: list[str]) -> list[str]:
    """Arguments, as many in each line as there is room for."""
    rows: list[str] = []
    for text in texts:
        if rows and len(rows[-1]) + len(text) + 2 <= printer.WIDTH - 4 * len(INDENT):
            rows[-1] += f" {text},"
        else:
            rows.append(f"{text},")
    return rows


def body_of(lines: list[str]) -> list[str]:
    """The lines of a function's body."""
    return [x for line in lines for x in laid_out(INDENT + line if line else "")]


def _python(value: Constant) -> str:
    text = literal(value)
    return text.replace("np.inf", "math.inf").replace("np.nan", "math.nan")


def _dtype(output: Output) -> str:
    """The element type of an output."""
    return "_type" if output.element is None else f"torch.{torch_name(output.element)}"


def empty_of(output: Output) -> str:
    """What the absent points of an output become."""
    return _python(output.empty if output.empty is not None else 0)


def torch_name(element: str) -> str:
    return "float8_e4m3fn" if element == "f8e4m3" else NUMPY_NAMES[element]
