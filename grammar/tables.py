"""What Lark makes of the grammar of the language, kept in a file beside it.

Making it takes Lark longer than anything else that is done to a spec. It is made anew where the
file is not of this grammar, or not of this version of Lark; `python -m attnc.grammar.tables` writes
the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lark.lexer
from lark import Lark, Token
from lark.common import LexerConf
from lark.grammar import Rule
from lark.lexer import BasicLexer, Lexer, LexerThread, TerminalDef

NAME: Final = "attn.tables.json"
OWN: Final = ("lexer", "transformer")
"""Options of a parser that are objects of this process."""
Data = dict[str, Any]
Cut = Callable[[str], Iterator[Token]]
"""Cuts a text into tokens."""


@dataclass(frozen=True)
class Grammar:
    """A grammar, and the rules that a text may begin with."""

    text: str
    starts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What its tables depend on."""
        facts = json.dumps([lark.__version__, self.text, self.starts])
        return hashlib.sha256(facts.encode()).hexdigest()

    def parser(self, lexer: type[Lexer], transformer: Any) -> Lark:
        """A parser of tokens, made by Lark."""
        with uncompared():
            return Lark(
                self.text,
                parser="lalr",
                lexer=lexer,
                start=list(self.starts),
                transformer=transformer,
            )

    def lexer(self) -> Lark:
        """What cuts a text into tokens, made by Lark."""
        with uncompared():
            return Lark(self.text, parser=None, lexer="basic", start=list(self.starts))


@contextmanager
def uncompared() -> Iterator[None]:
    """Lark compares every pair of terminals of every grammar, its own too, if interegular is there.

    A test does that for ours; here it would double the time of a compilation.
    """
    found = lark.lexer.has_interegular
    lark.lexer.has_interegular = False
    try:
        yield
    finally:
        lark.lexer.has_interegular = found


def made(grammar: Grammar) -> Data:
    """The tables of a grammar, as the file holds them."""
    parser, lexer = grammar.parser(lark.lexer.BasicLexer, None), grammar.lexer()
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    data["options"] = {k: v for k, v in data["options"].items() if k not in OWN}
    del data["parser"]["lexer_conf"]["lexer_type"]
    table = data["parser"]["parser"]
    table["tokens"] = list(table["tokens"].items())
    table["states"] = [[s, list(actions.items())] for s, actions in table["states"].items()]
    terminals = [t.serialize() for t in lexer.terminals]
    return {
        "digest": grammar.digest,
        "parser": data,
        "memo": list(memo.items()),
        "terminals": terminals,
        "ignored": list(lexer.ignore_tokens),
    }


def kept(grammar: Grammar, path: Path | None = None) -> Data | None:
    """What the file holds, if it is of this grammar and of this version of Lark."""
    place = Path(__file__).with_name(NAME) if path is None else path
    if not place.is_file():
        return None
    found: Data = json.loads(place.read_text(encoding="utf-8"))
    return found if found["digest"] == grammar.digest else None


def parser_of(data: Data, lexer: type[Lexer], transformer: Any) -> Lark:
    """The parser that `Grammar.parser` makes, from its tables."""
    parser = data["parser"]
    table = parser["parser"]["parser"]
    states = {state: dict(actions) for state, actions in table["states"]}
    table = {**table, "tokens": dict(table["tokens"]), "states": states}
    conf = {**parser["parser"]["lexer_conf"], "lexer_type": lexer}
    options = {**parser["options"], "lexer": lexer, "transformer": transformer}
    inner = {**parser["parser"], "parser": table, "lexer_conf": conf}
    whole = {**parser, "parser": inner, "options": options}
    return Lark.load({"data": whole, "memo": dict(data["memo"])})


def cut_of(data: Data) -> Cut:
    """What the lexer that `Grammar.lexer` makes does, from its terminals."""
    terminals = [TerminalDef.deserialize(t, {}) for t in data["terminals"]]
    conf = LexerConf(terminals, re, data["ignored"], skip_validation=True)
    basic = BasicLexer(conf)

    def cut(text: str) -> Iterator[Token]:
        found: Iterator[Token] = LexerThread.from_text(basic, text).lex(None)  # type: ignore[no-untyped-call]
        return found

    return cut


def canonical(data: Mapping[str, Any]) -> Sequence[object]:
    """The tables whatever the numbers of states, which differ from process to process."""
    table = data["parser"]["parser"]["parser"]
    tokens, memo = dict(table["tokens"]), dict(data["memo"])
    states = {s: sorted((tokens[t], *a) for t, a in actions) for s, actions in table["states"]}
    order = [table["start_states"][s] for s in sorted(table["start_states"])]
    number = {s: i for i, s in enumerate(order)}
    found: list[object] = [sorted(table["start_states"])]
    for state in order:  # it grows
        row: list[object] = []
        for token, reduces, to in states[state]:
            if reduces:
                row.append((token, memo[to["@"]]))
                continue
            if to not in number:
                number[to] = len(order)
                order.append(to)
            row.append((token, number[to]))
        found.append(row)
    ends = {start: number[s] for start, s in table["end_states"].items()}
    return [*found, ends, data["terminals"], data["ignored"], data["digest"]]


def main() -> None:
    """Writes the file of the language."""
    from attnc.grammar.parser import grammar

    text = json.dumps(made(grammar()), separators=(",", ":"))
    Path(__file__).with_name(NAME).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
