"""One kernel of a plan as the text of a Triton function."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from attnc.backends.triton.addresses import Tensor
from attnc.backends.triton.body import Body
from attnc.backends.triton.boxes import Box
from attnc.backends.triton.layout import INDENT, laid_out
from attnc.backends.triton.model import Model
from attnc.backends.triton.schedule import tiled
from attnc.backends.triton.scope import Argument, KernelScope
from attnc.backends.triton.terms import HELD
from attnc.ir import printer
from attnc.ir.expr import Expr, Value
from attnc.ir.printer import ATOM
from attnc.ir.tiles import Fold, Kernel, Plan, Store, TopK
from attnc.ir.tiles_walk import pieces_of, statements
from attnc.passes.tiling.context import Context


@dataclass
class Printed:
    """The text of a kernel, and what its launch has to give."""

    name: str
    lines: list[str]
    tensors: tuple[Tensor, ...]
    boxes: tuple[Box, ...]
    values: tuple[str, ...]
    """Values of the plan that the kernel takes."""
    factored: Mapping[str, str]
    """Of some of them the names of factors by which they are divided."""
    sizes: tuple[Expr, ...]
    """Sizes of axes that it takes, too."""
    hoists: tuple[Argument, ...]
    parallel: tuple[str, ...]
    tiles: tuple[tuple[str, str], ...]
    """Tiled and whole axes with the names of their tiles' sizes."""
    constants: tuple[str, ...]
    """Those of `INDEX`, `FLOAT` and `TYPE` that the kernel takes."""
    scope: KernelScope = field(repr=False)
    model: Model = field(repr=False)

    @property
    def ranks(self) -> bool:
        """Whether it compares values with themselves, to say which come first.

        A sum of products is then to have one value wherever it is held. Lanes that add their
        products to each other's have several if a multiplication is fused with the addition.
        """
        found = statements(self.scope.kernel.body)
        return any(
            isinstance(s, TopK) or (isinstance(s, Fold) and s.op in ("argmax", "argmin"))
            for s in found
        )

    @property
    def products(self) -> bool:
        """Whether a loop multiplies matrices that it loads."""
        return bool(self.model.operands()[1])


def printed(plan: Plan, kernel: Kernel, function: str, precision: str = "ieee") -> Printed:
    """The text of a kernel; `precision` is that of products of f32 matrices."""
    context = Context(plan, kernel)
    apart = frozenset(p.axis.name for p in pieces_of(plan) if p.kernel == kernel)
    scope = KernelScope(plan, kernel, context, tiled(context, apart), precision)
    return KernelText(scope, function).printed()


@dataclass
class KernelText:
    """Prints one kernel."""

    scope: KernelScope
    function: str

    def printed(self) -> Printed:
        """The text, with what it takes."""
        scope = self.scope
        body = Body(scope)
        body.statements(scope.kernel.body)
        programs = self._programs()
        tensors = tuple(body.addresses.tensors.values())
        casts = [
            f"{local} = tl.full((), {argument.name}, {HELD[kind].value})"
            for (_, kind), (argument, local) in scope.hoists.items()
        ]
        wide = [
            f"{name} = tl.cast({name}, INDEX)"
            for name in (scope.names.of("value", v) for v in scope.used if self._is_free(v))
        ]
        factored = self._factored(body.addresses.neighbours)
        whole = [f"{(n := scope.names.of('value', v))} = {n} * {by}" for v, by in factored.items()]
        factors = [*whole, *programs, *body.addresses.factors()]
        head = [*factors, *wide, *casts, *body.addresses.prologue]
        text = "\n".join([*head, *body.lines])
        constants = tuple(n for n in ("INDEX", "FLOAT", "TYPE") if n in text)
        tiles = tuple(
            (a.name, scope.size_of(a.name)) for a in scope.kernel.axes if scope.is_tile(a.name)
        )
        boxes = body.boxes.used(text)
        fixed = (*(t.factor for t in tensors if t.factored), *factored.values(), *constants)
        arguments, free = self._arguments(tensors, boxes, tiles, fixed)
        listed = ", ".join(f'"{n}"' for n in free)
        decorator = f"@triton.jit(do_not_specialize=[{listed}])" if listed else "@triton.jit"
        lines = [*laid_out(decorator), f"def {self.function}(", *arguments, "):"]
        lines += [INDENT + line for line in self._docstring()]
        lines += [x for line in head for x in laid_out(INDENT + line)]
        lines += [x for line in body.lines for x in laid_out(line)]
        return Printed(
            self.function,
            lines,
            tensors,
            boxes,
            tuple(scope.used),
            factored,
            tuple(scope.sizes.values()),
            tuple(scope.arguments()),
            tuple(a.name for a in scope.kernel.axes if a.kind == "par"),
            tiles,
            constants,
            scope,
            Model(scope, body.products),
        )

    def _is_free(self, value: str) -> bool:
        """Whether a value is an integer of any size: a parameter, or what is made of some."""
        return value in self.scope.bounds and self.scope.bounds[value][0] < 0

    def _factored(self, neighbours: set[str]) -> dict[str, str]:
        """Sizes that are divided by a number that is known when the kernel is compiled.

        Where rows end in memory: if all ends are aligned, rows are loaded by several elements.
        """
        scope = self.scope
        found: dict[str, str] = {}
        for axis in scope.kernel.axes:
            if axis.name not in neighbours or not isinstance(axis.size, Value):
                continue
            value = axis.size.name
            if value in scope.used and not scope.is_constant(value):
                found[value] = scope.names.fresh(f"{scope.names.of('value', value)}_by")
        return found

    def _arguments(
        self,
        tensors: tuple[Tensor, ...],
        boxes: tuple[Box, ...],
        tiles: tuple[tuple[str, str], ...],
        constants: tuple[str, ...],
    ) -> tuple[list[str], list[str]]:
        """The lines of the arguments, and the names of those that are not specialised."""
        scope = self.scope
        free: list[str] = []
        lines = filled([t.pointer for t in tensors]) if tensors else []
        if boxes:
            listed = ", ".join(b.name for b in boxes)
            lines.append(f"{INDENT}{listed},  # descriptors of tiles, or None")
        for tensor in tensors:
            if tensor.strides:
                free += tensor.strides[:-1]
                lines.append(f"{INDENT}{', '.join(tensor.strides)},  # strides of {tensor.pointer}")
        names = {v: scope.names.of("value", v) for v in scope.used}
        fixed = [n for v, n in names.items() if scope.is_constant(v)]
        ranks = [n for v, n in names.items() if not scope.is_constant(v)]
        ranks += scope.sizes
        free += ranks
        if ranks:
            lines += filled(ranks)
        for argument in scope.arguments():
            free.append(argument.name)
            shown = printer.expression(argument.value)
            note = "" if shown == argument.name else f"  # {shown}"
            lines.append(f"{INDENT}{argument.name}: tl.float64,{note}")
        fixed += [size for _, size in tiles]
        fixed += constants
        lines += [f"{INDENT}{name}: tl.constexpr," for name in fixed]
        return lines, free

    def _docstring(self) -> list[str]:
        """What the kernel makes, and how."""
        text = f'"""{purpose(self.scope)}."""'
        return textwrap.wrap(text, printer.WIDTH - len(INDENT))

    def _programs(self) -> list[str]:
        """Which tile of the parallel axes a program has, and coordinates."""
        scope, kernel = self.scope, self.scope.kernel
        lines: list[str] = []
        parallel = [a for a in kernel.axes if a.kind == "par"]
        if parallel:
            lines.append("program = tl.program_id(0).to(tl.int64)")
        for place, axis in enumerate(reversed(parallel)):
            last = place == len(parallel) - 1
            tile = scope.is_tile(axis.name)
            size = scope.text(axis.size)
            count = size.at(ATOM)
            if tile:
                count = f"tl.cdiv({size.text}, {scope.size_of(axis.name)})"
            here = "program" if last else f"program % {count}"
            if axis.name in kernel.reversed:
                here = f"({count} - 1 - {here})"
            if tile:
                text = scope.variable(axis.name).text
                start, width = scope.start_of(axis.name), scope.size_of(axis.name)
                lines.append(f"{start} = ({here} * {width}).to(INDEX)")
                lines.append(f"{text} = {start} + tl.arange(0, {width}).to(INDEX)")
            else:
                lines.append(f"{scope.variable(axis.name).text} = {here}")
            if not last:
                lines.append(f"program = program // {count}")
        for axis in kernel.axes:
            if axis.kind == "whole":
                text = scope.variable(axis.name).text
                lines.append(f"{text} = tl.arange(0, {scope.size_of(axis.name)}).to(INDEX)")
        return [*lines, *scope.coordinates(frozenset())]


def purpose(scope: KernelScope) -> str:
    """What a kernel makes, and how."""
    kernel = scope.kernel
    made = dict.fromkeys(s.tensor for s in statements(kernel.body) if isinstance(s, Store))
    parallel = [a.name for a in kernel.axes if a.kind == "par"]
    streamed = [a.name for a in kernel.axes if a.kind in ("stream", "step")]
    tiles = [a for a in parallel if scope.is_tile(a)]
    points = [a for a in parallel if not scope.is_tile(a)]
    parts = [f"{', '.join(made)}:"]
    if tiles:
        where = f" at one {', '.join(points)}" if points else ""
        parts.append(f"a program has a tile of {' x '.join(tiles)}{where}")
    elif points:
        parts.append(f"a program has one {', '.join(points)}")
    else:
        parts.append("one program")
    if streamed:
        parts[-1] += ","
        parts.append(f"and goes along {', '.join(streamed)}")
    return " ".join(parts)


def filled(names: list[str]) -> list[str]:
    """Lines of arguments, as many on each as there is room for."""
    return textwrap.wrap(
        ", ".join(names) + ",",
        printer.WIDTH,
        initial_indent=INDENT,
        subsequent_indent=INDENT,
        break_long_words=False,
    )
