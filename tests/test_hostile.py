"""Texts made to hurt, through the command line: an error with a place or a kernel, in bounds.

Each is a process of its own, whose time and memory are measured, and in which nothing is executed
but attnc: an audit hook listens while the command runs.
"""

from __future__ import annotations

import builtins
import keyword
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from attnc.grammar.check import prelude
from attnc.grammar.scope import RESERVED
from attnc.ir.functions import BRACKETED, FUNCTIONS
from attnc.ir.types import ELEMENTS
from tests import examples
from tests.hostile import BYTES, HOSTILE, LARGE, LAWFUL, reported
from tests.measured import Measured, measured
from tests.processes import elsewhere
from tests.support import load, only

SECONDS: Final = 2.0
SECONDS_AT_MOST: Final = 15.0
"""For a text that is as large as the limits let pass."""
MIB: Final = 512
LOCATED: Final = re.compile(r"^(?P<name>.*?):\d+:\d+: (error|warning): ")


def run(folder: Path, *arguments: str) -> Measured:
    """A command in a process of its own."""
    found: Measured = elsewhere(measured, list(arguments), str(folder), root=True)
    assert found.heard == ()
    assert found.mib < MIB
    assert all(c.isprintable() or c == "\n" for c in found.out + found.err)
    assert "Traceback" not in found.err
    return found


def is_error(found: Measured, path: str = "spec.attn") -> bool:
    """Whether a command told what is wrong, and where."""
    first = LOCATED.match(found.err.replace("\\n", " "))
    assert found.status == 1, found
    assert found.out == ""
    assert re.search(r"^\d+ errors?$", found.err, re.MULTILINE), found.err[-300:]
    return first is not None and first["name"] == path


def module(folder: Path) -> str:
    """The module that was written; Python takes it."""
    text = (folder / "out.py").read_text(encoding="utf-8")
    compile(text, "out.py", "exec")
    return text


def compiled(folder: Path, spec: str | bytes, name: str = "spec.attn") -> Measured:
    """`attnc compile` on a text in a file."""
    data = spec if isinstance(spec, bytes) else spec.encode("utf-8", "surrogatepass")
    (folder / name).write_bytes(data)
    return run(folder, "compile", name, "-o", "out.py")


@pytest.mark.parametrize("name", LAWFUL)
def test_lawful(tmp_path: Path, name: str) -> None:
    found = compiled(tmp_path, LAWFUL[name] if name != "cascades" else LAWFUL["terms"])
    assert found.status == 0, found.err
    assert found.seconds < SECONDS
    module(tmp_path)
    assert reported(LAWFUL[name]).errors == []


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(tmp_path: Path, name: str) -> None:
    found = compiled(tmp_path, HOSTILE[name])
    assert is_error(found)
    assert found.seconds < SECONDS
    assert not (tmp_path / "out.py").exists()
    assert reported(HOSTILE[name]).errors


@pytest.mark.parametrize("name", BYTES)
def test_what_is_no_text(tmp_path: Path, name: str) -> None:
    found = compiled(tmp_path, BYTES[name])
    assert is_error(found)
    assert found.seconds < SECONDS


@pytest.mark.parametrize("name", LARGE)
def test_as_large_as_may_be(tmp_path: Path, name: str) -> None:
    found = compiled(tmp_path, LARGE[name])
    assert found.status == 0, found.err[:500]
    assert found.seconds < SECONDS_AT_MOST
    module(tmp_path)


# Names of files and in options

FILES: Final = (
    '"""; import os #.attn',
    "'''.attn",
    "new\nline.attn",
    "%s{}.attn",
    "{0.__class__}%n.attn",
    "end\\",
    "\x1b[31mred\x1b]0;title\x07.attn",
    "\u202eturned.attn",
    "$(id) `id`; exit.attn",
    "-o",
    "x" * 255,
    os.fsdecode(b"\xff\xfe.attn"),
    "[bold]markup[bold].attn",
)


@pytest.mark.parametrize("name", FILES)
def test_names_of_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HOSTILE["underscores"].encode())
    assert run(tmp_path, "check", "--", name).status == 1
    (tmp_path / name).write_bytes(LAWFUL["terms"].encode())
    assert run(tmp_path, "check", "--", name).status == 0
    for output in (name, f"{name}.py"):
        for option in (f"--output={output}", f"-o{output}"):
            found = run(tmp_path, "compile", option, "--", name)
            assert found.status == (0 if len(output) < 256 and output != name else 2)
            if found.status == 0:
                load((tmp_path / output).read_text(), "a")
    assert run(tmp_path, "check", "--", f"no {name}"[:255]).status == 2


OPTIONS: Final = (
    ("--static", "y=" + "9" * 100_000),
    ("--static", "y=1e999999"),
    ("--static", "y=__import__('os')"),
    ("--static", "y=\x1b[31m"),
    ("--static", "\x1b[31m=1"),
    ("--static", "y=\u0661"),
    ("--static", "y=0x" + "f" * 100_000),
    ("--cascade", "\x1b[31m\n"),
    ("--cascade", '"""'),
    ("--dtype", "\u202ef32"),
    ("--backend", "os; abort"),
    ("--output", "no\x1b[31mwhere/out.py"),
)


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_values_of_options(tmp_path: Path, option: str, value: str) -> None:
    (tmp_path / "spec.attn").write_text(LAWFUL["terms"])
    found = run(tmp_path, "compile", "spec.attn", option, value)
    if value == "y=\u0661":  # a digit, to Python
        assert found.status in (0, 2)
        return
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith("attnc: error: ")
    assert len(found.err) < 1_000_000
    assert found.seconds < SECONDS


# Names that mean something to Python, to libraries and to what is emitted

NASTY: Final = [
    *(w for w in (*keyword.kwlist, *keyword.softkwlist) if w not in RESERVED and w[0] != "_"),
    *"np tl triton torch self cls print exec eval open globals vars type int len map".split(),
    *"t_1 out args kwargs Z_here dtype shape ndarray errstate sizes float take name max_".split(),
    *(w for w in dir(builtins) if w[0] != "_"),
]
WORD: Final = re.compile(r"#.*|(?<![\w.])[A-Za-z][A-Za-z0-9_]*")


def renamed(text: str, shift: int) -> tuple[str, dict[str, str]]:
    """An example in which every name of its own is one that hurts, and the names."""
    kept = {*RESERVED, *FUNCTIONS, *BRACKETED, *ELEMENTS, *prelude(), "int", "float", "reverse"}
    kept |= set(re.findall(r"^def\s+(\w+)", text, re.MULTILINE))
    nasty = [w for w in NASTY if w not in kept and w.lower() not in kept and w[0] != "_"]
    nasty = nasty[shift % len(nasty) :] + nasty[: shift % len(nasty)]
    lower = iter(dict.fromkeys(w.lower() for w in nasty))
    new: dict[str, str] = {}
    words = dict.fromkeys(w for w in WORD.findall(text) if w[0] != "#" and w not in kept)
    for word in words:
        if word.upper() not in new:
            new[word.upper()] = next(lower).upper()
        new[word] = new[word.upper()].lower() if word != word.upper() else new[word.upper()]
    return WORD.sub(lambda m: new.get(m[0], m[0]) if m[0][0] != "#" else "#", text), new


def first_case(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Inputs and parameters of an example, as in its reference."""
    path = examples.ROOT / "tests" / "references" / f"{name}.py"
    _, inputs, parameters = next(iter(examples.load(path).cases(np.random.default_rng(7))))
    return inputs, parameters


@pytest.mark.parametrize("name", examples.NAMES)
def test_names_mean_nothing(name: str) -> None:
    text, new = renamed(examples.text(name), examples.NAMES.index(name) * 7)
    plain, other = only(examples.text(name)), only(text)
    inputs, parameters = first_case(name)
    arrays = [inputs[i.name] for i in plain.facts.cascade.inputs]
    want = plain(*arrays, **parameters)
    found = other(*arrays, **{new[k]: v for k, v in parameters.items()})
    assert {i.name for i in other.facts.cascade.inputs} <= set(new.values())
    np.testing.assert_equal(found, want)


# What the tests would see


def test_the_hook_hears(tmp_path: Path) -> None:
    found = elsewhere(_executes, str(tmp_path), root=True)
    assert any("compile" in h for h in found)
    assert any("exec" in h for h in found)


def _executes(folder: str) -> tuple[str, ...]:
    from attnc import cli

    proper = cli.main

    def main(arguments: list[str]) -> int:
        if arguments == ["hurt"]:
            exec("x = 1")
            return 0
        return proper(arguments)

    cli.main = main  # type: ignore[assignment]
    return measured(["hurt"], folder).heard


def spared(found: Mapping[str, str]) -> Iterator[str]:
    """Names of an example that stayed as they were."""
    return (k for k, v in found.items() if k == v)


def test_every_name_is_another() -> None:
    for name in examples.NAMES:
        _, new = renamed(examples.text(name), 0)
        assert len(new) >= 4
        assert list(spared(new)) == []
