"""Where a statement breaks into lines, and how far each is indented.

Breaks that the author made stay where they mean something: outside of brackets, and in parentheses
whose first word is on a line of its own. A line that is still too long is broken at the words that
bind most weakly, then within its widest parentheses, and so on for its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from attnc.grammar.lines import BITS, RELATIONS
from attnc.grammar.spacing import brackets
from attnc.grammar.trivia import Word

WIDTH: Final = 100
"""Most columns of a line, comments aside."""

INDENT: Final = 4
MAX_INDENT: Final = 10 * INDENT
"""Indentation ends here, so that deep nesting cannot blow a text up."""

# Words before which a line may break, weakest first. A comma is one after which it may.
_FORMS: Final = (
    {"WHERE"},
    {"COMMA"},
    {"_ARROW"},
    {"ELSE"},
    {"IF"},
    {"OR"},
    {"AND"},
    RELATIONS,
    BITS,
    {"PLUS", "MINUS"},
    {"STAR", "SLASH", "FLOOR", "PERCENT"},
)
STRENGTH: Final = {kind: i for i, kinds in enumerate(_FORMS) for kind in kinds}
COMMA: Final = STRENGTH["COMMA"]
SIGNED: Final = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "FLOOR", "PERCENT"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A line: the words from `start` up to `end`, and its indentation."""

    start: int
    end: int
    indent: int
    inner: int
    """The indentation of what follows it if it is broken where it is nested least."""


def pieces(words: Sequence[Word], spaces: Sequence[str], indent: int) -> list[Piece]:
    """The lines of one statement whose first line has that indentation."""
    return _Breaker(words, spaces, indent).run()


class _Breaker:
    """Breaks one statement."""

    def __init__(self, words: Sequence[Word], spaces: Sequence[str], indent: int) -> None:
        self.words = words
        self.spaces = spaces
        self.indent = indent
        self.closing = brackets(words)
        self.inside, self.depth, self.square = self._nesting()
        sizes = (len(space) + len(word.text) for space, word in zip(spaces, words, strict=True))
        self.ends = list(accumulate(sizes))

    def _nesting(self) -> tuple[list[int], list[int], list[bool]]:
        """What is around the place before each word.

        The innermost bracket, or -1; how many there are; whether one of them is square.
        """
        inside: list[int] = []
        depth: list[int] = []
        square: list[bool] = []
        stack, squares = [-1], 0
        for i, word in enumerate(self.words):
            inside.append(stack[-1])
            depth.append(len(stack) - 1)
            square.append(squares > 0)
            if word.opens:
                stack.append(i)
                squares += word.text == "["
            elif word.closes:
                stack.pop()
                squares -= word.text == "]"
        return inside, depth, square

    def run(self) -> list[Piece]:
        """The author's lines in order, each broken where it is too long."""
        found: list[Piece] = []
        indents = {-1: self.indent}  # of the line on which a bracket opens
        starts = [0, *sorted(self._kept()), len(self.words)]
        for start, end in zip(starts, starts[1:], strict=False):
            for piece in self._fitted(self._line(start, end, indents)):
                opened = (i for i in range(piece.start, piece.end) if self.words[i].opens)
                indents.update(dict.fromkeys(opened, piece.indent))
                found.append(piece)
        return found

    def _line(self, start: int, end: int, indents: Mapping[int, int]) -> Piece:
        """One of the author's lines, given the indentation of those above."""
        around = self.inside[start]
        if start == 0:
            indent = self.indent
        elif self.words[start].closes:
            indent = indents[around]
        else:
            indent = _deeper(indents[around])
        least = self._around(start, end)
        return Piece(start, end, indent, _deeper(indents.get(least, indent)))

    def _fitted(self, line: Piece) -> Iterator[Piece]:
        """The lines that a line becomes."""
        todo = [line]
        while todo:
            piece = todo.pop()
            parts = self._parts(piece) if self._width(piece) > WIDTH else []
            if parts:
                todo.extend(reversed(parts))
            else:
                yield piece

    def _width(self, piece: Piece) -> int:
        return piece.indent + self._size(piece.start, piece.end)

    def _size(self, start: int, end: int) -> int:
        """The columns that words take in one line."""
        return self.ends[end - 1] - self.ends[start] + len(self.words[start].text)

    # The author's breaks

    def _around(self, start: int, end: int) -> int:
        """The bracket around the words of a line that are nested least, or -1."""
        return min((self._holder(i) for i in range(start, end)), key=self._levels)

    def _holder(self, i: int) -> int:
        """The bracket around a word; that of a closing bracket is around its opening one, too."""
        around = self.inside[i]
        return self.inside[around] if self.words[i].closes else around

    def _levels(self, opening: int) -> int:
        """How many brackets are around what a bracket holds."""
        return 0 if opening < 0 else self.depth[opening] + 1

    def _kept(self) -> set[int]:
        """The words that begin a line because the author, or a comment, wants it so."""
        kept: set[int] = set()
        opened = self._opened()
        for opening in opened:
            kept |= {opening + 1, self.closing[opening]}
        for i in range(1, len(self.words)):
            if self._forced(i):
                kept.add(i)
            elif self.words[i].breaks and (self.inside[i] == -1 or self.inside[i] in opened):
                place = i - 1 if STRENGTH.get(self.words[i - 1].kind, COMMA) != COMMA else i
                if self._strength(place) is not None:
                    kept.add(place)
        return kept

    def _opened(self) -> set[int]:
        """The parentheses whose content stands on lines of its own."""
        found: set[int] = set()
        for opening in self.closing:
            empty = self.closing[opening] == opening + 1
            if self._round(opening) and not empty and self.words[opening + 1].breaks:
                found.add(opening)
        for i in range(1, len(self.words)):
            around = self.inside[i]
            if self._forced(i) and around >= 0 and self._round(around):
                found.add(around)
        return found

    def _round(self, opening: int) -> bool:
        """Whether a bracket is round, and in no square one."""
        return self.words[opening].text == "(" and not self.square[opening]

    def _forced(self, i: int) -> bool:
        """Whether a comment stands before a word."""
        return bool(self.words[i].above or self.words[i - 1].beside)

    # Further breaks

    def _strength(self, i: int) -> int | None:
        """How weakly words bind where a line may break before word `i`; None if it may not."""
        word = self.words[i]
        if self.square[i] or word.closes:
            return None
        if self.words[i - 1].kind == "COMMA":
            return COMMA
        if word.kind in SIGNED and not (word.binary and self.spaces[i]):
            return None
        return STRENGTH.get(word.kind) if word.kind != "COMMA" else None

    def _parts(self, piece: Piece) -> list[Piece]:
        """The lines that a line too long becomes; none if it cannot be broken."""
        level = self._around(piece.start, piece.end)
        words = [i for i in range(piece.start, piece.end) if self.inside[i] == level]
        pairs = [i for i in words if self.words[i].opens and self.closing[i] < piece.end]
        round_pairs = [i for i in pairs if self._round(i) and self.closing[i] > i + 1]
        if piece.start == 0 and self.words[0].kind == "CASCADE" and round_pairs:
            return self._open(piece, round_pairs[0])
        strengths = {i: self._strength(i) for i in words if i > piece.start}
        found = [s for s in strengths.values() if s is not None]
        if found:
            weakest = min(found)
            places = [i for i, s in strengths.items() if s == weakest]
            if weakest == COMMA:
                places = self._filled(piece, places, piece.inner)
            return self._split(piece, places, piece.inner)
        if round_pairs and piece.indent < MAX_INDENT:
            return self._open(piece, max(round_pairs, key=self._content))
        squares = [i for i in pairs if self.words[i].text == "[" and not self.square[i]]
        widest = max(squares, key=self._content, default=-1)
        commas = [
            i
            for i in range(widest + 2, self.closing.get(widest, 0))
            if self.inside[i] == widest and self.words[i - 1].kind == "COMMA"
        ]
        inner = _deeper(piece.indent)
        return self._split(piece, self._filled(piece, commas, inner), inner) if commas else []

    def _content(self, opening: int) -> int:
        """The columns that the content of a bracket takes."""
        closing = self.closing[opening]
        return self._size(opening + 1, closing) if closing > opening + 1 else 0

    def _open(self, piece: Piece, opening: int) -> list[Piece]:
        """The content of a pair of parentheses on lines of its own."""
        closing, deeper = self.closing[opening], _deeper(piece.indent)
        return [
            Piece(piece.start, opening + 1, piece.indent, piece.inner),
            Piece(opening + 1, closing, deeper, deeper),
            Piece(closing, piece.end, piece.indent, piece.inner),
        ]

    def _filled(self, piece: Piece, places: Sequence[int], inner: int) -> list[int]:
        """Those of some places at which to break, so that each line takes what it can."""
        chosen: list[int] = []
        start, indent = piece.start, piece.indent
        for place, end in zip(places, [*places[1:], piece.end], strict=True):
            if indent + self._size(start, end) > WIDTH:
                chosen.append(place)
                start, indent = place, inner
        return chosen

    def _split(self, piece: Piece, places: Sequence[int], indent: int) -> list[Piece]:
        """The parts of a line; all but the first have that indentation."""
        bounds = [piece.start, *places, piece.end]
        return [
            Piece(start, end, indent if i else piece.indent, piece.inner)
            for i, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False))
        ]


def _deeper(indent: int) -> int:
    return min(indent + INDENT, MAX_INDENT)
