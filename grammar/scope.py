"""Names of one cascade: values, rank variables and tensors, each in a namespace of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from attnc.errors import Note, Report, Span
from attnc.ir.cascade import Cascade, Input, Output, Size
from attnc.ir.expr import Expr, Int, Value
from attnc.ir.facts import Dimension, TensorInfo
from attnc.ir.types import INDEX_INT, LITERAL_BOOL, LITERAL_FLOAT, LITERAL_INT, Type

EXTENT: Final = re.compile(r"[A-Z][A-Z0-9_]*")
RESERVED: Final = frozenset(
    [
        "cascade",
        "def",
        "var",
        "in",
        "require",
        "return",
        "where",
        "empty",
        "if",
        "else",
        "and",
        "or",
        "not",
        "inf",
        "true",
        "false",
        "absent",
    ]
)
PARAMETER_TYPES: Final = {"int": LITERAL_INT, "float": LITERAL_FLOAT, "bool": LITERAL_BOOL}
MAX_LISTED: Final = 12
MAX_COMPARED: Final = 500
LISTED_AS: Final = {
    "value": "names",
    "rank variable": "`var` declares more; rank variables",
    "tensor": "tensors",
}


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """A number with a name: what it is, and where it was named."""

    what: str
    place: Span


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """A rank variable: its range (0 to `range` - 1) and where it was named."""

    range: Expr
    place: Span


def is_extent(name: str) -> bool:
    """Whether a name is one of an extent."""
    return EXTENT.fullmatch(name) is not None


def size_expr(size: Size) -> Expr:
    """A declared dimension as an expression."""
    return Int(size) if isinstance(size, int) else Value(size)


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """`did you mean 'x'?` where a known name is close, ignoring case first."""
    known = sorted(set(known))
    close = [k for k in known if k.lower() == name.lower()]
    if not close and len(known) <= MAX_COMPARED:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None


def listed(names: Iterable[str]) -> str:
    """Some of the names, sorted, for a message."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:MAX_LISTED])
    return shown + (", ..." if len(ordered) > MAX_LISTED else "") if shown else "none"


@dataclass
class Scope:
    """What is in scope while a cascade is checked, grown statement by statement."""

    report: Report
    values: dict[str, ValueInfo] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    """Those of the values."""
    variables: dict[str, VariableInfo] = field(default_factory=dict)
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Names already reported, or whose definition did not parse: their uses are not to blame."""
    later: dict[str, Span] = field(default_factory=dict)
    """Where the body names values and variables; filled before its statements are checked."""

    def unknown(
        self, what: str, name: str, place: Span, known: Iterable[str], hint: str | None = None
    ) -> None:
        """Reports a name that stands for nothing, once; without a hint, with what is close."""
        if name in self.lost:
            return
        self.lost.add(name)
        hints = [hint]
        notes: tuple[Note, ...] = ()
        if name in self.later and what in LISTED_AS and what != "tensor":
            notes = (Note(f"'{name}' is named here, further down", self.later[name]),)
        elif hint is None and not self.report.crowded:
            hints = [suggestion(name, known)]
            if what in LISTED_AS:
                hints.append(f"{LISTED_AS[what]} in scope: {listed(known)}")
        message = f"no {what} is called '{name}'"
        self.report.error(message, place, hints=[h for h in hints if h], notes=notes)

    def lose(self, name: str) -> bool:
        """Remembers that a name was meant to be known, and is not; False."""
        self.lost |= {name, name.lower()}
        return False

    def add_value(self, name: str, what: str, type_: Type, place: Span) -> bool:
        """Names a value; an upper-case name is an extent and brings its variable."""
        if not is_extent(name):
            if not self._free(name, f"the {what}", place):
                return False
            self._name_value(name, what, type_, place)
            return True
        if not type_.kind.integral:
            hint = f"a name like '{name}' is an extent's; any other has a lower-case letter"
            self.report.error(f"the extent '{name}' is not an integer", place, hints=(hint,))
            return self.lose(name)
        if not self._free(name, f"the {what}", place):
            return False
        return self._add_extent(name, what, place)

    def _name_value(self, name: str, what: str, type_: Type, place: Span) -> None:
        self.values[name] = ValueInfo(what, place)
        self.types[name] = type_

    def add_rank(self, name: str, place: Span) -> None:
        """Names an extent that a tensor declares; the same name again is the same rank."""
        known = self.values.get(name)
        if known is None and name not in self.variables:
            self._add_extent(name, "extent", place)

    def _add_extent(self, name: str, what: str, place: Span) -> bool:
        variable = name.lower()
        if variable in RESERVED:
            message = f"the rank '{name}' would have the reserved word '{variable}' as its variable"
            self.report.error(message, place)
            return self.lose(name)
        other = self.values.get(variable) or self.variables.get(variable)
        if other is not None:
            self.report.error(
                f"two values are called '{variable}': the variable of the rank '{name}' and "
                f"{self._described(variable)}",
                place,
                notes=(Note(f"'{variable}' is named here too", other.place),),
            )
            return self.lose(name)
        self._name_value(name, what, INDEX_INT, place)
        self.variables[variable] = VariableInfo(Value(name), place)
        return True

    def add_variable(self, name: str, size: Expr, place: Span) -> bool:
        """Names a rank variable over `size`."""
        if is_extent(name):
            hint = f"write `var {name.lower()} in ...`"
            self.report.error(f"'{name}' is a name of an extent", place, hints=(hint,))
            return self.lose(name)
        if not self._free(name, "the variable", place):
            return False
        self.variables[name] = VariableInfo(size, place)
        return True

    def _described(self, name: str) -> str:
        if name in self.values:
            return f"the {self.values[name].what}"
        owner = self.variables[name].range
        if isinstance(owner, Value) and owner.name.lower() == name:
            return f"the variable of the rank '{owner.name}'"
        return "a variable declared by `var`"

    def _free(self, name: str, what: str, place: Span) -> bool:
        other = self.values.get(name) or self.variables.get(name)
        if other is None:
            return True
        self.report.error(
            f"two values are called '{name}': {what} and {self._described(name)}",
            place,
            notes=(Note(f"'{name}' is named here too", other.place),),
        )
        return False

    def declare(self, cascade: Cascade) -> None:
        """Takes in a header: its tensors, extents and parameters."""
        for parameter in cascade.parameters:
            type_ = PARAMETER_TYPES[parameter.type]
            if is_extent(parameter.name):
                type_ = type_ if parameter.type != "int" else INDEX_INT
            self.add_value(parameter.name, "parameter", type_, parameter.span)
        for item in cascade.inputs:
            self._input(item)
        self._outputs(cascade.outputs)

    def _input(self, item: Input) -> None:
        for size in item.sizes:
            if isinstance(size, str):
                self.add_rank(size, item.span)
        other = self.tensors.get(item.name)
        if other is not None:
            note = Note("the other", other.place)
            self.report.error(f"two arguments are called '{item.name}'", item.span, notes=(note,))
            return
        dimensions = tuple(Dimension(size_expr(s)) for s in item.sizes)
        self.tensors[item.name] = TensorInfo(dimensions, item.span, True, item.element)

    def _outputs(self, outputs: tuple[Output, ...]) -> None:
        seen: dict[str, Span] = {}
        for item in outputs:
            if item.name in seen:
                note = Note("the other", seen[item.name])
                self.report.error(f"two outputs are called '{item.name}'", item.span, notes=(note,))
            seen.setdefault(item.name, item.span)
            known = self.tensors.get(item.name)
            if known is not None and known.input:
                note = Note("the input", known.place)
                message = f"'{item.name}' is an input and an output"
                self.report.error(message, item.span, notes=(note,))

    def range_of(self, variable: str) -> Expr:
        """The size of a variable's range."""
        return self.variables[variable].range

    def is_number(self, name: str) -> bool:
        """Whether a bare name is known as a value or variable."""
        return name in self.values or name in self.variables
