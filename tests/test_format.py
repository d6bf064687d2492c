"""The standard layout: words and comments stay, it is stable, and it looks as documented."""

from __future__ import annotations

import io
import random
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lark import Token

import attnc
from attnc.cli import main
from attnc.errors import NOWHERE, Report, Source, SpecError
from attnc.grammar import breaks, lines, parser, spacing, syntax
from attnc.grammar import format as layout
from attnc.grammar.check import check, prelude_text
from tests.hostile import HOSTILE, LAWFUL
from tests.oracle.cascades import cascade_from
from tests.support import EXAMPLES, ROOT, build

TESTS = Path(__file__).parent
SPECS = [
    *EXAMPLES,
    ROOT / "grammar" / "prelude.attn",
    *sorted((TESTS / "reader").glob("*.attn")),
    *sorted((TESTS / "errors").glob("*.attn")),
]


def text_of(path: Path) -> str:
    """The text of a spec as it is, line ends included."""
    return path.read_bytes().decode("utf-8")


def parsed(text: str) -> tuple[syntax.File, list[list[tuple[str, str]]]] | None:
    """What a text parses to, and its words line by line; None if it does not parse."""
    report = Report(Source("spec.attn", text))
    file = parser.parse(report, prelude=True)
    if report.count:
        return None
    definitions = tuple(replace(d, span=NOWHERE) for d in file.definitions)
    found = [[(t.type, str(t)) for t in line.tokens] for line in parser.logical(report)]
    return replace(file, definitions=definitions), found


def comments(text: str) -> list[str]:
    """The comments of a text; a `#` begins nothing else."""
    return [line.partition("#")[2].rstrip(" \t\r") for line in text.split("\n") if "#" in line]


def stays(text: str) -> str:
    """The layout of a text that parses; fails if it changes more than the layout."""
    result = attnc.format(text)
    assert parsed(result) == parsed(text)
    assert comments(result) == comments(text)
    assert attnc.format(result) == result
    assert not re.search(r"[ \t]\n|\r|\ufeff|\t(?!.*#)|\n\n\n\n", re.sub("#.*", "#", result))
    assert result == "" or re.fullmatch(r"(?=\S)(?s:.*)[^\n]\n", result)
    return result


# Nothing but the layout changes


@pytest.mark.parametrize("path", SPECS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_specs(path: Path) -> None:
    text = text_of(path)
    if parsed(text) is None:
        with pytest.raises(SpecError):
            attnc.format(text)
    else:
        stays(text)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_kernels_stay(path: Path) -> None:
    text = text_of(path)
    if "cascade" in text and not checked(text).errors:
        laid_out = build(attnc.format(text))
        assert {n: k.text for n, k in laid_out.items()} == {
            n: k.text for n, k in build(text).items()
        }


def checked(text: str) -> Report:
    """What the checker finds in a text."""
    report = Report(Source("spec.attn", text))
    check(report)
    return report


def relaid(text: str, rng: random.Random, most: int = 3) -> str:
    """The words of a text with other blanks, line breaks and comments, wherever those may stand."""
    report = Report(Source("spec.attn", text))
    result = []
    for line in parser.logical(report):
        depth = 0
        result.append(any_lines(rng, most))
        for i, token in enumerate(line.tokens):
            before = line.tokens[i - 1] if i else None
            if before is not None:
                result.append(any_gap(before, token, depth, rng))
            result.append(token.value)
            depth += (token.value in "([") - (token.value in ")]")
        result.append(rng.choice(("\n", "  # behind\n", "\r\n", " \t\n", "#\n")))
    result.append(any_lines(rng, most))
    return "".join(result)


def any_lines(rng: random.Random, most: int) -> str:
    """Blank lines, comments and indentation above a statement."""
    found = [
        rng.choice(("", "", "# above", "    # a: [b", "  #(")) for _ in range(rng.randint(0, most))
    ]
    return "".join(f"{line}\n" for line in found) + " " * rng.randint(0, 6)


def any_gap(before: Token, token: Token, depth: int, rng: random.Random) -> str:
    """What may stand between two words."""
    joins = before.type == "COMMA" or token.type in lines.JOINS_PREVIOUS
    words = before.value[-1].isalnum() and (token.value[0].isalnum() or token.value[0] == ".")
    blank = rng.choice((" ", "  ", "\t") if words else ("", "", " ", " ", "   "))
    typed = before.type == "COLON"  # `int = 4` at the beginning of a line looks like a binding
    if (depth or joins) and not typed and rng.random() < 0.25:
        comment = rng.choice(("", "", " # behind", "# a, b", "#"))
        between = rng.choice(("", "", "\n", "  # between\n", "\n#\n\n"))
        return f"{blank}{comment}\n{between}{' ' * rng.randint(0, 9)}"
    return blank


def equal_words(text: str, other: str) -> bool:
    """Whether two texts have the same words: blanks may be needed between some."""
    one, two = parsed(text), parsed(other)
    return one is not None and two is not None and one[1] == two[1]


@pytest.mark.parametrize("path", SPECS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_relaid(path: Path) -> None:
    """Whatever the layout was, comments at any lawful place included."""
    text = text_of(path)
    if parsed(text) is None:
        return
    rng = random.Random(path.stem)
    for _ in range(2):
        other = relaid(text, rng)
        assert equal_words(text, other)
        stays(other)


@pytest.mark.parametrize("seed", range(40))
def test_random_cascades(seed: int) -> None:
    text = cascade_from(np.random.default_rng(seed))
    stays(text)
    other = relaid(text, random.Random(seed))
    assert equal_words(text, other)
    stays(other)


def joined(text: str) -> str:
    """A text with each statement on one line and without comments."""
    report = Report(Source("spec.attn", text))
    found = [" ".join(t.value for t in line.tokens) for line in parser.logical(report)]
    return "\n".join(found)


def plain_lines(text: str) -> list[str]:
    """The lines of a text without comments, alignment and blank lines."""
    found = [re.sub(r" +=", " =", line.partition("#")[0].rstrip()) for line in text.split("\n")]
    return [line for line in found if line]


@pytest.mark.parametrize("seed", range(30))
def test_a_line_for_a_statement_that_fits(seed: int) -> None:
    """Statements written on one line break only where they must."""
    text = joined(cascade_from(np.random.default_rng(seed)))
    for line in plain_lines(stays(text)):
        assert len(line) <= breaks.WIDTH or not re.search(r"[(,] ", line)


# Texts made to hurt


@pytest.mark.parametrize("name", LAWFUL)
def test_large(name: str) -> None:
    text = LAWFUL[name]
    result = timed(text)
    assert parsed(result) == parsed(text)
    assert len(result) < 2 * len(text) + 10_000


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    """What does not parse is refused, whatever it is; what only does not check is laid out."""
    text = HOSTILE[name]
    try:
        result = timed(text)
    except SpecError:
        return
    assert parsed(result) == parsed(text)


def timed(text: str) -> str:
    """The layout of a text, which takes no long."""
    began = time.process_time()
    try:
        return attnc.format(text)
    finally:
        assert time.process_time() - began < 4.0


def nested(depth: int) -> str:
    """A text of nested parentheses, each on a line of its own."""
    opened = "(\n" * depth
    return f"cascade a(X[T]) -> O[T]:\n    O[t] = {opened}X[t]{')' * depth}\n"


def test_the_result_grows_with_the_text() -> None:
    """Nor does the time: twice the nesting takes about twice of both."""
    sizes = [len(timed(nested(depth))) for depth in (2_000, 4_000, 8_000)]
    assert sizes[1] < 2.2 * sizes[0]
    assert sizes[2] < 2.2 * sizes[1]


# What it looks like


def test_looks() -> None:
    before, after = (text_of(TESTS / "layout" / f"{name}.attn") for name in ("before", "after"))
    assert stays(before) == after


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_gallery_is_laid_out(path: Path) -> None:
    """`attnc fmt examples` does it."""
    text = text_of(path)
    assert attnc.format(text) == text
    assert max(len(line.partition("#")[0].rstrip()) for line in text.split("\n")) <= breaks.WIDTH


def test_the_prelude_is_laid_out() -> None:
    assert attnc.format(prelude_text()) == prelude_text()


# Seeded faults: each is seen by a test above


@pytest.mark.parametrize("fault", ["a comment lost", "words run together", "a break of no sense"])
def test_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match fault:
        case "a comment lost":
            monkeypatch.setattr(layout, "_comments_in_file", lambda *_: iter(()))
        case "words run together":
            monkeypatch.setattr(spacing, "_plain", lambda *_: "")
        case _:
            monkeypatch.setattr(breaks, "STRENGTH", {**breaks.STRENGTH, "NAME": 0})
    with pytest.raises((AssertionError, SpecError)):
        stays(text_of(TESTS / "layout" / "before.attn"))


# The command


def fmt(*arguments: str | Path) -> int:
    """Runs `attnc fmt`; the exit status."""
    return main(["fmt", *map(str, arguments)])


UGLY = "\ufeffcascade a(X[T])->O[T]:\r\n O[t]=X[t]\r\n"
NEAT = "cascade a(X[T]) -> O[T]:\n    O[t] = X[t]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with specs and others, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "ugly.attn": UGLY,
        "inner/neat.attn": NEAT,
        "inner/ugly too.attn": UGLY,
        "inner/other.txt": UGLY,
        ".hidden/ugly.attn": UGLY,
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(text.encode())
    return tmp_path


def test_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fmt("--check", ".") == 1
    assert capsys.readouterr().out == (
        "ugly.attn: would be formatted\ninner/ugly too.attn: would be formatted\n"
        "2 files would be formatted, 1 file unchanged\n"
    )
    assert Path("ugly.attn").read_bytes() == UGLY.encode()
    assert fmt(".", "ugly.attn", "inner/neat.attn") == 0
    assert "2 files formatted, 1 file unchanged\n" in capsys.readouterr().out
    assert Path("ugly.attn").read_bytes() == NEAT.encode()
    assert Path("inner/ugly too.attn").read_bytes() == NEAT.encode()
    assert Path("inner/other.txt").read_bytes() == UGLY.encode()
    assert Path(".hidden/ugly.attn").read_bytes() == UGLY.encode()
    assert fmt("--check", ".") == 0
    assert capsys.readouterr().out == "3 files unchanged\n"
    assert fmt(folder / ".hidden" / "ugly.attn") == 0
    Path("empty").mkdir()
    assert fmt("empty") == 0
    assert capsys.readouterr().out.endswith("no .attn files\n")


def test_what_is_fine_is_not_written(folder: Path) -> None:
    before = Path("inner/neat.attn").stat()
    assert fmt("inner/neat.attn") == 0
    assert Path("inner/neat.attn").stat() == before


def test_one_failure_stops_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a_broken.attn").write_text("cascade b(X[T]) -> O[T]:\n    O[t] = * X[t]\n")
    Path("b_broken.attn").write_bytes(b"\xff")
    assert fmt(".") == 1
    out, err = capsys.readouterr()
    assert "a_broken.attn:2:12: error: unexpected '*'" in err
    assert "b_broken.attn:1:1: error: this is not UTF-8 text" in err
    assert out.endswith("2 files formatted, 1 file unchanged, 2 files failed\n")
    assert Path("a_broken.attn").read_text().endswith("= * X[t]\n")
    assert fmt("missing.attn", "ugly.attn", "a_broken.attn") == 2
    out, err = capsys.readouterr()
    assert err.startswith("attnc: error: No such file or directory: missing.attn\n")
    assert out == "1 file unchanged, 2 files failed\n"


def test_a_difference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fmt("--diff", "ugly.attn") == 1
    out = capsys.readouterr().out
    assert out.startswith("--- ugly.attn\n+++ ugly.attn (formatted)\n@@ ")
    assert "\n+    O[t] = X[t]\n" in out
    assert Path("ugly.attn").read_bytes() == UGLY.encode()
    assert fmt("--diff", "inner/neat.attn") == 0
    assert capsys.readouterr() == ("", "")


def test_standard_input(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(text: str, *arguments: str) -> int:
        stream = io.TextIOWrapper(io.BytesIO(text.encode()))
        monkeypatch.setattr("sys.stdin", stream)
        return fmt(*arguments, "-")

    assert given(UGLY) == 0
    assert capsys.readouterr() == (NEAT, "")
    assert given(UGLY, "--check") == 1
    assert capsys.readouterr().out == "<stdin>: would be formatted\n"
    assert given(NEAT, "--check", "--name", "x.attn") == 0
    assert capsys.readouterr().out == "x.attn: unchanged\n"
    assert given(UGLY, "--diff", "--name", "x.attn") == 1
    assert capsys.readouterr().out.startswith("--- x.attn\n")
    assert given("cascade", "--name", "x.attn") == 1
    assert "x.attn:1:" in capsys.readouterr().err
    assert given(UGLY, "ugly.attn") == 2
    assert fmt("ugly.attn", "--name", "x.attn") == 2


def test_from_python() -> None:
    assert attnc.format(UGLY) == NEAT
    assert attnc.format("") == ""
    assert attnc.format("# nothing yet") == "# nothing yet\n"
    with pytest.raises(SpecError, match=r"^here.attn:1:1: error: "):
        attnc.format("cascade", name="here.attn")
