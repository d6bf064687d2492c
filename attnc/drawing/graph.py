"""The graph of a cascade as it is drawn: tensors, what they read, the passes they run in.

Everything comes from the facts of the cascade and from the course of the passes over one rank.
An Einsum that takes several passes, as `softmax[n](S) * V` does, is shown in parts: each reduction
that an earlier pass finishes is a node of its own beside that of the Einsum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir import printer
from attnc.ir.cascade import Einsum, Input
from attnc.ir.expr import Arg, Binary, Expr, Int, Read, Reduce, Scan, TopK, Var
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.ir.walk import bound, children, subexpressions
from attnc.passes.analysis.passes import Count, Course, Courses, Progress, courses

Kind = Literal["input", "tensor", "part"]


@dataclass(frozen=True, slots=True)
class Node:
    """One box: an input, a tensor with the statements that define it, or a part of a statement.

    `band` is the pass it belongs to, 0 for what needs no pass. It works `along` the rank, or only
    on what passes left; a `whole` value has an element for each of the rank's.
    """

    key: str
    kind: Kind
    head: str
    lines: tuple[str, ...] = ()
    band: int = 0
    along: bool = False
    whole: bool = False
    output: bool = False
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` reads `source`, in a recurrence perhaps what an `earlier` step left."""

    source: str
    target: str
    earlier: bool = False
    back: bool = False
    """The source is defined by the same statement or a later one of a recurrence."""


@dataclass(frozen=True, slots=True)
class Group:
    """A recurrence over `variable`; `each` passes are added by every round of it."""

    variable: str
    each: int = 0


@dataclass(frozen=True)
class Graph:
    """A cascade as boxes and arrows, with the passes over the rank of `variable`."""

    name: str
    variable: str
    count: Count
    bands: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...]

    def node(self, key: str) -> Node:
        """The node of that key."""
        return next(n for n in self.nodes if n.key == key)

    def crossing(self, band: int) -> tuple[Node, ...]:
        """What is had by the end of a pass and read after it."""
        place = {n.key: n.band for n in self.nodes}
        sources = {
            e.source for e in self.edges if not e.back and place[e.source] <= band < place[e.target]
        }
        return tuple(n for n in self.nodes if n.key in sources)


def graph(facts: Facts, rank: str | None = None) -> Graph:
    """The graph of a cascade with the passes over a rank: without one, that with most passes.

    Raises `UsageError` if the cascade has no such rank.
    """
    found = courses(facts)
    return _Builder(facts, found.over(_variable(facts, found, rank))).graph()


def _variable(facts: Facts, found: Courses, rank: str | None) -> str:
    counts = found.counts
    if rank is not None:
        variable = rank.lower() if rank.lower() in counts else rank
        if variable not in counts:
            hint = suggestion(variable, counts) or f"ranks: {', '.join(counts)}"
            raise UsageError(f"'{facts.cascade.name}' has no rank '{rank}' of an input; {hint}")
        return variable
    if not counts:
        raise UsageError(f"no input of '{facts.cascade.name}' has a rank to pass over")
    weight = {v: (sum(n for _, n in c.rounds), c.fixed) for v, c in counts.items()}
    most = max(weight.values())
    equal = [v for v in counts if weight[v] == most]
    ends = _ends(facts)
    last = {v: max(ends.get(c, 0) for c in _carriers(found, v)) for v in equal}
    return max(equal, key=lambda v: (last[v], ends.get(v, 0)))


def _carriers(found: Courses, variable: str) -> set[str]:
    """The variables that a rank's traversals go along."""
    return {variable}.union(*(p.carriers for p in found.over(variable).progress.values()))


def _ends(facts: Facts) -> dict[str, int]:
    """How late each variable is reduced: of equal ranks, keys come before features."""
    found: dict[str, int] = {}
    for position, stage in enumerate(facts.stages):
        if isinstance(stage, Loop):
            found[stage.variable] = len(facts.stages) + position
            continue
        for expr in (stage.einsum.value, *stage.einsum.where):
            for node in subexpressions(expr):
                for variable in bound(node):
                    found[variable] = max(found.get(variable, 0), position + 1)
    return found


@dataclass
class _Builder:
    """Builds the graph, stage by stage."""

    facts: Facts
    course: Course
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict[tuple[str, str], Edge])
    groups: list[Group] = field(default_factory=list[Group])
    _steps: tuple[Einsum, ...] = ()
    """The steps of the recurrence that is being built."""

    def graph(self) -> Graph:
        for stage in self.facts.stages:
            if isinstance(stage, Loop):
                self._loop(stage)
            else:
                self._define(_key(stage.einsum), (stage.einsum,))
        inputs = [self._input(i) for i in self.facts.cascade.inputs]
        return Graph(
            self.facts.cascade.name,
            self.course.variable,
            self.course.count,
            self.course.bands,
            (*inputs, *self.nodes.values()),
            tuple(self.edges.values()),
            tuple(self.groups),
        )

    def _input(self, item: Input) -> Node:
        """An input stands in the first pass that reads it."""
        key = f"tensor {item.name}"
        readers = [self.nodes[e.target].band for e in self.edges.values() if e.source == key]
        shape = f"{item.name}[{','.join(str(s) for s in item.sizes)}]"
        head = shape if item.element is None else f"{shape}: {item.element}"
        reads = (n for e in self.facts.cascade.einsums for n in tensor_reads(e))
        whole = any(self._reached(r).whole for r in reads if r.tensor == item.name)
        return Node(key, "input", head, band=min(readers, default=0), whole=whole)

    def _loop(self, loop: Loop) -> None:
        """Initial values that read something are nodes of their own; others go with the step."""
        each = dict(self.course.count.rounds).get(loop.variable, 0)
        self.groups.append(Group(loop.variable, each))
        self._steps = loop.steps
        constant = {e.tensor: e for e in loop.initial if not any(tensor_reads(e))}
        for start in loop.initial:
            if start.tensor not in constant:
                self._define(_key(start), (start,))
        for step in loop.steps:
            initial = constant.get(step.tensor)
            self._define(_key(step), (step,) if initial is None else (step, initial))
        self._steps = ()

    def _define(self, key: str, statements: tuple[Einsum, ...]) -> None:
        """The node of a statement, with its initial value if it has one, and those of its parts."""
        exprs = [e for s in statements for e in (s.value, *s.where)]
        found = [self._reached(e) for e in exprs]
        band = max(p.after for p in found)
        first, *more = (" ".join(printer.statement(s.written or s).split()) for s in statements)
        head = printer.left_side(statements[0])
        node = Node(
            key,
            "tensor",
            head,
            (first.removeprefix(head).lstrip(), *more),
            band,
            any(p.carriers and p.whole for p in self._inside(exprs, band)),
            any(p.carriers and p.whole for p in found),
            key in {f"tensor {o.name}" for o in self.facts.cascade.outputs},
            len(self.groups) - 1 if self._steps else None,
        )
        for expr in exprs:
            self._reads(node, expr, statements[0].tensor)
        self.nodes[key] = self._settled(node)

    def _reached(self, expr: Expr) -> Progress:
        return self.course.progress.get(id(expr), Progress())

    def _settled(self, node: Node) -> Node:
        """A node in a pass no earlier than what it reads."""
        sources = [
            self.nodes[e.source].band
            for e in self.edges.values()
            if e.target == node.key and not e.back and e.source in self.nodes
        ]
        return replace(node, band=max(node.band, *sources, 0))

    def _inside(self, exprs: Iterable[Expr], band: int) -> Iterator[Progress]:
        """The progress of what a node works on, its parts left out."""
        stack = list(exprs)
        while stack:
            node = stack.pop()
            yield self._reached(node)
            stack.extend(c for c in children(node) if self._part_band(c, band) is None)

    def _part_band(self, expr: Expr, band: int) -> int | None:
        """The pass that finishes an expression before the pass of the node it occurs in."""
        if not isinstance(expr, Reduce | Arg | TopK | Scan):
            return None
        inner = self._reached(expr.body)
        closes = not self._reached(expr).carriers or (isinstance(expr, Scan) and expr.reverse)
        return inner.after if inner.carriers and closes and inner.after < band else None

    def _reads(self, node: Node, expr: Expr, owner: str) -> None:
        """The edges of what an expression reads; its parts become nodes."""
        band = self._part_band(expr, node.band)
        if band is not None:
            self._edge(Edge(self._part(node, expr, owner, band), node.key))
            return
        if isinstance(expr, Read):
            self._read(node, expr, owner)
        for child in children(expr):
            self._reads(node, child, owner)

    def _part(self, node: Node, expr: Expr, owner: str, band: int) -> str:
        """The key of the node of a part."""
        text = printer.expression(expr)
        key = f"part {owner} {text}"
        if key in self.nodes:
            return key
        whole = bool(self._reached(expr).carriers)
        part = Node(
            key, "part", f"in {owner}", (text,), band, along=True, whole=whole, group=node.group
        )
        for child in children(expr):
            self._reads(part, child, owner)
        self.nodes[key] = self._settled(part)
        return key

    def _read(self, node: Node, read: Read, owner: str) -> None:
        """The edge of a read; one of earlier steps of a recurrence starts at its initial value."""
        source = f"tensor {read.tensor}"
        order = [step.tensor for step in self._steps]
        if read.tensor not in order or owner not in order:
            self._edge(Edge(source, node.key))
            return
        earlier = not self._same_step(read, self._steps[order.index(read.tensor)])
        back = order.index(read.tensor) >= order.index(owner)
        self._edge(Edge(source, node.key, earlier, back))
        if earlier and f"initial {read.tensor}" in self.nodes:
            self._edge(Edge(f"initial {read.tensor}", node.key))

    def _same_step(self, read: Read, step: Einsum) -> bool:
        """Whether a read in a recurrence is of the step that is running."""
        variable = self.groups[-1].variable
        for slot, index in zip(step.slots, read.index, strict=True):
            if slot.variable == variable:
                now: Expr = Var(variable)
                return index == (Binary("+", now, Int(slot.offset)) if slot.offset else now)
        return False

    def _edge(self, edge: Edge) -> None:
        """One edge for all reads; one of the running step outweighs those of earlier ones."""
        key = edge.source, edge.target
        known = self.edges.get(key)
        if known is None or known.earlier:
            self.edges[key] = edge


def _key(einsum: Einsum) -> str:
    return f"{'tensor' if einsum.initial is None else 'initial'} {einsum.tensor}"
