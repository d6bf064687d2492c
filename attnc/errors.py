"""Diagnostics: where in a source text something is wrong, and how it is shown.

Every error a user sees is `file:line:col: error: message`, the source line, carets under the
place, then hints. Nothing else in attnc formats an error.
"""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

TAB_WIDTH = 4
MAX_SHOWN_LINE = 160
MAX_SHOWN_DIAGNOSTICS = 100
MAX_MESSAGE = 600


class Span(NamedTuple):
    """A half-open range of character offsets in one source text."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The smallest span that covers both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


NOWHERE = Span(-1, -1)


@dataclass(frozen=True)
class Source:
    """A text and the name it is reported under."""

    name: str
    text: str

    @cached_property
    def _starts(self) -> list[int]:
        starts = [1 if self.text.startswith("\ufeff") else 0]
        starts.extend(i + 1 for i, c in enumerate(self.text) if c == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        line = max(1, bisect.bisect_right(self._starts, offset))
        return line, max(0, offset - self._starts[line - 1]) + 1

    def start(self, number: int) -> int:
        """The offset at which a line, counted from 1, begins."""
        return self._starts[number - 1]

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end."""
        start = self.start(number)
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


class Note(NamedTuple):
    """A second place that has to do with an error."""

    message: str
    span: Span


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning at one place of one source."""

    message: str
    source: Source
    span: Span
    hints: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    severity: Literal["error", "warning"] = "error"

    @property
    def location(self) -> str:
        """`file:line:col` of the first character."""
        line, column = self.source.position(max(self.span.start, 0))
        return f"{printable(self.source.name)}:{line}:{column}"

    def render(self) -> str:
        """The diagnostic as plain text, several lines, without a newline at the end."""
        lines = [f"{self.location}: {self.severity}: {self.message}"]
        lines += _excerpt(self.source, self.span)
        lines += [f"  hint: {hint}" for hint in self.hints]
        for note in self.notes:
            line, column = self.source.position(max(note.span.start, 0))
            lines.append(f"{printable(self.source.name)}:{line}:{column}: note: {note.message}")
            lines += _excerpt(self.source, note.span)
        return "\n".join(lines)


def _excerpt(source: Source, span: Span) -> list[str]:
    """The source line of `span` with carets below; tabs widened, long lines cut around it."""
    start = max(span.start, 0)
    number, column = source.position(start)
    raw = source.line(number)
    at = column - 1
    end = at + max(1, min(span.end - start, len(raw) - at))
    first = max(0, at - MAX_SHOWN_LINE)
    parts = raw[first:at], raw[at : min(end, at + MAX_SHOWN_LINE)], raw[end : end + MAX_SHOWN_LINE]
    before, inside, after = (_widened(part) for part in parts)
    text, offset, carets = before + inside + after, _columns(before), max(1, _columns(inside))
    if first or len(text) > MAX_SHOWN_LINE:
        cut = max(0, min(len(before) - MAX_SHOWN_LINE // 3, len(text) - MAX_SHOWN_LINE))
        text, offset = text[cut : cut + MAX_SHOWN_LINE], offset - _columns(text[:cut])
        carets = max(1, min(carets, _columns(text) - offset))
    gutter = f"{number:>5} | "
    return [(gutter + text).rstrip(), " " * (len(gutter) - 2) + "| " + " " * offset + "^" * carets]


def _widened(text: str) -> str:
    return printable(text.replace("\t", " " * TAB_WIDTH))


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def printable(text: str) -> str:
    """`text` with every character that could steer a terminal shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listing(diagnostics: Sequence[Diagnostic]) -> str:
    """The diagnostics one below the other; of very many the first, and how many more there are."""
    shown = [d.render() for d in diagnostics[:MAX_SHOWN_DIAGNOSTICS]]
    more = len(diagnostics) - len(shown)
    if more:
        shown.append(f"... and {more} more")
    return "\n".join(shown)


class AttncError(Exception):
    """Base of what attnc raises for its users."""


class SpecError(AttncError):
    """A spec that is not valid; `diagnostics` holds everything found in one run."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(listing(self.diagnostics))


class UsageError(AttncError):
    """A request that does not fit the spec or the tool: an unknown cascade, option or size."""


class InternalError(AttncError):
    """A fault of the compiler, not of the spec; `text` shows where it was seen."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text: str = text


@dataclass
class Report:
    """Collects the diagnostics of one run over one source."""

    source: Source
    found: list[Diagnostic] = field(default_factory=list)
    count: int = 0
    """How many errors there are."""
    _known: set[tuple[str, Span]] = field(default_factory=set)

    def error(
        self,
        message: str,
        span: Span,
        *,
        hints: Iterable[str] = (),
        notes: Iterable[Note] = (),
    ) -> None:
        """Records an error; one place is reported once for one message."""
        if self._new(message, span):
            self.count += 1
            message, hints = _cut(message), tuple(_cut(h) for h in hints)
            self.found.append(Diagnostic(message, self.source, span, hints, tuple(notes)))

    def warning(self, message: str, span: Span, *, hints: Iterable[str] = ()) -> None:
        """Records a warning, which stops nothing."""
        if self._new(message, span):
            message, hints = _cut(message), tuple(_cut(h) for h in hints)
            self.found.append(Diagnostic(message, self.source, span, hints, severity="warning"))

    def _new(self, message: str, span: Span) -> bool:
        before = len(self._known)
        self._known.add((message, span))
        return len(self._known) > before

    @property
    def crowded(self) -> bool:
        """Whether there are already more errors than are shown."""
        return self.count >= MAX_SHOWN_DIAGNOSTICS

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors found, in the order of the text."""
        return sorted((d for d in self.found if d.severity == "error"), key=lambda d: d.span)

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings found, in the order of the text."""
        return sorted((d for d in self.found if d.severity == "warning"), key=lambda d: d.span)

    def raise_errors(self) -> None:
        """Raises `SpecError` with every error found, if there is any."""
        if self.count:
            raise SpecError(self.errors)


def _cut(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "..."
