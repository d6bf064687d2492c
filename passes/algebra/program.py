"""What all passes on cascades share: the program they take and give, names, remarks.

The program is a checked cascade, `Facts`. Its header, bindings, variables and requirements, and the
members of its recurrence groups, stay as they are; what a pass makes anew is an Einsum of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from attnc.errors import NOWHERE, Span
from attnc.ir.cascade import (
    Binding,
    Cascade,
    Einsum,
    Input,
    Output,
    Require,
    Slot,
    Statement,
    Variables,
)
from attnc.ir.expr import Apply, Expr, Read, Value, Var
from attnc.ir.facts import Dimension, Facts, TensorInfo
from attnc.ir.stages import Loop, Single, stages
from attnc.ir.types import LITERAL_INT, Type
from attnc.ir.typing import Types
from attnc.ir.walk import in_order, subexpressions

MAX_NAME: Final = 150
"""Longest beginning of a generated name: a name has at most 200 characters."""


@dataclass(frozen=True)
class Remark:
    """What a pass did to a tensor, or did not do, and why."""

    name: str
    """Of the pass."""
    tensor: str
    text: str
    span: Span = NOWHERE


Tell: TypeAlias = Callable[[Remark], None]


def ignore(_: Remark) -> None:
    """Drops a remark."""


class Pass(Protocol):
    """From a checked cascade to one of the same values; the same object if nothing is to do."""

    @property
    def name(self) -> str:
        """As in `--print-after NAME`."""
        ...

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        """The cascade after this pass; what is worth knowing goes to `tell`."""
        ...


def rewritten(facts: Facts, statements: Iterable[Statement]) -> Facts:
    """The facts of a cascade whose statements were replaced as passes may replace them."""
    cascade = replace(facts.cascade, statements=tuple(statements))
    if cascade.statements == facts.cascade.statements:
        return facts
    variables = dict(facts.variables)
    for item in cascade.statements:
        if isinstance(item, Variables):
            variables |= dict.fromkeys(item.names, item.range)
    order = stages(cascade.einsums)
    assert not order.problems, order.problems
    tensors = {name: info for name, info in facts.tensors.items() if info.input}
    types = {name: facts.types[name] for name in tensors}
    rule = Types(facts.values, types)
    for stage in order.stages:
        if isinstance(stage, Loop):
            for step in stage.steps:
                tensors[step.tensor] = facts.tensors[step.tensor]
                types[step.tensor] = facts.types[step.tensor]
            continue
        einsum = stage.einsum
        dimensions = tuple(Dimension(variables[v]) for v in einsum.variables)
        tensors[einsum.tensor] = TensorInfo(dimensions, einsum.span)
        types[einsum.tensor] = rule(einsum.value)
    known = {name: found if found.known else LITERAL_INT for name, found in types.items()}
    return replace(
        facts,
        cascade=cascade,
        stages=order.stages,
        variables=variables,
        tensors=tensors,
        types=known,
    )


def singles(facts: Facts) -> frozenset[str]:
    """The tensors whose Einsums stand alone, in no recurrence group."""
    return frozenset(s.einsum.tensor for s in facts.stages if isinstance(s, Single))


def typing(facts: Facts) -> Types:
    """The types of this cascade's expressions."""
    return Types(facts.values, dict[str, Type | None](facts.types))


def point(tensor: str, variables: Iterable[str], span: Span = NOWHERE) -> Read:
    """The read of a tensor at variables: `T[m,n]`."""
    return Read(tensor, tuple(Var(v) for v in variables), span)


def definition(tensor: str, variables: Iterable[str], value: Expr, origin: Einsum) -> Einsum:
    """An Einsum that a pass makes out of another."""
    slots = tuple(Slot(v) for v in variables)
    return Einsum(tensor, slots, value, span=origin.span, written=origin.written)


def stem(einsum: Einsum) -> str:
    """What the names of tensors begin with that passes make out of an Einsum."""
    return einsum.tensor if einsum.written is None else einsum.written.tensor


def expressions(statement: Statement) -> Iterator[Expr]:
    """The expressions that a statement holds."""
    match statement:
        case Binding(value=value):
            yield value
        case Variables(range=size):
            yield size
        case Require(condition=condition):
            yield condition
        case Einsum(value=value, where=where):
            yield value
            yield from where


class Names:
    """Names that a cascade does not hold yet, of tensors or anything else."""

    def __init__(self, cascade: Cascade) -> None:
        self.taken: set[str] = {p.name for p in cascade.parameters}
        arguments: tuple[Input | Output, ...] = (*cascade.inputs, *cascade.outputs)
        for item in arguments:
            self.taken |= {item.name, *(s for s in item.sizes if isinstance(s, str))}
        for statement in cascade.statements:
            match statement:
                case Binding(name=name) | Einsum(tensor=name):
                    self.taken.add(name)
                case Variables(names=names):
                    self.taken.update(names)
                case Require():
                    pass
            for expr in expressions(statement):
                self.taken.update(in_order(expr))
                for node in subexpressions(expr):
                    if isinstance(node, Value):
                        self.taken.add(node.name)
                    elif isinstance(node, Apply):
                        self.taken.add(node.function)

    def __call__(self, base: str) -> str:
        """`base`, or `base_2` and so on where that is taken."""
        base = base[:MAX_NAME]
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name
