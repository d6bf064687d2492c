"""Pieces that an exported function is made of, as statements and expressions of TVM's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attnc.backends.tvm.export.arithmetic import Arithmetic
from attnc.backends.tvm.export.builds import Builds
from attnc.backends.tvm.export.few import Few
from attnc.backends.tvm.export.interface import Interface
from attnc.ir.expr import Expr
from attnc.ir.types import Kind


@dataclass
class Pieces:
    """What is known while a function is made: its first argument is where it puts what C returns.

    `tvm` is the compiler's module, `builds` are the kernels, `whole` the sizes they are built for.
    `few` are the same in pieces, for few rows, if there are any.
    """

    tvm: Any
    interface: Interface
    builds: list[Builds]
    whole: Mapping[Expr, int]
    lanes: int
    """How many numbers a vector has."""
    number: str
    """The type that is computed in."""
    script: Any
    """The helpers that kernels are written with."""
    few: Few | None = None
    lines: list[Any] = field(default_factory=list[Any])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[str, Any] = field(default_factory=dict[str, Any])
    """Where the elements of each tensor begin."""
    strides: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    calls: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """The kernels by the names under which they are called."""
    code: Any = None
    """Where it puts what C returns, and that as a buffer."""
    status: Any = None

    def __post_init__(self) -> None:
        self.tirx: Any = self.tvm.tirx
        self.number_of: Arithmetic = Arithmetic(self.tirx, lambda name: self.values[name])
        if self.code is None:
            self.code = self._pointer("status", "int32")
            self.status = self._buffer("status", "int32", self.code, [1])

    @property
    def inner(self) -> str:
        """What the function is called, around which there is the one for C."""
        return f"{self.interface.symbol}_attnc"

    def _between(self) -> dict[str, Any]:
        return {b.name: b for b in self.interface.plan.buffers}

    def _kind(self, kind: Kind) -> str:
        kinds = {Kind.BOOL: "bool", Kind.I32: "int32", Kind.I64: "int64", Kind.F32: "float32"}
        return kinds.get(kind, "float64" if kind is Kind.F64 else self.number)

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


def stored(element: str) -> str:
    """As what elements lie in memory."""
    if element == "bfloat16":
        return "uint16"
    return "uint8" if element.startswith("float8") else element
