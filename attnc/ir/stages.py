"""The order in which a cascade's Einsums run: one by one, or together as recurrence groups.

Einsums whose tensors read each other, or themselves, form a group that runs step by step along
one rank variable.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from attnc.errors import Span
from attnc.ir.cascade import Einsum
from attnc.ir.expr import Apply, Choice, Expr, Logical, Read, Reduce, Var
from attnc.ir.walk import children, subexpressions


@dataclass(frozen=True, slots=True)
class Single:
    """An Einsum that reads only finished tensors."""

    einsum: Einsum


@dataclass(frozen=True, slots=True)
class Loop:
    """A recurrence group: initial values, then its steps for each value of the variable."""

    variable: str
    initial: tuple[Einsum, ...]
    steps: tuple[Einsum, ...]


Stage: TypeAlias = Single | Loop
MAX_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A group that cannot run, for the checker to report."""

    message: str
    place: Span
    hint: str | None = None


@dataclass
class Stages:
    """The stages in a runnable order, and what stands in the way."""

    stages: tuple[Stage, ...] = ()
    problems: list[Problem] = field(default_factory=list)


def tensor_reads(einsum: Einsum) -> Iterator[Read]:
    """Every read of a tensor in an Einsum, its conditions included."""
    for expr in (einsum.value, *einsum.where):
        for node in subexpressions(expr):
            if isinstance(node, Read):
                yield node


def stages(einsums: Sequence[Einsum]) -> Stages:
    """Groups and orders the Einsums of a cascade."""
    result = Stages()
    steps = {e.tensor: i for i, e in enumerate(einsums) if e.initial is None}
    initial = {e.tensor: i for i, e in enumerate(einsums) if e.initial is not None}
    reads = {
        i: {r.tensor for r in tensor_reads(e) if r.tensor in steps or r.tensor in initial}
        for i, e in enumerate(einsums)
    }
    group = _groups(steps, initial, reads)
    nodes: dict[int, list[int]] = {}
    for i in range(len(einsums)):
        nodes.setdefault(group.get(i, i), []).append(i)
    built: dict[int, Stage] = {}
    for key, members in nodes.items():
        if len(members) == 1 and key not in group:
            built[key] = Single(einsums[members[0]])
            _forward(einsums, members[0], steps, group, reads, result)
            continue
        for i in members:
            _forward(einsums, i, steps, group, reads, result)
        loop = _loop([einsums[i] for i in members], result)
        if loop is not None:
            built[key] = loop
    if not result.problems and built.keys() == nodes.keys():  # else the checker tells of it
        result.stages = _ordered(nodes, built, group, steps, reads)
    return result


def _groups(
    steps: dict[str, int], initial: dict[str, int], reads: dict[int, set[str]]
) -> dict[int, int]:
    """Each member's group, named by its first member; only groups are listed."""
    group: dict[int, int] = {}
    edges = {i: {steps[t] for t in reads[i] if t in steps} for i in steps.values()}
    back = any(j >= i for i, targets in edges.items() for j in targets)
    if back:
        for component in _components(edges):
            first = min(component)
            if len(component) > 1 or first in edges[first]:
                group.update(dict.fromkeys(component, first))
    for tensor, i in initial.items():
        if tensor in steps:
            first = group.setdefault(steps[tensor], steps[tensor])
            group[i] = first
    return group


def _components(edges: dict[int, set[int]]) -> Iterator[list[int]]:
    """Strongly connected components: Tarjan's algorithm, without recursion."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    held: set[int] = set()
    work: list[tuple[int, Iterator[int]]] = []

    def enter(node: int) -> None:
        number[node] = low[node] = len(number)
        path.append(node)
        held.add(node)
        work.append((node, iter(edges[node])))

    for root in edges:
        if root not in number:
            enter(root)
        while work:
            node, rest = work[-1]
            below = next((n for n in rest if n not in number or n in held), None)
            if below is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = []
                    while node in held:
                        component.append(path.pop())
                        held.remove(component[-1])
                    yield component
            elif below in number:
                low[node] = min(low[node], number[below])
            else:
                enter(below)


def _forward(
    einsums: Sequence[Einsum],
    i: int,
    steps: dict[str, int],
    group: dict[int, int],
    reads: dict[int, set[str]],
    result: Stages,
) -> None:
    """Reports reads of tensors that are defined later, outside a group."""
    for read in tensor_reads(einsums[i]):
        j = steps.get(read.tensor)
        if j is None or j < i or (i in group and group[i] == group.get(j)):
            if j is not None and einsums[i].initial is not None and group.get(i) == group.get(j):
                message = f"the initial value of '{einsums[i].tensor}' reads its own group"
                result.problems.append(Problem(message, read.span))
            continue
        message = f"'{read.tensor}' is used before it is defined"
        hint = "move its definition up; only a recurrence reads what comes later"
        result.problems.append(Problem(message, read.span, hint))


def _loop(members: list[Einsum], result: Stages) -> Loop | None:
    initial = tuple(e for e in members if e.initial is not None)
    steps = tuple(e for e in members if e.initial is None)
    if initial:
        variable = _from_initial(initial, steps, result)
    else:
        variable = _from_reads(steps, result)
    if variable is None:
        return None
    for step in steps:
        if variable not in step.variables:
            message = f"'{step.tensor}' is part of a recurrence over '{variable}'"
            hint = f"every tensor of the group carries '{variable}' on its left side"
            result.problems.append(Problem(message, step.span, hint))
            return None
    lost = _never_begins(initial, steps)
    if lost:
        names = " and ".join(f"'{s.tensor}'" for s in lost[:MAX_NAMED])
        names += " and others" if len(lost) > MAX_NAMED else ""
        reads = "reads itself and has" if len(lost) == 1 else "read each other and have"
        slots = ["-1" if s.variable == variable else str(s.variable) for s in lost[0].slots]
        start = f"{lost[0].tensor}[{','.join(slots)}] = 0"
        message = f"{names} {reads} no initial value: always absent"
        hint = f"give one, such as {start}, or read what may be absent in default()"
        result.problems.append(Problem(message, lost[0].span, hint))
    return Loop(variable, initial, steps)


def _never_begins(initial: tuple[Einsum, ...], steps: tuple[Einsum, ...]) -> list[Einsum]:
    """Steps that are present only where another point of such a step is."""
    started = {e.tensor for e in initial}
    found = {s.tensor: s for s in steps if s.tensor not in started}
    readers: dict[str, list[Einsum]] = {}
    for step in found.values():
        for tensor in {r.tensor for r in tensor_reads(step)}:
            readers.setdefault(tensor, []).append(step)
    waiting = list(found.values())
    while waiting:
        step = waiting.pop()
        if step.tensor in found and not _needs(step.value, found):
            del found[step.tensor]
            waiting += readers.get(step.tensor, ())
    return list(found.values())


def _needs(expr: Expr, tensors: Container[str]) -> bool:
    """Whether a value is absent wherever all reads of these tensors are."""
    match expr:
        case Read(tensor=tensor) if tensor in tensors:
            return True
        case Choice(condition=condition, then=then, other=other):
            branches = _needs(then, tensors) and _needs(other, tensors)
            return branches or _needs(condition, tensors)
        case Apply(function="default" | "present") | Logical():
            return False
        case Reduce(op="any" | "all" | "count"):
            return False
        case _:
            return any(_needs(child, tensors) for child in children(expr))


def _from_initial(
    initial: tuple[Einsum, ...], steps: tuple[Einsum, ...], result: Stages
) -> str | None:
    """The variable that the initial values say the group runs over; None if they do not fit."""
    found: str | None = None
    by_name = {s.tensor: s for s in steps}
    for start in initial:
        step = by_name[start.tensor]
        position = start.initial
        assert position is not None
        slot = step.slots[position] if position < len(step.slots) else None
        if slot is None or slot.variable is None:
            return None
        found = found or slot.variable
        if slot.variable != found:
            message = f"'{step.tensor}' runs over '{slot.variable}', its group over '{found}'"
            result.problems.append(Problem(message, step.span))
            return None
    return found


def _from_reads(steps: tuple[Einsum, ...], result: Stages) -> str | None:
    """The one common variable at which the group's own reads look elsewhere."""
    by_name = {s.tensor: s for s in steps}
    common = [v for v in steps[0].variables if all(v in s.variables for s in steps)]
    moving = []
    for v in common:
        for step in steps:
            for read in tensor_reads(step):
                other = by_name.get(read.tensor)
                if other is None or len(read.index) != len(other.slots):
                    continue
                position = next(i for i, s in enumerate(other.slots) if s.variable == v)
                if read.index[position] != Var(v) and v not in moving:
                    moving.append(v)
    first = steps[0]
    if len(moving) == 1:
        return moving[0]
    names = " and ".join(f"'{s.tensor}'" for s in steps[:MAX_NAMED])
    if not moving:
        message = f"{names} reads itself at the point it defines"
        if len(steps) > 1:
            message = f"{names} read each other at the point they define"
        hint = "a recurrence reads an earlier coordinate, and may have an initial value"
        result.problems.append(Problem(message, first.span, hint))
        return None
    options = " or ".join(f"'{v}'" for v in moving)
    slots = ["-1" if s.variable == moving[0] else str(s.variable) for s in first.slots]
    message = f"this recurrence of {names} could run over {options}"
    hint = f"give it an initial value, such as {first.tensor}[{','.join(slots)}] = absent"
    result.problems.append(Problem(message, first.span, hint))
    return None


def _ordered(
    nodes: dict[int, list[int]],
    built: dict[int, Stage],
    group: dict[int, int],
    steps: dict[str, int],
    reads: dict[int, set[str]],
) -> tuple[Stage, ...]:
    """A topological order that keeps the order of the text where it can."""
    needs = {
        key: {group.get(steps[t], steps[t]) for i in members for t in reads[i] if t in steps}
        - {key}
        for key, members in nodes.items()
    }
    users: dict[int, list[int]] = {}
    for key, wanted in needs.items():
        for other in wanted:
            users.setdefault(other, []).append(key)
    waiting = {key: len(wanted) for key, wanted in needs.items()}
    ready = [key for key, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        key = heapq.heappop(ready)
        order.append(built[key])
        for user in users.get(key, ()):
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    return tuple(order)
