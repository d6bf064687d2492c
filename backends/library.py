"""The helpers of a file as text: those that an emitted module uses, and those that they use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

WORD: Final = re.compile(r"\b[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class _Helper:
    text: str
    uses: frozenset[str]
    """The words in it: names of helpers are in no comment without need."""


@cache
def _helpers(package: str, file: str) -> dict[str, _Helper]:
    source = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        first = node.lineno
        match node:
            case ast.FunctionDef(name=name, decorator_list=decorators):
                first = min([first, *(d.lineno for d in decorators)])
            case ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case _:
                continue
        found[name] = _helper(name, "\n".join(lines[first - 1 : node.end_lineno]))
    return found


HELPER: Final = re.compile(r"\b_[a-z]\w*|\b_[A-Z]+\b")
"""Names of helpers; none of a spec begins with an underscore."""

DEFINED: Final = re.compile(r"^(?:def )?(\w+)", re.MULTILINE)
"""The name of a helper, where it is defined."""


def helpers(package: str, file: str, text: str) -> tuple[str, ...]:
    """The texts of the helpers that `text` needs, in the order of a file of a package."""
    known = _helpers(package, file)
    wanted = _wanted(known, HELPER.findall(text)) - {"_KERNEL"}
    return tuple(h.text for name, h in known.items() if name in wanted)


def needed(found: Iterable[str], *texts: str) -> tuple[str, ...]:
    """Of some helpers those that texts need, and those that these need, in their order."""
    known = {name: _helper(name, h) for h in found for name in DEFINED.findall(h)[:1]}
    wanted = _wanted(known, (word for text in texts for word in WORD.findall(text)))
    return tuple(h.text for name, h in known.items() if name in wanted)


def _wanted(known: Mapping[str, _Helper], words: Iterable[str]) -> set[str]:
    """The helpers that are among some words, and those that these use."""
    wanted: set[str] = set()
    stack = list(words)
    while stack:
        name = stack.pop()
        if name in known and name not in wanted:
            wanted.add(name)
            stack.extend(known[name].uses)
    return wanted


def _helper(name: str, text: str) -> _Helper:
    """A helper, from its text."""
    return _Helper(text, frozenset(WORD.findall(text)) - {name})
