"""Where the parts of a function stand in the user's file.

Read only once something is to be reported: the file is parsed, the function found by its name and
line, and offsets in its docstring and annotations become offsets in the file.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from attnc.errors import Diagnostic, Note, Source, Span
from attnc.python.pieces import Assembled, Faulty, Origin, Origins

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

OPENING: Final = re.compile(r"(?P<prefix>[A-Za-z]*)(?P<quote>\'\'\'|\"\"\"|\'|\")")
ESCAPE: Final = re.compile(
    r"\\(?:\r?\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Places:
    """The source of a function: its file, and its syntax tree where the file could be read."""

    source: Source
    node: Function
    docstring: str

    def span(self, place: Origins) -> Span:
        """The range of the file in which a place of the function stands."""
        found = self._node(place.origin)
        if found is None:
            return self._header()
        whole = self._whole(found)
        if place.span is None or not isinstance(found, ast.Constant):
            return whole
        value = self.docstring if place.origin.part == "docstring" else str(found.value)
        offsets = _offsets(self.source.text[whole.start : whole.end], value)
        if offsets is None:
            return whole
        start, end = (offsets[min(at, len(offsets) - 1)] for at in place.span)
        return Span(whole.start + start, whole.start + max(end, start + 1))

    def _node(self, origin: Origin) -> ast.expr | ast.arg | None:
        """The part of the syntax tree that an origin names; the text in it, if there is one."""
        a = self.node.args
        arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs]
        arguments += [x for x in (a.vararg, a.kwarg) if x is not None]
        argument = next((x for x in arguments if x.arg == origin.key), None)
        match origin.part:
            case "docstring":
                first = self.node.body[0]
                return first.value if isinstance(first, ast.Expr) else None
            case "argument":
                return argument
            case "annotation":
                return _text_in(argument.annotation if argument else None) or argument
            case "default":
                return _defaults(a).get(origin.key, argument)
            case "returns":
                return _result(self.node.returns, origin.key)
            case "name":
                return None

    def _header(self) -> Span:
        """The name of the function in its `def`."""
        start = self._offset(self.node.lineno, self.node.col_offset)
        match = re.compile(r"(async\s+)?def\s+").match(self.source.text, start)
        begin = match.end() if match else start
        return Span(begin, begin + len(self.node.name))

    def _whole(self, node: ast.expr | ast.arg) -> Span:
        start = self._offset(node.lineno, node.col_offset)
        if isinstance(node, ast.arg):
            return Span(start, start + len(node.arg))
        return Span(start, self._offset(node.end_lineno or 0, node.end_col_offset or 0))

    def _offset(self, line: int, column: int) -> int:
        """The offset of a place that the syntax tree gives as a line and a column in UTF-8."""
        raw = self.source.line(line).encode("utf-8")[:column]
        return self.source.start(line) + len(raw.decode("utf-8", "ignore"))


def places(function: Callable[..., Any]) -> Places | None:
    """The places of a function; None where its file cannot be read."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    lines = linecache.getlines(code.co_filename, getattr(function, "__globals__", None))
    text = "".join(lines)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name == code.co_name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == code.co_firstlineno and node.body:
                return Places(Source(code.co_filename, text), node, function.__doc__ or "")
    return None


def located(
    diagnostics: Iterable[Diagnostic], spec: Assembled, function: Callable[..., Any]
) -> list[Diagnostic]:
    """Diagnostics of a spec as diagnostics of the function's file, if that can be read."""
    found = places(function)
    if found is None:
        return list(diagnostics)

    def moved(span: Span) -> Span:
        return found.span(spec.origins(span))

    return [
        Diagnostic(
            d.message,
            found.source,
            moved(d.span),
            d.hints,
            tuple(Note(n.message, moved(n.span)) for n in d.notes),
            d.severity,
        )
        for d in diagnostics
    ]


def reported(error: Faulty, function: Callable[..., Any]) -> list[Diagnostic]:
    """What is wrong with a function, in its file; else in the text of the part that is wrong."""
    found = places(function)
    return [
        Diagnostic(fault.message, found.source, found.span(fault.place), fault.hints)
        if found is not None
        else _elsewhere(fault.message, fault.place, fault.hints, function)
        for fault in error.faults
    ]


def _elsewhere(
    message: str, place: Origins, hints: tuple[str, ...], function: Callable[..., Any]
) -> Diagnostic:
    name = getattr(function, "__qualname__", "function")
    if place.origin.part == "docstring" and place.span is not None:
        source = Source(f"<docstring of {name}>", function.__doc__ or "")
        return Diagnostic(message, source, place.span, hints)
    shown = f"def {getattr(function, '__name__', 'function')}(...)"
    return Diagnostic(message, Source(f"<function {name}>", shown), Span(4, 4), hints)


def _text_in(annotation: ast.expr | None) -> ast.expr | None:
    """The text of an annotation that is one, or is `Annotated[..., text]`."""
    match annotation:
        case ast.Subscript(slice=ast.Tuple(elts=[_, *rest])):
            texts = (x for x in rest if isinstance(x, ast.Constant) and isinstance(x.value, str))
            return next(texts, annotation)
        case _:
            return annotation


def _defaults(arguments: ast.arguments) -> dict[str, ast.expr]:
    """The default values by the names of their arguments."""
    plain = [*arguments.posonlyargs, *arguments.args]
    found = dict(zip([x.arg for x in reversed(plain)], reversed(arguments.defaults), strict=False))
    keyword = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {x.arg: value for x, value in keyword if value is not None}


def _result(annotation: ast.expr | None, key: str) -> ast.expr | None:
    """The annotation of one result."""
    match annotation:
        case ast.Tuple(elts=elts) | ast.List(elts=elts) if key:
            return _text_in(elts[int(key)])
        case ast.Subscript(value=ast.Name(id="tuple" | "Tuple"), slice=ast.Tuple(elts=elts)) if key:
            return _text_in(elts[int(key)])
        case _:
            return _text_in(annotation)


def _offsets(written: str, value: str) -> list[int] | None:
    """For each offset in the value of a literal, its offset in the text of that literal.

    None for what is not one plain literal. Python may have taken the indent off a docstring, so
    lines are matched from their ends.
    """
    opening = OPENING.match(written)
    if opening is None:
        return None
    quote, raw = opening["quote"], "r" in opening["prefix"].lower()
    if not written.endswith(quote) or len(written) < opening.end() + len(quote):
        return None
    characters = list(_characters(written, opening.end(), len(written) - len(quote), raw))
    decoded = "".join(c for c, _ in characters)
    offsets = [at for _, at in characters]
    offsets.append(len(written) - len(quote))
    if decoded == value:
        return offsets
    return _unindented(decoded, offsets, value)


def _characters(written: str, start: int, end: int, raw: bool) -> Iterator[tuple[str, int]]:
    """The characters of a literal's value, each with the offset where it is written."""
    at = start
    while at < end:
        match = None if raw or written[at] != "\\" else ESCAPE.match(written, at, end)
        if match is None:
            yield written[at], at
            at += 1
            continue
        if not match[0].endswith("\n"):
            for character in ast.literal_eval(f'"{match[0]}"'):
                yield character, at
        at = match.end()


def _unindented(decoded: str, offsets: list[int], value: str) -> list[int] | None:
    """Offsets for a value whose lines are those of `decoded` without some of their indent."""
    before, after = decoded.split("\n"), value.split("\n")
    if len(before) != len(after):
        return None
    found: list[int] = []
    at = 0
    for old, new in zip(before, after, strict=True):
        if not old.endswith(new):
            return None
        skip = len(old) - len(new)
        found += offsets[at + skip : at + len(old) + 1]
        at += len(old) + 1
    return found
