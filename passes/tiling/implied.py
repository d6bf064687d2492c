"""What holds of values alone wherever a point of an output is present."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attnc.ir.comparisons import pairs
from attnc.ir.expr import (
    Bool,
    Choice,
    Compare,
    CompareOp,
    Expr,
    Int,
    Logical,
    Name,
    Unary,
    Var,
)
from attnc.ir.integers import Integers
from attnc.ir.tiles import (
    Fold,
    If,
    Kernel,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Scan,
    Statement,
    Store,
)
from attnc.ir.tiles_prove import Prover
from attnc.ir.tiles_walk import statements
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.identities import literal
from attnc.passes.tiling.presence import TRUE, conjuncts
from attnc.passes.tiling.uniform import prover_of, uniform

Conditions = dict[Expr, None]
"""Conditions, in the order in which they were found: what guards another one stands before it."""


def required(plan: Plan, known: Integers) -> Conditions:
    """The conditions of values alone that hold if any point of any output is present.

    That an output has points, so that its sizes are not 0, is among them. `known` is what holds of
    the plan's values: which loops have a round follows from that, and from what was found.
    """
    found: Conditions = {}
    kernels = [_Kernel(plan, kernel, known) for kernel in plan.kernels]
    while True:
        before, found = found, _required(plan, kernels)
        if not found.keys() - before.keys():
            return found
        known = known.knowing(found)
        learnt = [kernel.learns(known) for kernel in kernels]
        if not any(learnt):
            return found


def _required(plan: Plan, kernels: Sequence[_Kernel]) -> Conditions:
    stored = {s.tensor for k in plan.kernels for s in statements(k.body) if isinstance(s, Store)}
    present: Mapping[str, Conditions | None] = dict.fromkeys(sorted(stored))
    while True:  # a point that is present was stored after those that it was computed from
        now = {t: _either([f for k in kernels for f in k.stores(t, present)]) for t in present}
        if now == present:
            return _either(present[output.name] for output in plan.outputs) or {}
        present = now


class _Kernel:
    """Conditions that hold where what one kernel computes is true."""

    def __init__(self, plan: Plan, kernel: Kernel, known: Integers) -> None:
        self.known: Integers = known
        self.present: Mapping[str, Conditions | None] = {}
        """What holds where a point of a tensor is present; None: none is, as far as is known."""
        self.context: Context = Context(plan, kernel)
        self.values: frozenset[str] = frozenset(self.context.facts.values)
        self.prover: Prover = prover_of(self.context)
        self.supposed: dict[str, Conditions | None] = {}
        """What is taken to be so of flags that are carried, until it is seen to be."""
        self.inside: set[str] = set()
        """What the blocks around carry."""
        self._asked: dict[Compare, bool] = {}
        """Whether ranges of loops are known not to be empty."""
        self._tiles: dict[tuple[str, frozenset[str]], Conditions | None] = {}
        """What holds where tiles are true, inside of blocks that carry these."""

    def learns(self, known: Integers) -> bool:
        """Takes note that more is known; whether that tells more of the loops."""
        before, self._asked = self._asked, {}
        self.known = known
        return any(self._shows(condition) != holds for condition, holds in before.items())

    def stores(
        self, tensor: str, present: Mapping[str, Conditions | None]
    ) -> Iterator[Conditions | None]:
        """For each store of a tensor, what holds where it stores a point."""
        if present is not self.present:
            self._tiles.clear()
        self.present = present
        yield from self._stores(self.context.kernel.body, tensor, {})

    def _stores(
        self, body: Iterable[Statement], tensor: str, around: Conditions
    ) -> Iterator[Conditions | None]:
        for item in body:
            match item:
                case Store() if item.tensor == tensor:
                    parts = [item.guard, item.where]
                    if item.combine is None and item.where == TRUE:
                        parts += self._filled(item.value, literal(item.empty))
                    yield _union([around, *map(self.true, parts)])
                case If(condition=condition):
                    found = _union([around, self.true(condition)])
                    yield from self._within(item, tensor, found)
                case Loop(ranges=ranges):
                    runs = _either(self.true(_below(part)) for part in ranges)
                    yield from self._within(item, tensor, _union([around, runs]))
                case _:
                    pass

    def _within(
        self, block: Loop | If, tensor: str, around: Conditions | None
    ) -> Iterator[Conditions | None]:
        before, self.inside = self.inside, self.inside | {c.name for c in block.carries}
        if around is not None:
            yield from self._stores(block.body, tensor, around)
        self.inside = before

    def _filled(self, value: Expr, empty: Expr) -> list[Expr]:
        """The condition of a value that is what absent points are where that does not hold."""
        if isinstance(value, Name):
            definition = self.context.defined.get(value.name)
            return self._filled(definition.value, empty) if isinstance(definition, Map) else []
        match value:
            case Choice(condition=condition, then=then, other=other) if other == empty:
                return [condition, *self._filled(then, empty)]
            case _:
                return []

    def true(self, expr: Expr) -> Conditions | None:
        """What holds where a condition does; None if it never does."""
        match expr:
            case Bool(value=value):
                return {} if value else None
            case Logical(op="and"):
                return self._conjunction(conjuncts(expr))
            case Logical(op="or", left=left, right=right):
                return self._with(expr, _either([self.true(left), self.true(right)]))
            case Unary(op="not", operand=operand):
                return self._with(expr, self.false(operand))
            case Choice(condition=condition, then=then, other=other):
                yes = _union([self.true(condition), self.true(then)])
                no = _union([self.false(condition), self.true(other)])
                return self._with(expr, _either([yes, no]))
            case Compare():
                return _union(self._compared(*pair) for pair in pairs(expr))
            case Name(name=name):
                return self._tile(name)
            case _:
                return self._with(expr, {})

    def false(self, expr: Expr) -> Conditions | None:
        """What holds where a condition does not; None if it always does."""
        match expr:
            case Bool(value=value):
                return None if value else {}
            case Logical(op="and", left=left, right=right):
                return _either([self.false(left), self.false(right)])
            case Logical(op="or", left=left, right=right):
                return _union([self.false(left), self.false(right)])
            case Unary(op="not", operand=operand):
                return self.true(operand)
            case Choice(condition=condition, then=then, other=other):
                yes = _union([self.true(condition), self.false(then)])
                no = _union([self.false(condition), self.false(other)])
                return _either([yes, no])
            case Name(name=name) if isinstance(item := self.context.defined.get(name), Map):
                return self.false(item.value)
            case _:
                return {}

    def _with(self, expr: Expr, found: Conditions | None) -> Conditions | None:
        """What was found, and a condition itself if it is of values alone."""
        if found is None or not uniform(expr, self.values):
            return found
        return {expr: None, **found}

    def _conjunction(self, parts: list[Expr]) -> Conditions | None:
        """What holds where several conditions do, the presence of what is loaded included."""
        found = [self.true(part) for part in parts]
        conditions = self.context.conditions(_all(parts))
        for part in conditions:
            item = self.context.defined.get(part.name) if isinstance(part, Name) else None
            if isinstance(item, Load):
                found.append(self._loaded(item, conditions))
        return _union(found)

    def _compared(self, op: CompareOp, left: Expr, right: Expr) -> Conditions | None:
        pair = Compare((op,), (left, right))
        if uniform(pair, self.values):
            return {pair: None}
        match op, left, right:
            case ("<", Var(name=name), size) | (">", size, Var(name=name)):
                lanes = self.prover.axes.get(name)
                if lanes and lanes.size == size and self.prover.begins(name):
                    return self._compared("<", Int(0), size)
            case _:
                pass
        return {}

    def _tile(self, name: str) -> Conditions | None:
        """What holds where a tile is true."""
        if self.supposed:
            return self.supposed[name] if name in self.supposed else self._of_tile(name)
        key = name, frozenset(self.inside)
        if key not in self._tiles:
            self._tiles[key] = self._of_tile(name)
        return self._tiles[key]

    def _of_tile(self, name: str) -> Conditions | None:
        context = self.context
        if name in context.carried:
            return self._carried(name)
        match context.defined.get(name):
            case Map(value=value):
                return self.true(value)
            case (
                Fold(op="any", value=value, where=where) | Scan(op="any", value=value, where=where)
            ):
                return self._conjunction([*conjuncts(where), *conjuncts(value)])
            case Load() as item:
                return self._loaded(item, frozenset())
            case _:
                return {}

    def _loaded(self, item: Load, known: frozenset[Expr]) -> Conditions | None:
        """What holds where the presence of a tensor is loaded, and is true.

        Lanes that do not exist do not count; what else the load tests must be known to hold.
        """
        tested = self.context.conditions(item.where)
        tested -= set(conjuncts(self.context.valid(self.context.order)))
        if not item.tensor.endswith("?") or not tested <= known:
            return {}
        return self.present.get(item.tensor.removesuffix("?"), {})

    def _carried(self, name: str) -> Conditions | None:
        """What holds where a flag is true that is carried: at first, and still after each round."""
        carry, block = self.context.carried[name]
        found = self.true(carry.start)
        before = self.supposed
        while True:
            self.supposed = {**before, name: found}
            after = self.true(carry.next)
            now = _either([found, after])
            if now == found:
                break
            found = now
        self.supposed = before
        if name not in self.inside and isinstance(block, Loop) and self._runs(block):
            return after
        return found

    def _runs(self, loop: Loop) -> bool:
        """Whether a loop has a round."""
        runs = any(self._shows(_below(part)) for part in loop.ranges)
        return runs and loop.where == TRUE

    def _shows(self, condition: Compare) -> bool:
        if condition not in self._asked:
            self._asked[condition] = self.known.shows(condition)
        return self._asked[condition]


def _below(part: Range) -> Compare:
    return Compare(("<",), (part.low, part.high))


def _all(parts: Iterable[Expr]) -> Expr:
    found: Expr = TRUE
    for part in parts:
        found = Logical("and", found, part)
    return found


def _union(sets: Iterable[Conditions | None]) -> Conditions | None:
    """What all of some conditions say; None: one of them never holds."""
    found: Conditions = {}
    for one in list(sets):
        if one is None:
            return None
        found |= one
    return found


def _either(sets: Iterable[Conditions | None]) -> Conditions | None:
    """What each of some conditions says, those that never hold left out; None: all of them."""
    found: Conditions | None = None
    for one in sets:
        if one is not None:
            found = one if found is None else {c: None for c in found if c in one}
    return found
