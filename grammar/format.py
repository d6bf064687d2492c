"""Lays out the text of a file anew: indentation, spaces, line breaks, blank lines, columns.

Words and comments stay what they are, and in their order; docs/formatting.md has the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from attnc.errors import Report
from attnc.grammar.breaks import INDENT, WIDTH, pieces
from attnc.grammar.parser import logical, parse
from attnc.grammar.spacing import spaces
from attnc.grammar.trivia import Comment, Word, words_of

MAX_LEFT: Final = 40
"""Longest left side, in columns, whose `=` is aligned with others."""

MAX_BLANK: Final = 2
"""Most blank lines in a row between cascades and macros; between statements it is one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    text: str
    comment: Comment | None = None
    """The comment behind the text."""


@dataclass(slots=True)
class _Statement:
    """A logical line on its way: its words, and the space before each."""

    words: Sequence[Word]
    spaces: list[str]
    block: int = 0
    """Statements of one block stand together, without a blank line or a comment between them."""

    @property
    def kind(self) -> str:
        """`CASCADE`, `DEF`, or anything else for a statement of a body."""
        return self.words[0].kind

    @property
    def in_body(self) -> bool:
        """Whether it belongs to a cascade."""
        return self.kind not in ("CASCADE", "DEF")

    @property
    def equal(self) -> int:
        """The index of the `=` behind a left side, or 0."""
        if self.kind != "NAME":
            return 0
        return next(i for i, w in enumerate(self.words) if w.kind == "EQUAL")

    def left(self) -> int:
        """The columns before the `=`; 0 if there is none, or a comment stands before it."""
        before = self.words[: self.equal]
        if any(w.beside for w in before) or any(w.above for w in self.words[1 : self.equal + 1]):
            return 0
        return sum(len(w.text) for w in before) + sum(map(len, self.spaces[: self.equal]))


def formatted(report: Report) -> str:
    """The text of `report.source` in its standard layout, lines ending with a line feed.

    Raises `SpecError` if it does not parse.
    """
    parse(report, prelude=True)
    report.raise_errors()
    lines, below = words_of(report.source.text, logical(report))
    statements = [_Statement(words, spaces(words)) for words in lines]
    _number_blocks(statements)
    _align_definitions(statements)
    rows = list(_rows(statements, below))
    return "".join(line + "\n" for line in _with_comments(rows))


# The `=` of a block


def _number_blocks(statements: Sequence[_Statement]) -> None:
    block = 0
    for statement in statements:
        first = statement.words[0]
        block += not statement.in_body or bool(first.blank or first.above)
        statement.block = block


def _align_definitions(statements: Sequence[_Statement]) -> None:
    """Aligns the `=` of tensors, and of values, in blocks where one was set off by two spaces."""
    for _, block in groupby(statements, key=lambda s: s.block):
        definitions = [s for s in block if s.in_body and 0 < s.left() <= MAX_LEFT]
        for tensors in (True, False):
            members = [s for s in definitions if (s.words[1].text == "[") is tensors]
            if any(s.words[s.equal].space > 1 for s in members):
                widest = max(s.left() for s in members)
                for s in members:
                    s.spaces[s.equal] = " " * (widest - s.left() + 1)


# Lines


def _rows(statements: Sequence[_Statement], below: Sequence[Comment]) -> Iterator[Row]:
    """All lines of the result, blank ones included."""
    previous: _Statement | None = None
    for statement in statements:
        if statement.in_body:
            yield from _above_in_body(statement, previous)
        else:
            yield from _above_in_file(statement, previous)
        yield from _statement_rows(statement)
        previous = statement
    yield from _comments_in_file(below, 0, previous)


def _above_in_body(statement: _Statement, previous: _Statement | None) -> Iterator[Row]:
    """Comments and at most single blank lines; none right below a header."""
    first = statement.words[0]
    most = 0 if previous is not None and previous.kind == "CASCADE" else 1
    for comment in first.above:
        yield from _blank(min(comment.blank, most))
        yield Row(" " * INDENT + comment.text)
        most = 1
    yield from _blank(min(first.blank, most))


def _above_in_file(statement: _Statement, previous: _Statement | None) -> Iterator[Row]:
    """Comments and blank lines, one at least where a cascade ends or begins."""
    first = statement.words[0]
    rows = list(_comments_in_file(first.above, first.column, previous))
    yield from rows
    most = MAX_BLANK if rows or previous is not None else 0
    own = not rows or rows[-1].text.startswith(" ")  # no comment belongs to the statement
    apart = own and previous is not None and (statement.kind == "CASCADE" or previous.kind != "DEF")
    yield from _blank(max(apart, min(first.blank, most)))


def _comments_in_file(
    comments: Sequence[Comment], column: int, previous: _Statement | None
) -> Iterator[Row]:
    """Comments between statements at the level of the file.

    Those right behind a body belong to it if they are indented by more than `column`. The first
    that does not has a blank line above it, except below macros.
    """
    in_body = after_body = previous is not None and previous.kind != "DEF"
    most = MAX_BLANK if previous is not None else 0
    for comment in comments:
        in_body = in_body and comment.column > column
        if in_body:
            yield from _blank(min(comment.blank, 1))
        else:
            yield from _blank(max(after_body, min(comment.blank, most)))
            after_body = False
        yield Row(" " * (INDENT * in_body) + comment.text)
        most = MAX_BLANK


def _blank(count: int) -> Iterator[Row]:
    for _ in range(count):
        yield Row("")


def _statement_rows(statement: _Statement) -> Iterator[Row]:
    """The lines of one statement, with the comments inside of it."""
    words = statement.words
    for piece in pieces(words, statement.spaces, INDENT if statement.in_body else 0):
        first = words[piece.start]
        if piece.start:
            indent = piece.indent + INDENT * first.closes
            for comment in first.above:
                yield Row(" " * indent + comment.text)
        text = first.text + "".join(
            statement.spaces[i] + words[i].text for i in range(piece.start + 1, piece.end)
        )
        yield Row(" " * piece.indent + text, words[piece.end - 1].beside)


# Comments behind the text


def _with_comments(rows: Iterable[Row]) -> Iterator[str]:
    """The lines with their comments, those of consecutive lines in one column."""
    for has_comment, group in groupby(rows, key=lambda row: row.comment is not None):
        run = list(group)
        column = _column(run) if has_comment else 0
        for row in run:
            if row.comment is None:
                yield row.text
            else:
                yield row.text.ljust(max(column, len(row.text) + 2)) + row.comment.text


def _column(rows: Sequence[Row]) -> int:
    """The column of the comments of consecutive lines: their own, if it is one and leaves room."""
    least = max((len(row.text) + 2 for row in rows if len(row.text) <= WIDTH), default=0)
    found = {row.comment.column for row in rows if row.comment is not None}
    own = found.pop() if len(found) == 1 else 0
    return own if least <= own <= WIDTH else least
