"""What is wrong with a decorated function, shown in the user's own file.

Each file of `decorated/` is one faulty module as somebody might write it. Its golden holds what is
raised or warned when it is imported.
"""

from __future__ import annotations

import ast
import runpy
import warnings
from pathlib import Path

import pytest

import attnc
from attnc.errors import Source, SpecError, printable
from attnc.python.places import _offsets
from tests import golden
from tests.support import ROOT

FOLDER = Path(__file__).parent / "decorated"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.py"))]


def shown(path: Path) -> str:
    """What the user sees on importing a module, with the file's name alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", attnc.SpecWarning)
        try:
            runpy.run_path(str(path))
            text = "".join(f"{w.message}\n" for w in caught)
            assert all(w.filename == str(path) for w in caught)
        except SpecError as error:
            text = f"{error}\n"
    return text.replace(f"{path.parent}/", "")


@pytest.mark.parametrize("name", NAMES)
def test_message(name: str, renew: bool) -> None:
    text = shown(FOLDER / f"{name}.py")
    assert text
    golden.compare("decorated", name, text, renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("decorated", NAMES)
    assert golden.orphans("decorated", NAMES) == []


def test_every_fault_has_a_case() -> None:
    """Each message that is raised for a function is in some golden."""
    messages: list[str] = []
    for module in ("annotations", "docstring", "function"):
        tree = ast.parse((ROOT / "attnc" / "python" / f"{module}.py").read_text("utf-8"))
        found = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
        messages += [value for value in found if isinstance(value, str)]
    goldens = "".join(p.read_text("utf-8") for p in (golden.FOLDER / "decorated").iterdir())
    texts = [m for m in messages if len(m.split()) > 3 and "\n" not in m]
    texts = [m for m in texts if not m.endswith(".") and not m.isupper()]
    assert len(texts) > 20
    missing = [m for m in texts if m.strip() not in goldens]
    assert missing == []


LITERALS = [
    r'"plain"',
    r'''"""two
    lines"""''',
    r"""'it\'s \t \x41\101\u00e9\N{BULLET}\
 joined'""",
    r'''r"raw \n stays"''',
    "u'\\\\'",
]


@pytest.mark.parametrize("literal", LITERALS)
def test_offsets_lead_back(literal: str) -> None:
    """Each character of a literal's value is found where it, or its escape, is written."""
    value = ast.literal_eval(literal)
    offsets = _offsets(literal, value)
    assert offsets is not None
    assert len(offsets) == len(value) + 1
    assert offsets == sorted(offsets)
    for character, at in zip(value, offsets, strict=False):
        assert literal[at] in (character, "\\")


def test_offsets_of_a_docstring_without_its_indent() -> None:
    """Later versions of Python take the indent off docstrings when compiling."""
    literal = '"""first\n    second\n      third\n    """'
    offsets = _offsets(literal, "first\nsecond\n  third\n")
    assert offsets is not None
    assert literal[offsets["first\nsecond\n  third\n".index("third")] :].startswith("third")
    assert _offsets(literal, "something else") is None


def test_without_a_file_the_docstring_is_shown() -> None:
    """A function made where there is no file is reported in its docstring, or the spec of it."""
    made: dict[str, object] = {"attnc": attnc}
    text = 'def f(X: "N") -> "N":\n    """\n    return X[n] * {}\n    """\nattnc.kernel(f)'
    with pytest.raises(SpecError) as error:
        exec(text.format("oops"), made)
    assert str(error.value).startswith("<f>:2:19: error: no value is called 'oops'")
    with pytest.raises(SpecError) as error:
        exec(text.format("(2"), made)
    assert str(error.value).startswith("<docstring of f>:2:19: error: '(' is never closed")
    with pytest.raises(SpecError) as error:
        exec(text.format("2").replace('"N":', "int:"), made)
    assert str(error.value).startswith("<function f>:1:5: error: the result has no ranks")


def test_source_positions() -> None:
    source = Source("x", "\ufeffab\ncd\n")
    assert source.start(2) == 4
    assert source.position(source.start(2)) == (2, 1)
    assert printable("a\x1b") == "a\\x1b"
