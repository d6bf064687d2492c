"""A checked cascade as one readable NumPy module, unoptimised: the reference of all backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.backends.library import helpers, words
from attnc.backends.names import Names
from attnc.backends.numpy.expressions import Expressions
from attnc.backends.numpy.layout import (
    HELD_AS,
    INDENT,
    NUMPY_NAMES,
    as_written,
    dtype_text,
    folded,
    indented,
    keywords,
    literal,
)
from attnc.backends.numpy.loops import LoopAttempt
from attnc.backends.numpy.stored import Stored
from attnc.backends.numpy.terms import Code, Term, aligned, canonical
from attnc.backends.options import Options
from attnc.backends.signature import READERS, Signature, nearest
from attnc.ir import printer
from attnc.ir.cascade import Binding, Einsum, Input, Output, Require, Variables
from attnc.ir.expr import Expr, Int, Value
from attnc.ir.facts import Dimension, Facts
from attnc.ir.stages import Loop, Stage
from attnc.ir.types import Kind
from attnc.ir.typing import Types
from attnc.ir.walk import in_order, subexpressions

READ_AS: Final = {
    "f16": "np.float32",
    "bf16": "np.float32",
    "f8e4m3": "np.float32",
    "f8e5m2": "np.float32",
    "i8": "np.int32",
    "u8": "np.int32",
}


def emit(facts: Facts, options: Options) -> str:
    """The text of a Python module with one function named as the cascade.

    It imports NumPy alone (and ml_dtypes where an element type needs it). Tensors come in declared
    order, parameters by keyword, outputs go in order, as a tuple when there are several.
    """
    return Function(facts, options).module()


def quiet(lines: list[str]) -> list[str]:
    """Lines that compute, without warnings of NumPy; long ones folded."""
    while lines and not lines[0]:
        lines = lines[1:]
    folds = [piece for line in lines for piece in folded(line, 2)]
    return ['with np.errstate(all="ignore"):', *indented(folds)] if folds else []


@dataclass
class Function:
    """Emits the function of one cascade."""

    facts: Facts
    options: Options
    names: Names = field(default_factory=Names)
    tensors: dict[str, Stored] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _coordinates: dict[str, str] = field(default_factory=dict)
    _sizes: dict[str, str] = field(default_factory=dict)

    # What the emitter of expressions asks

    def coordinate(self, variable: str) -> str:
        """The array of a variable's coordinates; defined where it is first needed."""
        if variable not in self._coordinates:
            name = self.names.of("coordinates", variable)
            self._coordinates[variable] = name
            self.lines.append(f"{name} = np.arange({self.size(variable)})")
        return self._coordinates[variable]

    def value(self, name: str) -> str:
        """The Python name of a value."""
        return self.names.of("value", name)

    def size(self, variable: str) -> str:
        """The size of a variable's range; named where it is not an extent."""
        return self.extent(self.facts.variables[variable])

    def nonempty(self, variable: str) -> str:
        """The condition that a variable's range is not empty."""
        size = self.facts.variables[variable]
        if isinstance(size, Int):
            return "np.True_" if size.value > 0 else "np.False_"
        return f"{self.extent(size)} > 0"

    def extent(self, size: Expr) -> str:
        """The text of a size: an extent's name, a literal, or the name of what was computed."""
        match size:
            case Value(name=name):
                return self.value(name)
            case Int(value=value):
                return str(value)
            case _:
                return self._sizes[printer.expression(size)]

    def temporary(self) -> str:
        """A new name for an intermediate."""
        return self.names.temporary()

    # The module

    def module(self) -> str:
        """The whole text."""
        cascade = self.facts.cascade
        function = self.names.of("function", cascade.name)
        for item in cascade.inputs:
            self.names.of("tensor", item.name)
        for parameter in cascade.parameters:
            self.names.of("value", parameter.name)
        for name in self.facts.values:
            self.names.of("value", name)
        text = "\n".join(self._definitions(function)) + "\n"
        parts = [self._title(), "", "import math", "", "import numpy as np"]
        library = helpers("attnc.backends.numpy", "runtime.py", words(text))
        if not any("math." in h for h in library):
            parts = [self._title(), "", "import numpy as np"]
        if any("_KERNEL" in h for h in library) or "_KERNEL" in text:
            parts += ["", f'_KERNEL = "{cascade.name}"']
        parts += ["", f'__all__ = ["{function}"]', "", "", text.rstrip()]
        for helper in library:
            parts += (["", ""] if helper.startswith("def") else [""]) + [helper]
        return "\n".join(parts) + "\n"

    def _definitions(self, function: str) -> list[str]:
        """The lines of the function."""
        signature = str(self.call)
        head = [f"def {function}({signature}):", *indented(self._docstring())]
        return [*head, *indented(self._body())]

    def _title(self) -> str:
        cascade = self.facts.cascade
        text = printer.cascade(cascade).rstrip()
        shown = "\n".join(INDENT + line if line else "" for line in text.splitlines())
        return (
            f'"""{cascade.name}: emitted by attnc {self.options.version}.\n\n'
            f'{self.note()}\n\n{shown}\n"""'
        )

    def note(self) -> str:
        """What the head of the module says of it."""
        return "The cascade as written, in NumPy; no optimising pass has touched it."

    @property
    def call(self) -> Signature:
        """How the function is called."""
        cascade = self.facts.cascade
        shown = cascade.inputs, cascade.outputs, cascade.parameters
        return Signature(*shown, self.options.static, self.names, literal)

    def _docstring(self) -> list[str]:
        return self.call.docstring(width=10**6)  # in one line, whatever its length

    def _body(self) -> list[str]:
        cascade = self.facts.cascade
        self._parameters()
        self._inputs()
        for statement in cascade.statements:
            match statement:
                case Binding():
                    self._binding(statement)
                case Variables():
                    self._variables(statement)
                case Require():
                    self._require(statement)
                case Einsum():
                    pass
        for stage in self.facts.stages:
            self._stage(stage)
        self._outputs()
        arguments, inner = self._split()
        return [*arguments, *quiet(inner)]

    def _split(self) -> tuple[list[str], list[str]]:
        return self.lines[: self._checked], self.lines[self._checked :]

    def _parameters(self) -> None:
        self.lines += self.call.renaming()
        for parameter in self.facts.cascade.parameters:
            name = self.value(parameter.name)
            if parameter.name in self.options.static:
                value = self.options.static[parameter.name]
                kind = {"int": "np.int64", "float": "np.float64", "bool": "np.bool_"}
                if self._bounded(parameter.name):
                    value = nearest(int(value))
                line = f"{name} = {kind[parameter.type]}({literal(value)})"
                self.lines.append(f"{line}  # fixed when this was compiled")
            else:
                reader = "_near" if self._bounded(parameter.name) else READERS[parameter.type]
                read = f'{reader}("{parameter.name}", {name})'
                if self._is_extent(parameter.name):
                    read = f'_size("{parameter.name}", {read})'
                self.lines.append(f"{name} = {read}")

    def _bounded(self, name: str) -> bool:
        """Whether the nearest number within `FAR` is as good as a parameter."""
        return False

    def _is_extent(self, name: str) -> bool:
        return name.lower() in self.facts.variables and self.facts.variables[name.lower()] == Value(
            name
        )

    def _inputs(self) -> None:
        cascade = self.facts.cascade
        given = {p.name for p in cascade.parameters if self._is_extent(p.name)}
        declared = {s for i in cascade.inputs for s in i.sizes}
        preset = [n for n in given if n in declared]
        pairs = ", ".join(f'"{n}": ({self.value(n)}, "the parameter {n}")' for n in sorted(preset))
        if cascade.inputs:
            self.lines.append(f"_sizes = {{{pairs}}}")
        untyped = [i for i in cascade.inputs if i.element is None]
        for item in cascade.inputs:
            name = self.names.of("tensor", item.name)
            ranks = ", ".join(f'"{s}"' if isinstance(s, str) else str(s) for s in item.sizes)
            ranks = f"({ranks},)" if len(item.sizes) == 1 else f"({ranks})"
            element = item.element or self.options.dtype
            types = "_FLOATS" if element is None else f'("{NUMPY_NAMES[element]}",)'
            self.lines.append(f'{name} = _tensor("{item.name}", {name}, {ranks}, {types}, _sizes)')
        self._floating_type(untyped)
        for item in cascade.inputs:
            self._widen(item)
        for item in cascade.inputs:
            if any(isinstance(s, str) for s in item.sizes):
                names = [self.value(s) if isinstance(s, str) else "_" for s in item.sizes]
                left = ", ".join(names) + ("," if len(names) == 1 else "")
                array = self.names.of("tensor", item.name)
                self.lines.append(f"{left} = map(np.int64, {array}.shape)")
        self._checked = len(self.lines)
        for item in cascade.inputs:
            dimensions = tuple(
                Dimension(Int(s) if isinstance(s, int) else Value(s)) for s in item.sizes
            )
            kind = self.facts.types[item.name].kind
            self.tensors[item.name] = Stored(self.names.of("tensor", item.name), dimensions, kind)

    def _floating_type(self, untyped: Sequence[Input]) -> None:
        """`_type`, the element type of what declares none, and `_float`, what it is computed in."""
        dtype = self.options.dtype
        if dtype is not None:
            self.lines.append(f"_type = {dtype_text(dtype)}")
            wide = "np.float64" if dtype == "f64" else "np.float32"
            self.lines.append(f"_float = {wide}")
        elif untyped:
            names = [self.names.of("tensor", i.name) for i in untyped]
            pairs = keywords({i.name: n for i, n in zip(untyped, names, strict=True)})
            self.lines.append(f"_type = _common({pairs})")
            self.lines.append('_float = np.float64 if _type == "float64" else np.float32')
        else:
            self.lines.append("_type = np.float32")
            self.lines.append("_float = np.float32")

    def _widen(self, item: Input) -> None:
        name = self.names.of("tensor", item.name)
        if item.element is None:
            self.lines.append(f"{name} = {name}.astype(_float, copy=False)")
        elif item.element in READ_AS:
            self.lines.append(f"{name} = {name}.astype({READ_AS[item.element]})")

    # Statements

    def _expressions(self, axes: tuple[str, ...], *exprs: Expr) -> Expressions:
        found = dict.fromkeys(axes)
        for expr in exprs:
            found |= dict.fromkeys(in_order(expr))
        emitter = Expressions(self, self._types(), tuple(found))
        emitter.count_uses(*exprs)
        return emitter

    def _types(self) -> Types:
        return Types(self.facts.values, self.facts.types)

    def _binding(self, statement: Binding) -> None:
        emitter = self._expressions((), statement.value)
        term = emitter.array(emitter.top(statement.value))
        self.lines += ["", f"# {printer.statement(statement)}", *emitter.lines]
        name = self.value(statement.name)
        self.lines.append(f"{name} = {term.value.text}")
        present = emitter.whole(term)
        if present is not None:
            self.lines.append(f'{name} = _value("{statement.name}", {name}, {present.text})')
        if self._is_extent(statement.name):
            self.lines.append(f'{name} = _size("{statement.name}", {name})')

    def _variables(self, statement: Variables) -> None:
        if isinstance(statement.range, Int):
            return
        text = printer.expression(statement.range)
        if isinstance(statement.range, Value):
            if not self._is_extent(statement.range.name):
                name = self.value(statement.range.name)
                self.lines += ["", f"# {printer.statement(statement)}"]
                self.lines.append(f'_size("{text}", {name})')
            return
        if text in self._sizes:
            return
        emitter = self._expressions((), statement.range)
        term = emitter.array(emitter.top(statement.range))
        name = self.names.temporary()
        self.lines += ["", f"# {printer.statement(statement)}", *emitter.lines]
        present = emitter.whole(term)
        value = term.value.text
        if present is not None:
            value = f'_value("{text}", {value}, {present.text})'
        self.lines.append(f'{name} = _size("{text}", {value})')
        self._sizes[text] = name

    def _require(self, statement: Require) -> None:
        emitter = self._expressions((), statement.condition)
        holds = emitter.holds(statement.condition)
        nodes = subexpressions(statement.condition)
        values = dict.fromkeys(n.name for n in nodes if isinstance(n, Value))
        shown = keywords({v: self.value(v) for v in values})
        text = printer.expression(statement.condition)
        call = f'_require("{text}", {holds.text}{shown and f", {shown}"})'
        self.lines += ["", *emitter.lines, call]

    def _stage(self, stage: Stage) -> None:
        if isinstance(stage, Loop):
            self._loop(stage)
            return
        einsum = stage.einsum
        emitter, term = self.defined(einsum, {})
        self._comment(einsum)
        self.lines += emitter.lines
        stored = self.stored(einsum)
        value = self._spread(emitter, term, einsum.variables, stored.kind)
        self.lines.append(f"{stored.name} = {value}")
        when = self.lasting(term.when, einsum.variables)
        if term.here is not None:
            here = self.names.fresh(f"{stored.name}_here")
            code = canonical(term.here, emitter.order)
            self.lines.append(f"{here} = {code.text}")
            positions = tuple(einsum.variables.index(a) for a in code.axes)
            stored = replace(stored, here=here, positions=positions)
            if code.whole:
                stored = replace(stored, whole=code.whole, kept=code.kept)
        self.tensors[einsum.tensor] = replace(stored, when=when)

    def _comment(self, einsum: Einsum) -> None:
        self.lines += ["", *as_written(einsum)]

    def lasting(self, when: tuple[str, ...], variables: Sequence[str]) -> tuple[str, ...]:
        """Conditions that are not void because a tensor without points meets them too."""
        void = {self.nonempty(v) for v in variables}
        return tuple(w for w in when if w not in void)

    def stored(self, einsum: Einsum) -> Stored:
        info = self.facts.tensors[einsum.tensor]
        name = self.names.of("tensor", einsum.tensor)
        return Stored(name, info.dimensions, self.facts.types[einsum.tensor].kind)

    def defined(self, einsum: Einsum, scalars: Mapping[str, str]) -> tuple[Expressions, Term]:
        """The value of an Einsum, present where its conditions hold too."""
        axes = tuple(v for v in einsum.variables if v not in scalars)
        emitter = self._expressions(axes, einsum.value, *einsum.where)
        emitter.scalars = scalars
        emitter.axes = tuple(a for a in emitter.axes if a not in scalars)
        term = emitter.top(einsum.value)
        for condition in einsum.where:
            term = emitter.where(term, emitter.holds(condition))
        return emitter, term

    def _spread(
        self, emitter: Expressions, term: Term, variables: Sequence[str], kind: Kind
    ) -> str:
        """The value over all axes of its left side, in their order."""
        term = emitter.convert(term, kind)
        axes = tuple(v for v in variables if v not in emitter.scalars)
        sizes = ", ".join(self.size(v) for v in axes) + ("," if len(axes) == 1 else "")
        if term.python:
            return (
                f"np.full(({sizes}), {term.value.text}, {HELD_AS[kind]})"
                if axes
                else (emitter.array(term).value.text)
            )
        code = aligned(term.value, axes, emitter.order)
        if len(set(term.value.axes)) == len(axes):
            return code.text
        return f"np.broadcast_to({code.text}, ({sizes}))"

    # Recurrences

    def _loop(self, loop: Loop) -> None:
        """A group: arrays for all coordinates, initial values, then the steps in a loop.

        Each tensor is taken to be present everywhere until its text shows otherwise; then the
        group is emitted again with an array of presence for it.
        """
        tracked: set[str] = set()
        always: dict[str, tuple[str, ...]] = {}
        while True:
            tensors, lines = dict(self.tensors), list(self.lines)
            temporaries = self.names.temporaries
            if LoopAttempt(self, loop, tracked, always).emit():
                return
            self.tensors, self.lines = tensors, lines
            self.names.temporaries = temporaries
            self._forget_undefined()

    def _forget_undefined(self) -> None:
        """Drops coordinates whose defining lines were taken back."""
        text = set(self.lines)
        for variable, name in list(self._coordinates.items()):
            if f"{name} = np.arange({self.size(variable)})" not in text:
                del self._coordinates[variable]

    # Outputs

    def _outputs(self) -> None:
        self.lines.append("")
        results = [self._output(o) for o in self.facts.cascade.outputs]
        if len(results) == 1:
            self.lines.append(f"return {results[0]}")
        else:
            names = [self.names.temporary() for _ in results]
            self.lines += [f"{n} = {r}" for n, r in zip(names, results, strict=True)]
            self.lines.append(f"return {', '.join(names)}")

    def _output(self, output: Output) -> str:
        stored = self.tensors[output.name]
        slices = {(-1, 1): "1:", (0, 1): ":-1"}
        texts = [slices.get((d.low, d.extra), ":") for d in stored.dimensions]
        index = "" if all(t == ":" for t in texts) else f"[{', '.join(texts)}]"
        sizes = [self.extent(d.range) for d in stored.dimensions]
        shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        kind = self.facts.types[output.name].kind
        element = "_type" if output.element is None else dtype_text(output.element)
        empty = output.empty
        if empty is None:
            empty = False if output.element == "bool" else 0
        here: Code | None = None
        parts = []
        if stored.here is not None:
            axes = tuple(str(p) for p in range(len(sizes)))
            kept = [texts[p] for p in stored.positions]
            text = stored.here
            if any(t != ":" for t in kept):
                text += f"[{', '.join(kept)}]"
            here = Code(text, tuple(str(p) for p in stored.positions))
            parts.append(aligned(here, axes, axes.index).text)
        parts += [f"({w})" for w in stored.when]
        shown = f", here={' & '.join(parts)}" if parts else ""
        del kind
        return f"_store({stored.name}{index}, {shape}, {element}, {literal(empty)}{shown})"
