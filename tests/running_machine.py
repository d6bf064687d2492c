"""Runs running forms tile by tile in floats of 32 bits, as NumPy, whatever the forms are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from attnc.ir.expr import (
    Apply,
    Binary,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Read,
    Reduce,
    Unary,
    Value,
    Var,
)
from attnc.ir.facts import Facts
from attnc.ir.walk import children, rebuild, subexpressions
from attnc.passes.running.build import total
from attnc.passes.running.checks import renamed
from attnc.passes.running.derive import Derivation, Extreme, Plain, Sum
from attnc.passes.running.terms import Phi

AXES: Final = ("m", "n", "f")

BINARY: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "**": np.power,
}
COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
}
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **{f: getattr(np, f) for f in "exp exp2 expm1 log log2 log1p sqrt".split()},
    **{f: getattr(np, f) for f in "tanh sin cos abs sign".split()},
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "max": np.maximum,
    "min": np.minimum,
    "present": lambda x: np.ones(np.shape(x), bool),
    "default": lambda x, _: x,
    "detach": lambda x: x,
    "pow": np.power,
}
REDUCE: Final[Mapping[str, Callable[..., Any]]] = {
    "sum": np.sum,
    "count": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
}


class Floats:
    """Evaluates expressions over the axes `m, n, f` in one type; everything is present.

    `only(x, c)` is not a number where `c` does not hold, and sums leave such points out.
    """

    def __init__(self, dtype: type, arrays: Mapping[str, Any], values: Mapping[str, float]) -> None:
        self.dtype = dtype
        self.tensors: dict[str, Any] = dict(arrays)
        self.values = values
        self.points: Any = np.arange(1)

    def __call__(self, expr: Expr) -> Any:
        """The value, of a shape that goes with `(M, N, F)`."""
        match expr:
            case Int(value=value) | Float(value=value):
                return self.dtype(value)
            case Value(name=name):
                return self.dtype(self.values[name])
            case Var(name="n"):
                return self.points.reshape(1, -1, 1)
            case Read(tensor=tensor, index=index):
                found = self.tensors[tensor]
                streamed = any(isinstance(i, Var) and i.name == "n" for i in index)
                return found[:, self.points] if streamed else found
            case Unary(op="-", operand=operand):
                return -self(operand)
            case Unary(op="not", operand=operand):
                return ~self(operand)
            case Binary(op=op, left=left, right=right):
                return BINARY[op](self(left), self(right))
            case Compare(ops=(op,), operands=(left, right)):
                return COMPARE[op](self(left), self(right))
            case Logical(op=word, left=left, right=right):
                return self(left) & self(right) if word == "and" else self(left) | self(right)
            case Choice(condition=condition, then=then, other=other):
                return np.where(self(condition), self(then), self(other))
            case Apply(function="only", arguments=(value, condition)):
                return np.where(self(condition), self(value), self.dtype(np.nan))
            case Apply(function=name, arguments=arguments):
                return FUNCTIONS[name](*map(self, arguments))
            case Reduce(op=op, body=body):
                return self.reduce(op, self(body), self.has_only(body))
            case _:
                raise NotImplementedError(expr)

    def phi(self, phi: Phi) -> Any:
        """A basis function; an exponential is 0 while what it is relative to is infinite."""
        value = self(phi.expr())
        for factor, _ in phi.mixed:
            if factor.function == "exp":
                value = np.where(np.isinf(self(factor.coordinate.steady)), 0, value)
        return value

    def has_only(self, body: Expr) -> bool:
        return isinstance(body, Apply) and body.function == "only"

    def reduce(self, op: str, value: Any, absent: bool = False) -> Any:
        """Over `n`."""
        shape = np.broadcast_shapes(np.shape(value), (1, len(self.points), 1))
        whole = np.broadcast_to(value, shape)
        if absent:
            whole = np.nan_to_num(whole, nan={"sum": 0, "max": -np.inf, "min": np.inf}[op])
        found = REDUCE[op](whole, axis=1, keepdims=True)
        return found if op in ("any", "all") else found.astype(self.dtype)


def written(facts: Facts, floats: Floats, count: int) -> dict[str, Any]:
    """All tensors as the text computes them."""
    floats.points = np.arange(count)
    for einsum in facts.cascade.einsums:
        floats.tensors[einsum.tensor] = floats(einsum.value)
    return floats.tensors


def at_rest(entry: Expr, names: frozenset[str]) -> Expr:
    """An entry of T in which equal results, infinite ones too, make no change."""
    match entry:
        case Binary(op="-", left=left, right=right):
            reads = {e.tensor for e in subexpressions(entry) if isinstance(e, Read)}
            if any(name.endswith("'") for name in reads):
                return Choice(Compare(("==",), (left, right)), Int(0), entry)
        case _:
            pass
    return rebuild(entry, tuple(at_rest(c, names) for c in children(entry)))


def running(
    found: Derivation,
    floats: Floats,
    tiles: Sequence[Any],
    states: dict[str, list[Any]] | None = None,
) -> dict[str, Any]:
    """All results of running forms after some tiles, one after the other, and their states."""
    names = frozenset(form.tensor for form in found.running)
    old = renamed(names, "'")
    states = {} if states is None else states
    for number, tile in enumerate(tiles):
        floats.points = tile
        for name in names:
            if number:
                floats.tensors[f"{name}'"] = floats.tensors[name]
        for form in found.running:
            tensor = form.tensor
            match form:
                case Plain(op=op, body=body) | Extreme(op=op, inner=body):
                    here = floats.reduce(op, floats(body), floats.has_only(body))
                    if number:
                        pair = np.concatenate([states[tensor][0], here], axis=1)
                        here = REDUCE[op](pair, axis=1, keepdims=True)
                    states[tensor] = [here]
                    floats.tensors[tensor] = here
                    if isinstance(form, Extreme):
                        floats.tensors[tensor] = floats(form.result)
                case Sum(basis=basis):
                    sums = []
                    for j, phi in enumerate(basis.functions):
                        value = floats.phi(phi)
                        for condition in phi.where:
                            value = np.where(floats(condition), value, 0)
                        one = floats.reduce("sum", value)
                        for k, entries in basis.transition[j].items() if number else ():
                            entry = floats(at_rest(total(e.expr(old) for e in entries), names))
                            one = one + entry * states[tensor][k]
                        sums.append(one)
                    states[tensor] = sums
                    floats.tensors[tensor] = sum(floats(c) * sums[i] for i, c in form.result)
    return floats.tensors
