"""One kernel of a plan as the text of a function that makes a primitive function for a device."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from attnc.backends.refused import NotPrinted
from attnc.backends.triton.kernel import filled
from attnc.backends.triton.layout import INDENT, laid_out
from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.device_body import DeviceBody
from attnc.backends.tvm.device_scope import device_scope
from attnc.backends.tvm.kernel import KernelText, Printed
from attnc.backends.tvm.memory import Tensor
from attnc.backends.tvm.rounding import unrounded
from attnc.backends.tvm.terms import DTYPES
from attnc.ir import printer
from attnc.ir.expr import Apply, Expr, Value
from attnc.ir.tiles import Kernel, Plan
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions as parts

WIDE: Final = ("opencl", "cuda")
"""Targets that have floats of 64 bits, for what is computed."""
NARROWED: Final = (
    (re.compile(r"T\.int64\b"), "T.int32"),
    (re.compile(r"T\.int8\b"), "T.int32"),
    (re.compile(r'"int(64|8)"'), '"int32"'),
    (re.compile(r"9223372036854775807"), str(2**31 - 1)),
    (re.compile(r"9223372036854775808"), str(2**31 - 1)),
    (re.compile(r'-float\("inf"\)'), "NINF"),
    (re.compile(r'float\("-inf"\)'), "NINF"),
    (re.compile(r'float\("inf"\)'), "(-NINF)"),
    (re.compile(r'float\("nan"\)'), "NOT"),
)
"""Integers have 32 bits on a device, and truths as many; what is not finite is an argument, as not
all languages of devices have it."""


@dataclass
class DevicePrinted(Printed):
    """The text of a kernel, and what its launch has to give."""

    parallel: tuple[str, ...] = ()
    """The axes that a grid is made of."""
    shared: tuple[tuple[str, ...], ...] = ()
    """The sizes of the tiles that threads share."""


def device_printed(plan: Plan, kernel: Kernel, function: str, target: str) -> DevicePrinted:
    """The text of a kernel, which a Python function of that name builds."""
    for node in (n for s in statements(kernel.body) for e in expressions(s) for n in parts(e)):
        if isinstance(node, Apply) and node.function == "random":
            raise NotPrinted("random numbers, of integers of 64 bits, on a device", node)
    scope = device_scope(plan, unrounded(kernel))
    return DeviceKernelText(scope, function, target).device()


@dataclass
class DeviceKernelText(KernelText):
    """Prints one kernel for a device."""

    target: str = "opencl"

    def device(self) -> DevicePrinted:
        """The text, with what it takes."""
        scope, target = self.scope, self.target
        count, programs = self._programs()
        body = DeviceBody(scope, uniform=target == "webgpu")
        body.statements(scope.kernel.body)
        tensors = tuple(body.memory.tensors.values())
        views = [self._matched(t) for t in tensors]
        casts = [
            f"{local}: T.let = T.Cast({self._number(kind)}, {argument.name}_given)"
            for (_, kind), (argument, local) in scope.hoists.items()
        ]
        tiles = tuple(
            (a.name, scope.size_of(a.name)) for a in scope.kernel.axes if scope.is_tile(a.name)
        )
        fixed = tuple(v for v in scope.used if scope.is_constant(v))
        built = [scope.names.of("value", v) for v in fixed] + [size for _, size in tiles]
        lines = laid_out(f"def {self.function}({', '.join(built)}):")
        lines += [INDENT + line for line in self._docstring()]
        lines += ["", f"{INDENT}@T.prim_func(s_tir=True)", f"{INDENT}def kernel("]
        lines += [INDENT + line for line in self._takes(tensors)]
        lines += [f"{INDENT}):"]
        inner = [*views, f'program = T.launch_thread("blockIdx.x", {count})']
        inner += ['thread = T.launch_thread("threadIdx.x", THREADS)', *casts, *programs]
        text = [INDENT * 2 + x for x in (*inner, *body.buffers.values())] + body.lines
        lines += [x for line in text for x in laid_out(narrowed(line))]
        lines += ["", f"{INDENT}return kernel"]
        if target not in WIDE and "float64" in "\n".join(lines):
            raise NotPrinted(f"numbers of 64 bits, which {target} has not", self._wide())
        return DevicePrinted(
            self.function,
            lines,
            tensors,
            tuple(scope.used),
            tuple(scope.sizes.values()),
            tuple(scope.arguments()),
            tiles,
            fixed,
            scope,
            tuple(a.name for a in scope.kernel.axes if a.kind == "par"),
            tuple(body.shared.values()),
        )

    def _number(self, kind: Kind) -> str:
        """The type of an argument that is computed for the launch."""
        dtype = DTYPES[HELD[kind]]
        return '"float32"' if self.target not in WIDE else dtype

    def _wide(self) -> Expr | None:
        """What is computed in floats of 64 bits."""
        types = self.scope.types()
        for item in statements(self.scope.kernel.body):
            for expr in expressions(item):
                for node in parts(expr):
                    if types(node).kind is Kind.F64 and node.span.end:
                        return node
        return None

    def _matched(self, tensor: Tensor) -> str:
        """The line that gives a tensor its sizes."""
        sizes = [self.scope.text(s).text for s in tensor.sizes] or ["1"]
        comma = "," if len(sizes) == 1 else ""
        shape = f"({', '.join(sizes)}{comma})"
        return f"{tensor.python} = T.match_buffer({tensor.data}, {shape}, {tensor.element})"

    def _takes(self, tensors: tuple[Tensor, ...]) -> list[str]:
        """The lines of the arguments."""
        scope = self.scope
        lines = [f"{INDENT}{t.data}: T.handle," for t in tensors]
        names = [scope.names.of("value", v) for v in scope.used if not scope.is_constant(v)]
        names += scope.sizes
        lines += filled([f"{n}: T.int32" for n in names]) if names else []
        for argument in scope.arguments():
            shown = printer.expression(argument.value)
            same = isinstance(argument.value, Value)
            note = "" if same else f"  # {shown}"
            kinds = [k for (_, k), (a, _) in scope.hoists.items() if a is argument]
            number = "float64" if '"float64"' in map(self._number, kinds) else "float32"
            lines.append(f"{INDENT}{argument.name}_given: T.{number},{note}")
        return [*lines, f"{INDENT}NINF: T.float32, NOT: T.float32,"]


def narrowed(line: str) -> str:
    """A line of a kernel as a device takes it."""
    for pattern, text in NARROWED:
        line = pattern.sub(text, line)
    return line
