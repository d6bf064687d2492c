"""Tensors in memory: how a kernel takes them, reads and writes their elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.scope import LaneScope
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.cascade import Input, Output
from attnc.ir.expr import Expr, Value, Var
from attnc.ir.tiles import Load, Store
from attnc.ir.tiles_facts import tensor_sizes

STORED: Final[dict[str | None, str]] = {
    None: "_stored(TYPE)",
    "f16": '"float16"',
    "bf16": '"uint16"',
    "f32": '"float32"',
    "f64": '"float64"',
    "f8e4m3": '"uint8"',
    "f8e5m2": '"uint8"',
    "i8": '"int8"',
    "u8": '"uint8"',
    "i32": '"int32"',
    "i64": '"int64"',
    "bool": '"bool"',
}
"""As what elements lie in memory, by the type that tensors declare."""


@dataclass
class Tensor:
    """How a kernel takes a tensor: where its elements are, and the strides of its ranks."""

    name: str
    python: str
    data: str
    strides: tuple[str, ...]
    element: str
    """The type of what lies in memory."""
    sizes: tuple[Expr, ...]
    near: str = ""
    """Its name where elements along the last rank are known to lie side by side."""


@dataclass
class Memory:
    """Reads and writes elements."""

    scope: LaneScope
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def tensor(self, name: str) -> Tensor:
        """How a kernel takes a tensor, `T?` being the presence of `T`."""
        if name not in self.tensors:
            names, plan = self.scope.names, self.scope.plan
            base = name.removesuffix("?")
            python = names.of("tensor", base)
            if name != base:
                python = names.of("presence", f"{base}_here")
            sizes = tensor_sizes(plan)[base]
            strides = tuple(names.fresh(f"{python}_{_letter(s, i)}") for i, s in enumerate(sizes))
            data = names.fresh(f"{python}_data")
            element = self._element(name)
            self.tensors[name] = Tensor(name, python, data, strides, element, sizes)
        return self.tensors[name]

    def _element(self, name: str) -> str:
        plan = self.scope.plan
        if name.endswith("?"):
            return '"bool"'
        for buffer in plan.buffers:
            if buffer.name == name:
                return DTYPES[HELD[buffer.kind]]
        return STORED[self.declared(name)]

    def declared(self, name: str) -> str | None:
        """The element type that a tensor declares."""
        plan = self.scope.plan
        tensors: tuple[Input | Output, ...] = (*plan.inputs, *plan.outputs)
        return next(t.element for t in tensors if t.name == name)

    def place(self, name: str, index: tuple[Expr, ...]) -> str:
        """An element of a tensor."""
        found = self.tensor(name)
        parts = [self._coordinate(i) for i in index] or ["0"]
        return f"{found.python}[{', '.join(parts)}]"

    def _coordinate(self, expr: Expr) -> str:
        """An index; the counter of an axis that is held whole is one of any width."""
        scope = self.scope
        if isinstance(expr, Var) and any(
            a.name == expr.name and a.kind == "whole" for a in scope.kernel.axes
        ):
            return scope.lane(expr.name)
        return scope.text(expr).text

    def near(self, name: str) -> str:
        """When elements along the last rank of a tensor lie side by side; it is named for that."""
        found = self.tensor(name)
        found.near = found.near or self.scope.names.fresh(f"{found.python}_near")
        return f"{found.strides[-1]} == 1"

    def is_between(self, tensor: str) -> bool:
        """Whether a tensor lies between kernels, so that its elements are as they are held."""
        return tensor.removesuffix("?") in {b.name for b in self.scope.plan.buffers}

    def read(self, item: Load, *, near: bool = False) -> str:
        """A lane of a load in the type that it is held in; `near`: where that is so."""
        text = self.place(item.tensor, item.index)
        if near:
            found = self.tensor(item.tensor)
            text = found.near + text.removeprefix(found.python)
        if self.is_between(item.tensor):
            return text
        element, dtype = self.declared(item.tensor), DTYPES[HELD[item.kind]]
        match element:
            case "f8e4m3" | "f8e5m2":
                return f"_from_{element}({text}, {dtype})"
            case None | "f16" | "bf16" | "f32" | "f64":
                return f"_wide({text}, {dtype})"
            case "bool":
                return text
            case _:
                return f"T.Cast({dtype}, {text})"

    def stored(self, item: Store, text: str) -> str:
        """A value as an element of an output."""
        match self.declared(item.tensor):
            case None:
                return f"_narrow({text}, TYPE)"
            case "bf16":
                return f'_narrow({text}, "bfloat16")'
            case "f8e4m3":
                return f"_to_f8({text}, 3)"
            case "f8e5m2":
                return f"_to_f8({text}, 2)"
            case "bool":
                return text
            case element:
                return f"T.Cast({STORED[element]}, {text})"

    def kept(self, name: str, text: str) -> str:
        """A value as an element of a buffer between kernels."""
        return text


def _letter(size: Expr, place: int) -> str:
    """What the stride of a rank is called by."""
    return size.name.lower() if isinstance(size, Value) else str(place)
