"""Loops go through the tiles in which a point may be present, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Expr, Int, Name, Value, Var
from attnc.ir.integers import Integers
from attnc.ir.tiles import If, Kernel, Let, Loop, Plan, Range, Scan, Statement
from attnc.ir.tiles_facts import facts_of
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import expressions, statements, targets
from attnc.ir.walk import subexpressions
from attnc.passes.conditions.cover import MOST, Cover
from attnc.passes.conditions.spans import Span
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.looked import looked
from attnc.passes.tiling.presence import TRUE
from attnc.passes.tiling.rounds import Rounds, effects
from attnc.passes.tiling.solving import absent, parts_of, present


@dataclass(frozen=True)
class Ranges:
    """The predicates of a loop, solved for its axis, become its ranges.

    Rounds in which no predicate has a lane change nothing and are left out; those in which all hold
    for each lane test nothing. Both are told before the loop, by sizes, parameters and the edges of
    tiles. What cannot be solved is looked at in each round, before anything else, where that is
    cheap. Programs that go through more begin first.
    """

    name: str = field(default="ranges", init=False)

    def __call__(self, plan: Plan) -> Plan:
        known = known_of(plan, facts_of(plan).values)
        kernels = tuple(_Loops(Context(plan, k), known).kernel() for k in plan.kernels)
        return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


@dataclass
class _Loops:
    """The loops of one kernel get their ranges."""

    context: Context
    known: Integers
    spans: list[tuple[Span, Mapping[str, Expr]]] = field(
        default_factory=list[tuple[Span, Mapping[str, Expr]]]
    )
    """What loops go through, with what the numbers in that stand for."""

    def kernel(self) -> Kernel:
        """The kernel with ranges; the same if there is nothing to tell."""
        kernel = self.context.kernel
        body = self._body(kernel.body, ())
        if body == kernel.body:
            return kernel
        later = dict.fromkeys((*kernel.reversed, *self._heavy()))
        return replace(kernel, reversed=tuple(later), body=body)

    def _body(self, body: Sequence[Statement], around: tuple[str, ...]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for item in body:
            match item:
                case Loop(axis=axis) if self.context.kernel.axis(axis).kind == "stream":
                    before, loop = self._ranged(item, around)
                    inner = self._body(loop.body, (*around, axis))
                    found += [*before, replace(loop, body=inner)]
                case Loop() | If():
                    found.append(replace(item, body=self._body(item.body, around)))
                case _:
                    found.append(item)
        return tuple(found)

    def _ranged(self, loop: Loop, around: tuple[str, ...]) -> tuple[list[Statement], Loop]:
        """What tells the ranges of a loop, and the loop with them."""
        axis = self.context.kernel.axis(loop.axis)
        if loop.ranges != (Range(Int(0), axis.size),) or loop.where != TRUE:
            return [], loop
        rounds = Rounds(self.context, loop, around, self.known)
        predicates = [parts_of(rounds, p) for p in dict.fromkeys(effects(loop))]
        if not predicates:
            return [], loop
        spans = present(rounds, predicates)
        spoilt, given = (None, ()) if _in_order(loop) else absent(rounds, predicates)
        cover = Cover(loop.axis, axis.size, rounds.known, rounds.let, whole=bool(rounds.inner))
        pieces, where = cover(spans, spoilt)
        kept = [p for p in pieces if not rounds.known.at_most(p.high, p.low)]
        ranges = tuple(Range(p.low, p.high, full=p.full) for p in kept)
        given = given if any(r.full for r in ranges) else ()
        found = replace(loop, ranges=ranges or (Range(Int(0), Int(0)),), given=given, where=where)
        if len(cover.present) <= MOST and any(not r.full for r in ranges):
            found = replace(found, present=tuple(Range(p.low, p.high) for p in cover.present))
        if any(span.open for span in spans):
            found = looked(rounds, found, predicates)
        self.spans += [(span, rounds.known.lets) for span in spans]
        return _needed(rounds.before, found), found

    def _heavy(self) -> Iterator[str]:
        """Parallel axes whose later tiles go through more: what runs longest is to begin first."""
        for axis in self.context.kernel.axes:
            low, high = (Apply(edge, (Var(axis.name),)) for edge in ("low", "high"))
            moving = {
                (low in _inside(span.lows, lets), high in _inside(span.ends, lets))
                for span, lets in self.spans
            }
            if axis.kind == "par" and (False, True) in moving and (True, False) not in moving:
                yield axis.name


def _needed(before: Sequence[Statement], loop: Loop) -> list[Statement]:
    """What the ranges of a loop need."""
    bounds = [e for r in (*loop.ranges, *loop.present) for e in (r.low, r.high)]
    stack: list[Expr] = [*bounds, *loop.given, loop.where]
    kept: list[Statement] = []
    wanted: set[str] = set()
    for item in reversed(before):
        wanted |= {n.name for e in stack for n in subexpressions(e) if isinstance(n, Name | Value)}
        stack = []
        name = item.name if isinstance(item, Let) else targets(item)[0]
        if name in wanted:
            kept.append(item)
            stack += expressions(item)
    return kept[::-1]


def _in_order(loop: Loop) -> bool:
    """Whether tiles come in order."""
    scans = (s for s in statements(loop.body) if isinstance(s, Scan))
    return loop.ordered or loop.backward or any(s.over == loop.axis for s in scans)


def _inside(numbers: Iterable[Expr], lets: Mapping[str, Expr]) -> set[Expr]:
    """The parts of some numbers, and of what these stand for."""
    found: set[Expr] = set()
    stack = list(numbers)
    while stack:
        for node in subexpressions(stack.pop()):
            if isinstance(node, Value) and node.name in lets and node not in found:
                stack.append(lets[node.name])
            found.add(node)
    return found
