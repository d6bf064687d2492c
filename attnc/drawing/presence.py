"""Which points exist: the places of a cascade that have a condition, and a cascade that computes
the presence of one of them.

The picture of a condition is what the NumPy backend computes: the Einsums that the place needs, and
one more, `P[...] = present(...)`, whose result is the only output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir import printer
from attnc.ir.cascade import Einsum, Output, Slot
from attnc.ir.expr import Apply, Binary, Choice, Expr, Int, Logical, Read, Reduce, Scan, Var
from attnc.ir.facts import Dimension, Facts, TensorInfo
from attnc.ir.stages import Loop, Single, Stage, tensor_reads
from attnc.ir.types import Kind, Origin, Type
from attnc.ir.walk import bound, children, free_variables, in_order, subexpressions


@dataclass(frozen=True, slots=True)
class Site:
    """A place whose points may not all exist: a tensor, or `only(x, c)` inside a statement.

    `reduced` are the variables over which it is combined later.
    """

    owner: str
    expr: Expr
    variables: tuple[str, ...]
    reduced: frozenset[str]
    text: str


def sites(facts: Facts, tensor: str | None = None) -> tuple[Site, ...]:
    """The places with conditions, in the order of the text; of one tensor, if it is named.

    A tensor that is named is a place even without a condition of its own, unless it holds one.
    Raises `UsageError` for an unknown tensor, and if nothing is conditional.
    """
    defined = {e.tensor: e for e in facts.cascade.einsums if e.initial is None}
    if tensor is not None and tensor not in defined:
        hint = suggestion(tensor, defined) or f"tensors: {', '.join(defined)}"
        raise UsageError(f"'{facts.cascade.name}' defines no tensor '{tensor}'; {hint}")
    chosen = [e for t, e in defined.items() if tensor in (None, t)]
    found = [site for einsum in chosen for site in _sites(facts, einsum)]
    if tensor is not None and not any(s.owner == tensor for s in found):
        found = [_tensor(facts, defined[tensor])]
    if not found:
        raise UsageError(
            f"'{facts.cascade.name}' has no condition on a rank that a picture could show; "
            "--tensor NAME draws the points of a tensor all the same"
        )
    return tuple(found)


def _sites(facts: Facts, einsum: Einsum) -> Iterator[Site]:
    """The places of one statement.

    An `only` on what its own recurrence has computed so far is none: afterwards all is computed.
    """
    if any(free_variables(c) for c in einsum.where):
        yield _tensor(facts, einsum)
    running = _running(facts, einsum.tensor)
    seen: set[Expr] = set()
    for node in _outermost(einsum.value):
        reads = {n.tensor for n in subexpressions(node) if isinstance(n, Read)}
        if node not in seen and free_variables(node.arguments[1]) and not reads & running:
            seen.add(node)
            free = free_variables(node)
            order = dict.fromkeys((*einsum.variables, *in_order(einsum.value)))
            variables = tuple(v for v in order if v in free)
            text = f"{printer.expression(node)} in {einsum.tensor}"
            yield Site(einsum.tensor, node, variables, free & _closed(einsum), text)


def _running(facts: Facts, tensor: str) -> set[str]:
    """The tensors of the recurrence that computes a tensor, if one does."""
    loops = (_tensors(s) for s in facts.stages if isinstance(s, Loop))
    return next((tensors for tensors in loops if tensor in tensors), set[str]())


def _outermost(expr: Expr) -> Iterator[Apply]:
    """Every `only` that is not the value of another."""
    if isinstance(expr, Apply) and expr.function == "only":
        yield expr
        return
    for child in children(expr):
        yield from _outermost(child)


def _tensor(facts: Facts, einsum: Einsum) -> Site:
    variables = einsum.variables
    read = Read(einsum.tensor, tuple(_index(s) for s in einsum.slots))
    reduced: set[str] = set()
    for reader in facts.cascade.einsums:
        closed = _closed(reader)
        for node in tensor_reads(reader):
            if node.tensor == einsum.tensor:
                pairs = zip(einsum.slots, node.index, strict=True)
                reduced |= {
                    s.variable
                    for s, i in pairs
                    if s.variable is not None and isinstance(i, Var) and i.name in closed
                }
    written = einsum.written or einsum
    text = printer.left_side(einsum)
    if written.where:
        text += f" where {', '.join(printer.expression(c) for c in written.where)}"
    return Site(einsum.tensor, read, variables, frozenset(reduced), text)


def _index(slot: Slot) -> Expr:
    if slot.variable is None:
        return Int(slot.offset)
    return Binary("+", Var(slot.variable), Int(slot.offset)) if slot.offset else Var(slot.variable)


def _closed(einsum: Einsum) -> set[str]:
    """The variables that a statement reduces, or combines along."""
    found: set[str] = set()
    for expr in (einsum.value, *einsum.where):
        for node in subexpressions(expr):
            found |= bound(node)
            if isinstance(node, Scan):
                found.add(node.variable)
    return found


NAME: Final = "P"


def presence_of(facts: Facts, site: Site) -> Facts:
    """A cascade whose one output, of bools, is true where the points of a place exist."""
    name = NAME
    while name in facts.tensors:
        name += NAME
    slots = tuple(Slot(v) for v in site.variables)
    einsum = Einsum(name, slots, Apply("present", (site.expr,)))
    needed = _needed(facts, tensor_reads(einsum))
    stages: tuple[Stage, ...] = tuple(s for s in facts.stages if _tensors(s) & needed)
    kept = {t for s in stages for t in _tensors(s)}
    statements = facts.cascade.statements
    sizes = tuple(printer.expression(facts.variables[v]) for v in site.variables)
    cascade = replace(
        facts.cascade,
        outputs=(Output(name, sizes, "bool"),),
        statements=(
            *(s for s in statements if not isinstance(s, Einsum) or s.tensor in kept),
            einsum,
        ),
    )
    dimensions = tuple(Dimension(facts.variables[v]) for v in site.variables)
    return replace(
        facts,
        cascade=cascade,
        stages=(*stages, Single(einsum)),
        tensors={**facts.tensors, name: TensorInfo(dimensions)},
        types={**facts.types, name: Type(Kind.BOOL, Origin.TENSOR)},
    )


def _tensors(stage: Stage) -> set[str]:
    if isinstance(stage, Loop):
        return {e.tensor for e in (*stage.initial, *stage.steps)}
    return {stage.einsum.tensor}


def _needed(facts: Facts, reads: Iterable[Read]) -> set[str]:
    """The tensors that some reads need, through whatever they are computed from."""
    found: set[str] = set()
    waiting = {r.tensor for r in reads}
    while waiting:
        name = waiting.pop()
        found.add(name)
        for einsum in facts.cascade.einsums:
            if einsum.tensor == name:
                waiting |= {r.tensor for r in tensor_reads(einsum)} - found
    return found


def deciding(facts: Facts, site: Site) -> frozenset[str]:
    """The inputs whose values, and not only their sizes, decide which points exist.

    A generous answer: one that is listed may still make no difference.
    """
    return _Deciding(facts).of(site)


class _Deciding:
    """Inputs behind the presence, or behind the value, of tensors; found by iteration."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.present: dict[str, frozenset[str]] = dict.fromkeys(facts.tensors, frozenset())
        self.all = {
            name: frozenset((name,)) if info.input else frozenset[str]()
            for name, info in facts.tensors.items()
        }
        grown = True
        while grown:
            grown = False
            for einsum in facts.cascade.einsums:
                name = einsum.tensor
                conditions = self._union(einsum.where, values=True)
                present = self.present[name] | self._presence(einsum.value) | conditions
                everything = self.all[name] | present | self._values(einsum.value)
                grown |= present != self.present[name] or everything != self.all[name]
                self.present[name], self.all[name] = present, everything

    def of(self, site: Site) -> frozenset[str]:
        return self._presence(site.expr)

    def _union(self, exprs: Iterable[Expr], *, values: bool) -> frozenset[str]:
        rule = self._values if values else self._presence
        return frozenset[str]().union(*(rule(e) for e in exprs))

    def _values(self, expr: Expr) -> frozenset[str]:
        """What decides the value of an expression, its presence included."""
        match expr:
            case Apply(function="present", arguments=arguments):
                return self._union(arguments, values=False)
            case Read(tensor=tensor, index=index):
                return self.all[tensor] | self._union(index, values=True)
            case _:
                return self._union(children(expr), values=True)

    def _presence(self, expr: Expr) -> frozenset[str]:
        """What decides whether an expression is present."""
        inner = children(expr)
        match expr:
            case Read(tensor=tensor, index=index):
                return self.present[tensor] | self._union(index, values=True)
            case Apply(function="present") | Reduce(op="any" | "all" | "count"):
                return frozenset()
            case Apply(function="only", arguments=(value, condition)):
                return self._presence(value) | self._values(condition)
            case Apply(function="i32" | "i64" | "ceildiv"):
                return self._union(inner, values=True)
            case Choice(condition=condition, then=then, other=other):
                return self._values(condition) | self._union((then, other), values=False)
            case Binary(op="//" | "%" | "<<" | ">>", left=left, right=right):
                return self._presence(left) | self._values(right)
            case Logical():
                return self._union(inner, values=True)
            case _:
                return self._union(inner, values=False)
