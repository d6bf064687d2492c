"""What a plan says of its arguments, values and tensors, as facts that an emitter works from."""

from __future__ import annotations

from attnc.ir.cascade import Binding, Cascade, Input, Output, Require, Size
from attnc.ir.expr import Expr, Int, Value
from attnc.ir.facts import Dimension, Facts, TensorInfo
from attnc.ir.nodes import noted
from attnc.ir.tile_types import TileTypes
from attnc.ir.tiles import If, Let, Plan, Store
from attnc.ir.tiles import Loop as TileLoop
from attnc.ir.tiles_walk import statements
from attnc.ir.types import INDEX_INT, Kind, Origin, Type, read_type, type_of
from attnc.ir.typing import Types

PARAMETERS = {
    "int": type_of(Kind.I64, Origin.LITERAL),
    "float": type_of(Kind.F64, Origin.LITERAL),
    "bool": type_of(Kind.BOOL, Origin.LITERAL),
}


@noted
def facts_of(plan: Plan) -> Facts:
    """The facts of a cascade with the plan's header, bindings and requirements, and no Einsums.

    Its tensors are inputs, outputs and buffers.
    """
    lets = tuple(Binding(let.name, let.value) for let in plan.lets)
    requires = tuple(Require(condition) for condition in plan.requires)
    cascade = Cascade(plan.name, plan.inputs, plan.parameters, plan.outputs, (*lets, *requires))
    values: dict[str, Type] = {}
    shaped: tuple[Input | Output, ...] = (*plan.inputs, *plan.outputs)
    for item in shaped:
        values |= {s: INDEX_INT for s in item.sizes if isinstance(s, str)}
    values |= {p.name: PARAMETERS[p.type] for p in plan.parameters}
    values |= dict.fromkeys(plan.tiles, INDEX_INT)
    for let in plan.lets:
        values[let.name] = Types(values, {})(let.value)
    extents = {s for i in plan.inputs for s in i.sizes if isinstance(s, str)}
    extents |= {p.name for p in plan.parameters if p.type == "int" and p.name.isupper()}
    tensors = {
        i.name: TensorInfo(_dimensions(i.sizes), input=True, element=i.element) for i in plan.inputs
    }
    for output in plan.outputs:
        tensors[output.name] = TensorInfo(_dimensions(output.sizes))
    for buffer in plan.buffers:
        tensors[buffer.name] = TensorInfo(tuple(map(Dimension, buffer.sizes)))
    stored = _stored_kinds(plan, values).items()
    types = {name: type_of(kind, Origin.TENSOR) for name, kind in stored} | loaded_types(plan)
    variables: dict[str, Expr] = {s.lower(): Value(s) for s in sorted(extents)}
    variables |= dict(plan.variables)
    return Facts(cascade, (), variables, values, tensors, types)


@noted
def tensor_sizes(plan: Plan) -> dict[str, tuple[Expr, ...]]:
    """The sizes of inputs, outputs and buffers."""
    tensors: tuple[Input | Output, ...] = (*plan.inputs, *plan.outputs)
    sizes = {t.name: tuple(d.range for d in _dimensions(t.sizes)) for t in tensors}
    return sizes | {b.name: b.sizes for b in plan.buffers}


def loaded_types(plan: Plan) -> dict[str, Type]:
    """The types of what kernels load: inputs, and buffers, for outputs that are read again too."""
    found = {i.name: read_type(i.element) for i in plan.inputs}
    return found | {b.name: type_of(b.kind, Origin.TENSOR) for b in plan.buffers}


def _dimensions(sizes: tuple[Size, ...]) -> tuple[Dimension, ...]:
    return tuple(Dimension(Int(s) if isinstance(s, int) else Value(s)) for s in sizes)


def _stored_kinds(plan: Plan, values: dict[str, Type]) -> dict[str, Kind]:
    """What is stored into outputs, before it is rounded to their own types."""
    found = {o.name: Kind.BOOL for o in plan.outputs}
    for kernel in plan.kernels:
        kinds: dict[str, Kind] = {}
        known = dict(values)
        for item in statements(kernel.body):
            match item:
                case Store(tensor=name, value=value):
                    if name in found:
                        found[name] = max(found[name], TileTypes(known, {}, kinds)(value).kind)
                case Let(name=name, value=value):
                    known[name] = TileTypes(known, {}, kinds)(value)
                case TileLoop(carries=carries) | If(carries=carries):
                    kinds |= {c.name: c.kind for c in carries}
                case _:
                    kinds[item.target] = item.kind
    return found
