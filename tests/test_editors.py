"""What editors use: `attnc check --json`, and the TextMate grammar, by a TextMate engine."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from babi.highlight import Compiler, Grammar, Grammars, highlight_line
from lark import Token

from attnc.cli import main
from attnc.errors import Report, Source
from attnc.grammar import parser
from attnc.grammar.check import prelude_text
from attnc.grammar.lines import ARITHMETIC, BITS, RELATIONS
from attnc.grammar.scope import is_extent
from attnc.grammar.spacing import brackets
from attnc.grammar.trivia import words_of
from attnc.ir.functions import BRACKETED, FUNCTIONS
from attnc.ir.types import ELEMENTS
from tests.support import EXAMPLES, ROOT

# Highlighting


class Part(NamedTuple):
    """A stretch of a text, and how it is to be shown."""

    start: int
    end: int
    scope: str


SCOPES = {
    **dict.fromkeys(("CASCADE", "DEF", "VAR"), "storage.type"),
    **dict.fromkeys(("WHERE", "IF", "ELSE", "REQUIRE", "RETURN"), "keyword.control"),
    **dict.fromkeys(("AND", "OR", "NOT"), "keyword.operator.word"),
    **dict.fromkeys(("IN", "EMPTY"), "keyword.other"),
    **dict.fromkeys(("INF", "TRUE", "FALSE", "ABSENT"), "constant.language"),
    **dict.fromkeys(ARITHMETIC, "keyword.operator.arithmetic"),
    **dict.fromkeys(RELATIONS, "keyword.operator.comparison"),
    **dict.fromkeys((*BITS, "TILDE"), "keyword.operator.bitwise"),
    "INT": "constant.numeric.integer",
    "FLOAT": "constant.numeric.float",
    "_ARROW": "keyword.operator.arrow",
    "EQUAL": "keyword.operator.assignment",
    "COMMA": "punctuation.separator.comma",
    "COLON": "punctuation.separator.colon",
    **dict.fromkeys(("LPAR", "RPAR"), "punctuation.section.parens"),
    **dict.fromkeys(("LSQB", "RSQB"), "punctuation.section.brackets"),
}
"""How each token is shown; names depend on where they stand."""


def expected(text: str) -> Iterator[Part]:
    """What the lexer and the logical lines say about a text."""
    lines = parser.logical(Report(Source("spec.attn", text)))
    words, _ = words_of(text, lines)
    for line, found in zip(lines, words, strict=True):
        closing = brackets(found)
        for i, token in enumerate(line.tokens):
            scope = SCOPES.get(token.type) or name_scope(line.tokens, i, closing)
            yield Part(token.start_pos or 0, token.end_pos or 0, f"{scope}.attn")
    for comment in re.finditer("#.*", text):
        yield Part(*comment.span(), "comment.line.number-sign.attn")


def name_scope(tokens: Sequence[Token], i: int, closing: dict[int, int]) -> str:
    """How a name is shown."""
    before = tokens[i - 1].type if i else ""
    values = [*(t.value for t in tokens), "", ""]
    behind = values[closing[i + 1] + 1] if values[i + 1] == "[" else ""
    match tokens[i].value:
        case _ if before in ("CASCADE", "DEF"):
            return "entity.name.function.definition"
        case _ if before == "COLON":
            return "support.type"
        case name if behind == "(":
            return "support.function.reduction" if name in BRACKETED else "entity.name.function"
        case name if values[i + 1] == "(":
            return "support.function" if name in FUNCTIONS else "entity.name.function"
        case _ if values[i + 1] == "[":
            return "variable.other.tensor"
        case "reverse" if before == "COMMA" and values[i + 1 : i + 3] == ["]", "("]:
            return "keyword.other"
        case name:
            return "constant.other.extent" if is_extent(name) else "variable.other"


def shown(text: str, grammar: dict[str, Any]) -> list[str]:
    """The innermost scope of each character, by the engine."""
    compiler = Compiler(Grammar.make(grammar), Grammars())
    state, scopes = compiler.root_state, []
    for i, line in enumerate(text.splitlines(keepends=True)):
        state, regions = highlight_line(compiler, state, line, first_line=i == 0)
        for region in regions:
            scopes += [region.scope[-1]] * (region.end - region.start)
    return scopes


def wrong(text: str, grammar: dict[str, Any]) -> list[str]:
    """Everything that is shown other than it should be."""
    scopes = shown(text, grammar)
    assert len(scopes) == len(text)
    return [
        f"{text[start:end]!r} at {start} is {sorted(set(scopes[start:end]))}, not {scope}"
        for start, end, scope in expected(text)
        if set(scopes[start:end]) != {scope}
    ]


GRAMMAR: dict[str, Any] = json.loads(
    resources.files("attnc.grammar").joinpath("attn.tmLanguage.json").read_text(encoding="utf-8")
)
ODDITIES = """\
# Every kind of word.
def inside[n](x, y) = ~x[n] if x[n] & 1 | 2 ^ 3 else absent
def sq(x) = x * x
cascade all_of_it(
    X[T], Y[T,3]: f8e4m3, I[T]: i32, R: int = 0x1F, flag: bool = true, scale: float = -1.5e-3
) -> O[T], P[T]: i32 empty -1, L[] empty -inf:
    require R // 2 == 15 and not (R <= 0b1_0 or R >= 0o17), R != 1_000
    E1 = T % 3 + 2 ** 2
    in_x = .5
    var s, reverse in T
    O[t]=inside[s](X[s],Y[s,0])+cumsum[t, reverse](X[t])-at[t = t - 1](X[t])   # all of it
    P[t] = i32(argtopk [t -> s] (X[t])) << 1 >> 1 where t > 1, t < 1e9, flag == false
    L[] = sum[t](X[I[t]]) / count[t](Y[t,I[t] + 1] > 0) + max(E1, sq(in_x)) * max[t](exp2(X[t]))
"""
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in EXAMPLES}
TEXTS |= {"prelude": prelude_text(), "oddities": ODDITIES}


@pytest.mark.parametrize("name", TEXTS)
def test_every_word_is_shown_as_what_it_is(name: str) -> None:
    assert wrong(TEXTS[name], GRAMMAR) == []


def test_what_is_no_word() -> None:
    assert set(shown("$ \u00e9 .", GRAMMAR)) == {"invalid.illegal.attn", "source.attn"}


def rules(grammar: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rules that match something, those inside of others too."""
    for rule in grammar["repository"].values():
        yield from rule.get("patterns", [rule])


COUNT = len(list(rules(GRAMMAR)))


@pytest.mark.parametrize("number", range(COUNT - 1))  # the last shows what is no word
def test_each_rule_is_needed(number: int) -> None:
    """Without one of its rules the grammar shows something wrong."""
    broken = copy.deepcopy(GRAMMAR)
    list(rules(broken))[number]["match"] = "(?!)"
    assert wrong(ODDITIES, broken)


def test_the_lists_are_those_of_the_compiler() -> None:
    def words(rule: str) -> set[str]:
        match = GRAMMAR["repository"][rule]["match"]
        return set(match.partition("(?:")[2].partition(")")[0].split("|"))

    assert words("reduction") == set(BRACKETED)
    assert words("function") == set(FUNCTIONS)
    assert set(ELEMENTS) >= {"f8e4m3", "i8"}  # any name behind a colon is shown as a type


def test_long_lines_take_no_long() -> None:
    """Brackets that never close, thousands of them, on one line."""
    assert len(shown("X[" * 2_000 + "\n", GRAMMAR)) == 4_001


def test_the_extension_holds_together() -> None:
    folder = ROOT / "editors" / "vscode"
    extension = json.loads((folder / "package.json").read_text(encoding="utf-8"))["contributes"]
    (language,), (grammar,) = extension["languages"], extension["grammars"]
    assert language["extensions"] == [".attn"]
    assert json.loads((folder / language["configuration"]).read_text(encoding="utf-8"))
    assert json.loads((folder / grammar["path"]).read_text(encoding="utf-8")) == GRAMMAR
    assert grammar["scopeName"] == GRAMMAR["scopeName"]
    assert not (folder / grammar["path"]).readlink().is_absolute()


# attnc check --json

SPEC = """\
cascade a(X[T], Y[T]) -> O[T]:
    O[t] = X[t]
cascade b(X[T]) -> O[T]:
    O[t] = oops + "\u00e9\U0001f600" + oops
    O[t] = X[t]
cascade b(X[T]) -> O[T]:
    O[t] =
"""


class Given(Protocol):
    """Checks a spec given on standard input: the exit status, and what was printed."""

    def __call__(self, data: bytes, *options: str) -> tuple[int, Any]: ...


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Given:
    def run(data: bytes, *options: str) -> tuple[int, Any]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        status = main(["check", "--json", *options, "-"])
        out, err = capsys.readouterr()
        assert bool(out) != bool(err)
        return status, json.loads(out) if out else err

    return run


def test_valid(check: Given) -> None:
    status, found = check(SPEC[: SPEC.index("cascade b")].encode(), "--name", "s p.attn")
    assert status == 0
    assert found == {
        "file": "s p.attn",
        "valid": True,
        "cascades": ["a"],
        "diagnostics": [
            {
                "severity": "warning",
                "message": "the input 'Y' is never read",
                "file": "s p.attn",
                "line": 1,
                "column": 17,
                "end_line": 1,
                "end_column": 21,
                "hints": [],
                "notes": [],
            }
        ],
    }


def test_the_document_of_the_docs(check: Given) -> None:
    page = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
    document = page.partition("```json\n")[2].partition("```")[0]
    spec = b"cascade id(X[T]) -> O[T]:\n    O[t] = Y[t]\n"
    assert check(spec, "--name", "spec.attn") == (1, json.loads(document))


def test_errors_and_warnings_in_order(check: Given) -> None:
    """Also those of cascades beside one that is broken."""
    status, found = check(b"\xef\xbb\xbf" + SPEC.replace("\n", "\r\n").encode())
    assert (status, found["file"], found["valid"]) == (1, "<stdin>", False)
    assert found["cascades"] == ["a"]
    places = [
        (d["line"], d["column"], d["end_line"], d["end_column"]) for d in found["diagnostics"]
    ]
    assert places == sorted(places)
    assert [d["severity"] for d in found["diagnostics"]].count("warning") == 1
    lines = SPEC.split("\n")
    for item in found["diagnostics"]:
        assert item["line"] == item["end_line"]
        assert 1 <= item["column"] < item["end_column"] <= len(lines[item["line"] - 1]) + 2
    by_message = {d["message"]: d for d in found["diagnostics"]}
    unknown = by_message["unexpected characters '\"\u00e9\U0001f600\"'"]
    assert (unknown["column"], unknown["end_column"]) == (19, 23)  # in characters
    twice = by_message["two cascades are called 'b'"]
    assert [(n["message"], n["line"], n["column"]) for n in twice["notes"]] == [("the other", 3, 9)]
    ends = by_message["the line ends too early"]
    assert (ends["line"], ends["column"], ends["end_column"]) == (7, 11, 12)
    assert ends["hints"] == ["expected an expression"]


def test_places_are_those_of_the_messages(check: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """Where `attnc check` names a line and a column, the document does."""
    for path in sorted((ROOT / "tests" / "errors").glob("*.attn")):
        status, found = check(path.read_bytes())
        told = main(["check", str(path)])
        assert status == told
        err = capsys.readouterr().err
        places = re.findall(r"\.attn:(\d+):(\d+): error: (.*)", err)
        assert places == [
            (str(d["line"]), str(d["column"]), d["message"])
            for d in found["diagnostics"]
            if d["severity"] == "error"
        ]


def test_what_is_no_text(check: Given) -> None:
    status, found = check(b"cascade \xff", "--name", "\u00fc.attn")
    assert status == 1
    (item,) = found["diagnostics"]
    assert item["message"] == "this is not UTF-8 text: byte 0xff"
    assert (item["file"], item["line"], item["column"]) == ("\u00fc.attn", 1, 9)
    assert (found["valid"], found["cascades"]) == (False, [])


def test_one_cascade(check: Given) -> None:
    valid = SPEC[: SPEC.index("cascade b")].encode()
    assert check(valid, "--cascade", "a")[0] == 0
    assert check(valid, "--cascade", "b") == (
        2,
        "attnc: error: no cascade is called 'b'; the file has a\n",
    )


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", str(tmp_path / "none.attn")]) == 2
    assert main(["check", "--json", "--name", "x.attn", str(tmp_path / "none.attn")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("attnc: error: --name is for standard input\n")
