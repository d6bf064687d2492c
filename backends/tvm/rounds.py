"""Heads of loops over tiles: all ranges of a class have one, so that a body is printed once."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnc.backends.triton.terms import Term
from attnc.backends.tvm.scope import LaneScope
from attnc.ir.expr import Expr, Int
from attnc.ir.printer import PRODUCT, SUM
from attnc.ir.tiles import Loop, Range


@dataclass
class Rounds:
    """The rounds of a loop through some ranges: what stands before it, its line, what is inside.

    Ranges may be empty. A single one whose tiles follow each other from a number of the text on is
    counted by where they begin; others by the number of the round.
    """

    scope: LaneScope
    loop: Loop
    parts: tuple[Range, ...]
    before: list[str] = field(default_factory=list[str])
    count: str = ""
    """What is counted: the places where tiles begin, or the rounds."""
    frame: str = ""
    """The loop, as the script has it."""
    inside: list[str] = field(default_factory=list[str])
    end: str | None = None
    """The end of the one range there is."""
    step: str | None = None
    """How far coordinates of neighbouring lanes are apart, where not by 1."""

    def __post_init__(self) -> None:
        scope, axis = self.scope, self.loop.axis
        tiled = scope.is_tile(axis)
        self.tile: str = scope.size_of(axis) if tiled else "1"
        self.counter: str = scope.start_of(axis) if tiled else scope.lane(axis)
        if len(self.parts) > 1:
            self._several()
            return
        (part,) = self.parts
        low, high = self.scope.text(part.low), self._named(part.high, "end")
        self.end = high.text
        if part.step == Int(1) and not self.loop.backward and low.literal:
            step = "" if self.tile == "1" else f", step={self.tile}"
            begin = f"T.int64({low.text})"
            self.count, self.frame = self.counter, f"T.serial({begin}, {high.text}{step})"
            return
        stride = self.tile
        if part.step != Int(1):
            by = self._named(part.step, "step")
            self.step = by.text if tiled else None
            stride = by.text if self.tile == "1" else f"{self.tile} * {by.at(PRODUCT + 1)}"
        names = scope.names
        turn, rounds = names.fresh(f"{axis}_turn"), names.fresh(f"{axis}_rounds")
        length = f"T.max({high.text} - {low.at(SUM + 1)}, 0)"
        self.before.append(f"{rounds}: T.int64 = T.ceildiv({length}, {stride})")
        self.count, self.frame = turn, f"T.serial({rounds})"
        place = f"({rounds} - 1 - {turn})" if self.loop.backward else turn
        self.inside.append(f"{self.counter}: T.int64 = {low.at(SUM)} + {place} * ({stride})")

    def _named(self, expr: Expr, name: str) -> Term:
        """A bound as a name or a number, told before the loop."""
        term = self.scope.text(expr)
        if term.literal or term.text.isidentifier():
            return term
        python = self.scope.names.fresh(f"{self.loop.axis}_{name}")
        self.before.append(f"{python}: T.int64 = {term.text}")
        return Term(python, (), term.held)

    def _several(self) -> None:
        names, axis = self.scope.names, self.loop.axis
        shifts: list[str] = []
        rounds: list[str] = []
        for part in self.parts:
            low, high = self._named(part.low, "low"), self._named(part.high, "end")
            count = f"T.max({high.text} - {low.at(SUM + 1)}, 0)"
            if self.tile != "1":
                count = f"T.ceildiv({count}, {self.tile})"
            shift = low.text
            if rounds:
                shift = names.fresh(f"{axis}_shift")
                gone = rounds[-1] if self.tile == "1" else f"{rounds[-1]} * {self.tile}"
                self.before.append(f"{shift}: T.int64 = {low.text} - {gone}")
                count = f"{rounds[-1]} + {count}"
            shifts.append(shift)
            rounds.append(names.fresh(f"{axis}_rounds"))
            self.before.append(f"{rounds[-1]}: T.int64 = {count}")
        turn = names.fresh(f"{axis}_turn")
        self.count, self.frame = turn, f"T.serial({rounds[-1]})"
        start = shifts[-1]
        for shift, end in reversed(list(zip(shifts, rounds, strict=True))[:-1]):
            start = f"_where({turn} < {end}, {shift}, {start})"
        at = turn if self.tile == "1" else f"{turn} * {self.tile}"
        self.inside.append(f"{self.counter}: T.int64 = {at} + {start}")
