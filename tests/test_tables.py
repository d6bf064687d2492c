"""The tables of the parser that are kept: they are those of the grammar, or they are not taken."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from lark import UnexpectedToken

from attnc.grammar import parser, tables


def test_kept_tables_are_those_of_the_grammar() -> None:
    """`python -m attnc.grammar.tables` writes them anew."""
    grammar = parser.grammar()
    kept, made = tables.kept(grammar), tables.made(grammar)
    assert kept is not None
    read = json.loads(json.dumps(made))
    assert tables.canonical(kept) == tables.canonical(read)
    state = next(s for s in read["parser"]["parser"]["parser"]["states"] if len(s[1]) > 1)
    state[1].pop()
    assert tables.canonical(kept) != tables.canonical(read), "a fault is not seen"


def test_tables_of_another_grammar_are_refused(tmp_path: Path) -> None:
    grammar = parser.grammar()
    other = replace(grammar, text=grammar.text + "\n")
    assert tables.kept(other) is None
    kept = tables.kept(grammar)
    assert kept is not None
    path = tmp_path / tables.NAME
    path.write_text(json.dumps(kept))
    assert tables.kept(grammar, path) == kept
    path.write_text(json.dumps({**kept, "digest": other.digest}))
    assert tables.kept(grammar, path) is None
    assert tables.kept(grammar, tmp_path / "none") is None


def test_the_parser_that_is_made_reads_the_same() -> None:
    """Where another version of Lark is installed, nothing but the time differs."""
    text = "O[m] = exp(Q[m] + 0x1F) * (2.5 if m < 3 else -Q[m]) where m != 4"
    grammar = parser.grammar()
    kept = tables.kept(grammar)
    assert kept is not None
    tokens = list(grammar.lexer().lex(text))
    assert tokens == list(tables.cut_of(kept)(text))
    own, read = (
        made(parser._Tokens, parser._Builder())  # pyright: ignore[reportPrivateUsage]
        for made in (grammar.parser, partial(tables.parser_of, kept))
    )
    assert own.parse(tokens, start="statement") == read.parse(tokens, start="statement")
    wrong = [t for t in tokens if t.type != "LPAR"]
    with pytest.raises(UnexpectedToken) as one:
        own.parse(wrong, start="statement")
    with pytest.raises(UnexpectedToken) as other:
        read.parse(wrong, start="statement")
    assert one.value.accepts == other.value.accepts
