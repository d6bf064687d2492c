"""Where all that count along a stream have one remainder, the loop goes by that stride."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attnc.ir.expr import Apply, Binary, Compare, Expr, Int, Unary, Value, Var
from attnc.ir.tiles import (
    Dot,
    Fold,
    Kernel,
    Let,
    Load,
    Loop,
    Plan,
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_facts import facts_of
from attnc.ir.tiles_known import known_of
from attnc.ir.tiles_walk import expressions, statements
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions
from attnc.passes.running.build import added, negated
from attnc.passes.tiling import naming
from attnc.passes.tiling.context import Context
from attnc.passes.tiling.presence import TRUE, conjuncts
from attnc.passes.tiling.remainders import Remainder, Row, remainders
from attnc.passes.tiling.strides import Axes, Strides, strided
from attnc.passes.tiling.unused import unused


@dataclass(frozen=True)
class Strided:
    """A condition on a remainder becomes a stride of what is streamed, and of rows.

    Where everyone who looks at lanes of a stream asks that `(m - n) % r == 0`, a tile of rows of
    all remainders has one lane in `r` of each tile of the stream. So rows of one remainder are
    taken together, `m = r * x + c`, with the tiles of the stream that have it as well,
    `n = r * y + c`: there the condition holds. Where it speaks of the stream alone, or of a
    coordinate that a program has one of, only the stream goes by the stride.
    """

    name: str = field(default="strided", init=False)

    def __call__(self, plan: Plan) -> Plan:
        for place, kernel in enumerate(plan.kernels):
            while (found := _Finder(plan, kernel).found()) is not None:
                kernel, let = found
                lets = plan.lets if let is None else (*plan.lets, let)
                kernels = (*plan.kernels[:place], kernel, *plan.kernels[place + 1 :])
                plan = replace(plan, lets=lets, kernels=kernels)
        return plan


class _Finder:
    """Looks for a stream of one kernel that goes by a stride."""

    def __init__(self, plan: Plan, kernel: Kernel) -> None:
        self.plan, self.kernel = plan, kernel
        self.context: Context = Context(plan, kernel)
        self.body: list[Statement] = list(statements(kernel.body))

    def found(self) -> tuple[Kernel, Let | None] | None:
        """The kernel with a stride more, and the number that it is; None if there is none."""
        for item in self.body:
            if isinstance(item, Loop) and self._is_whole(item):
                for remainder in self._everywhere(item):
                    return self._strided(item, remainder)
        return None

    # Where a loop may go by strides

    def _is_whole(self, loop: Loop) -> bool:
        """Whether a loop goes over all of a stream, in any order, and the only one that does."""
        axis = self.kernel.axis(loop.axis)
        loops = [s for s in self.body if isinstance(s, Loop) and s.axis == loop.axis]
        return (
            axis.kind == "stream"
            and loop.ranges == (Range(Int(0), axis.size),)
            and loop.where == TRUE
            and not (loop.given or loop.ordered or loop.backward)
            and len(loops) == 1
        )

    def _everywhere(self, loop: Loop) -> Iterator[Remainder]:
        """What all who look at lanes of a stream ask of its remainder."""
        looked = self._looked(loop)
        if not looked or not self._is_free(loop.axis):
            return
        common = [p for p in conjuncts(looked[0]) if all(p in conjuncts(w) for w in looked[1:])]
        for found in remainders(self.context, loop.axis, common):
            if not isinstance(found.period, Int) or found.period.value > 1:
                yield found

    def _looked(self, loop: Loop) -> list[Expr] | None:
        """The predicates of those who look at lanes of a stream, or of streams in its rounds.

        None where a round without lanes would change something, or coordinates are counted.
        """
        inner = {s.axis for s in statements(loop.body) if isinstance(s, Loop)} | {loop.axis}
        found: list[Expr] = []
        for item in statements(loop.body):
            match item:
                case Fold(op="argmax" | "argmin", over=over) if inner & set(over):
                    return None
                case Fold(over=over, where=where) | Dot(over=over, where=where):
                    found += [where] if inner & set(over) else []
                case Scan(over=over) | TopK(over=over) if over in inner:
                    return None
                case Store():
                    return None
                case _:
                    pass
        return found

    def _is_free(self, axis: str) -> bool:
        """Whether all that a kernel asks of an axis are its lanes and its extent."""
        exprs = [e for s in self.body for e in expressions(s)]
        if any(Var(axis) in subexpressions(c.value) for c in self.kernel.coords):
            return False
        return not any(
            isinstance(n, Apply)
            and n.function in ("low", "high", "tile", "within")
            and n.arguments == (Var(axis),)
            for e in exprs
            for n in subexpressions(e)
        )

    # Rows

    def _row(self, loop: Loop, remainder: Remainder) -> Row | None:
        """The rows that share what is streamed, if the remainder is one of theirs."""
        loads = [s for s in statements(loop.body) if isinstance(s, Load)]
        streamed = [s for s in loads if loop.axis in s.axes]
        over = {a for s in self.body if isinstance(s, Fold | Dot) for a in s.over}
        for row in remainder.rows:
            shared = all(row.axis not in s.axes for s in streamed)
            if shared and row.axis not in over and self._is_free(row.axis):
                return row
        return None

    def _strided(self, loop: Loop, remainder: Remainder) -> tuple[Kernel, Let | None]:
        stride, let = self._stride(remainder.period)
        row, rows, at = self._row(loop, remainder), None, remainder.at
        if row is not None:
            first, turn = (self.context.fresh(f"{row.axis}_{w}") for w in "rq")
            rows = Axes(self.kernel.axis(row.axis), stride, turn, Var(first))
            at = added(row.beside, Var(first) if row.sign > 0 else negated(Var(first)))
        if at != Int(0) and (rows is None or at != rows.first):  # these are remainders already
            at = Binary("%", at, stride)
        turn = self.context.fresh(f"{loop.axis}_q")
        found = Strides(Axes(self.kernel.axis(loop.axis), stride, turn, at), rows)
        return strided(self.kernel, found, (remainder.condition,), remainder.rest), let

    def _stride(self, period: Expr) -> tuple[Expr, Let | None]:
        """A number from 1 on that divides what a period does; by 0 nothing has a remainder."""
        known = known_of(self.plan, facts_of(self.plan).values)
        number = period
        if not known.shows(Compare(("<",), (Int(0), period))):
            number = Apply("max", (Int(1), period, Unary("-", period)))
        if isinstance(number, Int | Value):
            return number, None
        for let in self.plan.lets:
            if let.value == number:
                return Value(let.name), None
        name = unused("R", naming.every(self.plan))
        return Value(name), Let(name, number, Kind.I64)
