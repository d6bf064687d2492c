"""A checked cascade evaluated in float64, over arrays, with a bound on each value's error.

Every rank variable of the cascade has an axis of its own, so that arrays broadcast by themselves;
an axis along which nothing changes has size 1. Nothing is shared with a backend or a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, TypeAlias, assert_never

import numpy as np

from attnc.ir.cascade import Binding, Einsum, Input, Require, Slot
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
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
from attnc.ir.types import Kind
from attnc.ir.typing import Types
from attnc.ir.walk import FreeVariables
from tests.acceptance import combine, estimate, functions, integers
from tests.acceptance.contraction import contracted
from tests.acceptance.estimate import Budget, Estimate, contagious, converted, doubt, known
from tests.acceptance.formats import Array
from tests.acceptance.integers import integer
from tests.acceptance.ranking import ranked
from tests.oracle import interpreter

Fixed: TypeAlias = "Mapping[str, int]"
"""Coordinates of the variables that a recurrence is at."""


@dataclass(slots=True)
class Stored:
    """A tensor: its arrays over its own ranks, and the first coordinate of each rank."""

    held: Estimate
    low: tuple[int, ...]

    def points(self) -> Estimate:
        """Its points from coordinate 0 on: what a recurrence starts from is left out."""
        cut, x = tuple(slice(-low, None) for low in self.low), self.held
        return Estimate(x.value[cut], x.error[cut], x.size[cut], x.present[cut], x.kind)


@dataclass(frozen=True, slots=True)
class _Product:
    """A summand taken apart: factors, conditions and a sign."""

    factors: tuple[Expr, ...]
    divisors: tuple[Expr, ...]
    conditions: tuple[Expr, ...]
    minus: bool


def evaluate(
    facts: Facts,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    budget: Budget,
    errors: Mapping[str, Array] | None = None,
) -> dict[str, Estimate]:
    """All tensors of a cascade, each over its own ranks. Raises `ValueError` as a kernel would.

    `errors` says how far floating inputs may be from what is given; by default they are exact.
    """
    with np.errstate(all="ignore"):
        return _Evaluator(facts, inputs, parameters, budget, errors or {}).run()


class _Evaluator:
    """One evaluation of one cascade."""

    def __init__(
        self,
        facts: Facts,
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
        budget: Budget,
        errors: Mapping[str, Array],
    ) -> None:
        self.facts, self.inputs, self.parameters, self.budget = facts, inputs, parameters, budget
        self.errors = errors
        self.types = Types(facts.values, facts.types)
        self.free = FreeVariables()
        self.axes = {v: i for i, v in enumerate(facts.variables)}
        self.rank = len(self.axes)
        self.values: dict[str, Estimate] = {}
        self.sizes: dict[str, int] = {}
        self.tensors: dict[str, Stored] = {}
        self.found: dict[tuple[Expr, tuple[tuple[str, int], ...]], Estimate] = {}

    def run(self) -> dict[str, Estimate]:
        """Values, inputs, then the stages in their order."""
        cascade = self.facts.cascade
        for parameter in cascade.parameters:
            value = self.parameters.get(parameter.name, parameter.default)
            if value is None:
                raise ValueError(f"no value for '{parameter.name}'")
            self.values[parameter.name] = self.number(value, parameter.type)
        for item in cascade.inputs:
            self.take(item, np.asarray(self.inputs[item.name]))
        for statement in cascade.statements:
            if isinstance(statement, Binding):
                self.values[statement.name] = self.eval(statement.value, {})
        for name, size in self.facts.variables.items():
            extent = self.eval(size, {})
            self.sizes[name] = int(extent.value.item()) if extent.present.all() else -1
            if extent.present.all() and self.sizes[name] < 0:
                raise ValueError(f"the range of '{name}' is negative")
        for statement in cascade.statements:
            if isinstance(statement, Require):
                holds = self.eval(statement.condition, {})
                if not (holds.value & holds.present).all():
                    raise ValueError("a requirement does not hold")
        for stage in self.facts.stages:
            if isinstance(stage, Loop):
                for einsum in (*stage.initial, *stage.steps):
                    self.allocate(einsum)
                for einsum in stage.initial:
                    self.define(einsum, {})
                for t in range(self.size(stage.variable)):
                    for einsum in stage.steps:
                        self.define(einsum, {stage.variable: t})
            else:
                self.allocate(stage.einsum)
                self.define(stage.einsum, {})
        return {name: stored.points() for name, stored in self.tensors.items()}

    # Numbers and tensors

    def number(self, value: Any, kind: str) -> Estimate:
        """A parameter or a literal."""
        held = {
            "int": (np.int64, Kind.I64),
            "float": (np.float64, Kind.F64),
            "bool": (np.bool_, Kind.BOOL),
        }
        dtype, found = held[kind]
        array: Any = np.full((1,) * self.rank, value, dtype)
        return known(array, found, np.ones_like(array, np.bool_))

    def take(self, item: Input, array: Any) -> None:
        """An input: its extents and its points."""
        for size, n in zip(item.sizes, array.shape, strict=True):
            if isinstance(size, str):
                known_ = self.values.setdefault(size, self.number(n, "int"))
                size = int(known_.value.item())
            if size != n:
                raise ValueError(f"a rank of '{item.name}' is {n}, elsewhere {size}")
        kind = self.facts.types[item.name].kind
        dtype = np.float64 if kind.floating else np.bool_ if kind is Kind.BOOL else np.int64
        value = array.astype(dtype)
        held = known(value, kind, np.ones(value.shape, np.bool_))
        finite = np.where(np.isfinite(held.size), held.size, 0.0)
        held = replace(held, size=finite, error=self.errors.get(item.name, held.error))
        self.tensors[item.name] = Stored(held, (0,) * array.ndim)

    def size(self, variable: str) -> int:
        """How many coordinates a variable has."""
        if self.sizes[variable] < 0:
            raise ValueError(f"the range of '{variable}' is absent")
        return self.sizes[variable]

    def tiles(self, variables: tuple[str, ...]) -> int:
        """How many tiles a stream over these variables takes."""
        count = 1
        for v in variables:
            extent = self.facts.variables[v]
            name = extent.name if isinstance(extent, Value) else v
            tile = self.budget.tiles.get(name, self.budget.tiles.get(v))
            count *= -(-self.size(v) // tile) if tile else 1
        return count

    def allocate(self, einsum: Einsum) -> None:
        """A tensor of which nothing is present yet."""
        if einsum.tensor in self.tensors:
            return
        info = self.facts.tensors[einsum.tensor]
        ranges = [self.eval(d.range, {}) for d in info.dimensions]
        shape = [
            int(r.value.item()) + d.extra for r, d in zip(ranges, info.dimensions, strict=True)
        ]
        kind = self.facts.types[einsum.tensor].kind
        dtype = np.float64 if kind.floating else np.bool_ if kind is Kind.BOOL else np.int64
        held = Estimate(
            np.zeros(shape, dtype),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape, np.bool_),
            kind,
        )
        self.tensors[einsum.tensor] = Stored(held, tuple(d.low for d in info.dimensions))

    def define(self, einsum: Einsum, fixed: Fixed) -> None:
        """All points of one Einsum, or those of one step of its group."""
        self.found.clear()
        self.budget.tensor = einsum.tensor
        kind = self.facts.types[einsum.tensor].kind
        result = converted(self.eval(einsum.value, fixed), kind, self.budget)
        for condition in einsum.where:
            result = estimate.filtered(result, self.eval(condition, fixed))
        stored = self.tensors[einsum.tensor]
        place = tuple(
            self.place(slot, low, fixed) for slot, low in zip(einsum.slots, stored.low, strict=True)
        )
        free = [s.variable for s in einsum.slots if s.variable and s.variable not in fixed]
        sizes = [self.size(v) for v in free]
        shape = [1] * self.rank
        for v, n in zip(free, sizes, strict=True):
            shape[self.axes[v]] = n
        order = [self.axes[v] for v in free]
        rest = [i for i in range(self.rank) if i not in order]
        parts = ("value", "error", "size", "present")
        for part in parts:
            new = np.broadcast_to(getattr(result, part), shape).transpose([*order, *rest])
            getattr(stored.held, part)[place] = new.reshape(sizes)

    def place(self, slot: Slot, low: int, fixed: Fixed) -> int | slice:
        """Where a slot of a left side lies in the stored tensor."""
        start = slot.offset - low
        if slot.variable is None:
            return start
        if slot.variable in fixed:
            return start + fixed[slot.variable]
        return slice(start, start + self.size(slot.variable))

    # Expressions

    def eval(self, e: Expr, fixed: Fixed) -> Estimate:
        """The estimate of an expression at every point of its variables."""
        match e:
            case Int(value=value):
                return self.number(value, "int")
            case Float(value=value):
                return self.number(value, "float")
            case Bool(value=value):
                return self.number(value, "bool")
            case Absent():
                nothing = self.number(0, "int")
                return replace(nothing, present=np.zeros_like(nothing.present))
            case Value(name=name):
                return self.values[name]
            case Var(name=name):
                return self.coordinate(name, fixed)
            case Read():
                return self.read(e, fixed)
            case Unary():
                return self.unary(e, fixed)
            case Binary():
                return self.binary(e, fixed)
            case Logical(op=op, left=left, right=right):
                return estimate.both(self.eval(left, fixed), self.eval(right, fixed), op == "or")
            case Compare(ops=ops, operands=operands):
                parts = [
                    estimate.compared(op, *self.meeting(a, b, fixed))
                    for op, a, b in zip(ops, operands, operands[1:], strict=False)
                ]
                return reduce(partial(estimate.both, deciding=False), parts)
            case Choice(condition=condition, then=then, other=other):
                kind = self.types(e).kind
                branches = [self.convert(x, kind, fixed) for x in (then, other)]
                return estimate.chosen(self.eval(condition, fixed), *branches)
            case Apply():
                return self.apply(e, fixed)
            case Reduce() | Scan() | Arg() | TopK():
                key = e, tuple(fixed.items())
                if key not in self.found:
                    self.found[key] = self.bound(e, fixed)
                return self.found[key]
            case Name() | Call():
                raise TypeError("an unresolved expression has no value")
            case _:
                assert_never(e)

    def convert(self, e: Expr, kind: Kind, fixed: Fixed) -> Estimate:
        """An expression as another kind."""
        return converted(self.eval(e, fixed), kind, self.budget)

    def meeting(self, a: Expr, b: Expr, fixed: Fixed) -> tuple[Estimate, Estimate]:
        """Both sides of a comparison, as one kind."""
        kind = self.types.comparison(a, b).kind
        return self.convert(a, kind, fixed), self.convert(b, kind, fixed)

    def coordinate(self, variable: str, fixed: Fixed) -> Estimate:
        """A rank variable as a number."""
        if variable in fixed:
            return self.number(fixed[variable], "int")
        shape = [1] * self.rank
        shape[self.axes[variable]] = self.size(variable)
        index = np.arange(self.size(variable), dtype=np.int64).reshape(shape)
        return known(index, Kind.I64, np.ones_like(index, np.bool_))

    def read(self, e: Read, fixed: Fixed) -> Estimate:
        """A tensor at an index; absent outside of its bounds."""
        stored = self.tensors[e.tensor]
        indices = [self.eval(i, fixed) for i in e.index]
        places, inside = [], np.ones((1,) * self.rank, np.bool_)
        shape = np.broadcast_shapes(inside.shape, *(np.shape(i.value) for i in indices))
        extents = stored.held.present.shape
        for i, low, extent in zip(indices, stored.low, extents, strict=True):
            place = i.value - low
            inside = inside & (place >= 0) & (place < extent)
            places.append(np.clip(place, 0, max(extent - 1, 0)))
        if 0 in extents:
            parts: list[Any] = [
                np.zeros(shape, a.dtype) for a in (stored.held.value, stored.held.error)
            ]
            parts += [np.zeros(shape), np.zeros(shape, np.bool_)]
        else:
            held = stored.held
            parts = [
                a[tuple(places)] if places else a.reshape(shape)
                for a in (held.value, held.error, held.size, held.present)
            ]
        value, error, size, present = parts
        kind = stored.held.kind
        point = Estimate(value, np.where(inside, error, 0.0), size, present & inside, kind)
        result = contagious(
            value, point.error + doubt(*indices, point), size, kind, point, *indices
        )
        return replace(result, kind=kind)

    def unary(self, e: Unary, fixed: Fixed) -> Estimate:
        kind = self.types(e).kind
        x = self.eval(e.operand, fixed)
        if e.op == "-":
            x = converted(x, kind, self.budget)
            return estimate.negated(x) if kind.floating else integer(-x.value, kind, x)
        value = ~x.value if kind is not Kind.BOOL else ~(x.value != 0)
        return replace(x, value=np.where(x.present, value, np.zeros((), value.dtype)), kind=kind)

    def binary(self, e: Binary, fixed: Fixed) -> Estimate:
        kind, op = self.types(e).kind, e.op
        if op in ("<<", ">>"):
            x, by = (self.convert(o, Kind.I64, fixed) for o in (e.left, e.right))
            return integers.shifted(op, x, by, kind)
        if op == "**":
            literal = _literal(e.right)
            if kind.integral:
                assert literal is not None
                base = self.convert(e.left, kind, fixed)
                return integer(np.power(base.value, np.int64(literal)), kind, base)
            a, b = self.convert(e.left, kind, fixed), self.convert(e.right, kind, fixed)
            return functions.power(a, b, literal, self.budget)
        a, b = self.convert(e.left, kind, fixed), self.convert(e.right, kind, fixed)
        if kind.floating:
            match op:
                case "+" | "-":
                    return estimate.added(a, b, self.budget, 1 if op == "+" else -1)
                case "*":
                    return estimate.multiplied(a, b, self.budget)
                case "/":
                    return estimate.divided(a, b, self.budget)
                case _:
                    return functions.remainder(a, b, self.budget)[op == "%"]
        return integers.combined(op, a, b)

    def apply(self, e: Apply, fixed: Fixed) -> Estimate:
        name, kind = e.function, self.types(e).kind
        match name:
            case "default":
                return estimate.filled(*(self.convert(a, kind, fixed) for a in e.arguments))
            case "present":
                x = self.eval(e.arguments[0], fixed)
                sure = np.where(x.undecided, np.inf, 0.0)
                always = np.ones_like(x.present)
                return Estimate(x.present, sure, x.present * 1.0, always, Kind.BOOL)
            case "only":
                x, condition = (self.eval(a, fixed) for a in e.arguments)
                return replace(estimate.filtered(x, condition), kind=x.kind)
            case "detach":
                return self.eval(e.arguments[0], fixed)
            case "random":
                parts = [self.convert(a, Kind.I64, fixed) for a in e.arguments]
                drawn = np.frompyfunc(interpreter.random, len(parts), 1)
                value = np.asarray(drawn(*(p.value for p in parts)), np.float64)
                return replace(contagious(value, doubt(*parts), value, kind, *parts), kind=kind)
            case "ceildiv":
                a, b = (self.convert(x, kind, fixed) for x in e.arguments)
                return integers.ceildiv(a, b)
            case "f16" | "bf16":
                return estimate.cast(self.convert(e.arguments[0], kind, fixed), name, self.budget)
            case "i32" | "i64":
                x = self.eval(e.arguments[0], fixed)
                if x.kind.floating:
                    return estimate.truncated(x, kind)
                return integers.narrowed(converted(x, Kind.I64, self.budget), kind)
            case "f32" | "f64" | "bool":
                return self.convert(e.arguments[0], kind, fixed)
            case _:
                xs = [self.convert(a, kind, fixed) for a in e.arguments]
                if kind.floating:
                    return functions.function(name, xs, self.budget)
                return integers.function(name, xs)

    # Reductions

    def bound(self, e: Reduce | Scan | Arg | TopK, fixed: Fixed) -> Estimate:
        """A node that binds a variable or combines over one."""
        variables = e.variables if isinstance(e, Reduce) else (e.variable,)
        inner = {v: t for v, t in fixed.items() if v not in variables}
        axes = tuple(self.axes[v] for v in variables)
        sizes = [self.size(v) for v in variables]
        kind = self.types(e).kind
        if isinstance(e, Reduce) and e.op == "sum" and kind.floating:
            return self.sum(e.body, variables, kind, inner)
        body = self.eval(e.body, inner)
        match e:
            case Reduce(op="mean", body=inside):
                total = self.sum(inside, variables, kind, inner)
                here = combine.spread(body, axes, sizes)
                points = replace(here, value=here.present, kind=Kind.BOOL)
                points = replace(points, error=doubt(here), present=np.ones_like(here.present))
                count = combine.counted(points, axes)
                return estimate.divided(total, converted(count, kind, self.budget), self.budget)
            case Reduce(op=op):
                if op in ("any", "all", "count"):
                    body = combine.spread(body, axes, sizes)
                    if op == "count":
                        return combine.counted(body, axes)
                    return combine.quantified(body, axes, op == "any")
                body = combine.spread(converted(body, kind, self.budget), axes, sizes)
                return self.reduced(op, body, axes, kind)
            case Scan(op=op, reverse=reverse):
                body = combine.spread(converted(body, kind, self.budget), axes, sizes)
                return self.scanned(op, body, e.variable, reverse, fixed)
            case Arg(op=op):
                ordered = ranked(
                    combine.spread(body, axes, sizes), axes[0], 1 if op == "argmax" else -1
                )
                return self.slots(ordered, axes[0], self.number(0, "int"), e.variable)
            case TopK(into=into):
                ordered = ranked(combine.spread(body, axes, sizes), axes[0], 1)
                return self.slots(ordered, axes[0], self.coordinate(into, fixed), e.variable)

    def slots(self, ordered: Estimate, axis: int, place: Estimate, variable: str) -> Estimate:
        """What is at some places of a ranking along an axis."""
        extent = self.size(variable)
        inside = replace(place, present=place.value < extent)
        if extent == 0:
            return replace(inside, value=place.value * 0, size=place.size * 0)
        lengths = [1 if i == axis else n for i, n in enumerate(ordered.present.shape)]
        at = list(np.indices(lengths, sparse=True))
        at[axis] = np.clip(place.value, 0, extent - 1)
        value, error, size, present = (
            a[tuple(at)] for a in (ordered.value, ordered.error, ordered.size, ordered.present)
        )
        found = Estimate(value, error, size, present, Kind.I64)
        return contagious(value, error, size, Kind.I64, found, inside)

    def reduced(self, op: str, body: Estimate, axes: tuple[int, ...], kind: Kind) -> Estimate:
        """A reduction that is no sum of floats."""
        match op:
            case "sum":
                return combine.totalled(body, axes, kind)
            case "max":
                return combine.greatest(body, axes)
            case "min":
                return combine.least(body, axes)
            case _:
                for axis in axes:
                    if body.present.shape[axis] == 0:
                        shape = [1 if i in axes else n for i, n in enumerate(body.present.shape)]
                        empty = known(np.zeros(shape), kind, np.zeros(shape, np.bool_))
                        return replace(empty, value=empty.value.astype(body.value.dtype))
                    body = combine.folded(body, axis, self.product)[-1]
                return body

    def scanned(
        self, op: str, body: Estimate, variable: str, reverse: bool, fixed: Fixed
    ) -> Estimate:
        """A running combination along a variable, or its value at the step of a recurrence."""
        axis, name = self.axes[variable], op.removeprefix("cum")
        if body.present.shape[axis] == 0:
            return body
        if name == "sum" and body.kind.floating:
            found = combine.summed_up(body, axis, reverse, self.tiles((variable,)), self.budget)
        else:
            op = {"sum": "+"}.get(name, name)
            step = self.product if name == "prod" else partial(_either, op)
            found = combine.stacked(combine.folded(body, axis, step, reverse), axis)
        if variable not in fixed:
            return found
        at = fixed[variable]
        value, error, size, present = (
            np.take(a, [at], axis) for a in (found.value, found.error, found.size, found.present)
        )
        return Estimate(value, error, size, present, found.kind)

    def product(self, a: Estimate, b: Estimate) -> Estimate:
        """`a * b` of one kind."""
        if a.kind.floating:
            return estimate.multiplied(a, b, self.budget)
        return integers.combined("*", a, b)

    def sum(self, body: Expr, variables: tuple[str, ...], kind: Kind, fixed: Fixed) -> Estimate:
        """A sum of floats; products under it may be done as matrix products."""
        parts = self.taken_apart(body, kind)
        factors, operands = [], []
        for e in parts.factors:
            factors.append(self.convert(e, kind, fixed))
            operands.append(bool(self.free(e) & {*variables}))
        for e in parts.divisors:
            x = self.convert(e, kind, fixed)
            one = known(np.ones_like(x.value), kind, np.ones_like(x.present))
            factors.append(estimate.divided(one, x, self.budget))
            operands.append(bool(self.free(e) & {*variables}))
        for e in parts.conditions:
            one = converted(self.number(1.0, "float"), kind, self.budget)
            factors.append(estimate.filtered(one, self.eval(e, fixed)))
            operands.append(False)
        total = contracted(
            factors,
            operands,
            [self.axes[v] for v in variables],
            [self.size(v) for v in variables],
            self.tiles(variables),
            self.budget,
        )
        return estimate.negated(total) if parts.minus else total

    def taken_apart(self, body: Expr, kind: Kind) -> _Product:
        """The factors of a summand, down to where they are of another kind."""
        factors: list[Expr] = []
        divisors: list[Expr] = []
        conditions: list[Expr] = []
        minus = False
        stack = [body]
        while stack:
            e = stack.pop()
            same = self.types(e).kind is kind
            match e:
                case Binary(op="*", left=left, right=right) if same:
                    stack += [right, left]
                case Binary(op="/", left=left, right=right) if same:
                    divisors.append(right)
                    stack.append(left)
                case Unary(op="-", operand=operand) if same:
                    minus = not minus
                    stack.append(operand)
                case Apply(function="only", arguments=(x, condition)):
                    conditions.append(condition)
                    stack.append(x)
                case _:
                    factors.append(e)
        return _Product(tuple(factors), tuple(divisors), tuple(conditions), minus)


def _either(op: str, a: Estimate, b: Estimate) -> Estimate:
    """A sum of integers, or the maximum or minimum of any numbers."""
    if not a.kind.floating:
        return integers.combined(op, a, b)
    return estimate.larger(a, b) if op == "max" else estimate.smaller(a, b)


def _literal(e: Expr) -> int | None:
    """An exponent that is written as an integer."""
    match e:
        case Int(value=value):
            return value
        case Unary(op="-", operand=Int(value=value)):
            return -value
        case _:
            return None
