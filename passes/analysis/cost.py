"""What a cascade costs as written: operations, traffic, footprint, as formulas over its sizes.

Each subexpression is computed once per point of its own variables, and each Einsum is run by
itself: it reads what it uses and writes its tensor whole. Conditions and index arithmetic are not
counted, and neither is what conditions save.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnc.ir import printer
from attnc.ir.cascade import Binding, Constant, Einsum
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import (
    Apply,
    Arg,
    Binary,
    Bool,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
)
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.types import Kind
from attnc.ir.walk import FreeVariables, bound, children

if TYPE_CHECKING:
    import sympy

ELEMENT_BYTES = {
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
    "f8e4m3": 1,
    "f8e5m2": 1,
    "i8": 1,
    "u8": 1,
    "i32": 4,
    "i64": 8,
    "bool": 1,
}
KIND_BYTES = {Kind.BOOL: 1, Kind.I32: 4, Kind.I64: 8, Kind.F32: 4, Kind.F64: 8}
FREE_FUNCTIONS = frozenset({"only", "default", "present", "detach"})


@dataclass(frozen=True)
class TensorCost:
    """An intermediate tensor: its size in bytes, and the Einsums between which it is live."""

    name: str
    size: sympy.Expr
    first: int
    last: int


@dataclass(frozen=True)
class Cost:
    """Formulas in bytes and scalar operations."""

    operations: sympy.Expr
    inputs: sympy.Expr
    outputs: sympy.Expr
    traffic: sympy.Expr
    tensors: tuple[TensorCost, ...]

    @property
    def compulsory(self) -> sympy.Expr:
        """Every input read once and every output written once."""
        return self.inputs + self.outputs

    def live(self) -> list[sympy.Expr]:
        """The bytes of intermediates that are live at each Einsum that begins one."""
        starts: dict[int, list[TensorCost]] = {}
        ends: dict[int, list[TensorCost]] = {}
        for tensor in self.tensors:
            starts.setdefault(tensor.first, []).append(tensor)
            ends.setdefault(tensor.last, []).append(tensor)
        now, found = self.operations * 0, []
        for step in sorted(starts.keys() | ends.keys()):
            now += sum(t.size for t in starts.get(step, ()))
            found.append(now)
            now -= sum(t.size for t in ends.get(step, ()))
        return list(dict.fromkeys(found))


class Formulas:
    """Sizes of a cascade as sympy expressions over its extents and parameters."""

    def __init__(self, facts: Facts) -> None:
        import sympy

        self._sympy: Any = sympy
        self.facts = facts
        self.opaque: dict[sympy.Symbol, Expr] = {}

    def of(self, expr: Expr) -> sympy.Expr:
        """A size as a formula; what has no closed form is a symbol of its own text."""
        s = self._sympy
        match expr:
            case Int(value=value):
                return s.Integer(value)
            case Value(name=name):
                return self.of_name(name)
            case Binary(op="+" | "-" | "*" as op, left=left, right=right):
                a, b = self.of(left), self.of(right)
                return {"+": a + b, "-": a - b, "*": a * b}[op]
            case Binary(op="//", left=left, right=right):
                return s.floor(self.of(left) / self.of(right))
            case Apply(function="ceildiv", arguments=(left, right)):
                return s.ceiling(self.of(left) / self.of(right))
            case _:
                symbol = s.Symbol(f"({printer.expression(expr)})")
                self.opaque[symbol] = expr
                return symbol

    def of_name(self, name: str) -> sympy.Expr:
        """The symbol of a value."""
        return self._sympy.Symbol(name, integer=True, nonnegative=True)

    def tiles(self, size: sympy.Expr, tile: int) -> sympy.Expr:
        """The number of tiles of that size."""
        return size if tile == 1 else self._sympy.ceiling(size / tile)

    def points(self, variables: frozenset[str]) -> sympy.Expr:
        """The number of points of some variables."""
        return self._sympy.prod([self.of(self.facts.variables[v]) for v in sorted(variables)])

    def volume(self, tensor: str) -> sympy.Expr:
        """The number of elements of a tensor."""
        info = self.facts.tensors[tensor]
        return self._sympy.prod([self.of(d.range) + d.extra for d in info.dimensions])


def element_bytes(facts: Facts, tensor: str, dtype: str) -> int:
    """The bytes of one element: as declared, else of the kernel's type, held in f32 or wider."""
    info = facts.tensors[tensor]
    if info.input:
        return ELEMENT_BYTES[info.element or dtype]
    kind = facts.types[tensor].kind
    return KIND_BYTES.get(kind, 8 if dtype == "f64" else 4)


def cost(facts: Facts, dtype: str = "f32", formulas: Formulas | None = None) -> Cost:
    """Operations, traffic and footprint of a cascade as written."""
    formulas = formulas or Formulas(facts)
    zero = formulas.of(Int(0))
    sizes = {t: formulas.volume(t) * element_bytes(facts, t, dtype) for t in facts.tensors}
    outputs = {o.name: o for o in facts.cascade.outputs}
    written = zero
    for name, output in outputs.items():
        written += formulas.volume(name) * ELEMENT_BYTES[output.element or dtype]
    inputs = sum((sizes[i.name] for i in facts.cascade.inputs), start=zero)
    operations, traffic = zero, zero
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, einsum in enumerate(_in_order(facts)):
        operations += _operations(einsum, formulas)
        reads = {r.tensor for r in tensor_reads(einsum)} - {einsum.tensor}
        traffic += sum((sizes[t] for t in reads), start=zero)
        if einsum.initial is None:
            traffic += sizes[einsum.tensor]
        first.setdefault(einsum.tensor, step)
        for tensor in (*reads, einsum.tensor):
            last[tensor] = step
    tensors = tuple(TensorCost(t, sizes[t], first[t], last[t]) for t in first if t not in outputs)
    return Cost(operations, inputs, written, traffic, tensors)


def _in_order(facts: Facts) -> Iterator[Einsum]:
    for stage in facts.stages:
        if isinstance(stage, Loop):
            yield from (*stage.initial, *stage.steps)
        else:
            yield stage.einsum


def _operations(einsum: Einsum, formulas: Formulas) -> sympy.Expr:
    """Scalar operations of one Einsum, each distinct subexpression once."""
    free = FreeVariables()
    total = formulas.of(Int(0))
    seen: set[Expr] = set()
    stack = [einsum.value]
    while stack:
        node = stack.pop()
        if node in seen or isinstance(node, Read):
            continue
        seen.add(node)
        if counts(node):
            inside = free(node) | bound(node)
            chained = len(node.ops) if isinstance(node, Compare) else 1
            total += formulas.points(inside) * chained
        stack.extend(computed(node))
    return total


def counts(node: Expr) -> bool:
    """Whether a node is an operation; `Compare` is one for each of its signs."""
    match node:
        case Binary() | Compare() | Logical() | Choice() | Reduce() | Scan() | Arg() | TopK():
            return True
        case Unary(operand=operand):
            return not isinstance(operand, Int | Float | Bool)
        case Apply(function=function):
            return function not in FREE_FUNCTIONS
        case _:
            return False


def computed(node: Expr) -> tuple[Expr, ...]:
    """The operands of a node that are computed for their value, conditions left out."""
    if isinstance(node, Apply) and node.function == "only":
        return node.arguments[:1]
    if isinstance(node, Choice):
        return (node.then, node.other)
    return children(node)


def known_values(facts: Facts, sizes: Mapping[str, Constant]) -> dict[str, Constant]:
    """The given sizes, the defaults of parameters, and the bindings that follow from them."""
    values: dict[str, Constant] = {
        p.name: p.default for p in facts.cascade.parameters if p.default is not None
    }
    values.update(sizes)
    for statement in facts.cascade.statements:
        if isinstance(statement, Binding):
            found = evaluate(statement.value, values)
            if found is not None:
                values[statement.name] = found
    return values
