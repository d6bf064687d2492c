"""Heads of loops over tiles: all ranges of a class have one, so that a body is printed once."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnc.backends.triton.addresses import Addresses
from attnc.backends.triton.scope import KernelScope
from attnc.backends.triton.terms import Held, Term
from attnc.ir.expr import Expr, Int
from attnc.ir.printer import PRODUCT, SUM
from attnc.ir.tiles import Listed, Loop, Range


@dataclass
class Rounds:
    """The rounds of a loop through some ranges: what stands before it, its line, what is inside.

    Ranges may be empty. Those of several are counted through: which one a round is of, and so
    where its tile begins, is told by its number.
    """

    scope: KernelScope
    addresses: Addresses
    loop: Loop
    parts: tuple[Range, ...]
    before: list[str] = field(default_factory=list[str])
    line: str = ""
    inside: list[str] = field(default_factory=list[str])
    end: str | None = None
    """The end of the one range there is."""

    def __post_init__(self) -> None:
        scope, axis = self.scope, self.loop.axis
        self.tiled: bool = scope.is_tile(axis)
        self.tile: str = scope.size_of(axis) if self.tiled else "1"
        self.counter: str = scope.start_of(axis) if self.tiled else scope.variable(axis).text
        if len(self.parts) > 1:
            self._several()
        elif self.parts[0].of is not None:
            self._listed(self.parts[0], self.parts[0].of)
        elif self.loop.backward:
            self._backward(*self.parts)
        else:
            self._plain(*self.parts)

    def _named(self, expr: Expr, name: str) -> Term:
        """A bound as a name or a number, told before the loop."""
        term = self.scope.text(expr)
        if term.literal or term.text.isidentifier():
            return term
        python = self.scope.names.fresh(f"{self.loop.axis}_{name}")
        self.before.append(f"{python} = {term.text}")
        return Term(python, (), term.held)

    # One range

    def _plain(self, part: Range) -> None:
        low, high, stride = self._bounds(part)
        bounds = [low.text, high.text, *([] if stride == "1" else [stride])]
        wide = Held.I64 in (low.held, high.held)
        counter = self.counter
        if wide and self.tiled:  # bounds may be far away, a tile is not, nor wider elsewhere
            counter = self.scope.names.fresh(f"{self.loop.axis}_from")
            self.inside.append(f"{self.counter} = tl.cast({counter}, INDEX)")
            wide = False
        self.line = f"for {counter} in range({', '.join(bounds)}):"
        self._lanes(part, wide=wide)

    def _backward(self, part: Range) -> None:
        low, high, stride = self._bounds(part)
        names, axis = self.scope.names, self.loop.axis
        turn, rounds = names.fresh(f"{axis}_turn"), names.fresh(f"{axis}_rounds")
        self.before.append(f"{rounds} = tl.cdiv({high.text} - {low.at(SUM + 1)}, {stride})")
        self.line = f"for {turn} in range(0, {rounds}):"
        self.inside.append(f"{self.counter} = {low.text} + ({rounds} - 1 - {turn}) * ({stride})")
        self._lanes(part, wide=Held.I64 in (low.held, high.held))

    def _bounds(self, part: Range) -> tuple[Term, Term, str]:
        """The bounds of a range, and from one tile to the next."""
        low, high = self.scope.text(part.low), self._named(part.high, "end")
        self.end = high.text
        if part.step == Int(1):
            return low, high, self.tile
        step = self.scope.text(part.step)
        return low, high, f"{self.tile} * {step.at(PRODUCT + 1)}" if self.tiled else step.text

    # A list

    def _listed(self, part: Range, of: Listed) -> None:
        """The tiles whose numbers lie in a row of a buffer, the places of which are neighbours."""
        names, axis = self.scope.names, self.loop.axis
        low, high = self._named(part.low, "first"), self._named(part.high, "end")
        row = self.addresses.of(of.tensor, (*of.index, Int(0)), ())
        turn = names.fresh(f"{axis}_turn")
        self.line = f"for {turn} in range({low.text}, {high.text}):"
        number = f"tl.load({row.at(SUM)} + {turn})"
        start = f"tl.cast({number}, INDEX)"
        self.inside.append(f"{self.counter} = {start}{f' * {self.tile}' if self.tiled else ''}")
        self._lanes(part, wide=False)

    # Several of a class

    def _several(self) -> None:
        scope, names, axis = self.scope, self.scope.names, self.loop.axis
        shifts: list[str] = []
        rounds: list[str] = []
        wide = False
        for part in self.parts:
            low, high = self._named(part.low, "low"), self._named(part.high, "end")
            wide = wide or Held.I64 in (low.held, high.held)
            shift, count = low.text, self._count(low, high)
            if rounds:
                shift = names.fresh(f"{axis}_shift")
                gone = rounds[-1] if self.tile == "1" else f"{rounds[-1]} * {self.tile}"
                self.before.append(f"{shift} = {low.text} - {gone}")
                count = f"{rounds[-1]} + {count}"
            shifts.append(shift)
            rounds.append(names.fresh(f"{axis}_rounds"))
            self.before.append(f"{rounds[-1]} = {count}")
        turn = names.fresh(f"{axis}_turn")
        self.line = f"for {turn} in range(0, {rounds[-1]}):"
        # a counter is a number of Python where kernels are interpreted
        now = names.of("turn", f"{axis}_now")
        self.inside.append(f"{now} = tl.cast({turn}, INDEX)")
        start = shifts[-1]
        for shift, end in reversed(list(zip(shifts, rounds, strict=True))[:-1]):
            start = f"tl.where({now} < {end}, {shift}, {start})"
        at = now if self.tile == "1" else f"{now} * {self.tile}"
        at = f"{at} + {start}"
        self.inside.append(f"{self.counter} = {f'tl.cast({at}, INDEX)' if wide else at}")
        if self.tiled:
            self.inside.append(f"{scope.variable(axis).text} = {self.counter} + {self._arange()}")

    def _count(self, low: Term, high: Term) -> str:
        """The tiles of a range, none of which there may be."""
        length = high.text if low.text == "0" else f"{high.text} - {low.at(SUM + 1)}"
        length = f"tl.maximum({length}, 0)"
        return length if self.tile == "1" else f"tl.cdiv({length}, {self.tile})"

    # Lanes

    def _arange(self) -> str:
        return f"tl.arange(0, {self.tile}).to(INDEX)"

    def _lanes(self, part: Range, *, wide: bool) -> None:
        """The coordinates of a tile, as wide as all others are."""
        if not self.tiled:
            return
        lanes = self._arange()
        if part.step != Int(1):
            lanes = f"{lanes} * {self.scope.text(part.step).at(PRODUCT + 1)}"
        start = f"tl.cast({self.counter}, INDEX)" if wide else self.counter
        self.inside.append(f"{self.scope.variable(self.loop.axis).text} = {start} + {lanes}")
