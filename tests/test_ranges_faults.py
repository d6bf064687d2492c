"""Seeded faults in what makes ranges of conditions: each is seen in a few conditions.

A fault loses a point, goes to a tile twice, takes a tile for full that is not, or goes to tiles in
vain; all four are counted at each point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from attnc.ir.expr import Apply, Binary, Choice, Compare, Expr, Int, Unary
from attnc.ir.polynomials import ONE, Sum, plus
from attnc.ir.tiles import Plan
from attnc.passes.conditions import normal, spans
from attnc.passes.conditions.cover import Cover, Part, Parts
from attnc.passes.conditions.intervals import Intervals
from attnc.passes.conditions.knowledge import Knowledge
from attnc.passes.conditions.normal import Normal
from attnc.passes.conditions.spans import Solver
from attnc.passes.tiling.ranges import Ranges
from attnc.passes.tiling.rounds import Rounds
from tests.tried import Trial, compared, streaming, trials
from tests.visited import Unsound

TRIALS = 8
BANDS = ("n <= m", "n > m + b", "0 <= m - n < w", "a <= n < b")
"""A bound above and one below, both of rows, both of numbers."""
UNIONS = ("(n <= m - a or n < b)", "(n >= m + a or n > b)", "(0 <= m - n < w or n < a)")
TWO = ("(0 <= m - n < w or a <= m - n < a + w)", "(m <= n < m + w or b <= n < b + w or n < 3)")
ROWS = ("(m < a and n <= m)", "(h == 1 or n < b)")
BLOCKS = ("n // r == m // r", "(n - 5) // 4 <= m // r - 2", "3 * n <= m - b")
BEATS = (
    "(m - n) % r == 0",
    "n % r < 2",
    "(n % r >= 2 and n <= m)",
    "a <= n % r and 2 <= n % r < b",
)
SIGNS = ("n // w >= a", "n % a == b")
HEADS = ("n < m - W[h]", "P[m] <= n < L[h]", "L[h] <= n < L[h + 1]", "(F[h] and n <= m)")
PIECES = ("abs(m - n) > w", "n < max(m, b)", "n >= clip(m - a, 0, N - w)", "n <= abs(m - b)")
REMAINDERS = ("n <= m % r", "n >= 20 - m % 7", "n <= ((b - w) * m >> 2) + 15")
GRID = ("(abs(h - c) <= 1 and abs(m - k) <= w)",)
ORDERED = (
    "S[h,n] == S[h,m]; all[h,n](S[h,n] <= S[h,n + 1])",
    "S[h,n] == W[h]; all[n,h](S[h,n] <= S[h,n - 1])",
    "D[n] == P[m]; all[n](D[n] <= D[n + 1])",
)
ALL = (
    *BANDS,
    *UNIONS,
    *TWO,
    *ROWS,
    *BLOCKS,
    *BEATS,
    *SIGNS,
    *HEADS,
    *PIECES,
    *REMAINDERS,
    *GRID,
    *ORDERED,
)


@cache
def prepared(condition: str) -> tuple[Plan, tuple[Trial, ...]]:
    some = enumerate(trials(condition, 1, TRIALS))
    found = tuple(replace(t, tiles={**t.tiles, "h": 1 + i % 2}) for i, t in some)
    return streaming(condition), found


@cache
def vain(condition: str) -> tuple[int, int]:
    """The tiles that it takes, and those without a test."""
    found = compared(Ranges()(prepared(condition)[0]), prepared(condition)[1])
    return found.visited, found.full


def red(conditions: Sequence[str]) -> str | None:
    """What is seen of a fault."""
    for condition in conditions:
        plan, some = prepared(condition)
        try:
            found = compared(Ranges()(plan), some)
        except Unsound as error:
            return str(error)
        visited, full = vain(condition)
        if found.visited > visited:
            return f"{found.visited} tiles for {visited}"
        if found.full < full:
            return f"{found.full} full tiles for {full}"
    return None


@dataclass(frozen=True)
class Fault:
    """A replacement of `name` in `owner`, made from what is there, and what it is to be seen in."""

    owner: Any
    name: str
    made: Callable[[Any], Any]
    conditions: Sequence[str]


def moved(expr: Expr, by: int) -> Expr:
    return Binary("+", expr, Int(by)) if by > 0 else Binary("-", expr, Int(-by))


def solved(low: int, end: int) -> Callable[[Any], Any]:
    """Bounds of the stream that are so much off."""

    def made(real: Any) -> Any:
        def fault(self: Any, atom: Expr, number: Sum, side: int, lows: Any, ends: Any) -> None:
            off = low if side > 0 else end
            real(self, atom, plus(number, {ONE: off}) if off else number, side, lows, ends)

        return fault

    return made


def spoilt(off: int) -> Callable[[Any], Any]:
    """Where full tiles begin, so much off."""

    def made(real: Any) -> Any:
        def fault(self: Cover, span: Any) -> Any:
            found, part = real(self, span)
            tile = Binary("*", Int(abs(off)), self._tile)
            end = Binary("-" if off < 0 else "+", part.end, tile)
            return found, replace(part, end=end if span.ends else part.end)

        return fault

    return made


def present(low: int, end: int) -> Callable[[Any], Any]:
    """What is present, so much off."""

    def made(real: Any) -> Any:
        def fault(self: Cover, span: Any) -> Any:
            found = real(self, span)
            *others, last = self.present
            last = replace(last, low=moved(last.low, low) if low else last.low)
            last = replace(last, high=moved(last.high, end) if end else last.high)
            self.present = (*others, last)
            return found

        return fault

    return made


def beginning(off: int) -> Callable[[Any], Any]:
    """Where full tiles end before a suffix, so much off."""

    def made(real: Any) -> Any:
        def fault(self: Cover, span: Any) -> Any:
            found, part = real(self, span)
            tile = Binary("*", Int(abs(off)), self._tile)
            start = Binary("-" if off < 0 else "+", part.start, tile)
            return found, replace(part, start=part.start if span.ends else start)

        return fault

    return made


def always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *_, **__: value


def lost_end(name: str) -> Callable[[Any], Any]:
    """One of several prefixes or suffixes is left out."""

    def made(real: Any) -> Any:
        def fault(self: Cover, parts: Any) -> Parts:
            found: list[Any] = list(parts)
            prefix = [p for p in found if p[0].ends and not p[0].lows]
            suffix = [p for p in found if not p[0].ends]
            chosen = prefix if name == "first" else suffix
            result: Parts = real(self, [p for p in found if p not in chosen[1:]])
            return result

        return fault

    return made


def truncated(real: Any) -> Any:
    """A quotient toward 0."""

    def fault(self: Solver, form: Sum, by: Sum) -> Sum:
        if by == {ONE: 1}:
            return form
        x, d = self.forms.expr(form), self.forms.expr(by)
        down = Binary("//", x, d)
        up = Unary("-", Binary("//", Unary("-", x), d))
        return self.forms.of(Choice(Compare(("<",), (x, Int(0))), up, down))

    return fault


def eliminated(real: Any) -> Any:
    """Each side times its own factor."""

    def fault(self: Solver, form: Sum, atom: str, lows: Any, highs: Any) -> None:
        real(self, form, atom, lows, highs)
        for side in (lows, highs):
            side[:] = [({ONE: 1}, rest) for _, rest in side]

    return fault


def bare_remainders(real: Any) -> Any:
    """A remainder taken for one that grows throughout."""

    def fault(self: Intervals, expr: Binary) -> Any:
        found = self(expr.left)
        if found is None or expr.op == "//":
            return real(self, expr)
        return tuple(Binary("%", f, expr.right) for f in found)

    return fault


def unsigned(real: Any) -> Any:
    """A product by what may be negative, as if it were not."""

    def fault(self: Intervals, moving: Expr, number: Expr) -> Any:
        found = self(moving)
        return None if found is None else tuple(Binary("*", f, number) for f in found)

    return fault


def unassumed(real: Any) -> Any:
    def fault(self: Solver, divisor: Expr) -> bool:
        before = list(self._assumed)
        found: bool = real(self, divisor)
        self._assumed[:] = before
        return found

    return fault


def unsorted(real: Any) -> Any:
    return lambda self, parts: tuple(parts)


def first_alone(real: Any) -> Any:
    """Parts after the first are cut where it ends, and not where those between end."""

    def fault(self: Cover, parts: Parts) -> list[Part]:
        found = [Part(p.start, p.end) for p in parts.middle]
        if parts.first is not None:
            found.insert(0, Part(Int(0), parts.first))
        if parts.last is not None:
            found.append(Part(parts.last, self.size))
        return found

    return fault


def strict(real: Any) -> Any:
    return lambda op, a, b: real({"<": "<=", ">": ">="}.get(op, op), a, b)


def turned(real: Any) -> Any:
    return {**real, "<": ">", "<=": ">="}


def first_coordinate(real: Any) -> Any:
    return lambda self, number: number


def rounded_to(function: str) -> Callable[[Any], Any]:
    """Numbers rounded to whole tiles the other way."""

    def made(real: Any) -> Any:
        def fault(self: Cover, number: Expr) -> Expr:
            if number == Int(0):
                return number
            if function == "ceildiv":
                return Binary("*", Apply("ceildiv", (number, self._tile)), self._tile)
            return Binary("*", Binary("//", number, self._tile), self._tile)

        return fault

    return made


def swapped(real: Any) -> Any:
    return lambda self, *arguments: real(self, *arguments)[::-1]


def shorter(off: int) -> Callable[[Any], Any]:
    """The end of what remainders are to be, so much off."""

    def made(real: Any) -> Any:
        def fault(self: Solver, form: Sum) -> Any:
            found = real(self, form)
            return found and replace(found, high=moved(found.high, off))

        return fault

    return made


def least_tests(real: Any) -> Any:
    def fault(self: Solver, *arguments: Any) -> Any:
        return tuple(
            replace(t, ops=("<",)) if isinstance(t, Compare) else t for t in real(self, *arguments)
        )

    return fault


def more_tests(real: Any) -> Any:
    def fault(self: Solver, *arguments: Any) -> Any:
        return tuple(
            replace(t, operands=(t.operands[0], moved(t.operands[1], 1)))
            if isinstance(t, Compare)
            else t
            for t in real(self, *arguments)
        )

    return fault


def one_reduction(real: Any) -> Any:
    """The least number for the greatest, too."""
    return lambda self, op, expr: real(self, "min", expr)


def one_side(real: Any) -> Any:
    """A maximum as a minimum."""
    return lambda self, form, text, parts, any_: real(self, form, text, parts, not any_)


def sought(side: int, down: bool, op: str) -> Callable[[Any], Any]:
    """Elements that are equal are taken for some on the other side."""
    return lambda real: {**real, (side, down): op}


def placed(off: int) -> Callable[[Any], Any]:
    """Places in what is sorted, so much off."""
    return lambda real: lambda *arguments: moved(real(*arguments), off)


FAULTS = {
    "a low bound, one too far": Fault(Solver, "_solved", solved(1, 0), BANDS),
    "a low bound, one too low": Fault(Solver, "_solved", solved(-1, 0), BANDS),
    "an end, one too low": Fault(Solver, "_solved", solved(0, -1), BANDS),
    "an end, one too far": Fault(Solver, "_solved", solved(0, 1), BANDS),
    "a start in the middle of a tile": Fault(Cover, "_down", first_coordinate, BANDS),
    "a start rounded up": Fault(Cover, "_down", rounded_to("ceildiv"), BANDS),
    "an end rounded down": Fault(Cover, "_up", rounded_to("//"), BANDS),
    "an end in the middle of a tile": Fault(Cover, "_up", first_coordinate, BANDS),
    "a lost prefix": Fault(Cover, "_merged", lost_end("first"), UNIONS),
    "a lost suffix": Fault(Cover, "_merged", lost_end("last"), UNIONS),
    "present, one too far": Fault(Cover, "_visited", present(1, 0), BANDS),
    "present, one too few": Fault(Cover, "_visited", present(0, -1), BANDS),
    "full a tile too early": Fault(Cover, "_spoilt", spoilt(-1), BANDS),
    "full a tile too late": Fault(Cover, "_spoilt", spoilt(1), BANDS),
    "full a tile too long": Fault(Cover, "_spoilt", beginning(1), BANDS),
    "full a tile too short": Fault(Cover, "_spoilt", beginning(-1), BANDS),
    "parts as they come": Fault(Cover, "_sorted", unsorted, TWO),
    "parts that overlap": Fault(Cover, "_disjoint", first_alone, TWO),
    "the greatest for the least": Fault(Cover, "_least", lambda _: Cover._most, BANDS),
    "the least for the greatest": Fault(Cover, "_most", lambda _: Cover._least, BANDS),
    "a minimum of what bounds": Fault(
        spans, "joined", lambda real: lambda f, p: real({"max": "min", "min": "max"}[f], p), BEATS
    ),
    "everything is known": Fault(Knowledge, "at_most", always(True), UNIONS),
    "a negation that is none": Fault(normal, "TURNED", lambda real: {o: o for o in real}, BANDS),
    "a negation of one side": Fault(normal, "TURNED", turned, BANDS),
    "less for at most": Fault(normal, "differences", strict, BANDS),
    "an alternative for a conjunction": Fault(normal, "_both", lambda _: normal._either, BANDS),
    "a conjunction for an alternative": Fault(normal, "_either", lambda _: normal._both, UNIONS),
    "a maximum for a minimum": Fault(Normal, "_extreme", one_side, PIECES),
    "a quotient toward 0": Fault(Solver, "_quotient", truncated, BLOCKS),
    "factors of the wrong side": Fault(Solver, "_side", eliminated, BLOCKS),
    "a lost guard": Fault(Solver, "_guard", always(True), ROWS),
    "a guard that never holds": Fault(Solver, "_guard", always(False), ROWS),
    "a lost assumption": Fault(Solver, "_divides", unassumed, SIGNS),
    "a beat that ends one too early": Fault(Solver, "_beat", shorter(-1), BEATS),
    "a beat that ends one too late": Fault(Solver, "_beat", shorter(1), BEATS),
    "a test one too short": Fault(Solver, "_tests", least_tests, BEATS),
    "a test one too long": Fault(Solver, "_tests", more_tests, BEATS),
    "edges swapped": Fault(Rounds, "_edges", swapped, BANDS),
    "bounds swapped": Fault(Rounds, "bounds", swapped, BANDS),
    "a remainder that only grows": Fault(Intervals, "_divided", bare_remainders, REMAINDERS),
    "a factor that may be negative": Fault(Intervals, "_product", unsigned, REMAINDERS),
    "the least for the greatest of a tensor": Fault(Rounds, "_reduced", one_reduction, HEADS),
    "numbers that do not exist": Fault(Rounds, "_loaded", always(()), HEADS),
    "more than for at least": Fault(spans, "PLACES", sought(1, False, ">"), ORDERED),
    "at least for more than": Fault(spans, "PLACES", sought(-1, False, ">="), ORDERED),
    "less than for at most": Fault(spans, "PLACES", sought(-1, True, "<"), ORDERED),
    "at most for less than": Fault(spans, "PLACES", sought(1, True, "<="), ORDERED),
    "a place one too early": Fault(Rounds, "place", placed(-1), ORDERED),
    "a place one too late": Fault(Rounds, "place", placed(1), ORDERED),
    "rows in any order": Fault(Rounds, "ordered", always(True), ORDERED),
    "conditions that are left out": Fault(Normal, "all", always([()]), BANDS),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    for condition in fault.conditions:
        vain(condition)  # as it is without the fault
    real = getattr(fault.owner, fault.name)
    with monkeypatch.context() as patched:
        patched.setattr(fault.owner, fault.name, fault.made(real))
        assert red(fault.conditions) is not None


def test_no_fault() -> None:
    """Without one, nothing is seen."""
    assert red(ALL) is None
