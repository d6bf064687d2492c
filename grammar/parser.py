"""Text to syntax: lexing, logical lines, LALR parsing, and messages for what does not parse."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.lexer import Lexer

from attnc.errors import Note, Report, Span
from attnc.grammar.lines import (
    ARITHMETIC,
    BEGINS,
    OPENS,
    OPERATORS,
    Line,
    defines,
    logical_lines,
    span,
)
from attnc.grammar.scope import suggestion
from attnc.grammar.syntax import (
    MAX_DEPTH,
    MAX_LINE,
    MAX_LINES,
    MAX_NAME,
    MAX_TEXT,
    MAX_TOKENS,
    Definition,
    File,
    Parsed,
    Returned,
)
from attnc.grammar.tables import Cut, Data, Grammar, cut_of, kept, parser_of
from attnc.ir.cascade import (
    Binding,
    Cascade,
    Constant,
    Einsum,
    Input,
    Output,
    Parameter,
    Require,
    Size,
    Slot,
    Statement,
    Variables,
)
from attnc.ir.expr import (
    Absent,
    Binary,
    Bool,
    Bracket,
    Call,
    Choice,
    Compare,
    Expr,
    Float,
    Int,
    Logical,
    Name,
    Read,
    Unary,
)
from attnc.ir.types import ELEMENTS
from attnc.ir.walk import children

INT_LIMIT: Final = 2**63


class Malformed(Exception):
    """Something that parses but cannot stand; carries its place."""

    def __init__(self, message: str, place: Span, hint: str | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.place: Span = place
        self.hints: tuple[str, ...] = (hint,) if hint else ()


class _Tokens(Lexer):
    """Hands over tokens that are already there."""

    def __init__(self, lexer_conf: object) -> None:
        pass

    def lex(self, lexer_state: Any) -> Iterator[Token]:  # type: ignore[override]
        yield from lexer_state


def grammar_text() -> str:
    """The Lark grammar, as shipped."""
    return Path(__file__).with_name("attn.lark").read_text(encoding="utf-8")


STARTS: Final = ["header", "argument", "output", "definition", "statement", "unknown"]


@lru_cache(maxsize=1)
def grammar() -> Grammar:
    """The grammar of the language."""
    return Grammar(grammar_text(), tuple(STARTS))


@lru_cache(maxsize=1)
def _tables() -> Data | None:
    return kept(grammar())


@lru_cache(maxsize=1)
def _parser() -> Lark:
    tables = _tables()
    if tables is None:
        return grammar().parser(_Tokens, _Builder())
    return parser_of(tables, _Tokens, _Builder())


@lru_cache(maxsize=1)
def _cut() -> Cut:
    tables = _tables()
    return grammar().lexer().lex if tables is None else cut_of(tables)


def _parsed(tokens: Sequence[Token], start: str) -> Any:
    """The node that tokens make; raises `UnexpectedInput` or `Malformed`."""
    return _parser().parse(tokens, start=start)


def _whole(first: Token | Expr, last: Token | Expr) -> Span:
    return _place(first).to(_place(last))


def _place(item: Token | Expr) -> Span:
    return span(item) if isinstance(item, Token) else item.span


def _integer(token: Token) -> int:
    digits = token.value.replace("_", "")
    if len(digits) > 100:
        raise Malformed("this integer does not fit 64 bits", span(token))
    try:
        value = int(digits, 0)
    except ValueError:
        raise Malformed("an integer does not begin with 0", span(token)) from None
    if value >= INT_LIMIT:
        raise Malformed("this integer does not fit 64 bits", span(token))
    return value


def _float(token: Token) -> float:
    value = float(token.value)
    if math.isinf(value):
        raise Malformed("this number is too large for a float", span(token), "write inf")
    return value


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Builds nodes as the parser reduces, so that no deep tree is ever walked."""

    def constant(self, sign: Token | None, token: Token) -> tuple[Constant, Span]:
        place = span(token) if sign is None else _whole(sign, token)
        value: Constant
        match token.type:
            case "INT":
                value = _integer(token)
            case "FLOAT":
                value = _float(token)
            case "INF":
                value = math.inf
            case _:
                if sign is not None:
                    raise Malformed(f"{token} has no sign", place)
                return token.type == "TRUE", place
        return (value if sign is None else -value), place

    def sizes(self, *tokens: Token | None) -> tuple[Size, ...]:
        kept = [t for t in tokens if t is not None]
        return tuple(_integer(t) if t.type == "INT" else t.value for t in kept)

    def input(
        self, name: Token, sizes: tuple[Size, ...] | None, end: Token, element: Token | None
    ) -> Input:
        place = _whole(name, element or end)
        return Input(name.value, sizes or (), element and element.value, place)

    def parameter(
        self, name: Token, kind: Token, default: tuple[Constant, Span] | None
    ) -> Parameter:
        place = _whole(name, kind)
        if kind.value not in ("int", "float", "bool"):
            hint = suggestion(kind.value, ("int", "float", "bool"))
            if kind.value in ELEMENTS:
                hint = f"a tensor has brackets: {name}[...]: {kind}"
            raise Malformed(f"a parameter is int, float or bool, not '{kind}'", span(kind), hint)
        if default is None:
            return Parameter(name.value, kind.value, None, place)
        value, at = default
        value = fit_constant(value, kind.value, at, f"the default of '{name}'")
        return Parameter(name.value, kind.value, value, place.to(at))

    def arguments(self, *items: Input | Parameter | None) -> list[Input | Parameter]:
        return [i for i in items if i is not None]

    def output(
        self,
        name: Token,
        sizes: tuple[Size, ...] | None,
        end: Token,
        element: Token | None,
        empty: tuple[Constant, Span] | None,
    ) -> Output:
        place = _whole(name, element or end)
        if empty is not None:
            place = place.to(empty[1])
        return Output(name.value, sizes or (), element and element.value, empty and empty[0], place)

    def outputs(self, *items: Output | None) -> list[Output]:
        return [i for i in items if i is not None]

    def header(
        self,
        name: Token,
        arguments: list[Input | Parameter] | None,
        outputs: list[Output],
        end: Token,
    ) -> Cascade:
        inputs = tuple(a for a in arguments or () if isinstance(a, Input))
        parameters = tuple(a for a in arguments or () if isinstance(a, Parameter))
        return Cascade(name.value, inputs, parameters, tuple(outputs), (), span(name))

    def names(self, *tokens: Token | None) -> list[Token]:
        return [t for t in tokens if t is not None]

    def definition(
        self, name: Token, brackets: list[Token] | None, parameters: list[Token] | None, body: Expr
    ) -> Definition:
        return Definition(
            name.value,
            None if brackets is None else tuple(t.value for t in brackets),
            tuple(t.value for t in parameters or ()),
            body,
            span(name),
        )

    def binding(self, name: Token, value: Expr) -> Binding:
        return Binding(name.value, value, span(name))

    def einsum(
        self,
        name: Token,
        brackets: tuple[Expr | Bracket, ...] | None,
        end: Token,
        value: Expr,
        *where: tuple[Expr, ...],
    ) -> Einsum:
        slots = tuple(_slot(i) for i in brackets or ())
        conditions = tuple(c for group in where for c in group)
        return Einsum(name.value, slots, value, conditions, _whole(name, end))

    def where(self, conditions: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return conditions

    def conditions(self, *items: Expr | None) -> tuple[Expr, ...]:
        return tuple(i for i in items if i is not None)

    def variables(self, word: Token, names: list[Token], size: Expr) -> Variables:
        return Variables(tuple(t.value for t in names), size, _whole(names[0], names[-1]))

    def require(self, word: Token, conditions: tuple[Expr, ...]) -> Require:
        condition = conditions[0]
        for item in conditions[1:]:
            condition = Logical("and", condition, item, condition.span.to(item.span))
        return Require(condition, condition.span)

    def returned(self, word: Token, values: tuple[Expr, ...]) -> Returned:
        return Returned(values, span(word))

    def ternary(self, then: Expr, condition: Expr, other: Expr) -> Expr:
        return Choice(condition, then, other, _whole(then, other))

    def logical(self, left: Expr, word: Token, right: Expr) -> Expr:
        return Logical(word.value, left, right, _whole(left, right))

    def binary(self, left: Expr, sign: Token, right: Expr) -> Expr:
        return Binary(sign.value, left, right, _whole(left, right))

    def unary(self, sign: Token, operand: Expr) -> Expr:
        return Unary(sign.value, operand, _whole(sign, operand))

    def compare(self, first: Expr, *rest: Token | Expr) -> Expr:
        ops = tuple(t.value for t in rest if isinstance(t, Token))
        operands = (first, *(e for e in rest if not isinstance(e, Token)))
        return Compare(ops, operands, _whole(first, operands[-1]))

    def name(self, token: Token) -> Expr:
        return Name(token.value, span(token))

    def integer(self, token: Token) -> Expr:
        return Int(_integer(token), span(token))

    def floating(self, token: Token) -> Expr:
        return Float(_float(token), span(token))

    def infinity(self, token: Token) -> Expr:
        return Float(math.inf, span(token))

    def boolean(self, token: Token) -> Expr:
        return Bool(token.type == "TRUE", span(token))

    def absent(self, token: Token) -> Expr:
        return Absent(span(token))

    def values(self, *items: Expr | None) -> tuple[Expr, ...]:
        return tuple(i for i in items if i is not None)

    def brackets(self, *items: Expr | Bracket | None) -> tuple[Expr | Bracket, ...]:
        return tuple(i for i in items if i is not None)

    def arrow(self, key: Token, into: Token) -> Bracket:
        return Bracket(Name(key.value, span(key)), into.value, None, _whole(key, into))

    def replacement(self, key: Token, value: Expr) -> Bracket:
        return Bracket(Name(key.value, span(key)), None, value, span(key).to(value.span))

    def read(self, name: Token, brackets: tuple[Expr | Bracket, ...] | None, end: Token) -> Expr:
        index = []
        for item in brackets or ():
            if isinstance(item, Bracket):
                hint = f"a call has parentheses too: {name}[...](x)"
                raise Malformed("an index is an expression", item.span, hint)
            index.append(item)
        return Read(name.value, tuple(index), _whole(name, end))

    def call(self, name: Token, values: tuple[Expr, ...] | None, end: Token) -> Expr:
        return Call(name.value, None, values or (), _whole(name, end))

    def bracket_call(
        self,
        name: Token,
        brackets: tuple[Expr | Bracket, ...] | None,
        close: Token,
        values: tuple[Expr, ...] | None,
        end: Token,
    ) -> Expr:
        items = tuple(
            i if isinstance(i, Bracket) else Bracket(i, span=i.span) for i in brackets or ()
        )
        return Call(name.value, items, values or (), _whole(name, end))


def _slot(item: Expr | Bracket) -> Slot:
    match item:
        case Name(name=name):
            return Slot(name, 0, item.span)
        case Int(value=0):
            return Slot(None, 0, item.span)
        case Unary(op="-", operand=Int(value=1)):
            return Slot(None, -1, item.span)
        case Binary(op="+", left=Name(name=name), right=Int(value=1)):
            return Slot(name, 1, item.span)
        case _:
            pass
    hint = "a recurrence writes its initial value at -1 or 0, and its step at t or t+1"
    raise Malformed("a left side lists rank variables", item.span, hint)


def fit_constant(value: Constant, kind: str, place: Span, what: str) -> Constant:
    """`value` as a constant of a type (`int`, `float`, `bool` or an element type).

    Raises `Malformed` where the type cannot hold it.
    """
    if kind == "bool":
        if not isinstance(value, bool):
            raise Malformed(f"{what} must be true or false", place)
        return value
    if isinstance(value, bool):
        raise Malformed(f"{what} must be a number, not {'true' if value else 'false'}", place)
    if kind in INTEGER_RANGES:
        low, high = INTEGER_RANGES[kind]
        if not isinstance(value, int):
            raise Malformed(f"{what} must be an integer", place)
        if not low <= value <= high:
            raise Malformed(f"{what} does not fit {kind}", place)
        return value
    value = float(value)
    largest = FLOAT_LARGEST.get(kind, math.inf)
    if abs(value) > largest and not (math.isinf(value) and kind != "f8e4m3"):
        raise Malformed(f"{what} does not fit {kind}", place)
    return value


INTEGER_RANGES: Final = {
    "u8": (0, 255),
    **{f"i{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 32, 64)},
    "int": (-(2**63), 2**63 - 1),
}
FLOAT_LARGEST: Final = {
    "f8e4m3": 448.0,
    "f8e5m2": 57344.0,
    "f16": 65504.0,
    "bf16": 3.3895313892515355e38,
    "f32": 3.4028234663852886e38,
}


def parse(report: Report, *, prelude: bool = False) -> File:
    """Parses the text of `report.source`; what is wrong is reported, and the rest kept.

    With `prelude`, it need not hold a cascade.
    """
    builder = _FileBuilder(report, prelude)
    for line in logical(report):
        builder.add(line)
    return builder.finish()


def logical(report: Report) -> list[Line]:
    """The text of `report.source` as logical lines of tokens, within the limits on its size."""
    lines = logical_lines(lexed(report, _cut()), report)
    if len(lines) > MAX_LINES:
        place = span(lines[MAX_LINES].tokens[0])
        report.error(f"more than {MAX_LINES} statements in one file", place)
        return []
    return lines


def lexed(report: Report, cut: Cut) -> list[Token]:
    """The tokens of `report.source`, within the limits on its size; none if it is beyond them."""
    text = report.source.text
    if len(text) > MAX_TEXT:
        report.error(f"the text is longer than {MAX_TEXT} characters", Span(0, 1))
        return []
    if text.startswith("\ufeff"):
        text = " " + text[1:]
    if not _line_ends(text, report):
        return []
    tokens = list(islice(cut(text), MAX_TOKENS + 1))
    if len(tokens) > MAX_TOKENS:
        report.error(f"more than {MAX_TOKENS} words and signs in one file", span(tokens[-1]))
        return []
    _check_tokens(tokens, report)
    return tokens


def _line_ends(text: str, report: Report) -> bool:
    """Whether every carriage return belongs to a line's end; one that does not could hide text."""
    at = text.find("\r")
    while at >= 0 and text[at + 1 : at + 2] == "\n":
        at = text.find("\r", at + 2)
    if at >= 0:
        message = "a carriage return without a line feed: lines end with LF or CRLF"
        report.error(message, Span(at, at + 1))
    return at < 0


def _check_tokens(tokens: Sequence[Token], report: Report) -> None:
    """Reports characters of no token, those side by side as one, and names without measure."""
    run: list[Token] = []
    for token in tokens:
        if token.type == "NAME" and len(token.value) > MAX_NAME:
            report.error(f"a name is longer than {MAX_NAME} characters", span(token))
            token.type = "UNKNOWN"
        elif token.type == "UNKNOWN":
            if run and run[-1].end_pos != token.start_pos:
                _unknown(run, report)
                run = []
            run.append(token)
    if run:
        _unknown(run, report)


def _unknown(run: Sequence[Token], report: Report) -> None:
    text = "".join(t.value for t in run)
    word = "character" if len(run) == 1 else "characters"
    shown = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
    place = span(run[0]).to(span(run[-1]))
    report.error(f"unexpected {word} {shown!r}", place, hints=_odd(text))


# What is written in other languages, or pasted from a page.
ODD: Final = {
    "!": "write `not`",
    "\u2212": "write `-`",
    "\u00d7": "write `*`",
    "\u00b7": "write `*`",
    "\u2264": "write `<=`",
    "\u2265": "write `>=`",
    "\u2260": "write `!=`",
    "\u221e": "write `inf`",
    "\u2208": "write `in`",
    "\u2227": "write `and`",
    "\u2228": "write `or`",
    "\u2192": "write `->`",
    "\u00a0": "this is a no-break space; write a plain one",
    ";": "write one statement on each line",
    "@": "write the product with its variables: A[m,e] * B[n,e]",
    "...": "list every rank",
    "{": "there are no braces",
    ".": "functions are written bare, exp(x); a tensor is transposed by its indices",
    "?": "write `a if c else b`",
    '"': "there are no strings; infinity is `inf`",
    "'": "there are no strings; infinity is `inf`",
    "}": "there are no braces",
}


def _odd(text: str) -> tuple[str, ...]:
    if text in ODD:
        return (ODD[text],)
    if text[0].isalnum() or text[0] == "_":
        return ("names are ASCII: a letter, then letters, digits and _",)
    return ()


class _FileBuilder:
    """Puts logical lines together: macros, cascades and their statements."""

    def __init__(self, report: Report, prelude: bool) -> None:
        self.report = report
        self.prelude = prelude
        self.definitions: list[Definition] = []
        self.cascades: list[Parsed] = []
        self.header: Cascade | None = None
        self.body: list[Statement] = []
        self.lost: frozenset[str] | None = None
        self.stray_reported = False
        self.header_broken = False
        self.header_torn = False

    def add(self, line: Line) -> None:
        """Takes one logical line."""
        first = line.tokens[0]
        if first.type == "CASCADE":
            self._close()
            self._header(line)
        elif first.type == "DEF":
            self._close()
            self._definition(line)
        else:
            self._statement(line)

    def _definition(self, line: Line) -> None:
        node = self._parse(line, "definition")
        if isinstance(node, Definition):
            self.definitions.append(node)
        elif len(line.tokens) > 1 and line.tokens[1].type == "NAME":
            name = line.tokens[1]
            stub = Definition(name.value, None, (), Absent(), span(name), valid=False)
            self.definitions.append(stub)

    def _statement(self, line: Line) -> None:
        node = self._parse(line, "statement")
        first = line.tokens[0]
        if self.header_torn:
            self._lose([t.value for t in line.tokens if t.type == "NAME"])
        if self.header is None:
            if not self.header_broken and not self.stray_reported:
                self.stray_reported = True
                hint = "a body begins with `cascade name(...) -> ...:`"
                self.report.error("a statement outside a cascade", span(first), hints=(hint,))
        elif node is None:
            self._lose(_defined_names(line))
        elif isinstance(node, Returned):
            hint = "a cascade names its outputs in the header and defines each"
            self.report.error("`return` belongs in a docstring", node.span, hints=(hint,))
        else:
            self.body.append(node)  # type: ignore[arg-type]

    def _lose(self, names: Collection[str]) -> None:
        self.lost = (self.lost or frozenset()).union(names, (n.lower() for n in names))

    def _parse(self, line: Line, start: str) -> object:
        """The node of a line; None if it was or is reported."""
        if line.broken or any(t.type == "UNKNOWN" for t in line.tokens):
            return None
        if len(line.tokens) > MAX_LINE:
            message = f"more than {MAX_LINE} words and signs in one statement"
            self.report.error(message, span(line.tokens[0]))
            return None
        node = self._attempt(line.tokens, start)
        return node if shallow(_expressions(node), self.report) else None

    def _attempt(self, tokens: Sequence[Token], start: str) -> object:
        try:
            return _parsed(tokens, start)
        except UnexpectedInput as error:
            unexpected(error, tokens, self.report, _advice)
        except Malformed as error:
            self.report.error(error.message, error.place, hints=error.hints)
        return None

    # Headers

    def _header(self, line: Line) -> None:
        self.header_broken = True
        self.header_torn = line.broken  # what the rest of it declares is not known
        tokens, rest = self._header_end(line)
        node = self._parse(Line(tokens, line.broken), "header")
        if isinstance(node, Cascade):
            self.header = node
        elif len(tokens) <= MAX_LINE:
            parsed = not line.broken and all(t.type != "UNKNOWN" for t in tokens)
            self._salvage(tokens, self.report.found[-1].span if parsed else None)
        if rest:
            self._statement(Line(rest))

    def _header_end(self, line: Line) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
        """The tokens of a header up to the colon that ends it, and any of a body behind."""
        tokens = line.tokens
        colon = next((i for i in reversed(range(len(tokens))) if tokens[i].type == "COLON"), 0)
        if colon == len(tokens) - 1:
            return _ended(tokens[:-1], tokens[-1]), ()
        if line.broken:
            return _ended(tokens, tokens[-1]), ()
        rest = tokens[colon + 1 :]
        if colon and (rest[0].type in BEGINS or defines(rest)):
            self.report.error("the body begins on the next line", span(rest[0]))
            return _ended(tokens[:colon], tokens[colon]), rest
        end = span(tokens[-1]).end
        self.report.error("a header ends with ':'", Span(end, end + 1))
        return _ended(tokens, tokens[-1]), ()

    def _salvage(self, tokens: Sequence[Token], blamed: Span | None) -> None:
        """Takes what parses of a broken header, so that the body can be checked.

        With `blamed`, the place where the header stopped to parse, what is wrong with arguments
        elsewhere is reported too.
        """
        kept: dict[str, list[Any]] = {"argument": [], "output": []}
        outside = {span(t): t.value for t in tokens[2:] if t.type == "NAME"}
        for start, piece in _pieces(tokens):
            place = span(piece[0]).to(span(piece[-1]))
            if blamed is not None and not place.start <= blamed.start <= place.end:
                node = self._attempt(piece, start)
            else:
                node = _quietly(piece, start)
            if node is not None:
                kept[start].append(node)
                outside = {s: name for s, name in outside.items() if not _within(s, piece)}
        if kept["argument"]:
            name = tokens[1] if tokens[1].type == "NAME" else Token("NAME", "")
            self.header = _Builder().header(name, kept["argument"], kept["output"], tokens[-1])
            self._lose(outside.values())

    def _close(self) -> None:
        if self.header is not None:
            h = self.header
            cascade = Cascade(h.name, h.inputs, h.parameters, h.outputs, tuple(self.body), h.span)
            self.cascades.append(Parsed(cascade, self.lost))
        self.header, self.header_broken, self.header_torn = None, False, False
        self.body, self.lost = [], None

    def finish(self) -> File:
        """The file as far as it parsed."""
        self._close()
        if not (self.cascades or self.prelude or self.report.count):
            self.report.error("no cascade in this file", Span(0, 0))
        return File(tuple(self.definitions), tuple(self.cascades))


TOO_DEEP: Final = f"this nests more than {MAX_DEPTH} levels deep"
DEFINE_APART: Final = "define a part of it as a tensor or a value first"


def shallow(exprs: Iterable[Expr], report: Report) -> bool:
    """Whether no expression nests too deeply; reports one that does."""
    stack = [(e, 1) for e in exprs]
    while stack:
        expr, depth = stack.pop()
        if depth > MAX_DEPTH:
            report.error(TOO_DEEP, expr.span, hints=(DEFINE_APART,))
            return False
        operands = children(expr)
        # a long comparison or call nests where it is computed two by two
        wide = len(operands) - 1 if isinstance(expr, Compare | Call) else 1
        stack.extend((child, depth + max(1, wide)) for child in operands)
    return True


def _ended(tokens: Sequence[Token], colon: Token) -> tuple[Token, ...]:
    return *tokens, Token.new_borrow_pos("HEADER_END", ":", colon)


def _pieces(tokens: Sequence[Token]) -> Iterator[tuple[str, Sequence[Token]]]:
    """The arguments and outputs of a header, each with its rule; told by `name[` and `name:`."""
    starts = [
        i
        for i in range(2, len(tokens) - 1)
        if tokens[i].type == "NAME" and tokens[i + 1].value in ("[", ":")
        if tokens[i - 1].type != "COLON" and tokens[i + 1].type != "HEADER_END"
    ]
    arrow = next((i for i, t in enumerate(tokens) if t.type == "_ARROW"), len(tokens))
    for i, end in zip(starts, [*starts[1:], len(tokens)], strict=False):
        while tokens[end - 1].type in ("COMMA", "RPAR", "_ARROW", "HEADER_END"):
            end -= 1
        yield "output" if i > arrow else "argument", tokens[i:end]


def _within(place: Span, tokens: Sequence[Token]) -> bool:
    return span(tokens[0]).start <= place.start < span(tokens[-1]).end


def _quietly(tokens: Sequence[Token], start: str) -> object:
    try:
        return _parsed(tokens, start)
    except (UnexpectedInput, Malformed):
        return None


def _defined_names(line: Line) -> set[str]:
    """The names that a line which did not parse may define."""
    tokens = line.tokens
    if line.broken or any(t.type == "UNKNOWN" for t in tokens):
        return {t.value for t in tokens if t.type == "NAME"}
    if tokens[0].type == "VAR":
        end = next((i for i, t in enumerate(tokens) if t.type == "IN"), len(tokens))
        return {t.value for t in tokens[:end] if t.type == "NAME"}
    first = [tokens[0].value] if tokens[0].type == "NAME" else []
    return {*first, *_left_sides(tokens)}


def _left_sides(tokens: Sequence[Token]) -> Iterator[str]:
    """Every `name` and `name[...]` before a `=` outside of brackets."""
    depth, name = 0, ""
    for i, token in enumerate(tokens):
        if not depth and token.type == "NAME":
            name = token.value
        elif not depth and token.type == "EQUAL" and tokens[i - 1].type in ("NAME", "RSQB"):
            yield name
        depth += (token.value in OPENS) - (token.value in OPENS.values())


def _expressions(node: object) -> Sequence[Expr]:
    match node:
        case Definition(body=body):
            return (body,)
        case Binding(value=value):
            return (value,)
        case Variables(range=size):
            return (size,)
        case Require(condition=condition):
            return (condition,)
        case Einsum(value=value, where=where):
            return (value, *where)
        case Returned(values=values):
            return values
        case _:
            return ()


# How tokens are called in messages; those not listed show their own text.
TOKEN_NAMES: Final = {
    "NAME": "a name",
    "INT": "an integer",
    "FLOAT": "a number",
    "HEADER_END": "':' at the end of the header",
    "$END": "the end of the line",
}
ATOMS: Final = frozenset({"NAME", "INT", "FLOAT", "INF", "TRUE", "FALSE", "ABSENT", "LPAR"})
EXPRESSION: Final = ATOMS | {"MINUS", "TILDE", "NOT"}
STATEMENTS: Final = frozenset({"for", "while", "let", "import", "from", "class", "print", "pass"})
ALONG: Final = frozenset({"dim", "axis"})
"""What other languages call the rank that a reduction works along."""

MAX_EXPECTED: Final = 8
MAX_SHOWN: Final = 40


def unexpected(
    error: UnexpectedInput,
    tokens: Sequence[Token],
    report: Report,
    advise: Callable[[Sequence[Token], int], str | None],
) -> None:
    """Reports tokens that do not parse, with what could have stood there and some advice."""
    if not isinstance(error, UnexpectedToken):
        raise error
    token = error.token
    ended = token.type == "$END"
    at = len(tokens) if ended else next(i for i, t in enumerate(tokens) if t is token)
    place = span(tokens[-1]) if ended else span(token)
    what = "the line ends too early" if ended else f"unexpected {_shown(token)}"
    hints = []
    expected = _expected(error.accepts or error.expected)
    if 0 < len(expected) <= MAX_EXPECTED:
        hints.append(f"expected {_one_of(expected)}")
    advice = advise(tokens, at)
    if advice is not None:
        hints.append(advice)
    place = Span(place.end, place.end + 1) if ended else place
    report.error(what, place, hints=hints, notes=_still_open(tokens, at))


def _shown(token: Token) -> str:
    if token.type == "HEADER_END":
        return "':'"
    text = token.value if len(token.value) <= MAX_SHOWN else token.value[:MAX_SHOWN] + "..."
    reserved = token.value.isalpha() and token.type != "NAME"
    return f"'{text}'" + (", a reserved word" if reserved else "")


def _expected(names: Collection[str]) -> list[str]:
    """What could stand there, expressions and operators in one word each."""
    left = set(names)
    found = []
    if left >= {"INT", "FLOAT", "LPAR"}:
        found.append("an expression")
        left -= EXPRESSION
    if left >= {"PLUS", "STAR"}:
        found.append("an operator")
        left -= OPERATORS
    return found + sorted(_token_name(name) for name in left)


def _one_of(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"


def _still_open(tokens: Sequence[Token], at: int) -> tuple[Note, ...]:
    """The bracket that makes a line go on, if it was opened in a line above."""
    opened: list[Token] = []
    for token in tokens[:at]:
        if token.value in OPENS:
            opened.append(token)
        elif token.value in OPENS.values() and opened:
            opened.pop()
    if not opened or at == len(tokens) or opened[-1].line == tokens[at].line:
        return ()
    return (Note(f"this '{opened[-1].value}' is still open", span(opened[-1])),)


def _advice(tokens: Sequence[Token], at: int) -> str | None:
    """What may have been meant at the token where a line stopped to parse."""
    first = tokens[0]
    if first.type == "NAME" and at == 1 and first.value in STATEMENTS:
        return f"`{first.value}` is no statement of this language"
    if first.value == "assert" and at == 1:
        return "write `require`"
    previous = tokens[at - 1].type if at else ""
    if at == len(tokens):
        goes_on = previous in OPERATORS
        return "a line goes on where the next one begins with an operator" if goes_on else None
    if _foreign_comment(tokens, at):
        return "a comment begins with `#`"
    token = tokens[at]
    if first.type == "CASCADE":
        return _header_advice(tokens, at)
    if token.type in ARITHMETIC and at + 1 < len(tokens) and tokens[at + 1].type == "EQUAL":
        return "a tensor is defined once, with `=`"
    pair = previous, token.type
    match pair:
        case _, "EQUAL" if first.type == "VAR":
            name = tokens[1].value
            return (
                f"a variable is declared with its range: var {name} in ...; a value is {name} = ..."
            )
        case "NAME", "EQUAL" if (callee := _callee(tokens, at)) is not None:
            if tokens[at - 1].value in ALONG:
                return f"the variable stands in brackets: {callee}[n](x)"
            return "arguments have no names; they are told by their order"
        case _, "EQUAL":
            return "equality is `==`"
        case "RSQB", "LSQB" if (tensor := _before_bracket(tokens, at - 1)) is not None:
            return f"one pair of brackets holds all indices: {tensor}[i,j]"
        case "NAME", "NAME" if tokens[at - 1].value == "lambda":
            return "a macro is written def f(x) = ... above the cascade"
        case "AMPERSAND", "AMPERSAND":
            return "write `and`"
        case "BAR", "BAR":
            return "write `or`"
        case "LT", "GT":
            return "unequal is `!=`"
        case "INT" | "FLOAT", "NAME" | "LPAR":
            return "a product is written with `*`"
        case _, "COLON" if first.type == "DEF":
            return "a macro is written def f(x) = ..."
        case _, "COLON" if at + 1 < len(tokens) and tokens[at + 1].type == "EQUAL":
            return "write `=`"
        case _, "COLON":
            return "an index is one coordinate: there are no slices"
        case _, "LPAR" if at == 1:
            return f"a tensor has square brackets: {first.value}[...] = ..."
        case _, "WHERE":
            return "`where` follows the definition of a tensor"
        case _:
            return None


def _foreign_comment(tokens: Sequence[Token], at: int) -> bool:
    """Whether the place is in what is a comment elsewhere: `//`, `--` or `/*`, then words."""
    for i in (at - 1, at):
        if _comment_sign(tokens, i) and (i == 0 or tokens[i].line != tokens[i - 1].end_line):
            return True
    end = at - 1
    while end > 0 and (tokens[end].value[0].isalpha() or tokens[end].type == "COMMA"):
        end -= 1
    return end < at - 1 and (_comment_sign(tokens, end) or _comment_sign(tokens, end - 1))


def _comment_sign(tokens: Sequence[Token], i: int) -> bool:
    """Whether a sign that begins comments elsewhere stands at index `i`."""
    if i < 0 or tokens[i].type == "FLOOR":
        return i >= 0
    behind = tokens[i + 1] if i + 1 < len(tokens) else None
    if behind is None or behind.start_pos != tokens[i].end_pos:
        return False
    return (tokens[i].type, behind.type) in (("MINUS", "MINUS"), ("SLASH", "STAR"))


def _callee(tokens: Sequence[Token], at: int) -> str | None:
    """What is called, if the place is among the arguments of a call."""
    depth = 0
    for i in range(at - 1, 0, -1):
        depth += (tokens[i].value in OPENS.values()) - (tokens[i].value in OPENS)
        if depth < 0:
            before = tokens[i - 1]
            if tokens[i].value != "(":
                return None
            return before.value if before.type == "NAME" else _before_bracket(tokens, i - 1)
    return None


def _before_bracket(tokens: Sequence[Token], closing: int) -> str | None:
    """The name before a pair of square brackets, given the place of the closing one."""
    depth = 0
    for i in range(closing, 0, -1):
        depth += (tokens[i].value in OPENS.values()) - (tokens[i].value in OPENS)
        if not depth:
            return tokens[i - 1].value if tokens[i - 1].type == "NAME" else None
    return None


def _header_advice(tokens: Sequence[Token], at: int) -> str | None:
    token, previous = tokens[at], tokens[at - 1]
    if previous.type == "NAME" and at > 2:
        if any(t.type == "_ARROW" for t in tokens[:at]):
            return f"an output lists its ranks: {previous}[...]"
        if token.type in ("COMMA", "RPAR"):
            form = f"{previous}[...]; a parameter has a type: {previous}: float"
            return f"an input lists its ranks: {form}"
    if token.type == "HEADER_END" and all(t.type != "_ARROW" for t in tokens[:at]):
        return "a header names the outputs: cascade name(...) -> O[...]:"
    return None


def _token_name(name: str) -> str:
    if name in TOKEN_NAMES:
        return TOKEN_NAMES[name]
    pattern = {t.name: t.pattern.value for t in _parser().terminals}.get(name, name.lower())
    return f"'{pattern}'" if not pattern.startswith("\\") else f"'{pattern[1:]}'"
