"""Exact mode: texts and inputs of which every legal schedule finds the same bits.

`stand_in` replaces what cannot be exact by what can: exponentials by powers of two, divisors by
powers of two near them, logarithms by integers, curves by straight lines. What reads what, where
points are present and what a reduction combines stays as it is, and so do the laws that a schedule
may use: exp2(s - m) splits as exp(s - m) does, and a division can be deferred. With small integers
as inputs all sums are exact, in any order; the bound of such a call is 0, which proves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Final

import ml_dtypes
import numpy as np

from attnc import api
from attnc.ir import printer
from attnc.ir.cascade import Binding, Einsum, Input, Parameter
from attnc.ir.expr import Apply, Binary, Expr, Float, Int, Reduce, Unary
from attnc.ir.facts import Facts
from attnc.ir.typing import Types
from attnc.ir.walk import children, rebuild
from tests.acceptance.estimate import Budget
from tests.acceptance.evaluator import evaluate

OFFSET: Final = 0.3125
"""No number that a spec computes is 2 ** (k - OFFSET), so that rounding decides no step."""
SCALES: Final = (1.0, 2.0, 4.0, 0.5, 8.0)
"""Factors of the small integers, tried in this order."""
MIXED: Final = 6
"""Trials with a factor for each input."""
DENSITIES: Final = (0.6, 0.3, 0.15)
"""Shares of inputs that are not 0, tried in this order."""
TYPES: Final[Mapping[str, Any]] = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f32": np.float32,
    "f64": np.float64,
    "f8e4m3": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "i8": np.int8,
    "u8": np.uint8,
    "i32": np.int32,
    "i64": np.int64,
    "bool": np.bool_,
}


class Inexact(ValueError):
    """No inputs were found of which every schedule finds the same bits."""


def _call(name: str, *arguments: Expr) -> Expr:
    return Apply(name, arguments)


def _exponent(x: Expr) -> Expr:
    """log2 as an integer."""
    return _call("floor", Binary("+", _call("log2", x), Float(OFFSET)))


def _power(x: Expr) -> Expr:
    """A power of two near |x|."""
    return _call("exp2", _exponent(_call("abs", x)))


def _ramp(x: Expr) -> Expr:
    """A straight line from 0 to 1, in place of a sigmoid."""
    line = Binary("+", Binary("*", Float(0.25), x), Float(0.5))
    return _call("clip", line, Int(0), Int(1))


def _bounded(x: Expr) -> Expr:
    return _call("clip", x, Unary("-", Int(1)), Int(1))


def _wave(x: Expr) -> Expr:
    """1 and -1 in turns."""
    odd = Binary("%", _call("floor", x), Int(2))
    return Binary("-", Int(1), Binary("*", Int(2), odd))


INSTEAD: Final[Mapping[str, Callable[[Expr], Expr]]] = {
    "exp": lambda x: _call("exp2", x),
    "expm1": lambda x: Binary("-", _call("exp2", x), Int(1)),
    "log": _exponent,
    "log2": _exponent,
    "log1p": lambda x: _exponent(Binary("+", Int(1), x)),
    "sqrt": lambda x: _call("exp2", _call("floor", Binary("/", _exponent(x), Int(2)))),
    "rsqrt": lambda x: _call("exp2", Unary("-", _call("floor", Binary("/", _exponent(x), Int(2))))),
    "tanh": _bounded,
    "erf": _bounded,
    "sin": lambda x: _wave(Binary("/", x, Int(2))),
    "cos": lambda x: _wave(x),
    "sigmoid": _ramp,
    "silu": lambda x: Binary("*", x, _ramp(x)),
    "gelu": lambda x: Binary("*", x, _ramp(x)),
    "softplus": lambda x: _call("max", x, Int(0)),
}


def stand_in(facts: Facts) -> Facts:
    """The cascade with everything replaced that cannot be exact."""
    types = Types(facts.values, facts.types)

    def exact(e: Expr) -> Expr:
        new = rebuild(e, tuple(exact(child) for child in children(e)))
        match new:
            case Apply(function=name, arguments=(x,)) if name in INSTEAD:
                return INSTEAD[name](x)
            case Apply(function="pow", arguments=(a, b)):
                return _raised(a, b)
            case Binary(op="**", left=a, right=b) if types(e).kind.floating:
                whole = isinstance(b, Int) or (isinstance(b, Unary) and isinstance(b.operand, Int))
                return new if whole else _raised(a, b)
            case Binary(op="/", left=a, right=b):
                return new if _is_power(b) else Binary("/", a, _power(b))
            case Reduce(op="mean", variables=variables, body=body):
                count = Reduce("count", variables, _call("present", body))
                return Binary("/", Reduce("sum", variables, body), _power(count))
            case Float(value=value) if value != 0 and math.isfinite(value):
                return Float(_short(value))
            case _:
                return new

    def statement(s: Any) -> Any:
        match s:
            case Einsum():
                where = tuple(exact(c) for c in s.where)
                return replace(s, value=exact(s.value), where=where, written=None)
            case Binding(value=value):
                whole = facts.values[s.name].kind
                return replace(s, value=exact(value) if whole.floating else value)
            case _:
                return s

    cascade = replace(
        facts.cascade,
        parameters=tuple(_parameter(p) for p in facts.cascade.parameters),
        statements=tuple(statement(s) for s in facts.cascade.statements),
    )
    return api.check(printer.cascade(cascade)).select()


def _parameter(parameter: Parameter) -> Parameter:
    """Its default as a power of two, if it is a float."""
    default = parameter.default
    if parameter.type != "float" or not default or not math.isfinite(default):
        return parameter
    power = math.ldexp(0.5, math.frexp(abs(default))[1])
    return replace(parameter, default=math.copysign(power, default))


def _raised(a: Expr, b: Expr) -> Expr:
    return _call("exp2", _call("floor", Binary("*", b, _exponent(_call("abs", a)))))


def _is_power(e: Expr) -> bool:
    match e:
        case Int(value=value) | Float(value=value):
            return value > 0 and math.frexp(value)[0] == 0.5
        case Apply(function="exp2", arguments=(Apply(function="floor"),)):
            return True
        case _:
            return False


def _short(value: float) -> float:
    """A literal with at most four significant bits, and not so small that sums get long."""
    mantissa, exponent = math.frexp(value)
    short = math.ldexp(round(mantissa * 16), exponent - 4)
    return short if abs(value) >= 2**-6 else math.ldexp(1.0, -6)


def exact_inputs(
    facts: Facts,
    sizes: Mapping[str, int],
    seed: int,
    dtype: str,
    given: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Inputs of a stand-in for which nothing is ever rounded, in the kernel's type `dtype`.

    `sizes` are the extents of the inputs' ranks, `given` inputs that are to be taken as they are,
    such as tables of pages. Raises `Inexact` where no trial is exact, and names what is rounded.
    """
    rng = np.random.default_rng(seed)
    wide = "f64" if dtype == "f64" else "f32"
    names = [item.name for item in facts.cascade.inputs]
    rounded: tuple[str, ...] = ()
    same = [dict.fromkeys(names, scale) for scale in SCALES]
    mixed = [dict(zip(names, rng.choice(SCALES, len(names)), strict=True)) for _ in range(MIXED)]
    for density, scales in product(DENSITIES, [*same, *mixed]):
        inputs = {
            item.name: _array(item, sizes, dtype, scales[item.name], density, rng)
            for item in facts.cascade.inputs
        }
        inputs.update(given or {})
        rounded = inexact(facts, inputs, parameters or {}, dtype, wide)
        if not rounded:
            return inputs
    raise Inexact(f"{facts.cascade.name}: {', '.join(rounded)} are rounded")


def inexact(
    facts: Facts,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    matrix: str,
    accumulate: str,
) -> tuple[str, ...]:
    """The tensors of which a legal execution may find other bits, in the order of the text."""
    tensors = evaluate(facts, inputs, parameters, Budget(accumulate, matrix))
    return tuple(name for name, x in tensors.items() if not x.exact.all())


def _array(
    item: Input,
    sizes: Mapping[str, int],
    dtype: str,
    scale: float,
    density: float,
    rng: np.random.Generator,
) -> Any:
    shape = [sizes[s] if isinstance(s, str) else s for s in item.sizes]
    element = item.element or dtype
    if element == "bool":
        return rng.random(shape) < 0.5
    if element[0] in "iu":
        return rng.integers(0, 3, size=shape).astype(TYPES[element])
    values = rng.integers(1, 3, size=shape) * rng.choice((-scale, scale), size=shape)
    return np.where(rng.random(shape) < density, values, 0.0).astype(TYPES[element])
