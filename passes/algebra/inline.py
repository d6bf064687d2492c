"""Maps that are read once, or are cheap, are written where they are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.ir.cascade import Einsum, Statement
from attnc.ir.expr import Apply, Arg, Binary, Expr, Logical, Read, Reduce, Scan, TopK, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import tensor_reads
from attnc.ir.walk import children, rebuild, subexpressions, substitute
from attnc.passes.algebra.cse import CHEAP
from attnc.passes.algebra.program import Remark, Tell, ignore, rewritten, singles

MAX_CHEAP: Final = 8
"""Most nodes of a map that is computed again wherever it is read."""

MAX_NODES: Final = 2000
MAX_DEPTH: Final = 80
"""An expression grows to this many nodes, nested this deep, at most; the language has limits."""


@dataclass(frozen=True)
class Inline:
    """A map, without a reduction, is substituted where it is read.

    It is if it is read once, or if it is cheap: of few nodes, nothing costlier than a quotient, and
    no condition. (A quotient may leave the sums that it comes into; where it does not,
    common subexpressions are shared again.) With `everywhere`, however often it is read and
    whatever it costs.

    It is read at variables of the same ranges as its own, so that its bounds cannot make it absent;
    other reads are left. Its conditions go along, `only(value, a and b)`: absent where one of them
    does not hold or is absent. As it binds no variable, none can be captured. Outputs, constants
    (a literal has uses that a tensor has not) and what a recurrence group reads stay.
    """

    everywhere: bool = False
    name: str = field(default="inline", init=False)

    def __call__(self, facts: Facts, tell: Tell = ignore) -> Facts:
        return rewritten(facts, _Inlining(facts, self.everywhere, tell).run())


@dataclass
class _Measure:
    """Nodes and levels of an expression."""

    nodes: int
    depth: int


class _Inlining:
    def __init__(self, facts: Facts, everywhere: bool, tell: Tell) -> None:
        self.facts = facts
        self.everywhere = everywhere
        self.tell = tell
        self.alone = singles(facts)
        self.outputs = {o.name for o in facts.cascade.outputs}
        self.reads: Counter[str] = Counter()
        self.fixed: set[str] = set()
        """Tensors that are read where nothing can be substituted."""
        self.values: dict[str, tuple[Einsum, Expr, _Measure]] = {}
        """Maps to substitute: their definitions, their values with conditions."""
        self._survey()

    def run(self) -> list[Statement]:
        """The statements; a map that nothing reads any more is left out."""
        found: list[Statement] = []
        for statement in self.facts.cascade.statements:
            if isinstance(statement, Einsum) and statement.tensor in self.alone:
                einsum = self._substituted(statement)
                self._offer(einsum)
                found.append(einsum)
            else:
                found.append(statement)
        read = {r.tensor for s in found if isinstance(s, Einsum) for r in tensor_reads(s)}
        gone = [t for t in self.values if t not in read]
        for tensor in gone:
            span = self.values[tensor][0].span
            self.tell(Remark("inline", tensor, "is computed where it is read", span))
        return [s for s in found if not isinstance(s, Einsum) or s.tensor not in gone]

    def _survey(self) -> None:
        for einsum in self.facts.cascade.einsums:
            for read in tensor_reads(einsum):
                self.reads[read.tensor] += 1
                if einsum.tensor not in self.alone or not self._whole(read):
                    self.fixed.add(read.tensor)

    def _whole(self, read: Read) -> bool:
        """Whether a read is at variables whose ranges are those of the tensor."""
        dimensions = self.facts.tensors[read.tensor].dimensions
        return all(
            isinstance(index, Var) and self.facts.variables[index.name] == dimension.range
            for index, dimension in zip(read.index, dimensions, strict=True)
        )

    def _offer(self, einsum: Einsum) -> None:
        """Notes an Einsum if it is a map to substitute."""
        name, parts = einsum.tensor, (einsum.value, *einsum.where)
        if name in self.outputs | self.fixed or not self.reads[name]:
            return
        nodes = [n for part in parts for n in subexpressions(part)]
        if any(isinstance(n, Reduce | Scan | Arg | TopK) for n in nodes):
            return
        if not any(isinstance(n, Read | Var) for n in subexpressions(einsum.value)):
            return
        cheap = not einsum.where and len(nodes) <= MAX_CHEAP and all(map(_is_cheap, nodes))
        if self.reads[name] == 1 or cheap or self.everywhere:
            value = _conditioned(einsum)
            self.values[name] = einsum, value, _measure(value)

    def _substituted(self, einsum: Einsum) -> Einsum:
        wanted = [r.tensor for r in tensor_reads(einsum) if r.tensor in self.values]
        if not wanted:
            return einsum
        sizes = [_measure(e) for e in (einsum.value, *einsum.where)]
        whole = _Measure(sum(s.nodes for s in sizes), max(s.depth for s in sizes))
        chosen: set[str] = set()
        for tensor, count in Counter(wanted).items():
            measure = self.values[tensor][2]
            nodes, depth = whole.nodes + count * measure.nodes, whole.depth + measure.depth
            if nodes <= MAX_NODES and depth <= MAX_DEPTH:
                whole = _Measure(nodes, depth)
                chosen.add(tensor)
        where = tuple(self._walk(c, chosen) for c in einsum.where)
        return replace(einsum, value=self._walk(einsum.value, chosen), where=where)

    def _walk(self, expr: Expr, chosen: set[str]) -> Expr:
        if isinstance(expr, Read) and expr.tensor in chosen:
            einsum, value, _ = self.values[expr.tensor]
            index = dict(zip(einsum.variables, expr.index, strict=True))
            return substitute(value, index, _no_binder)
        return rebuild(expr, tuple(self._walk(c, chosen) for c in children(expr)))


def _no_binder(variable: str) -> str:
    raise AssertionError(f"a map binds no variable, and here {variable}")


def _is_cheap(node: Expr) -> bool:
    match node:
        case Apply(function=function):
            return function in CHEAP
        case Binary(op=op):
            return op not in ("//", "%", "**")
        case _:
            return True


def _conditioned(einsum: Einsum) -> Expr:
    """The value of an Einsum, absent where its conditions do not hold."""
    if not einsum.where:
        return einsum.value
    condition = einsum.where[0]
    for other in einsum.where[1:]:
        condition = Logical("and", condition, other)
    return Apply("only", (einsum.value, condition), einsum.value.span)


def _measure(expr: Expr) -> _Measure:
    nodes, depth, level = 0, 0, [expr]
    while level:
        nodes += len(level)
        depth += 1
        level = [c for node in level for c in children(node)]
    return _Measure(nodes, depth)
