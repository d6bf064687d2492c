"""Names in plans: values, axes, coordinates and tiles are of one namespace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from lark import Token

from attnc.errors import NOWHERE, Note, Report, Span
from attnc.grammar.lines import span
from attnc.grammar.scope import listed, suggestion
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Bracket,
    Call,
    Expr,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Value,
    Var,
)
from attnc.ir.functions import ARGS, FUNCTIONS, REDUCTIONS, SCANS
from attnc.ir.tiles import FUNCTIONS as TILE_FUNCTIONS
from attnc.ir.walk import children, rebuild


def place_of(name: str) -> Span:
    """Where a name stands that came from the text."""
    return span(name) if isinstance(name, Token) else NOWHERE


class Lost(Exception):
    """A line that says nothing that can be used; what is wrong has been reported."""


class Named(NamedTuple):
    make: Callable[[str, Span], Expr]
    what: str
    place: Span


@dataclass
class Names:
    """The names in scope; blocks within blocks add to it and end."""

    report: Report
    known: dict[str, Named] = field(default_factory=dict)
    tensors: set[str] = field(default_factory=set)
    outside: bool = True
    """Whether this is outside of kernels, where expressions are those of level 1."""

    def inner(self) -> Names:
        """The scope of a block inside."""
        return replace(self, known=dict(self.known), outside=False)

    def add(self, name: str, make: Callable[[str, Span], Expr], what: str) -> str:
        """Takes a new name; returns it without its place."""
        other = self.known.get(name)
        place = place_of(name)
        if other is not None:
            notes = (Note(f"the {other.what}", other.place),) if other.place != NOWHERE else ()
            self.report.error(f"'{name}' is already a {other.what}", place, notes=notes)
        self.known[str(name)] = Named(make, what, place)
        return str(name)

    def axes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of axes."""
        return tuple(self.of(name, "axis") for name in names)

    def of(self, name: str, what: str) -> str:
        """A name that must be of something."""
        if name in self.known and self.known[name].what == what:
            return str(name)
        same = [n for n, k in self.known.items() if k.what == what]
        raise self._unknown(what, name, place_of(name), same)

    def tensor(self, name: str, presence: bool = True, place: Span = NOWHERE) -> str:
        """The name of a tensor, or of its presence."""
        if (name.removesuffix("?") if presence else name) in self.tensors:
            return str(name)
        place = place_of(name) if place == NOWHERE else place
        raise self._unknown("tensor", name, place, self.tensors)

    def _unknown(self, what: str, name: str, place: Span, known: Sequence[str] | set[str]) -> Lost:
        hint = suggestion(name, known) or f"{what}: {listed(known)}"
        return self._wrong(f"unknown {what} '{name}'", place, hint)

    def _wrong(self, message: str, place: Span, *hints: str) -> Lost:
        self.report.error(message, place, hints=hints)
        return Lost()

    def __call__(self, expr: Expr) -> Expr:
        """An expression with its names and calls resolved; raises `Lost`."""
        match expr:
            case Name(name=name, span=place):
                found = self.known.get(name)
                if found is None:
                    raise self._unknown("name", name, place, list(self.known))
                return found.make(name, place)
            case Call(brackets=None):
                return self._apply(expr)
            case Call():
                return self._bracketed(expr)
            case Read(tensor=tensor) if self.outside:
                self.tensor(tensor, presence=False, place=expr.span)
                return rebuild(expr, tuple(map(self, expr.index)))
            case Absent() if self.outside:
                return expr
            case Read(tensor=tensor, span=place):
                raise self._wrong("an expression reads no tensor", place, f"load {tensor} first")
            case Absent(span=place):
                raise self._wrong("tiles have no `absent`", place)
            case _:
                return rebuild(expr, tuple(map(self, children(expr))))

    def _apply(self, call: Call) -> Expr:
        name, count = call.name, len(call.arguments)
        if name not in FUNCTIONS and name not in TILE_FUNCTIONS:
            known = [*FUNCTIONS, *TILE_FUNCTIONS]
            raise self._unknown(
                "function", name, Span(call.span.start, call.span.start + len(name)), known
            )
        least, most = 1, 1
        if name in FUNCTIONS:
            least, most = FUNCTIONS[name].least, FUNCTIONS[name].most or count
        if not least <= count <= most:
            raise self._wrong(f"'{name}' does not take {count} arguments", call.span)
        return Apply(name, tuple(map(self, call.arguments)), call.span)

    def _bracketed(self, call: Call) -> Expr:
        """A reduction, which only values and requirements of the whole plan hold."""
        name, items, place = call.name, call.brackets or (), call.span
        keys = [self._variable(b) for b in items]
        if len(call.arguments) != 1 or not keys:
            raise self._wrong(f"'{name}' takes variables and one argument", place)
        body = self(call.arguments[0])
        match name, items:
            case "argtopk", (Bracket(arrow=str(into)),):
                return TopK(keys[0], self._variable(Bracket(Name(into, place))), body, place)
            case _ if any(b.arrow is not None or b.value is not None for b in items):
                raise self._wrong("brackets hold variables", place)
            case _ if name in REDUCTIONS:
                return Reduce(name, tuple(keys), body, place)  # type: ignore[arg-type]
            case _ if name in SCANS and len(keys) <= 2:
                return Scan(name, keys[0], len(keys) == 2, body, place)  # type: ignore[arg-type]
            case _ if name in ARGS and len(keys) == 1:
                return Arg(name, keys[0], body, place)  # type: ignore[arg-type]
            case _:
                raise self._unknown("reduction", name, place, [*REDUCTIONS, *SCANS, *ARGS])

    def _variable(self, item: Bracket) -> str:
        match item.key:
            case Name(name="reverse"):
                return "reverse"
            case Name(name=name) if self.known.get(name, _NOTHING).what == "variable":
                return name
            case _:
                raise self._wrong("brackets hold variables of the plan", item.key.span)


_NOTHING: Final = Named(lambda name, place: Name(name, place), "", NOWHERE)


def as_value(name: str, place: Span) -> Expr:
    return Value(name, place)


def as_variable(name: str, place: Span) -> Expr:
    return Var(name, place)


def as_tile(name: str, place: Span) -> Expr:
    return Name(name, place)
