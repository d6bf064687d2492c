"""How an exported function is called from C: its arguments, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from attnc.backends.names import Names
from attnc.backends.numpy.layout import NUMPY_NAMES
from attnc.backends.options import Options
from attnc.backends.tvm.c_words import KEYWORDS
from attnc.ir import printer
from attnc.ir.cascade import Binding, Input, Output, Parameter, Require
from attnc.ir.claims import claims_of
from attnc.ir.expr import Expr
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan
from attnc.ir.tiles_facts import facts_of, tensor_sizes

C_TYPES: Final[Mapping[str, str]] = {
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "float32": "float",
    "float64": "double",
    "float8_e4m3fn": "uint8_t",
    "float8_e5m2": "uint8_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "uint8_t",
}
"""As what elements lie in memory, in C."""

Role: TypeAlias = Literal["input", "output", "strides", "size", "int", "float", "bool", "threads"]

NULL, SIZE, BUILT, MEMORY, FIRST = 1, 2, 3, 4, 10
"""The errors of every function, and the first of those that it has of its own."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument in C: a pointer to elements or to strides, or a number."""

    name: str
    role: Role
    of: str
    """The tensor or the value of the plan."""
    type: str
    """Its type in C."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is looked at before kernels run, and what is returned where it does not hold.

    `value` is what a binding is called; without it, it is a requirement.
    """

    code: int
    expr: Expr
    value: str | None

    @property
    def text(self) -> str:
        """As it is written."""
        shown = printer.expression(self.expr)
        return f"require {shown}" if self.value is None else f"{self.value} = {shown}"


@dataclass
class Interface:
    """The arguments of an exported function, in order, and what is checked."""

    plan: Plan
    options: Options
    symbol: str
    names: Names = field(default_factory=lambda: Names(set(KEYWORDS)))

    def __post_init__(self) -> None:
        self.facts: Facts = facts_of(self.plan)
        self.dtype: str = NUMPY_NAMES[self.options.dtype or "f32"]
        self.names.fresh(self.symbol)
        self.arguments: list[Argument] = self._arguments()
        self.checks: list[Check] = self._checks()

    @property
    def tensors(self) -> list[Input | Output]:
        """Inputs and outputs, as they are declared."""
        return [*self.plan.inputs, *self.plan.outputs]

    @property
    def free(self) -> list[Parameter]:
        """The parameters of each call."""
        return [p for p in self.plan.parameters if p.name not in self.options.static]

    def element(self, tensor: Input | Output) -> str:
        """The type of a tensor's elements."""
        return self.dtype if tensor.element is None else NUMPY_NAMES[tensor.element]

    def extents(self) -> list[str]:
        """The sizes that tensors have by name, each once."""
        names = {p.name for p in self.plan.parameters}
        found = dict.fromkeys(s for t in self.tensors for s in t.sizes if isinstance(s, str))
        lets = {let.name for let in self.plan.lets}
        return [s for s in found if s not in names and s not in lets]

    def shape(self, tensor: str) -> tuple[Expr, ...]:
        """The sizes of a tensor or of a buffer."""
        return tensor_sizes(self.plan)[tensor]

    def _arguments(self) -> list[Argument]:
        found: list[Argument] = []
        for tensor in self.tensors:
            name, kind = self.names.of("tensor", tensor.name), C_TYPES[self.element(tensor)]
            given = isinstance(tensor, Input)
            of = "const " if given else ""
            role: Role = "input" if given else "output"
            found.append(Argument(name, role, tensor.name, f"{of}{kind} *"))
            if tensor.sizes:
                strides = self.names.of("strides", f"{name}_strides")
                found.append(Argument(strides, "strides", tensor.name, "const int64_t *"))
        found += [
            Argument(self.names.of("value", extent), "size", extent, "int64_t ")
            for extent in self.extents()
        ]
        kinds: dict[str, tuple[Role, str]] = {
            "int": ("int", "int64_t "),
            "float": ("float", "double "),
            "bool": ("bool", "int32_t "),
        }
        for parameter in self.free:
            role, kind = kinds[parameter.type]
            name = self.names.of("value", parameter.name)
            found.append(Argument(name, role, parameter.name, kind))
        found.append(Argument(self.names.fresh("threads"), "threads", "", "int32_t "))
        return found

    def _checks(self) -> list[Check]:
        found: list[Check] = []
        for statement in self.facts.cascade.statements:
            code = FIRST + len(found)
            match statement:
                case Binding(name=name, value=value):
                    found.append(Check(code, value, name))
                case Require(condition=condition) if claims_of(self.plan, condition) is None:
                    found.append(Check(code, condition, None))
                case _:
                    pass
        return found

    def is_extent(self, name: str) -> bool:
        """Whether a value is the size of a rank."""
        return name in self.extents() or (
            name.isupper() and self.facts.variables.get(name.lower()) is not None
        )
