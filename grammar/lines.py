"""Cuts a token stream into logical lines and checks its brackets.

A statement ends at the end of its line, unless a bracket is open, the line ends with a comma, or
the next line begins with `where`, a binary operator, `and`, `or`, `if`, `else` or `->`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from lark import Token

from attnc.errors import Note, Report, Span

JOINS_NEXT: Final = frozenset({"COMMA"})
ARITHMETIC: Final = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "FLOOR", "PERCENT", "POWER"})
RELATIONS: Final = frozenset({"LT", "LE", "GT", "GE", "EQ", "NE"})
BITS: Final = frozenset({"BAR", "CARET", "AMPERSAND", "LEFT", "RIGHT"})
OPERATORS: Final = ARITHMETIC | RELATIONS | BITS | {"AND", "OR", "IF"}
JOINS_PREVIOUS: Final = OPERATORS | {"ELSE", "WHERE", "_ARROW"}
OPENS: Final = {"(": ")", "[": "]"}
ENDS: Final = frozenset({"CASCADE", "DEF"})
BEGINS: Final = frozenset({"CASCADE", "DEF", "VAR", "REQUIRE", "RETURN"})
MAX_RECOVERIES: Final = 50


@dataclass(frozen=True, slots=True)
class Line:
    """The tokens of one logical line; `broken` if its brackets were already reported."""

    tokens: tuple[Token, ...]
    broken: bool = False


def span(token: Token) -> Span:
    """Where a token stands."""
    return Span(token.start_pos or 0, token.end_pos or 0)


def logical_lines(tokens: Sequence[Token], report: Report) -> list[Line]:
    """The logical lines of a file, in order; reports brackets that do not match."""
    lines: list[Line] = []
    start = recoveries = 0
    while start < len(tokens):
        end, problem = _end_of_line(tokens, start)
        if problem is not None:
            message, place, notes = problem
            report.error(message, span(place), notes=notes)
            recoveries += 1
            end = _next_statement(tokens, end) if recoveries < MAX_RECOVERIES else len(tokens)
        lines.append(Line(tuple(tokens[start:end]), broken=problem is not None))
        start = end
    return lines


_Problem: TypeAlias = tuple[str, Token, tuple[Note, ...]]


def _end_of_line(tokens: Sequence[Token], start: int) -> tuple[int, _Problem | None]:
    """Index after the logical line that begins at `start`, and what is wrong with its brackets."""
    open_brackets: list[Token] = []
    for i in range(start, len(tokens)):
        token = tokens[i]
        if i > start and token.line != tokens[i - 1].end_line:
            if open_brackets and _begins(tokens, i, tokens[start].type == "CASCADE"):
                return _unclosed(tokens, start, open_brackets)
            joined = token.type in JOINS_PREVIOUS or tokens[i - 1].type in JOINS_NEXT
            joined = joined and tokens[i - 1].type != "COLON"  # a header ends there in any case
            if not open_brackets and not (joined and token.type not in ENDS):
                return i, None
        if token.value in OPENS:
            open_brackets.append(token)
        elif token.value in OPENS.values():
            if not open_brackets:
                return _physical_end(tokens, i), (f"'{token.value}' closes nothing", token, ())
            opening = open_brackets.pop()
            if OPENS[opening.value] != token.value:
                note = Note(f"'{opening.value}' was opened here", span(opening))
                message = f"'{opening.value}' is closed by '{token.value}'"
                return _physical_end(tokens, i), (message, token, (note,))
    if open_brackets:
        return _unclosed(tokens, start, open_brackets)
    return len(tokens), None


def _unclosed(
    tokens: Sequence[Token], start: int, open_brackets: list[Token]
) -> tuple[int, _Problem]:
    """The line is taken to end where the line of its first open bracket does."""
    opening = open_brackets[0]
    i = next(i for i in range(start, len(tokens)) if tokens[i] is opening)
    return _physical_end(tokens, i), (f"'{opening.value}' is never closed", opening, ())


def _physical_end(tokens: Sequence[Token], i: int) -> int:
    end = i + 1
    while end < len(tokens) and tokens[end].line == tokens[end - 1].end_line:
        end += 1
    return end


def _next_statement(tokens: Sequence[Token], start: int) -> int:
    """Index of the next line that looks like the beginning of a statement."""
    while start < len(tokens):
        end = _physical_end(tokens, start)
        if tokens[start].type in BEGINS or defines(tokens[start:end]):
            return start
        start = end
    return start


def _begins(tokens: Sequence[Token], i: int, header: bool) -> bool:
    """Whether a statement begins at the line of token `i`, though a bracket is open.

    Brackets may hold `name = ...`, except those of a header.
    """
    line = tokens[i : _physical_end(tokens, i)]
    if tokens[i].type in BEGINS:
        return True
    return defines(line) and (header or line[1].value == "[")


def defines(tokens: Sequence[Token]) -> bool:
    """Whether tokens begin as `name =` or `name[...] =` do."""
    if tokens[0].type != "NAME" or len(tokens) < 2:
        return False
    if tokens[1].value != "[":
        return tokens[1].type == "EQUAL"
    closing = next((i for i, t in enumerate(tokens) if t.value == "]"), len(tokens))
    return closing + 1 < len(tokens) and tokens[closing + 1].type == "EQUAL"
