"""Kernels as PyTorch operators, so that `torch.compile` and `torch.export` keep them in one graph.

An operator `attnc::<name>_<digest>` is made when a kernel first meets a tensor; its name depends on
the spec and the choices alone, so that an exported program finds it again in another process that
has made the same kernel.
"""

from __future__ import annotations

import functools
import keyword
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from attnc.ir.cascade import Parameter
from attnc.python.build import AT, NUMPY, TVM
from attnc.python.definitions import DEFINITIONS, Definition
from attnc.python.direct import is_direct
from attnc.python.shapes import output_sizes
from attnc.python.tensors import ELEMENTS, to_numpy, to_torch

NAMESPACE: Final = "attnc"
SCHEMA_TYPES: Final = {"int": "SymInt", "float": "float", "bool": "bool"}
RESERVED: Final = frozenset({*keyword.kwlist, "Tensor", "SymInt", "int", "float", "bool", "str"})
NO_GRADIENT: Final = "no_gradient"


_made: Final[set[str]] = set()
_lock: Final = threading.RLock()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def prepare(name: str) -> bool:
    """Makes an operator unless it is there; while a graph is traced this is run, not traced."""
    if name not in _made:
        with _lock:
            if name not in _made:
                _make(name, DEFINITIONS[name])
                _made.add(name)
    return True


def call(name: str, tensors: Sequence[Any], parameters: Sequence[Any]) -> Any:
    """Runs a kernel's operator, or the kernel itself: one tensor, or a tuple of them."""
    if not torch.compiler.is_compiling() and is_direct(tensors):
        definition = DEFINITIONS[name]
        built = definition.on("cpu")
        if built.backend == TVM:
            return built.call(tensors, _named(definition, parameters))
    prepare(name)
    return getattr(torch.ops.attnc, name)(*tensors, *parameters)


def made(name: str) -> Any:
    """The operator itself, as `torch.ops` holds it."""
    prepare(name)
    return getattr(torch.ops.attnc, name).default


def scalar(kernel: str, parameter: Parameter, value: Any) -> Any:
    """A parameter as the operator takes it; raises `TypeError` for what is of another type."""
    match parameter.type:
        case "int":
            if isinstance(value, int | torch.SymInt) and not isinstance(value, bool):
                return value
            if not isinstance(value, bool) and hasattr(value, "__index__"):
                return operator.index(value)
        case "float":
            if isinstance(value, float | torch.SymFloat):
                return value
            if not isinstance(value, bool) and hasattr(value, "__float__"):
                return float(value)
        case "bool":
            if isinstance(value, bool) or type(value).__name__ == "bool":
                return bool(value)
    article = "an" if parameter.type == "int" else "a"
    found = type(value).__name__
    raise TypeError(f"{kernel}: {parameter.name} must be {article} {parameter.type}, not {found}")


# Making an operator


def _make(name: str, definition: Definition) -> None:
    """Registers the operator of a kernel: what it runs, its shapes, its lack of a gradient."""
    known = definition.built.signature
    count = len(known.inputs)

    def launch(*arguments: Any) -> Any:
        return _launch(definition, arguments[:count], arguments[count:])

    def fake(*arguments: Any) -> Any:
        return _fake(definition, arguments[:count], arguments[count:])

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.likes = [(t.shape, t.dtype) for t in inputs[:count]]

    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        _make_no_gradient()
        return _no_gradients(ctx, gradients, known.name)

    made = torch.library.custom_op(
        f"{NAMESPACE}::{name}", launch, mutates_args=(), schema=_schema(definition)
    )
    made.register_fake(fake)
    made.register_autograd(backward, setup_context=setup)


def _schema(definition: Definition) -> str:
    """The operator's type as PyTorch writes it; names that it would not take get a `_`."""
    known = definition.built.signature
    taken = set(RESERVED)
    arguments = []
    kinds = [("Tensor", i.name) for i in known.inputs]
    kinds += [(SCHEMA_TYPES[p.type], p.name) for p in known.parameters]
    for kind, name in kinds:
        while name in taken:
            name += "_"
        taken.add(name)
        arguments.append(f"{kind} {name}")
    results = ", ".join(["Tensor"] * len(known.outputs))
    return f"({', '.join(arguments)}) -> " + (f"({results})" if "," in results else results)


def _launch(definition: Definition, tensors: Sequence[Any], parameters: Sequence[Any]) -> Any:
    built = definition.on(_device(definition, tensors))
    values = _named(definition, parameters)
    if built.backend != NUMPY:
        return built.call([t.resolve_neg() for t in tensors], values)
    found = built.call([to_numpy(t) for t in tensors], values)
    if isinstance(found, tuple):
        return tuple(to_torch(array) for array in found)
    return to_torch(found)


def _named(definition: Definition, parameters: Sequence[Any]) -> dict[str, Any]:
    """The values of the parameters by their names."""
    known = definition.built.signature.parameters
    return {p.name: value for p, value in zip(known, parameters, strict=True)}


def _device(definition: Definition, tensors: Sequence[Any]) -> str:
    """The kind of device of the tensors; raises `ValueError` where no kernel runs."""
    known = definition.built.signature
    names = [i.name for i in known.inputs]
    first: torch.device = tensors[0].device
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.device != first:
            text = f"{names[0]} is on {first} and {name} is on {tensor.device}; all tensors must be"
            raise ValueError(f"{known.name}: {text} on one device")
    backend = definition.choices.backend
    if backend == NUMPY and first.type != "cpu":
        text = f"{names[0]} is on {first}; the {backend} backend computes on the CPU"
        raise ValueError(f"{known.name}: {text}")
    if backend is None and first.type not in AT:
        text = f"{names[0]} is on {first}; kernels run on {' and '.join(AT)}"
        raise ValueError(f"{known.name}: {text}")
    return str(first.type)


def _fake(definition: Definition, tensors: Sequence[Any], parameters: Sequence[Any]) -> Any:
    """Results of the right sizes and types with nothing in them."""
    known = definition.built.signature
    cascade, static = definition.checked
    names = (p.name for p in known.parameters)
    values = {**static, **dict(zip(names, parameters, strict=True))}
    sizes = output_sizes(cascade, [t.shape for t in tensors], values, torch._check)
    untyped = [t for i, t in zip(known.inputs, tensors, strict=True) if i.element is None]
    if known.dtype is not None:
        floating = ELEMENTS[known.dtype]
    else:
        floating = untyped[0].dtype if untyped else torch.float32
    found = tuple(
        torch.empty(
            size,
            dtype=floating if output.element is None else ELEMENTS[output.element],
            device=tensors[0].device,
        )
        for size, output in zip(sizes, known.outputs, strict=True)
    )
    return found if len(found) > 1 else found[0]


# Gradients


@functools.cache
def _make_no_gradient() -> None:
    """Registers the operator that stands where a gradient would: it raises an error if it runs.

    A graph that may be differentiated can so be compiled and run forwards.
    """
    made = torch.library.custom_op(
        f"{NAMESPACE}::{NO_GRADIENT}",
        _refuse_gradient,
        mutates_args=(),
        schema="(Tensor gradient, SymInt[] shape, ScalarType dtype, str kernel) -> Tensor",
    )
    made.register_fake(lambda g, shape, dtype, kernel: g.new_empty(shape, dtype=dtype))


def _refuse_gradient(gradient: Any, shape: Any, dtype: Any, kernel: str) -> Any:
    raise NotImplementedError(
        f"{kernel}: kernels have no gradient yet; call it under torch.no_grad(), or detach what "
        "it is given"
    )


def _no_gradients(ctx: Any, gradients: Sequence[Any], kernel: str) -> tuple[Any, ...]:
    """For each argument that needs a gradient, the operator that refuses to give one."""
    refuse: Callable[..., Any] = getattr(torch.ops.attnc, NO_GRADIENT)
    first = next(g for g in gradients if g is not None)
    likes = [*ctx.likes, *([None] * (len(ctx.needs_input_grad) - len(ctx.likes)))]
    return tuple(
        refuse(first, list(like[0]), like[1], kernel) if like is not None and needed else None
        for like, needed in zip(likes, ctx.needs_input_grad, strict=True)
    )
