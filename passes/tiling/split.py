"""A stream in pieces: one kernel goes through them apart, another merges what they left.

So are keys split over processors while one query is decoded, and so can prefixes be kept. Nothing
but the derived running forms is needed: see `merge.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, get_args

from attnc.ir.cascade import Einsum, Slot
from attnc.ir.expr import Apply, Arg, Binary, Compare, Expr, Int, Name, Read, Reduce, Var
from attnc.ir.facts import Dimension, Facts, TensorInfo
from attnc.ir.tiles import Buffer, Range, Statement, Store
from attnc.ir.types import Kind, Type
from attnc.ir.walk import children, rebuild
from attnc.passes.running.derive import Extreme, Plain, Running, Sum
from attnc.passes.tiling.groups import Group
from attnc.passes.tiling.loop import LoopBuilder
from attnc.passes.tiling.lower import Block, Scope
from attnc.passes.tiling.observers import scans
from attnc.passes.tiling.presence import TRUE, both

ALWAYS: Final = ("count", "any", "all")
"""Reductions that are present without any point."""


@dataclass(frozen=True)
class Cut:
    """How a stream is cut: into so many pieces of so many points, the last of which may be short.

    `solved`: loops go through all of the stream until predicates tell which part of it is theirs.
    That tells the tiles of a piece in which all lanes count.
    """

    number: Expr
    points: Expr
    solved: bool = False


def in_number(size: Expr, number: int) -> Cut:
    """A stream in so many pieces."""
    return Cut(Int(number), Apply("ceildiv", (size, Int(number))))


def in_length(size: Expr, points: Expr) -> Cut:
    """A stream in pieces of so many points: a number, or a value that is at least 1."""
    return Cut(Apply("ceildiv", (size, points)), points, solved=True)


@dataclass(frozen=True)
class Split:
    """A group in pieces: the group of one piece, and what the pieces leave.

    `piece` is the variable of the pieces; `parts` are the buffers of each result's state.
    """

    piece: str
    cut: Cut
    group: Group
    facts: Facts
    parts: Mapping[str, tuple[str, ...]]
    buffers: tuple[Buffer, ...]


def can_split(group: Group) -> bool:
    """Whether a group's stream can be gone through in pieces: it leaves nothing but states."""
    ordered = any(scans(e.value) for e in group.results)  # a scan needs all that is before it
    return bool(group.over) and group.steps is None and not group.rows and not ordered


def split(facts: Facts, group: Group, cut: Cut, names: Callable[[str], str]) -> Split:
    """A group in pieces; `names` gives names that are not in use."""
    piece = _variable(facts)
    facts = replace(facts, variables={**facts.variables, piece: cut.number})
    results = frozenset(e.tensor for e in group.results)
    move = _Move(facts, group.over[0], piece, cut.points, results)
    apart = tuple(map(move.einsum, group.results))
    forms = tuple(map(move.form, group.forms))
    parts: dict[str, tuple[str, ...]] = {}
    buffers: list[Buffer] = []
    for form, einsum in zip(forms, apart, strict=True):
        sizes = tuple(facts.variables[v] for v in einsum.variables)
        kinds = _kinds(form, facts)
        parts[einsum.tensor] = tuple(names(f"{einsum.tensor}_part") for _ in kinds)
        for name, of in zip(parts[einsum.tensor], kinds, strict=True):
            buffers.append(Buffer(name, sizes, of.kind))
            info = TensorInfo(tuple(map(Dimension, sizes)))
            facts = replace(
                facts,
                types={**facts.types, name: of},
                tensors={**facts.tensors, name: info},
            )
    one = Group(group.over, apart, forms)
    return Split(piece, cut, one, facts, parts, tuple(buffers))


def partial_body(found: Split, scope: Scope) -> tuple[list[Statement], dict[str, str]]:
    """The loop over the points of a piece, and the stores of its states.

    And for each result the buffer that says whether it is present: one for all that are alike.
    """
    group, piece = found.group, found.piece
    before, after = Block(scope), Block(scope)
    loop = LoopBuilder(scope, before, group.over, {e.tensor: e for e in group.results}, group.forms)
    statement = loop.build((), lambda _, __: ())
    if not found.cut.solved:
        size, of = scope.size(group.over[0]), found.cut.points
        low = Binary("*", Apply("low", (Var(piece),)), of)
        end = Binary("*", Binary("+", Apply("high", (Var(piece),)), Int(1)), of)
        statement = replace(statement, ranges=(Range(low, Apply("min", (size, end))),))
    told = _tellers(found, {name: state.seen for name, state in loop.states.items()})
    for form, einsum in zip(group.forms, group.results, strict=True):
        state = loop.states[form.tensor]
        always = isinstance(form, Plain) and form.op in ALWAYS
        for name, tile in zip(found.parts[form.tensor], state.tiles, strict=True):
            index = tuple(Var(v) for v in einsum.variables)
            here: Expr = Name(state.seen) if told[form.tensor] == name and not always else TRUE
            guard = scope.valid(einsum.variables)
            after.statements.append(Store(name, index, Name(tile), here, 0, guard))
    return [*before.statements, statement, *after.statements], told


def _variable(facts: Facts) -> str:
    number = 1
    while (name := f"piece{number}" if number > 1 else "piece") in facts.variables:
        number += 1
    return name


def _tellers(found: Split, seen: Mapping[str, str]) -> dict[str, str]:
    """For each result the buffer whose presence is its own: of those seen alike, the smallest."""
    variables = {e.tensor: set(e.variables) for e in found.group.results}
    told: dict[str, str] = {}
    for tensor in variables:
        within = (t for t in variables if variables[t] <= variables[tensor])
        alike = (t for t in within if seen[t] == seen[tensor])
        told[tensor] = found.parts[min(alike, key=lambda t: len(variables[t]))][0]
    return told


@dataclass(frozen=True)
class _Move:
    """Makes reductions over a stream those over one piece of it, the pieces being a rank."""

    facts: Facts
    variable: str
    piece: str
    points: Expr
    results: frozenset[str]

    def einsum(self, einsum: Einsum) -> Einsum:
        """A reduction over the points of a piece."""
        value = einsum.value
        assert isinstance(value, Reduce | Arg)
        value = replace(value, body=self.own(self(value.body)))
        return replace(einsum, slots=(Slot(self.piece), *einsum.slots), value=value)

    def form(self, form: Running) -> Running:
        """Its running form; where a term of a sum counts, the reduction itself tells."""
        match form:
            case Plain(body=body):
                return replace(form, body=self.own(self(body)))
            case Extreme(inner=inner, result=result):
                return replace(form, inner=self.own(self(inner)), result=self(result))
            case Sum(basis=basis):
                return replace(form, basis=self._within(basis))

    def own(self, expr: Expr) -> Expr:
        """An expression at the points of a piece."""
        of = self.points
        low = Binary("*", Var(self.piece), of)
        high = Binary("*", Binary("+", Var(self.piece), Int(1)), of)
        at = Var(self.variable)
        return Apply("only", (expr, both(Compare(("<=",), (low, at)), Compare(("<",), (at, high)))))

    def __call__(self, expr: Expr) -> Expr:
        """An expression that reads the results of its own piece."""
        inner = rebuild(expr, tuple(map(self, children(expr))))
        if isinstance(inner, Read) and inner.tensor.rstrip("'") in self.results:
            return replace(inner, index=(Var(self.piece), *inner.index))
        return inner

    def _within(self, item: Any) -> Any:
        """The same with every expression in a basis."""
        if isinstance(item, get_args(Expr)):
            return self(item)
        if isinstance(item, tuple):
            return tuple(map(self._within, item))
        if isinstance(item, Mapping):
            return {k: self._within(v) for k, v in item.items()}
        if is_dataclass(item) and not isinstance(item, type):
            return replace(
                item, **{f.name: self._within(getattr(item, f.name)) for f in fields(item)}
            )
        return item


def _kinds(form: Running, facts: Facts) -> tuple[Type, ...]:
    """The types of what a reduction carries."""
    of = facts.types[form.tensor]
    match form:
        case Plain(op="argmax" | "argmin", body=body):
            return Scope(facts, ()).number(body), of
        case Plain(op="count"):
            return (Type(Kind.I64, of.origin),)
        case Sum(basis=basis):
            return (of,) * len(basis.functions)
        case Plain() | Extreme():
            return (of,)
