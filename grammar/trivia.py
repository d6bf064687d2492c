"""The words of a text with what the parser drops: comments, line breaks, blank lines, spaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lark import Token

from attnc.grammar.lines import ARITHMETIC, OPENS, Line

OPENING: Final = frozenset(OPENS)
CLOSING: Final = frozenset(OPENS.values())
OPERAND_ENDS: Final = frozenset({"NAME", "INT", "FLOAT", "INF", "TRUE", "FALSE", "ABSENT"})


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment from its `#` on, without the blanks at its end."""

    text: str
    column: int
    """How many characters stand before it in its line."""
    blank: int = 0
    """How many blank lines stand above it, if it has a line of its own."""


@dataclass(frozen=True, slots=True)
class Word:
    """A token and what stands around it."""

    kind: str
    text: str
    column: int
    breaks: bool
    """Whether it begins a line."""
    space: int
    """How many blanks stand between it and the word before, if that is on the same line."""
    blank: int
    """How many blank lines stand directly above it, if it begins a line."""
    binary: bool
    """Whether it is an arithmetic operator between two operands."""
    above: tuple[Comment, ...] = ()
    """Comments on the lines between it and the word before."""
    beside: Comment | None = None
    """The comment behind it, on its line."""

    @property
    def opens(self) -> bool:
        """Whether it is an opening bracket."""
        return self.text in OPENING

    @property
    def closes(self) -> bool:
        """Whether it is a closing bracket."""
        return self.text in CLOSING


@dataclass(frozen=True, slots=True)
class Trivia:
    """What stands between two tokens."""

    beside: Comment | None
    above: tuple[Comment, ...]
    blank: int
    breaks: bool
    space: int


def words_of(text: str, lines: Sequence[Line]) -> tuple[list[list[Word]], tuple[Comment, ...]]:
    """The words of each logical line, and the comments below the last one."""
    tokens = [t for line in lines for t in line.tokens]
    gaps = list(_gaps(text, tokens))
    words: list[Word] = []
    for i, token in enumerate(tokens):
        before, behind = gaps[i], gaps[i + 1]
        words.append(
            Word(
                token.type,
                token.value,
                (token.column or 1) - 1,
                before.breaks,
                before.space,
                before.blank,
                _binary(tokens, i),
                before.above,
                behind.beside,
            )
        )
    result: list[list[Word]] = []
    start = 0
    for line in lines:
        result.append(words[start : start + len(line.tokens)])
        start += len(line.tokens)
    return result, gaps[-1].above


def _binary(tokens: Sequence[Token], i: int) -> bool:
    if tokens[i].type not in ARITHMETIC or i == 0:
        return False
    before = tokens[i - 1]
    return before.type in OPERAND_ENDS or before.value in CLOSING


def _gaps(text: str, tokens: Sequence[Token]) -> Iterator[Trivia]:
    """What stands before each token, and behind the last."""
    end, column = int(text.startswith("\ufeff")), 0
    for i, token in enumerate(tokens):
        yield _trivia(text[end : token.start_pos], column, first=i == 0)
        end, column = token.end_pos or 0, (token.end_column or 1) - 1
    yield _trivia(text[end:], column, first=not tokens)


def _trivia(gap: str, column: int, *, first: bool) -> Trivia:
    """Takes a gap apart that begins at a column; the `first` of a text belongs to no token."""
    beside, *below = gap.split("\n")
    if first:
        below = [beside, *below]
        beside = ""
    comments: list[Comment] = []
    blank = 0
    for line in below[:-1]:
        if "#" in line:
            comments.append(_comment(line, 0, blank))
            blank = 0
        else:
            blank += 1
    if below and "#" in below[-1]:  # the text ends in a comment
        comments.append(_comment(below[-1], 0, blank))
    return Trivia(
        _comment(beside, column, 0) if "#" in beside else None,
        tuple(comments),
        blank,
        bool(below),
        0 if below else len(beside),
    )


def _comment(line: str, column: int, blank: int) -> Comment:
    at = line.index("#")
    return Comment(line[at:].rstrip(" \t\r"), column + at, blank)
