"""Lanes that a partial round need not compute: those that no row can see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from attnc.backends.numpy.layout import INDENT
from attnc.backends.triton.terms import Term
from attnc.backends.tvm.ahead import Ahead
from attnc.backends.tvm.scope import Clip, LaneScope
from attnc.backends.tvm.terms import KEPT
from attnc.ir.expr import Expr, Value, Var
from attnc.ir.tiles import Dot, Fold, Let, Load, Loop, Map
from attnc.ir.tiles_walk import statements
from attnc.ir.types import Kind
from attnc.ir.walk import subexpressions


@dataclass
class Clips:
    """Tells for each vector of rows, and for all of a program, which lanes of a round may be seen.

    It is told by what the loop says to be `present`, with the edges of a vector of rows where that
    has those of a tile.
    """

    scope: LaneScope
    buffers: dict[str, str]
    """The lines that make room."""
    _spans: tuple[str, str] = field(default=("", ""), init=False)
    _moves: str = field(default="", init=False)
    """How far lanes move up to a thread's next program."""

    def has(self, item: Loop) -> bool:
        """Whether there are such lanes: each statement takes lanes by themselves, and combines
        them in any order."""
        folds = [s for s in item.body if isinstance(s, Fold)]
        return (
            bool(item.present)
            and all(isinstance(s, Load | Map | Dot | Let | Fold) for s in item.body)
            and all(s.op not in ("argmax", "argmin") for s in folds)
            and self.scope.vector is not None
            and self.scope.is_tile(item.axis)
            and item.axis not in (self.scope.vector, *self.scope.strides)
        )

    @property
    def part(self) -> str:
        """The name of the number of a vector of rows."""
        return self.scope.names.of("part", "part")

    @property
    def parts(self) -> str:
        """How many vectors of rows a tile has."""
        rows = self.scope.size_of(self.scope.vector or "")
        return f"{rows} // min({rows}, LANES)"

    def before(self, item: Loop) -> Iterator[str]:
        """The lines before a loop: where lanes may be seen, by vectors of rows, in buffers."""
        scope, axis, part = self.scope, item.axis, self.part
        self._spans = (scope.names.fresh(f"{axis}_lows"), scope.names.fresh(f"{axis}_ends"))
        for name in self._spans:
            shape = f"({len(item.present)}, {self.parts})"
            self.buffers[name] = f'{name} = T.alloc_buffer({shape}, "int64")'
        known = dict(scope.locals)
        yield f"for {part} in range({self.parts}):"
        assert scope.vector is not None
        start = f"({part} * LANES)"
        if scope.axis(scope.vector).kind != "whole":
            start = f"({scope.start_of(scope.vector)} + {start})"
        scope.part = start
        lets, moving = self._of_rows(item)
        for let in lets:
            yield INDENT + self._let_of_rows(let, "part")
        for i, span in enumerate(item.present):
            for name, bound in zip(self._spans, (span.low, span.high), strict=True):
                text = scope.text.as_tensor(scope.text(bound))
                yield f'{INDENT}{name}[{i}, {part}] = T.Cast("int64", {text})'
        yield from self._ahead_of(item, lets, moving)
        scope.part = ""
        scope.locals.clear()
        scope.locals.update(known)

    def _ahead_of(self, item: Loop, lets: list[Let], moving: list[bool]) -> Iterator[str]:
        """The lines that tell how far lanes that may be seen move up to a thread's next program:
        as the end of the first of their spans that moves."""
        scope, start = self.scope, Ahead(self.scope).start
        self._moves = ""
        if start is None or True not in moving:
            return
        scope.part, which = start, moving.index(True)
        for let in self._read_by(item.present[which].high, lets):
            yield self._let_of_rows(let, "ahead")
        end = scope.text.as_tensor(scope.text(item.present[which].high))
        self._moves = scope.names.fresh(f"{item.axis}_ahead")
        yield f'{self._moves}: T.int64 = T.Cast("int64", {end}) - {self._spans[1]}[{which}, 0]'

    def _read_by(self, expr: Expr, lets: list[Let]) -> list[Let]:
        """Those of some numbers that an expression reads, also by way of others."""
        found: list[Let] = []
        asked = {n.name for n in subexpressions(expr) if isinstance(n, Value)}
        for let in reversed(lets):
            if let.name in asked:
                found.insert(0, let)
                asked |= {n.name for n in subexpressions(let.value) if isinstance(n, Value)}
        return found

    def _let_of_rows(self, let: Let, name: str) -> str:
        """The line that tells a number for a vector of rows, which then goes by a new name."""
        scope = self.scope
        python = scope.names.fresh(f"{let.name}_{name}")
        term = scope.text.in_kind(let.value, let.kind)
        line = f"{python}: {KEPT[term.held]} = {scope.text.as_tensor(term)}"
        scope.locals[let.name] = Term(python, (), term.held)
        return line

    def _of_rows(self, item: Loop) -> tuple[list[Let], list[bool]]:
        """The numbers that bounds of what is present are made of, and that differ among rows; and
        of which spans the end does."""
        scope = self.scope
        lets = {s.name: s for s in statements(scope.kernel.body) if isinstance(s, Let)}
        coords = scope.kernel.coords
        edges = {c.name for c in coords if scope.vector in scope.context.varies(c.value)}
        moving: dict[str, bool] = {}

        def moves(expr: Expr) -> bool:
            found = False
            for node in subexpressions(expr):
                match node:
                    case Var(name=name):
                        found = found or name == scope.vector or name in edges
                    case Value(name=name) if name in lets:
                        if name not in moving:
                            moving[name] = moves(lets[name].value)
                        found = found or moving[name]
                    case _:
                        pass
            return found

        for span in item.present:
            moves(span.low)
        ends = [moves(span.high) for span in item.present]
        found = [let for name, let in lets.items() if moving.get(name) and let.kind is Kind.I64]
        return found, ends

    def inside(self, item: Loop) -> Iterator[str]:
        """The lines of a round that tell its lanes; loops are printed so from then on."""
        scope, axis, part = self.scope, item.axis, self.part
        tile, rows = scope.size_of(axis), scope.size_of(scope.vector or "")
        first, last, firsts, lasts = (
            scope.names.fresh(f"{axis}_{which}") for which in ("first", "last", "firsts", "lasts")
        )
        for name in (firsts, lasts):
            self.buffers[name] = f'{name} = T.alloc_buffer(({self.parts},), "int32")'
        lows, ends = self._spans
        paired = " or ".join(scope.pairs.values()) or "False"
        places = range(len(item.present))
        spans = ", ".join(f"({lows}[{i}, {part}], {ends}[{i}, {part}])" for i in places)
        yield f"{first}: T.int32 = {tile}"
        yield f"{last}: T.int32 = 0"
        yield f"for {part} in range({self.parts}):"
        for name, function, whole in ((firsts, "_first", "0"), (lasts, "_last", tile)):
            some = f"{function}({tile}, {scope.start_of(axis)}, {paired}, {spans})"
            few = f"{rows} < LANES, T.int32({whole})"
            yield f"{INDENT}{name}[{part}] = _either({few}, {some})"
        yield f"{INDENT}{first} = T.min({first}, {firsts}[{part}])"
        yield f"{INDENT}{last} = T.max({last}, {lasts}[{part}])"
        scope.clipped[axis] = Clip(first, last, firsts, lasts, self._moves)
