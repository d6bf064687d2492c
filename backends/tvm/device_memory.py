"""Tensors in a device's memory: numbers of 32 bits, the ranks one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from attnc.backends.refused import NotPrinted
from attnc.backends.triton.terms import HELD
from attnc.backends.tvm.memory import Memory, Tensor
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Name
from attnc.ir.tiles import Load, Store
from attnc.ir.tiles_facts import tensor_sizes
from attnc.ir.types import Kind


@dataclass
class DeviceMemory(Memory):
    """Reads and writes elements: floats as f32, integers and truths as i32."""

    def tensor(self, name: str) -> Tensor:
        """How a kernel takes a tensor, `T?` being the presence of `T`."""
        if name not in self.tensors:
            names, base = self.scope.names, name.removesuffix("?")
            python = names.of("tensor", base)
            if name != base:
                python = names.of("presence", f"{base}_here")
            data = names.fresh(f"{python}_data")
            sizes = tensor_sizes(self.scope.plan)[base]
            self.tensors[name] = Tensor(name, python, data, (), f'"{self.stored_as(name)}"', sizes)
        return self.tensors[name]

    def stored_as(self, name: str) -> str:
        """The type of the elements in memory."""
        if name.endswith("?"):
            return "int32"
        kind = self.scope.context.facts.types[name].kind
        if kind is Kind.F64:
            raise NotPrinted("numbers of 64 bits on a device", Name(name))
        return "float32" if kind.floating else "int32"

    def read(self, item: Load, *, near: bool = False) -> str:
        """A lane of a load in the type that it is held in."""
        text = self.place(item.tensor, item.index)
        if item.kind is Kind.BOOL:
            return f"{text} != 0"
        return f"T.Cast({DTYPES[HELD[item.kind]]}, {text})"

    def stored(self, item: Store, text: str) -> str:
        """A value as an element of an output."""
        return self.kept(item.tensor, text)

    def kept(self, name: str, text: str) -> str:
        """A value as an element of a buffer."""
        return f"T.Cast({self.tensor(name).element}, {text})"
