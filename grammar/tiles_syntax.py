"""Lines of level 2: their words told from names, and what each says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from lark import Lark, Token, UnexpectedInput, v_args

from attnc.errors import Report, Span
from attnc.grammar.lines import OPENS, span
from attnc.grammar.parser import (
    Malformed,
    _Tokens,
    grammar_text,
    shallow,
    unexpected,
)
from attnc.grammar.parser import _Builder as LanguageBuilder
from attnc.grammar.scope import suggestion
from attnc.grammar.syntax import MAX_LINE, MAX_LINES
from attnc.grammar.tables import Grammar
from attnc.ir.cascade import Constant, Require, Variables
from attnc.ir.expr import Bool as BoolExpr
from attnc.ir.expr import (
    CompareOp,
    Expr,
    Int,
)
from attnc.ir.tiles import (
    Axis,
    Buffer,
    Carry,
    Coord,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Listed,
    Load,
    Loop,
    Map,
    Range,
    Store,
)
from attnc.ir.tiles import Scan as TileScan
from attnc.ir.tiles import TopK as TileTopK
from attnc.ir.tiles_walk import expressions
from attnc.ir.types import Kind

KINDS: Final = {str(k): k for k in Kind}
BEGINS: Final = "let buffer kernel axis tile bound coord for given carry next store".split()
DEFINES: Final = "load map dot reduce scan topk find".split()
TRUE: Final = BoolExpr(True)
STARTS: Final = ["header", "statement", "line"]


def text_of_grammar() -> str:
    """The grammar of the language and behind it that of plans."""
    own = Path(__file__).with_name("tiles.lark").read_text(encoding="utf-8")
    return grammar_text() + own


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Grammar(text_of_grammar(), tuple(STARTS)).parser(_Tokens, _Builder())


@lru_cache(maxsize=1)
def lexer() -> Lark:
    """Cuts a text of level 2 into tokens."""
    return Grammar(text_of_grammar(), ("line", "unknown")).lexer()


# Lines


class Line(NamedTuple):
    """The tokens of one statement, and how far it is indented."""

    tokens: list[Token]
    indent: int


def lines_of(tokens: Sequence[Token], report: Report) -> Iterator[Line]:
    """The statements of a text, their first words told from names."""
    start = opened = count = 0
    for i, token in enumerate(tokens):
        ends = i + 1 == len(tokens)
        opened += (token.value in OPENS) - (token.value in OPENS.values())
        if not ends:
            behind = tokens[i + 1]
            ends = behind.line != token.end_line and opened <= 0 and behind.type != "ELSE"
        if not ends:
            continue
        count += 1
        place = span(tokens[start])
        if count > MAX_LINES:
            report.error(f"more than {MAX_LINES} statements in one file", place)
            return
        line = list(tokens[start : i + 1])
        if len(line) > MAX_LINE:
            message = f"more than {MAX_LINE} words and signs in one statement"
            report.error(message, place)
        elif all(t.type != "UNKNOWN" for t in line):  # which is reported
            yield Line(_marked(line), tokens[start].column or 1)
        start, opened = i + 1, 0


def _marked(line: list[Token]) -> list[Token]:
    """The tokens of a line with the types of the words that are no names where they stand."""
    first = line[0]
    if len(line) < 2 or line[1].value != "[":
        if first.value == "plan":
            line[0] = _as(first, "CASCADE")
            if line[-1].type == "COLON":
                line[-1] = _as(line[-1], "HEADER_END")
        elif first.value in BEGINS:
            line[0] = _as(first, first.value.upper())
        return line
    at = next((i for i, t in enumerate(line) if t.type == "EQUAL"), len(line)) + 1
    if at < len(line) and line[at].value in DEFINES:
        line[at] = _as(line[at], line[at].value.upper())
    return line


def _as(token: Token, kind: str) -> Token:
    return Token.new_borrow_pos(kind, token.value, token)


# What a line says; names in it keep their places


class Open(NamedTuple):
    """A line that opens a block: a kernel, a loop or an `if`, with nothing in it yet."""

    item: Kernel | Loop | If


class TileSize(NamedTuple):
    """A size of tiles that kernels share."""

    name: Token


class Bound(NamedTuple):
    """A parameter that is taken for the nearest number that is not too far."""

    name: Token


class Present(NamedTuple):
    """Where lanes of partial ranges have points."""

    part: Range


class Given(NamedTuple):
    condition: Expr


class Next(NamedTuple):
    name: Token
    value: Expr


class Reversed(NamedTuple):
    """An axis whose last tile is first."""

    axis: Axis


class _Left(NamedTuple):
    name: str
    axes: tuple[str, ...]
    kind: Kind


@v_args(inline=True)
class _Builder(LanguageBuilder):
    """Builds the statements of level 2, whose names and calls are not yet resolved."""

    def let(self, word: Token, name: Token, kind: Token, value: Expr) -> Let:
        return Let(name, value, _kind(kind))

    def buffer(
        self,
        word: Token,
        name: Token,
        sizes: tuple[Expr, ...] | None,
        end: Token,
        kind: Token,
        presence: Token,
    ) -> Buffer:
        found = _one_of(presence, ("all", "byte"), "a buffer's presence")
        return Buffer(name, sizes or (), _kind(kind), found)  # type: ignore[arg-type]

    def kernel(self, word: Token, name: Token) -> Open:
        return Open(Kernel(name, (), ()))

    def axis(
        self, word: Token, name: Token, kind: Token, size: Expr, *words: Token
    ) -> Axis | Reversed:
        found = _one_of(kind, ("par", "stream", "step", "whole"), "an axis")
        tile = ""
        if len(words) > 1 and words[0].value == "by":
            tile, words = words[1], words[2:]
        axis = Axis(name, size, found, tile)  # type: ignore[arg-type]
        if not words:
            return axis
        if [w.value for w in words] != ["last", "first"]:
            raise Malformed("an axis ends with its size, or `last first`", span(words[0]))
        return Reversed(axis)

    def tile(self, word: Token, name: Token) -> TileSize:
        return TileSize(name)

    def bound(self, word: Token, name: Token) -> Bound:
        return Bound(name)

    def coord(self, word: Token, name: Token, value: Expr, of: Token, size: Expr) -> Coord:
        _one_of(of, ("of",), "behind a coordinate's value")
        return Coord(name, value, size)

    def range(
        self,
        place: tuple[str, tuple[Expr, ...]] | None,
        at: Token | None,
        low: Expr,
        high: Expr,
        end: Token,
        *rest: Token | Expr | None,
    ) -> Range | Present:
        word, step, kind = rest
        if at is not None:
            _one_of(at, ("at",), "behind a list")
        of = None if place is None else Listed(*place)
        assert isinstance(kind, Token)
        if isinstance(word, Token):
            _one_of(word, ("step",), "behind a range")
        said = _one_of(kind, ("full", "partial", "present"), "a range")
        found = Range(low, high, said == "full", step if isinstance(step, Expr) else Int(1), of)
        if said != "present":
            return found
        if found != Range(low, high):
            raise Malformed("what is present is no list, and has no steps", span(kind))
        return Present(found)

    def loop(self, word: Token, axis: Token, *rest: Token | Range | Present | Expr | None) -> Open:
        *_, where = rest
        ranges = tuple(r for r in rest if isinstance(r, Range))
        words = [w for w in rest if isinstance(w, Token)]
        for item in words:
            _one_of(item, ("ordered", "backward"), "a loop")
        found = {w.value for w in words}
        if len(found) < len(words):
            raise Malformed(f"'{words[-1]}' stands twice", span(words[-1]))
        loop = Loop(axis, ranges, (), (), backward="backward" in found, ordered="ordered" in found)
        loop = replace(loop, present=tuple(r.part for r in rest if isinstance(r, Present)))
        assert not isinstance(where, Token | Range | Present)
        return Open(loop if where is None else replace(loop, where=where))

    def given(self, word: Token, condition: Expr) -> Given:
        return Given(condition)

    def left(self, name: Token, axes: list[Token] | None, end: Token, kind: Token) -> _Left:
        return _Left(name, tuple(axes or ()), _kind(kind))

    def carry(self, word: Token, left: _Left, start: Expr) -> Carry:
        return Carry(left.name, left.axes, left.kind, start, start)

    def next(self, word: Token, name: Token, value: Expr) -> Next:
        return Next(name, value)

    def test(self, condition: Expr) -> Open:
        return Open(If(condition, ()))

    def place(
        self, name: Token, mark: Token | None, index: tuple[Expr, ...] | None, end: Token
    ) -> tuple[str, tuple[Expr, ...]]:
        return name if mark is None else name.update(value=f"{name}?"), index or ()

    def filter(self, condition: Expr) -> Expr:
        return condition

    def store(
        self,
        word: Token,
        combine: Token | None,
        place: tuple[str, tuple[Expr, ...]],
        value: Expr,
        where: Expr | None,
        empty: tuple[Constant, Span],
        over: Token,
        guard: Expr,
    ) -> Store:
        _one_of(over, ("over",), "behind what absent points become")
        mode = combine and _one_of(combine, ("sum", "max", "min"), "how to store")
        return Store(*place, value, TRUE if where is None else where, empty[0], guard, mode)

    def load(
        self,
        left: _Left,
        word: Token,
        place: tuple[str, tuple[Expr, ...]],
        where: Expr | None,
        fill: tuple[Constant, Span] | None,
    ) -> Load:
        return Load(*left, *place, TRUE if where is None else where, fill and fill[0])

    def map(self, left: _Left, word: Token, value: Expr) -> Map:
        return Map(*left, value)

    def dot(
        self,
        left: _Left,
        word: Token,
        over: list[Token] | None,
        close: Token,
        first: Token,
        second: Token,
        kind: Token,
        end: Token,
        where: Expr | None,
    ) -> Dot:
        if _kind(kind) is not left.kind:
            raise Malformed(f"the sum is {kind}, and the tile {left.kind}", span(kind))
        condition = TRUE if where is None else where
        return Dot(*left, tuple(over or ()), first, second, condition)

    def reduce(
        self,
        left: _Left,
        word: Token,
        names: list[Token],
        close: Token,
        value: Expr,
        end: Token,
        where: Expr | None,
    ) -> Fold:
        op = _one_of(names[0], FOLDS, "an operation")
        return Fold(*left, op, tuple(names[1:]), value, TRUE if where is None else where)

    def scan(
        self,
        left: _Left,
        word: Token,
        names: list[Token],
        close: Token,
        value: Expr,
        end: Token,
        where: Expr | None,
    ) -> TileScan:
        op = _one_of(names[0], RUNNING, "an operation")
        if len(names) not in (2, 3) or [n.value for n in names[2:]] not in ([], ["reverse"]):
            raise Malformed("a scan has an operation and an axis: scan[sum,n]", span(names[0]))
        condition = TRUE if where is None else where
        return TileScan(*left, op, names[1], len(names) == 3, value, condition)

    def topk(
        self,
        left: _Left,
        word: Token,
        over: Token,
        into: Token,
        close: Token,
        value: Expr,
        end: Token,
        where: Expr | None,
    ) -> TileTopK:
        condition = TRUE if where is None else where
        return TileTopK(left.name, left.axes, over, into, value, condition, left.kind)

    def searched(self) -> None:
        return None

    def find(self, left: _Left, word: Token, tensor: Token, *rest: Any) -> Find:
        *places, _, relation, value, where = rest
        index = tuple(p for p in places if p is not None)
        if len(index) + 1 != len(places):
            raise Malformed("one rank is searched: T[b,:]", span(tensor))
        op: CompareOp = str(relation)  # type: ignore[assignment]
        condition, rank = TRUE if where is None else where, places.index(None)
        return Find(left.name, left.axes, tensor, index, rank, op, value, condition, left.kind)


FOLDS: Final = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")
RUNNING: Final = ("sum", "prod", "max", "min", "any")


def _one_of(word: Token, words: Sequence[str], what: str) -> str:
    if word.value not in words:
        hint = suggestion(word.value, words) or f"one of {', '.join(words)}"
        raise Malformed(f"unexpected '{word}': {what}", span(word), hint)
    return str(word.value)


def _kind(word: Token) -> Kind:
    return KINDS[_one_of(word, tuple(KINDS), "a kind")]


def said(line: Line, report: Report) -> object:
    """What a line says, with names that are not resolved; None if it was reported."""
    kind = line.tokens[0].type
    start = {"CASCADE": "header", "VAR": "statement", "REQUIRE": "statement"}.get(kind, "line")
    try:
        found = _parser().parse(line.tokens, start=start)
    except UnexpectedInput as error:
        unexpected(error, line.tokens, report, _advice)
        return None
    except Malformed as error:
        report.error(error.message, error.place, hints=error.hints)
        return None
    return found if shallow(_expressions(found), report) else None


def _expressions(node: object) -> Iterator[Expr]:
    """The expressions of a line."""
    match node:
        case Open(item=Kernel()):
            pass
        case Open(item=Loop() | If() as item):
            yield from expressions(item)
        case Axis(size=size) | Reversed(axis=Axis(size=size)) | Variables(range=size):
            yield size
        case Coord(value=value, size=size):
            yield from (value, size)
        case Given(condition=condition) | Require(condition=condition):
            yield condition
        case Next(value=value) | Carry(start=value):
            yield value
        case Buffer(sizes=sizes):
            yield from sizes
        case Let() | Load() | Map() | Dot() | Fold() | TileScan() | TileTopK() | Find() | Store():
            yield from expressions(node)
        case _:
            pass


def _advice(tokens: Sequence[Token], at: int) -> str | None:
    """What may have been meant at the token where a line stopped to parse."""
    first = tokens[0]
    if at == 1 and first.type == "NAME" and tokens[-1] is not first:
        hint = suggestion(first.value, (*BEGINS, "if"))
        return (
            hint or "a line defines a tile, t[m]: f32 = ..., or begins with a word for what it does"
        )
    if at and tokens[at - 1].type == "EQUAL" and tokens[1].value == "[" and first.type == "NAME":
        return f"behind `=` stands one of {', '.join(DEFINES)}"
    return None
