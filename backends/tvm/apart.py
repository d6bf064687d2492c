"""Loops that are built as functions of their own, at the same time as the rest of a kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from attnc.backends.tvm.scope import LaneScope
from attnc.ir.tiles import Fold, Load, Loop, Map
from attnc.ir.tiles_walk import statements


@dataclass
class Apart:
    """Tells what such loops are called, and gives them room of their own."""

    scope: LaneScope
    native: str | None = None
    """The name of the text of LLVM's that they need; None if there are none."""
    _spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    _taken: set[str] = field(default_factory=set[str])
    """The rows of the loops so far."""

    def frame(self, frame: str) -> str:
        """A loop of the script as one that is apart."""
        self.native = self.native or self.scope.names.fresh("native")
        return f"_apart({frame}, {self.native})"

    @contextmanager
    def rows(self, item: Loop, lines: list[str], *, full: bool) -> Iterator[None]:
        """No two loops have the same rows of numbers; these are the lines of one, of `full` tiles
        or of others.

        So no other part of the kernel knows where they are, and they can be in registers.
        """
        scope, start = self.scope, len(lines)
        before, own = dict(scope.buffers), dict[str, str]()
        for part in statements(item.body):
            if isinstance(part, Load | Map | Fold) and len(scope.layouts[part.target]) == 1:
                room = scope.buffer(part.target)
                if room not in own:
                    name = f"{room}_{'full' if full else 'some'}"
                    own[room] = scope.names.fresh(name) if room in self._taken else room
                scope.buffers[part.target] = own[room]
        self._taken.update(own.values())
        yield
        scope.buffers.clear()
        scope.buffers.update(before)
        self._spans.append((start, len(lines)))

    def settle(self, lines: list[str], rooms: dict[str, str], large: set[str]) -> None:
        """Makes room in a loop for what nothing else reads, but where that asks for memory."""
        said = [frozenset(re.findall(r"\w+", line)) for line in lines]
        for start, end in reversed(self._spans):
            inside = frozenset[str]().union(*said[start:end])
            around = frozenset[str]().union(*said[:start], *said[end:])
            own = [r for r in rooms if r in inside and r not in around and r not in large]
            indent = lines[start][: -len(lines[start].lstrip())]
            lines[start:start] = [indent + rooms.pop(room) for room in own]
