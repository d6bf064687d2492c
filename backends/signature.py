"""How an emitted function is called: tensors by position, parameters by keyword."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from attnc.backends.names import Names
from attnc.ir import printer
from attnc.ir.cascade import Constant, Input, Output, Parameter

WIDTH: Final = printer.WIDTH - len(printer.INDENT)
FAR: Final = 2**40
"""Parameters that are `bounded` in a plan are taken for the nearest number within this."""
READERS: Final = {"int": "_int", "float": "_real", "bool": "_flag"}
"""The helpers that check parameters, by type; each backend has its own."""


@dataclass(frozen=True)
class Signature:
    """The arguments of a function; a parameter whose name is taken has another and goes by both.

    `static` are parameters that are fixed; `spelled` prints a constant.
    """

    inputs: Sequence[Input]
    outputs: Sequence[Output]
    parameters: Sequence[Parameter]
    static: Mapping[str, Constant]
    names: Names
    spelled: Callable[[Constant], str]

    @property
    def tensors(self) -> list[str]:
        """The names of the tensors."""
        return [self.names.of("tensor", i.name) for i in self.inputs]

    @property
    def free(self) -> dict[str, str]:
        """Parameters of each call, with the names that they have."""
        free = [p.name for p in self.parameters if p.name not in self.static]
        return {name: self.names.of("value", name) for name in free}

    @property
    def renamed(self) -> dict[str, str]:
        """Parameters that go by another name."""
        return {a: b for a, b in self.free.items() if a != b}

    @property
    def also(self) -> dict[str, str]:
        """Those whose own name works too."""
        tensors = self.tensors
        return {a: b for a, b in self.renamed.items() if a not in tensors}

    def __str__(self) -> str:
        """The arguments as they are declared."""
        free, also = self.free, self.also
        if not free:
            return ", ".join(self.tensors)
        own = [p for p in self.parameters if p.name in free]
        required = [free[p.name] for p in own if p.default is None and p.name not in also]
        required += [f"{free[p.name]}=None" for p in own if p.default is None and p.name in also]
        optional = [
            f"{free[p.name]}={self.spelled(p.default)}" for p in own if p.default is not None
        ]
        return ", ".join([*self.tensors, "*", *required, *optional, *self._others()])

    def forwarded(self) -> str:
        """The arguments as they are handed on."""
        named = [f"{name}={name}" for name in self.free.values()]
        return ", ".join([*self.tensors, *named, *self._others()])

    def _others(self) -> list[str]:
        return ["**_others"] if self.also else []

    def renaming(self) -> list[str]:
        """Lines that take parameters by their own names, too."""
        lines = [f'{name} = _named("{own}", {name}, _others)' for own, name in self.also.items()]
        return [*lines, "_no_more(_others)"] if lines else []

    def docstring(self, width: int = WIDTH) -> list[str]:
        """What goes in and comes out; the first sentence in lines of at most `width`."""
        takes = ", ".join(map(described, self.inputs)) or "nothing"
        gives = ", ".join(map(described, self.outputs))
        lines = textwrap.wrap(f'"""{gives} from {takes}.', width)
        if not self.renamed:
            lines[-1] += '"""'
            return lines
        pairs = ", ".join(f"{a} as {b}" for a, b in self.renamed.items())
        note = f"Parameters whose names are taken go by another: {pairs}."
        if self.also:
            note += f' The name as written works too: **{{"{next(iter(self.also))}": ...}}.'
        return [*lines, "", *textwrap.wrap(note, WIDTH), '"""']


def described(item: Input | Output) -> str:
    """A tensor as it is declared: `doc[B,N]: i32`."""
    text = f"{item.name}[{','.join(str(s) for s in item.sizes)}]"
    return text if item.element is None else f"{text}: {item.element}"


def nearest(value: int) -> int:
    """The number within `FAR` that is nearest."""
    return max(-FAR, min(value, FAR))
