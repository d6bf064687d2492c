"""Every error and warning of the parser and the checker, as it is shown.

A case is a spec in `errors/`, or one made here because no file can hold it. Its golden holds what
is reported, errors first. A last test asks that each place in the code which reports something is
reached by a case.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import attnc
from attnc.errors import MAX_SHOWN_DIAGNOSTICS, Diagnostic, Report, Source, SpecError
from attnc.grammar import check as checker
from attnc.grammar import parser, resolve, scope, syntax
from attnc.ir import stages, typing
from tests import golden

FOLDER = Path(__file__).parent / "errors"
HEADER = "cascade a(X[T]) -> O[T]:\n"

FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.attn"))}
MADE = {
    "made_text_too_long": "#" * (syntax.MAX_TEXT + 1),
    "made_statements_too_many": HEADER + "    O[t] = X[t]\n" * syntax.MAX_LINES,
    "made_tokens_too_many": HEADER + "    O[t] = " + "+" * syntax.MAX_TOKENS,
    "made_statement_too_long": HEADER + "    O[t] = " + "+" * syntax.MAX_LINE,
    "made_header_too_long": f"cascade a({'X[T],' * syntax.MAX_LINE}) -> O[T]:\n    O[t] = X[t]",
    "made_name_too_long": f"{HEADER}    {'O' * (syntax.MAX_NAME + 1)}[t] = X[t]\n    O[t] = oops",
    "made_carriage_return": f"{HEADER}    # a comment\r    O[t] = X[t]\n",
    "made_line_ends": f"{HEADER}    O[t] = X[t]\n".replace("\n", "\r\n"),
    "made_byte_order_mark": f"\ufeff{HEADER}    O[t] = X[t] + oops\n",
    "made_nul": f"{HEADER}    O[t] = X[t]\0\n",
    "made_direction_override": f"{HEADER}    O[t] = \u202e1 + X[t]\n",
    "made_conditions_too_many": (
        "cascade a(X[T,S]) -> O[T]:\n    O[t] = X[t,s]\n" + "        where s > 0\n" * 130
    ),
    "made_long_line": f"{HEADER}    O[t] = {'X[t] + ' * 50}oops{' + X[t]' * 50}\n",
    "made_long_shape": f"cascade a({'t' * 150}[{','.join('t' * 200)}]) -> O[T]:\n    O[t] = 1\n",
}
CASES = [*FILES, *MADE]


def run(name: str) -> Report:
    """The report of a case."""
    report = Report(Source(f"{name}.attn", (FILES | MADE)[name]))
    checker.check(report)
    return report


def rendered(diagnostics: list[Diagnostic]) -> str:
    """What a user sees, errors before warnings."""
    return "".join(d.render() + "\n" for d in diagnostics)


@pytest.mark.parametrize("name", CASES)
def test_message(name: str, renew: bool) -> None:
    report = run(name)
    golden.compare("errors", name, rendered([*report.errors, *report.warnings]), renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("errors", CASES)
    assert golden.orphans("errors", CASES) == []
    assert len(CASES) >= 120


# Completeness

ROOT = Path(attnc.__file__).parent
SOURCES = [
    # of plans as text, which no spec is: `test_level2.py`
    *(
        f
        for f in sorted((ROOT / "grammar").glob("*.py"))
        if f.stem != "__init__" and not f.stem.startswith("tiles")
    ),
    ROOT / "ir" / "stages.py",
    ROOT / "ir" / "typing.py",
]
METHODS = ("error", "warning", "unknown", "_error", "_unknown")
CLASSES = ("Malformed", "IllTyped", "Problem")


class Place(NamedTuple):
    """Lines of a file in which a call reports something."""

    file: str
    first: int
    last: int


def places() -> Iterator[Place]:
    """Every call that makes an error or a warning."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                    pass
                case ast.Call(func=ast.Name(id=name)) if name in CLASSES:
                    pass
                case _:
                    continue
            yield Place(source.name, node.lineno, node.end_lineno or node.lineno)


def _watched(original: Callable[..., Any], reached: set[tuple[str, int]]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        caller = sys._getframe(1)
        reached.add((Path(caller.f_code.co_filename).name, caller.f_lineno))
        return original(*arguments, **named)

    return call


def test_every_place_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[str, int]] = set()
    for owner, name in (
        (Report, "error"),
        (Report, "warning"),
        (scope.Scope, "unknown"),
        (resolve.Resolver, "_error"),
        (resolve.Resolver, "_unknown"),
        (parser.Malformed, "__init__"),
        (typing.IllTyped, "__init__"),
        (stages.Problem, "__init__"),
    ):
        monkeypatch.setattr(owner, name, _watched(getattr(owner, name), reached))
    for name in CASES:
        run(name)
    missed = [
        place
        for place in places()
        if not any((place.file, n) in reached for n in range(place.first, place.last + 1))
    ]
    assert not missed, "no case reaches " + ", ".join(f"{p.file}:{p.first}" for p in missed)


# Many at once


def test_very_many_errors_are_counted() -> None:
    text = HEADER + "".join(f"    A{i}[t] = oops{i}\n" for i in range(5000))
    with pytest.raises(SpecError) as caught:
        attnc.check(text + "    O[t] = X[t]\n")
    assert len(caught.value.diagnostics) == 5000
    shown = str(caught.value)
    assert shown.count("error:") == MAX_SHOWN_DIAGNOSTICS
    assert shown.endswith("\n... and 4900 more")


def test_errors_stand_in_the_order_of_the_text() -> None:
    report = run("follow_on_of_a_syntax_error")
    assert [d.span for d in report.errors] == sorted(d.span for d in report.errors)
