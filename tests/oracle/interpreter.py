"""The judge: a checked cascade evaluated point by point, in plain Python scalars.

Each rule of the language is one short function here, and nothing is shared with any backend. A
tensor is a dictionary of its present points, so what is absent, not yet computed or out of bounds
is simply not in it. Floats are held as Python floats and rounded to f32 where their type says so.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import product
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from attnc.ir.cascade import Binding, Einsum, Input, Output, Require
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
    Var,
)
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop
from attnc.ir.types import Kind, arithmetic
from attnc.ir.typing import Types
from attnc.ir.walk import FreeVariables


class Absence:
    """The type of `ABSENT`, which is neither a number nor true or false."""

    def __repr__(self) -> str:
        return "absent"

    def __bool__(self) -> bool:
        raise TypeError("absence is neither true nor false")


ABSENT: Final = Absence()
Scalar: TypeAlias = "bool | int | float"
Point: TypeAlias = "Scalar | Absence"
Place: TypeAlias = "dict[str, int]"
"""The coordinates of the rank variables in scope."""


def run(
    facts: Facts,
    inputs: Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    floating: Literal["f64", "f32"] = "f64",
) -> tuple[np.ndarray, ...]:
    """The outputs of a cascade, in order; bf16 and f8 come as f32 arrays of rounded values."""
    return _Run(facts, inputs, params or {}, floating).outputs()


# Numbers

# Significant bits, exponent of the least normal number, largest finite number.
FORMATS: Final = {
    "f32": (24, -126, (2 - 2**-23) * 2.0**127),
    "bf16": (8, -126, (2 - 2**-7) * 2.0**127),
    "f16": (11, -14, 65504.0),
    "f8e5m2": (3, -14, 57344.0),
    "f8e4m3": (4, -6, 448.0),
}
INTEGERS: Final = {
    "u8": (0, 255),
    **{f"i{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 32, 64)},
}
ARRAYS: Final = {
    "f16": "float16",
    "f64": "float64",
    "bool": "bool",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
}


def rounded(x: float, name: str) -> float:
    """`x` to the nearest number of a format, ties to even."""
    if name == "f64" or x == 0 or math.isnan(x):
        return x
    bits, low, largest = FORMATS[name]
    if abs(x) < 2 * largest:
        unit = max(math.frexp(x)[1] - 1, low) - (bits - 1)
        x = math.copysign(math.ldexp(round(math.ldexp(x, -unit)), unit), x)
    if abs(x) > largest:
        return math.nan if name == "f8e4m3" else math.copysign(math.inf, x)
    return x


def wrapped(x: int, bits: int) -> int:
    """`x` modulo 2**bits, signed."""
    return (x + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def cast_integer(x: Scalar, name: str) -> Point:
    """`x` truncated to an integer type; absent if it is NaN or does not fit."""
    low, high = INTEGERS[name]
    if not math.isfinite(x):
        return ABSENT
    return int(x) if low <= int(x) <= high else ABSENT


def divide(a: float, b: float) -> float:
    """a / b as IEEE has it."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)


def power(a: float, b: float) -> float:
    """a ** b as IEEE has it."""
    odd = math.isfinite(b) and b % 2 == 1
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and odd else math.inf
    except ValueError:
        if a != 0:
            return math.nan
        return math.copysign(math.inf, a) if odd else math.inf


def larger(a: Any, b: Any) -> Any:
    """The maximum of two numbers; NaN if one is."""
    return a if a != a or a >= b else b


def smaller(a: Any, b: Any) -> Any:
    """The minimum of two numbers; NaN if one is."""
    return a if a != a or a <= b else b


def _ieee(f: Callable[[float], float], pole: float | None = None) -> Callable[[float], float]:
    """`f` with inf on overflow, -inf at its pole and NaN outside of its domain."""

    def call(x: float) -> float:
        try:
            return -math.inf if x == pole else f(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return call


exp, sqrt = _ieee(math.exp), _ieee(math.sqrt)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


FLOAT_FUNCTIONS: Final[dict[str, Callable[[float], float]]] = {
    "exp": exp,
    "exp2": _ieee(lambda x: math.pow(2.0, x)),
    "expm1": _ieee(math.expm1),
    "log": _ieee(math.log, 0),
    "log2": _ieee(math.log2, 0),
    "log1p": _ieee(math.log1p, -1),
    "sqrt": sqrt,
    "rsqrt": lambda x: divide(1.0, sqrt(x)),
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (math.erfc(-x / math.sqrt(2)) / 2),
    "softplus": lambda x: larger(x, 0.0) + math.log1p(exp(-abs(x))),
    "erf": math.erf,
    "sin": _ieee(math.sin),
    "cos": _ieee(math.cos),
}


def _to_integer(f: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda x: x if isinstance(x, int) or not math.isfinite(x) else math.copysign(f(x), x)


SAME_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "abs": abs,
    "sign": lambda x: x if x != x else (x > 0) - (x < 0),
    "relu": lambda x: larger(x, 0),
    "floor": _to_integer(math.floor),
    "ceil": _to_integer(math.ceil),
    "round": _to_integer(round),
}
COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": power,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
COMBINE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "sum": operator.add,
    "prod": operator.mul,
    "max": larger,
    "min": smaller,
}


def random(*arguments: int) -> float:
    """A float in [0, 1) with 24 bits: splitmix64 over the arguments."""
    word, golden = 2**64, 0x9E3779B97F4A7C15
    h = golden
    for a in arguments:
        z = ((h ^ (a % word)) + golden) % word
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % word
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % word
        h = z ^ (z >> 31)
    return (h >> 40) / 2**24


def both(a: Point, b: Point, deciding: bool) -> Point:
    """`a and b` (deciding: false) or `a or b` (true) where either side may be absent."""
    if a is deciding or b is deciding:
        return deciding
    return ABSENT if a is ABSENT or b is ABSENT else not deciding


class _Run:
    """One call of one cascade."""

    def __init__(
        self, facts: Facts, inputs: Mapping[str, Any], params: Mapping[str, Any], floating: str
    ) -> None:
        self.facts, self.floating = facts, floating
        self.types = Types(facts.values, facts.types)
        self.free = FreeVariables()
        self.values: dict[str, Point] = {}
        self.tensors: dict[str, dict[tuple[int, ...], Scalar]] = {t: {} for t in facts.tensors}
        self.reduced: dict[tuple[int, ...], Point] = {}
        cascade = facts.cascade
        for parameter in cascade.parameters:
            value = params.get(parameter.name, parameter.default)
            if value is None:
                raise ValueError(f"no value for '{parameter.name}'")
            make = {"int": int, "float": float, "bool": bool}[parameter.type]
            self.values[parameter.name] = make(value)
        for item in cascade.inputs:
            self.take(item, np.asarray(inputs[item.name]))
        for statement in cascade.statements:
            if isinstance(statement, Binding):
                value = self.eval(statement.value, {})
                self.values[statement.name] = value
        for name, size in facts.variables.items():
            found = self.eval(size, {})
            if found is not ABSENT and found < 0:
                raise ValueError(f"the range of '{name}' is negative: {found}")
        for statement in cascade.statements:
            if isinstance(statement, Require) and self.eval(statement.condition, {}) is not True:
                raise ValueError("a requirement does not hold")
        for stage in facts.stages:
            if isinstance(stage, Loop):
                for start in stage.initial:
                    self.define(start, {})
                for t in range(self.size(stage.variable)):
                    for step in stage.steps:
                        self.define(step, {stage.variable: t})
            else:
                self.define(stage.einsum, {})

    def take(self, item: Input, array: np.ndarray) -> None:
        """An input: its extents and its points."""
        if array.ndim != len(item.sizes):
            raise ValueError(f"'{item.name}' has {array.ndim} ranks")
        for size, n in zip(item.sizes, array.shape, strict=True):
            known = self.values.setdefault(size, n) if isinstance(size, str) else size
            if known != n:
                raise ValueError(f"rank '{size}' of '{item.name}' is {n}, elsewhere {known}")
        for point in np.ndindex(array.shape):
            value = self.element(array[point].item(), item.element)
            if value is not ABSENT:
                self.tensors[item.name][point] = value

    def outputs(self) -> tuple[np.ndarray, ...]:
        """The results, filled where absent and in their declared types."""
        return tuple(self.output(item) for item in self.facts.cascade.outputs)

    def output(self, item: Output) -> np.ndarray:
        """One result."""
        shape = [self.values[s] if isinstance(s, str) else s for s in item.sizes]
        array = np.empty(shape, ARRAYS.get(item.element or self.floating, "float32"))
        for point in np.ndindex(array.shape):
            value = self.tensors[item.name].get(point, ABSENT)
            value = self.element(value, item.element)
            array[point] = item.empty or 0 if value is ABSENT else value
        return array

    def element(self, x: Point, name: str | None) -> Point:
        """`x` as an element of a tensor of this type."""
        name = name or self.floating
        if x is ABSENT:
            return x
        if name == "bool":
            return bool(x)
        return cast_integer(x, name) if name in INTEGERS else rounded(float(x), name)

    # Points

    def size(self, variable: str) -> int:
        """How many coordinates a rank variable has."""
        found = self.eval(self.facts.variables[variable], {})
        if not isinstance(found, int):
            raise ValueError(f"the range of '{variable}' is absent")
        return found

    def places(self, variables: tuple[str, ...]) -> Iterator[Place]:
        """Every combination of coordinates of some variables."""
        for point in product(*(range(self.size(v)) for v in variables)):
            yield dict(zip(variables, point, strict=True))

    def define(self, einsum: Einsum, fixed: Place) -> None:
        """All points of one Einsum, or those of one step; they are stored when all are known."""
        self.reduced.clear()
        found = {}
        for place in self.places(tuple(v for v in einsum.variables if v not in fixed)):
            env = {**place, **fixed}
            if all(self.eval(c, env) is True for c in einsum.where):
                kind = self.facts.types[einsum.tensor].kind
                value = self.convert(self.eval(einsum.value, env), kind)
                if value is not ABSENT:
                    at = (s.offset + (env[s.variable] if s.variable else 0) for s in einsum.slots)
                    found[tuple(at)] = value
        self.tensors[einsum.tensor].update(found)

    def convert(self, x: Point, kind: Kind) -> Any:
        """`x` as a number of a kind; integers wrap."""
        if x is ABSENT:
            return x
        if kind is Kind.BOOL:
            return bool(x)
        if kind.integral:
            return wrapped(int(x), 32 if kind is Kind.I32 else 64)
        name = {Kind.F32: "f32", Kind.F64: "f64", Kind.FLOAT: self.floating}[kind]
        return rounded(float(x), name)

    # Expressions

    def eval(self, e: Expr, env: Place) -> Any:
        """The value of an expression at one place, or `ABSENT`."""
        return getattr(self, f"_{type(e).__name__.lower()}")(e, env)

    def operands(self, exprs: tuple[Expr, ...], env: Place) -> list[Any] | None:
        """The values of operands; None if one is absent, for absence is contagious."""
        found = []
        for e in exprs:
            value = self.eval(e, env)
            if value is ABSENT:
                return None
            found.append(value)
        return found

    def _int(self, e: Int | Float | Bool, env: Place) -> Scalar:
        return e.value

    _float = _bool = _int

    def _absent(self, e: Expr, env: Place) -> Point:
        return ABSENT

    def _value(self, e: Value, env: Place) -> Point:
        return self.values[e.name]

    def _var(self, e: Var, env: Place) -> int:
        return env[e.name]

    def _read(self, e: Read, env: Place) -> Point:
        index = self.operands(e.index, env)
        return ABSENT if index is None else self.tensors[e.tensor].get(tuple(index), ABSENT)

    def _unary(self, e: Unary, env: Place) -> Point:
        x = self.eval(e.operand, env)
        if x is ABSENT:
            return x
        kind = self.types(e).kind
        if e.op == "-":
            return self.convert(-self.convert(x, kind), kind)
        return not x if kind is Kind.BOOL else ~x

    def _binary(self, e: Binary, env: Place) -> Point:
        values = self.operands((e.left, e.right), env)
        if values is None:
            return ABSENT
        kind = self.types(e).kind
        if e.op in ("<<", ">>"):
            x, by = int(values[0]), values[1]
            if not 0 <= by <= 63:
                return ABSENT
            return self.convert(x << by if e.op == "<<" else x >> by, kind)
        if e.op == "**" and kind.integral:
            return self.convert(pow(int(values[0]), values[1], 2**64), kind)
        a, b = (self.convert(x, kind) for x in values)
        if e.op in ("//", "%") and b == 0:
            if kind.integral:
                return ABSENT
            return divide(a, b) if e.op == "//" else math.nan
        return self.convert(BINARY[e.op](a, b), kind)

    def _logical(self, e: Logical, env: Place) -> Point:
        return both(self.eval(e.left, env), self.eval(e.right, env), e.op == "or")

    def _compare(self, e: Compare, env: Place) -> Point:
        result: Point = True
        for op, left, right in zip(e.ops, e.operands, e.operands[1:], strict=False):
            kind = arithmetic(self.types(left), self.types(right)).kind
            values = self.operands((left, right), env)
            found: Point = ABSENT
            if values is not None:
                found = COMPARISONS[op](*(self.convert(x, kind) for x in values))
            result = both(result, found, False)
        return result

    def _choice(self, e: Choice, env: Place) -> Point:
        condition = self.eval(e.condition, env)
        if condition is ABSENT:
            return ABSENT
        return self.convert(self.eval(e.then if condition else e.other, env), self.types(e).kind)

    def _apply(self, e: Apply, env: Place) -> Point:
        name = e.function
        kind = self.types(e).kind
        if name == "default":
            first = self.eval(e.arguments[0], env)
            chosen = self.eval(e.arguments[1], env) if first is ABSENT else first
            return self.convert(chosen, kind)
        if name == "present":
            return self.eval(e.arguments[0], env) is not ABSENT
        if name == "only":
            holds = self.eval(e.arguments[1], env) is True
            return self.eval(e.arguments[0], env) if holds else ABSENT
        values = self.operands(e.arguments, env)
        if values is None:
            return ABSENT
        if name == "detach":
            return values[0]
        if name == "random":
            return random(*values)
        if name == "ceildiv":
            a, b = values
            return ABSENT if b == 0 else self.convert(-(-a // b), kind)
        if name in ("bool", *INTEGERS, "f64", *FORMATS):
            return self.element(values[0], name)
        xs = [self.convert(x, kind) for x in values]
        if name in ("max", "min"):
            return reduce(COMBINE[name], xs)
        if name == "clip":
            return smaller(larger(xs[0], xs[1]), xs[2])
        if name == "pow":
            return self.convert(power(xs[0], xs[1]), kind)
        return self.convert({**FLOAT_FUNCTIONS, **SAME_FUNCTIONS}[name](xs[0]), kind)

    # Reductions

    def _reduce(self, e: Reduce, env: Place) -> Point:
        key = (id(e), *(env[v] for v in self.free(e)))
        if key not in self.reduced:
            points = [self.eval(e.body, {**env, **place}) for place in self.places(e.variables)]
            self.reduced[key] = self.combine(e, e.op, [x for x in points if x is not ABSENT])
        return self.reduced[key]

    def combine(self, e: Expr, op: str, present: list[Any]) -> Point:
        """The present points combined; absent if there is none."""
        if op in ("any", "all", "count"):
            return {"any": any, "all": all, "count": sum}[op](present)
        if not present:
            return ABSENT
        kind = self.types(e).kind
        f = COMBINE["sum" if op == "mean" else op]
        xs = (self.convert(x, kind) for x in present)
        total = reduce(lambda a, b: self.convert(f(a, b), kind), xs)
        return self.convert(total / len(present), kind) if op == "mean" else total

    def _scan(self, e: Scan, env: Place) -> Point:
        at = env[e.variable]
        seen = range(self.size(e.variable) - 1, at - 1, -1) if e.reverse else range(at + 1)
        points = [self.eval(e.body, {**env, e.variable: k}) for k in seen]
        return self.combine(e, e.op.removeprefix("cum"), [x for x in points if x is not ABSENT])

    def ranked(self, e: Arg | TopK, env: Place, sign: int) -> list[int]:
        """The present indices of `e`'s variable: NaN first, then the largest `sign * x`."""
        points = [self.eval(e.body, {**env, e.variable: i}) for i in range(self.size(e.variable))]
        present = [i for i, x in enumerate(points) if x is not ABSENT]
        return sorted(
            present, key=lambda i: (points[i] == points[i], -sign * _orderable(points[i]))
        )

    def _arg(self, e: Arg, env: Place) -> Point:
        ranked = self.ranked(e, env, 1 if e.op == "argmax" else -1)
        return ranked[0] if ranked else ABSENT

    def _topk(self, e: TopK, env: Place) -> Point:
        ranked, at = self.ranked(e, env, 1), env[e.into]
        return ranked[at] if at < len(ranked) else ABSENT


def _orderable(x: Scalar) -> Scalar:
    return 0 if x != x else x
