"""Conditions in kernels that are settled by what is known of values and coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from attnc.ir.comparisons import chain, pairs, turned
from attnc.ir.expr import Bool, Choice, Compare, CompareOp, Expr, Int, Logical, Name, Unary, Var
from attnc.ir.tiles import (
    Dot,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Scan,
    Statement,
    Store,
    Tile,
    TopK,
)
from attnc.ir.tiles_prove import in_program
from attnc.ir.tiles_walk import expressions, mapped, statements
from attnc.ir.walk import children, rebuild
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.dead import without_dead
from attnc.passes.tiling.narrow import narrowed
from attnc.passes.tiling.presence import FALSE, TRUE, both, chosen, conjuncts, negation
from attnc.passes.tiling.proofs import Hypotheses, Proofs
from attnc.passes.tiling.uniform import prover_of, uniform

_Block = TypeVar("_Block", Loop, If)


def settled(plan: Plan, kernel: Kernel, proofs: Proofs, full: frozenset[str]) -> Kernel:
    """A kernel without the conditions that are known to hold, or not to.

    `full` are buffers that are present everywhere.
    """
    found = _Settler(plan, kernel, proofs, full).kernel_()
    return kernel if found == kernel else without_dead(narrowed(found))


class _Settler:
    """Settles the conditions of one kernel.

    Whoever looks at several lanes along an axis tests that they exist. So all else may take lanes
    to exist: what it is where they do not is not looked at. Once predicates are fills, that is said
    where it counts, and nothing is taken from elsewhere. A test of that itself always stays.
    """

    def __init__(self, plan: Plan, kernel: Kernel, proofs: Proofs, full: frozenset[str]) -> None:
        self.full: frozenset[str] = full
        self.kernel: Kernel = kernel
        self.context: Context = Context(plan, kernel)
        self.given: frozenset[Expr] = frozenset(plan.given)
        self._given: frozenset[type] = frozenset(map(type, plan.given))
        self.values: frozenset[str] = frozenset(self.context.facts.values)
        self.prover = prover_of(self.context)
        self.filled: bool = any(_unpredicated(s) for s in statements(kernel.body))
        self.around: Hypotheses = frozenset(p for a in kernel.axes for p in in_program(a, ()))
        """What holds in the loops around; where a program runs, parallel axes have coordinates."""
        self.rounds: dict[str, Hypotheses] = {}
        """What a round of each loop around adds to that."""
        self.looped: bool = False
        """Whether a loop is around, whose flags are told behind it."""
        self.true: set[str] = set()
        """Tiles that are true in all lanes that exist, from here on."""
        self.proofs: Proofs = proofs
        self._existing: dict[frozenset[str], Hypotheses] = {}
        self._tested: dict[Expr, bool] = {}

    def kernel_(self) -> Kernel:
        """The kernel."""
        return replace(self.kernel, body=self._body(self.kernel.body))

    def _body(self, items: Iterable[Statement]) -> tuple[Statement, ...]:
        return tuple(map(self._statement, items))

    def _statement(self, item: Statement) -> Statement:
        if isinstance(item, Loop | If):
            return self._block(item)
        along = self._exist(self.context.varies(*_lanes(item)))
        own = item.index if isinstance(item, Load | Store) else ()
        before = self.around
        if isinstance(item, Load | Map):
            self.around = self._lasting(item)
        item = mapped(item, lambda e: self._of_kind(e, along))
        self.around = before
        if isinstance(item, Load | Store) and item.index != own:  # as they stand in its tests
            item = replace(item, index=own)
        if isinstance(item, Load | Map | Fold) and self._holds(item):
            self.true.add(item.target)
        return item

    def _lasting(self, item: Load | Map) -> Hypotheses:
        """What holds of a tile where it may go: before a loop of which it needs nothing.

        It is computed there even if the loop has no round.
        """
        needed = self.context.mentions(*expressions(item))
        return self.around.difference(*(h for a, h in self.rounds.items() if a not in needed))

    def _holds(self, item: Load | Map | Fold) -> bool:
        """Whether a tile is true wherever anyone looks."""
        match item:
            case Load(tensor=tensor, where=where):
                # where more is tested than that lanes exist, there is anything
                tests = conjuncts(self.context.valid(self.context.order))
                full = tensor.endswith("?") and tensor.removesuffix("?") in self.full
                return full and set(conjuncts(where)) <= {*tests, TRUE}
            case Map(value=value):
                return value == TRUE
            case Fold():
                return not self.looped and self._is_true_tile(item)

    def _block(self, item: Loop | If) -> Loop | If:
        starts = [
            replace(c, start=self._of_kind(c.start, self._exist(frozenset(c.axes))))
            for c in item.carries
        ]
        item = replace(item, carries=tuple(starts))
        if isinstance(item, If):
            item = replace(item, condition=self._of_kind(item.condition, frozenset()))
            return self._inside(item)[0]
        ranges = tuple(map(self._range, item.ranges))
        item = replace(item, ranges=ranges)
        before = self.around, self.looped
        rounds = frozenset(in_program(self.kernel.axis(item.axis), ranges)) - self.around
        self.around, self.rounds[item.axis], self.looped = self.around | rounds, rounds, True
        found, true = self._inside(item)
        self.around, self.looped = before
        del self.rounds[item.axis]
        runs = any(self._shows(_less(r.low, r.high), frozenset()) for r in ranges)
        if runs and found.where == TRUE:
            self.true |= true  # a round sets it
        return found

    def _inside(self, item: _Block) -> tuple[_Block, set[str]]:
        """A block with what is inside settled, and which of what it carries is true at its end.

        A flag that is true at first is, until a round makes it another.
        """
        before = set(self.true)
        flags = {c.name for c in item.carries if c.start == TRUE}
        while True:
            self.true = before | flags
            body = self._body(item.body)
            settled_ = self._with_given(item)
            carries = tuple(
                replace(c, next=self._of_kind(c.next, self._exist(frozenset(c.axes))))
                for c in item.carries
            )
            true = {c.name for c in carries if self._is_true(c.next)}
            if flags <= true:
                self.true = before | flags
                return replace(settled_, body=body, carries=carries), true
            flags &= true

    def _with_given(self, item: _Block) -> _Block:
        """A loop with what its full ranges are told settled, which is told of tiles inside."""
        if isinstance(item, If):
            return item
        given = (self._of_kind(g, self._exist(self.context.varies(g))) for g in item.given)
        return replace(item, given=tuple(g for g in given if g != TRUE))

    def _range(self, item: Range) -> Range:
        low, high, step = (self._of_kind(e, frozenset()) for e in (item.low, item.high, item.step))
        return replace(item, low=low, high=high, step=step)

    def _exist(self, axes: frozenset[str]) -> Hypotheses:
        """That lanes along some axes exist."""
        if axes not in self._existing:
            self._existing[axes] = frozenset(self._tests_of(axes))
        return self._existing[axes]

    def _tests_of(self, axes: frozenset[str]) -> Iterator[Expr]:
        for name in axes:
            axis = self.kernel.axis(name)
            if self.prover.begins(name):
                yield Compare(("<=",), (Int(0), Var(name)))
            if not self.filled:
                yield _less(Var(name), axis.size)

    # Expressions

    def _of_kind(self, expr: Expr, along: Hypotheses) -> Expr:
        """The expression, settled, unless it would be of another kind."""
        found = self._settled(expr, along | self.around)
        if found == expr or self.context.kind(found) is not self.context.kind(expr):
            return expr
        return found

    def _settled(self, expr: Expr, known: Hypotheses) -> Expr:
        if type(expr) in self._given and expr in self.given:
            return TRUE
        match expr:
            case Name(name=name) if name in self.true:
                return TRUE
            case Compare():
                return self._compared(expr, known)
            case Logical(op="and"):
                parts = conjuncts(expr)
                tests = {p for p in parts if self._tests(p)}
                found = [p if p in tests else self._settled(p, known | tests) for p in parts]
                return expr if found == parts else both(*found)
            case Logical(op="or", left=left, right=right):
                left, right = self._settled(left, known), self._settled(right, known)
                if TRUE in (left, right):
                    return TRUE
                if FALSE in (left, right):
                    return right if left == FALSE else left
                return Logical("or", left, right)
            case Unary(op="not", operand=operand):
                operand = self._settled(operand, known)
                return negation(operand) if isinstance(operand, Bool) else Unary("not", operand)
            case Choice(condition=condition, then=then, other=other):
                condition, then, other = (self._settled(e, known) for e in (condition, then, other))
                one = chosen(condition, then, other)
                same = self.context.kind(one) is self.context.kind(expr)
                return one if same else Choice(condition, then, other)
            case _:
                inner = children(expr)
                return (
                    rebuild(expr, tuple([self._part(c, known) for c in inner])) if inner else expr
                )

    def _part(self, expr: Expr, known: Hypotheses) -> Expr:
        """A part of what is no condition: one that counts as a number stays."""
        return expr if isinstance(expr, Compare | Logical) else self._settled(expr, known)

    def _tests(self, part: Expr) -> bool:
        """Whether a condition is a test that lanes exist."""
        if not isinstance(part, Compare):
            return False
        found = self._tested.get(part)
        if found is None:
            axes = self.context.mentions(part)
            found = self._tested[part] = any(self.prover.tests(name, part) for name in axes)
        return found

    def _compared(self, expr: Compare, known: Hypotheses) -> Expr:
        """What is left of a chain of comparisons."""
        runs: list[list[tuple[CompareOp, Expr, Expr]]] = [[]]
        for pair in pairs(expr):
            one = Compare((pair[0],), pair[1:])
            if self._tests(one):
                runs[-1].append(pair)
            elif one in self.given or self._shows(one, known):
                runs.append([])
            elif uniform(one, self.values) and self._shows(turned(one), known):
                return FALSE
            else:
                runs[-1].append(pair)
        kept = [run for run in runs if run]
        if kept == [list(pairs(expr))]:
            return expr
        return both(*(chain(run) for run in kept))

    def _shows(self, condition: Expr, known: Hypotheses) -> bool:
        return self.proofs.shows(condition, known | self.around)

    # What is true in every round

    def _is_true(self, expr: Expr) -> bool:
        """Whether a condition holds, in each round of the loops around."""
        match expr:
            case Bool(value=value):
                return value
            case Logical(op="or", left=left, right=right):
                return self._is_true(left) or self._is_true(right)
            case Logical(op="and", left=left, right=right):
                return self._is_true(left) and self._is_true(right)
            case Name(name=name):
                return name in self.true or self._is_true_tile(self.context.defined.get(name))
            case _:
                return False

    def _is_true_tile(self, item: Tile | None) -> bool:
        match item:
            case Map(value=value):
                along = self._exist(self.context.varies(value))
                return self._is_true(self._settled(value, along | self.around))
            case Fold(op="any", over=over, value=value, where=where):
                known = self._exist(self.context.varies(value, where)) | self.around
                settled = [self._settled(e, known) for e in (value, where)]
                return self._some(over, self.context.conditions(both(*settled)))
            case _:
                return False

    def _some(self, over: Iterable[str], lanes: frozenset[Expr]) -> bool:
        """Whether each tile has a lane that exists, and nothing else is asked for."""
        axes = [self.kernel.axis(name) for name in over]
        if not lanes <= {_less(Var(a.name), a.size) for a in axes}:
            return False
        return all(
            self._shows(_less(Int(0), a.size), self.around)
            if a.kind == "whole"
            else self.prover.begins(a.name) and self.prover.ends(a.name)
            for a in axes
        )


def _unpredicated(item: Statement) -> bool:
    return isinstance(item, Dot | Fold | Scan | TopK) and item.where == TRUE


def _lanes(item: Statement) -> tuple[Expr, ...]:
    """The expressions whose axes are those of a statement."""
    return () if isinstance(item, Loop | If | Let) else expressions(item)


def _less(a: Expr, b: Expr) -> Expr:
    return Compare(("<",), (a, b))
