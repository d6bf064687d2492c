"""The docstring of a function as the body of a cascade: definitions, statements, `return`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lark import Token

from attnc.errors import Report, Source, Span
from attnc.grammar.lines import Line, span
from attnc.grammar.parser import logical
from attnc.python.pieces import Fault, Faulty, Origin, Origins

DOCSTRING: Final = Origin("docstring")


@dataclass(frozen=True, slots=True)
class Returned:
    """One value of `return`: where it stands, and the tensor it is, if the body defines that."""

    span: Span
    tensor: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """A docstring: macro definitions up to `begin`, then statements, then what is returned.

    `words` holds every name in it; `end` is where the `return` begins.
    """

    text: str
    begin: int
    end: int
    returned: tuple[Returned, ...]
    words: frozenset[str]


def body(text: str) -> Body:
    """Cuts a docstring apart; raises `Faulty` if it is no body of a cascade."""
    report = Report(Source("", text))
    lines = logical(report)
    faults = [Fault(d.message, Origins(DOCSTRING, d.span), d.hints) for d in report.errors]
    first = next((i for i, line in enumerate(lines) if not _begins(line, "DEF")), len(lines))
    for i, line in enumerate(lines):
        if _begins(line, "CASCADE"):
            hint = "the signature of the function is the header"
            faults.append(_fault("a docstring holds the body only", line.tokens[0], hint))
        elif _begins(line, "DEF") and i > first:
            faults.append(_fault("in a docstring, definitions come first", line.tokens[0]))
        elif _begins(line, "RETURN") and i < len(lines) - 1:
            faults.append(_fault("`return` is the last statement", line.tokens[0]))
    if faults:
        raise Faulty(faults)
    if not lines or not _begins(lines[-1], "RETURN"):
        hint = "it names the results in order: `return softmax[n](S[b,h,m,n]) * V[b,h,n,f]`"
        message = "this ends without a `return`" if lines else "this is empty"
        place = span(lines[-1].tokens[0]) if lines else Span(0, 1)
        raise Faulty(
            [
                Fault(
                    f"the docstring is the body of a kernel; {message}",
                    Origins(DOCSTRING, place),
                    (hint,),
                )
            ]
        )
    begin = 0
    if first:
        last = span(lines[first - 1].tokens[-1]).end
        begin = text.find("\n", last) + 1 or len(text)
    words = frozenset(t.value for line in lines for t in line.tokens if t.type == "NAME")
    ret = lines[-1].tokens
    return Body(text, begin, span(ret[0]).start, tuple(_values(ret, lines[:-1])), words)


def _begins(line: Line, kind: str) -> bool:
    return line.tokens[0].type == kind


def _fault(message: str, token: Token, *hints: str) -> Fault:
    return Fault(message, Origins(DOCSTRING, span(token)), hints)


def _values(tokens: Sequence[Token], before: Sequence[Line]) -> list[Returned]:
    """The values of a `return`, which commas outside brackets part."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[1:]:
        if token.type == "WHERE":
            hint = "give the tensor a statement of its own, with the condition"
            raise Faulty([_fault("a `return` has no `where`", token, hint)])
        depth += (token.value in ("(", "[")) - (token.value in (")", "]"))
        if token.type == "COMMA" and depth == 0:
            found.append([])
        else:
            found[-1].append(token)
    if not found[-1]:
        found.pop()
    if not found or not all(found):
        raise Faulty([_fault("`return` wants values, parted by commas", tokens[0])])
    sides = _left_sides(before)
    return [Returned(span(v[0]).to(span(v[-1])), _defined(v, sides)) for v in found]


def _left_sides(lines: Sequence[Line]) -> list[list[str]]:
    """The left side of each statement that defines a tensor, as words."""
    sides = []
    for line in lines:
        words = [t.value for t in line.tokens]
        if line.tokens[0].type == "NAME" and "]" in words and words[1] == "[":
            sides.append(words[: words.index("]") + 1])
    return sides


def _defined(tokens: Sequence[Token], sides: Sequence[Sequence[str]]) -> str | None:
    """The tensor that a value is: it reads just what one statement, the only one, defines."""
    words = [t.value for t in tokens]
    same = [side for side in sides if side[0] == words[0]]
    return words[0] if len(same) == 1 and list(same[0]) == words else None
