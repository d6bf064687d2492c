"""One kernel of a plan as the text of a function that makes a primitive function of TVM's."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from attnc.backends.library import words
from attnc.backends.triton.kernel import filled, purpose
from attnc.backends.triton.layout import INDENT, laid_out
from attnc.backends.triton.scope import Argument
from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.body import Body
from attnc.backends.tvm.memory import Tensor
from attnc.backends.tvm.rounding import narrow_products, unrounded
from attnc.backends.tvm.scope import LaneScope, scope_of
from attnc.backends.tvm.terms import DTYPES
from attnc.ir import printer
from attnc.ir.expr import Expr
from attnc.ir.printer import PRODUCT
from attnc.ir.tiles import Kernel, Plan

ANGLES: Final = ("_sin", "_cos", "_sine")
LOGARITHMS: Final = ("_log", "_log2", "_log1p", "_expm1", "_tanh")
NATIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "_native_turn(FLOAT, LANES)": ("_turn", "_turn_back"),
    "_native_mixed()": ("_mixed",),
    "_native_callees()": (*ANGLES, *LOGARITHMS),
    "_native_angles()": ANGLES,
    "_native_logarithms()": LOGARITHMS,
}
"""Text of LLVM's by the helpers that take it."""


@dataclass
class Printed:
    """The text of a kernel, and what its launch has to give."""

    name: str
    lines: list[str]
    tensors: tuple[Tensor, ...]
    values: tuple[str, ...]
    """Values of the plan that the kernel takes."""
    sizes: tuple[Expr, ...]
    """Sizes of axes that it takes, too."""
    hoists: tuple[Argument, ...]
    tiles: tuple[tuple[str, str], ...]
    """Tiled and whole axes with the names of their tiles' sizes."""
    fixed: tuple[str, ...]
    """Values for which the kernel is built."""
    scope: LaneScope = field(repr=False)


def printed(plan: Plan, kernel: Kernel, function: str) -> Printed:
    """The text of a kernel, which a Python function of that name builds."""
    scope = scope_of(plan, unrounded(kernel), narrow_products(plan, kernel))
    return KernelText(scope, function).printed()


@dataclass
class KernelText:
    """Prints one kernel."""

    asked: ClassVar[tuple[str, ...]] = ()
    """What else is told when it is built."""

    scope: LaneScope
    function: str

    def printed(self) -> Printed:
        """The text, with what it takes."""
        scope = self.scope
        count, programs = self._programs()
        turns, turn, workers = (scope.names.fresh(n) for n in ("turns", "turn", "workers"))
        scope.workers = workers
        body = self._body()
        body.statements(scope.kernel.body)
        body.apart.settle(body.lines, body.buffers, body.large)
        tensors = tuple(body.memory.tensors.values())
        views = [self._view(t, t.python, self._steps(t)) for t in tensors]
        views += [self._view(t, t.near, [*self._steps(t)[:-1], "1"]) for t in tensors if t.near]
        casts = [
            f"{local}: T.let = T.Cast({DTYPES[HELD[kind]]}, {argument.name}_given)"
            for (_, kind), (argument, local) in scope.hoists.items()
        ]
        tiles = tuple(
            (a.name, scope.size_of(a.name)) for a in scope.kernel.axes if scope.is_tile(a.name)
        )
        fixed = tuple(v for v in scope.used if scope.is_constant(v))
        built = [scope.names.of("value", v) for v in fixed] + [size for _, size in tiles]
        given = ["TYPE", "FLOAT", "LANES", *(["PAIRS"] if scope.pairs else []), *self.asked, *built]
        lines = laid_out(f"def {self.function}({', '.join(given)}):")
        lines += [INDENT + line for line in self._docstring()]
        lines += [f"{INDENT}{name} = {text}" for text, name in scope.pairs.items()]
        imported = "_native(FLOAT, LANES)"
        said = words(*body.lines)
        imported = " + ".join([imported, *(n for n, by in NATIVE.items() if said & {*by})])
        if scope.pairs:
            imported += f" + _native_pairs({' or '.join(scope.pairs.values())}, LANES)"
        if body.apart.native is not None:
            lines += laid_out(f"{INDENT}{body.apart.native} = {imported}")
            imported = body.apart.native
        lines += ["", f"{INDENT}@_read", f"{INDENT}def kernel("]
        lines += [INDENT + line for line in self._arguments(tensors, workers)]
        lines += [f"{INDENT}):"]
        inner = ['T.attr({"device_id": 0, "device_type": 1})', *views, *casts]
        inner += [f'T.attr(T.int32(0), "pragma_import_llvm", {imported})']
        inner += [f'{turns} = T.alloc_buffer((1,), "int64")', f"{turns}[0] = 0"]
        inner += [f"for worker in T.parallel(T.min({workers}, {count})):"]
        rows = [f'{r} = T.alloc_buffer(({self._vectors()},), "int64")' for r in scope.rows]
        each = [*body.buffers.values(), *rows, f'{turn} = T.alloc_buffer((1,), "int64")']
        each += [f"{turn}[0] = _claimed({turns})", f"while {turn}[0] < {count}:"]
        deep = [f"program: T.let = {turn}[0]", *programs]
        after = INDENT * 4 + f"{turn}[0] = _claimed({turns})"
        text = [INDENT * 2 + x for x in inner] + [INDENT * 3 + x for x in each]
        text += [INDENT * 4 + x for x in (*deep, *self._rows())] + body.lines + [after]
        lines += [x for line in text for x in laid_out(line)]
        lines += ["", f"{INDENT}return kernel"]
        return Printed(
            self.function,
            lines,
            tensors,
            tuple(scope.used),
            tuple(scope.sizes.values()),
            tuple(scope.arguments()),
            tiles,
            fixed,
            scope,
        )

    def _body(self) -> Body:
        return Body(self.scope, depth=4)

    def _steps(self, tensor: Tensor) -> list[str]:
        """The strides of a tensor."""
        return list(tensor.strides)

    def _vectors(self) -> str:
        """The size of a tile along vectors."""
        return self.scope.size_of(self.scope.vector or "")

    def _rows(self) -> list[str]:
        """The loop that computes coordinates of a program's rows."""
        scope = self.scope
        if not scope.rows:
            return []
        lane = scope.lane(scope.vector or "")
        inside = [f"{INDENT}{r}[{lane}] = {text}" for r, text in scope.rows.items()]
        return [f"for {lane} in range({self._vectors()}):", *inside]

    def _view(self, tensor: Tensor, name: str, strides: list[str]) -> str:
        """The line that gives a tensor its sizes and strides."""
        sizes = [self.scope.text(s).text for s in tensor.sizes] or ["1"]
        comma = "," if len(sizes) == 1 else ""
        by = f", strides=({', '.join(strides)}{comma})" if strides else ""
        return (
            f"{name} = T.decl_buffer(({', '.join(sizes)}{comma}), {tensor.element}, "
            f"data={tensor.data}{by}, align=1)"
        )

    def _arguments(self, tensors: tuple[Tensor, ...], workers: str) -> list[str]:
        """The lines of the arguments."""
        scope = self.scope
        lines = [f"{INDENT}{t.data}: T.handle({t.element})," for t in tensors]
        for tensor in tensors:
            if tensor.strides:
                lines += filled([f"{s}: T.int64" for s in tensor.strides])
        names = [scope.names.of("value", v) for v in scope.used if not scope.is_constant(v)]
        names += scope.sizes
        lines += filled([f"{n}: T.int64" for n in names]) if names else []
        for argument in scope.arguments():
            shown = printer.expression(argument.value)
            note = "" if shown == argument.name else f"  # {shown}"
            lines.append(f"{INDENT}{argument.name}_given: T.float64,{note}")
        lines.append(f"{INDENT}{workers}: T.int64,  # threads, each of which claims programs")
        return lines

    def _docstring(self) -> list[str]:
        """What the kernel makes, and how."""
        text = purpose(self.scope)
        if self.scope.vector is not None:
            text += f"; vectors go along {self.scope.vector}"
        return textwrap.wrap(f'"""{text}."""', printer.WIDTH - len(INDENT))

    def _programs(self) -> tuple[str, list[str]]:
        """How many programs there are, and which tile of the parallel axes each has."""
        scope, kernel = self.scope, self.scope.kernel
        lines: list[str] = []
        parallel = [a for a in kernel.axes if a.kind == "par"]
        counts: list[str] = []
        rest = "program"
        for place, axis in enumerate(reversed(parallel)):
            last = place == len(parallel) - 1
            tile = scope.is_tile(axis.name)
            size = scope.text(axis.size)
            count = size.text
            if tile:
                count = f"T.ceildiv({size.text}, {scope.size_of(axis.name)})"
            counts.append(count if tile else size.at(PRODUCT))
            if not (last or count.isidentifier()):
                name = scope.names.fresh(f"{axis.name}_count")
                lines.append(f"{name}: T.int64 = {count}")
                count = name
            here = rest if last else f"T.truncmod({rest}, {count})"
            if axis.name in kernel.reversed:
                here = f"({count} - 1 - {here})"
            # Names, not places: what is read anew for each lane keeps copies from being vectors.
            if tile:
                start, width = scope.start_of(axis.name), scope.size_of(axis.name)
                lines.append(f"{start}: T.let = {here} * {width}")
            else:
                lines.append(f"{scope.lane(axis.name)}: T.let = {here}")
            if not last:
                above = scope.names.fresh("program")
                lines.append(f"{above}: T.let = T.truncdiv({rest}, {count})")
                rest = above
        return " * ".join(reversed(counts)) or "1", lines
