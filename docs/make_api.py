"""Writes the reference in `docs/api/` from the signatures and docstrings of what is public.

python docs/make_api.py            writes the pages
python docs/make_api.py --check    exit status 1 if one of them is not current
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, get_overloads

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # so that it runs from any folder, installed or not

import attnc  # noqa: E402
import attnc.errors  # noqa: E402
import attnc.integrations.transformers  # noqa: E402
import attnc.python.explained  # noqa: E402
import attnc.python.signature  # noqa: E402
from attnc import cli  # noqa: E402

FOLDER = ROOT / "docs" / "api"
PLACES: Final[dict[ModuleType, Sequence[str]]] = {
    attnc: [n for n in attnc.__all__ if not n.startswith("_")],
    attnc.integrations.transformers: attnc.integrations.transformers.__all__,
    attnc.errors: ["Source", "Span", "Note"],
    attnc.python.explained: ["Explanation"],
    attnc.python.signature: ["Signature"],
}
"""The public names of each module; those of the last three are what the others give."""

SHOWN: Final = ("__call__",)
"""Methods that are shown although their names begin with an underscore."""


def python_page() -> str:
    """Every public name, by module."""
    lines = [
        "# Python",
        "",
        "Made by `python docs/make_api.py`. How it is used: [Kernels in Python](../python.md).",
    ]
    for module, names in PLACES.items():
        lines += ["", f"## `{module.__name__}`"]
        for name in sorted(names, key=str.lower):
            lines += entry(name, getattr(module, name))
    return "\n".join(lines) + "\n"


def entry(name: str, item: Any) -> Iterator[str]:
    """One class or function."""
    kind = "class " if isinstance(item, type) else ""
    yield from ("", f"### {kind}`{name}`", "")
    if isinstance(item, type):
        yield from described(item)
        yield from fields(item)
        for member, value in sorted(vars(item).items()):
            if member.startswith("_") and member not in SHOWN:
                continue
            if isinstance(value, FunctionType):
                yield from ("", f"#### `{name}.{member}`", "", *signature(value))
                yield from described(value)
            elif isinstance(value, property):
                yield from ("", f"#### `{name}.{member}`", "", *described(value))
    else:
        yield from signature(item)
        yield from described(item)


def signature(function: Any) -> Iterator[str]:
    """How a function is called, in each of its forms."""
    yield "```text"
    for form in get_overloads(function) or [function]:
        yield from call(form)
    yield from ("```", "")


def call(function: Any) -> list[str]:
    """One form of a call, one argument a line where that is long."""
    found = inspect.signature(function)
    arguments, after_star = [], False
    for item in found.parameters.values():
        if item.kind is item.KEYWORD_ONLY and not after_star:
            arguments.append("*")
            after_star = True
        after_star = after_star or item.kind is item.VAR_POSITIONAL
        stars = {item.VAR_POSITIONAL: "*", item.VAR_KEYWORD: "**"}.get(item.kind, "")
        text = f"{stars}{item.name}"
        if item.annotation is not item.empty:
            text += f": {item.annotation}"
        if item.default is not item.empty:
            text += f" = {'...' if item.default is ... else repr(item.default)}"
        arguments.append(text)
    line = f"{function.__name__}({', '.join(arguments)}) -> {found.return_annotation}"
    if len(line) <= 90:
        return [line]
    return [
        f"{function.__name__}(",
        *(f"    {a}," for a in arguments),
        f") -> {found.return_annotation}",
    ]


def fields(item: type) -> Iterator[str]:
    """The fields of a record."""
    record = dataclasses.is_dataclass(item) or issubclass(item, tuple)
    shown = {n: t for n, t in item.__annotations__.items() if n[0] != "_"} if record else {}
    if shown:
        yield from ("", *(f"- `{name}: {kind}`" for name, kind in shown.items()))


def described(item: Any) -> Iterator[str]:
    """The docstring; every public thing has one."""
    text = inspect.getdoc(item)
    if not text:
        raise ValueError(f"{item} has no docstring")
    yield from (line.rstrip() for line in indented_code(text).splitlines())


def indented_code(text: str) -> str:
    """A docstring whose examples are fenced."""
    parts = re.split(r"\n\n((?:    .*\n?|\n)+)", text + "\n")
    found = parts[0]
    for code, after in zip(parts[1::2], parts[2::2], strict=True):
        found += f"\n\n```text\n{textwrap.dedent(code).strip()}\n```\n\n{after.lstrip()}"
    return found.strip()


def command_page() -> str:
    """What each command says of itself."""
    lines = ["# Command line", "", "Made by `python docs/make_api.py` from `attnc COMMAND --help`."]
    for name in cli.COMMANDS:
        text = subprocess.run(
            [sys.executable, "-m", "attnc", name, "--help"],
            env={**os.environ, "COLUMNS": "90", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        lines += ["", f"## `attnc {name}`", "", "```text", *text.rstrip().splitlines(), "```"]
    lines += [
        "",
        "Exit status 0: done. 1: a spec is not valid, or `--check` found something to do. 2: wrong",
        "usage, or a file that cannot be read or written. 130: stopped by Ctrl-C.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    check = parser.parse_args().check
    stale = []
    for name, text in {"python.md": python_page(), "command_line.md": command_page()}.items():
        path = FOLDER / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    if stale:
        print(f"stale: {', '.join(stale)}; run: python docs/make_api.py", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
