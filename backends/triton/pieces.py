"""What stands around kernels that come twice: as they are, and with streams in pieces.

Few programs leave a device idle, and with long streams each of them takes long. A call with such
sizes runs kernels that go through pieces of the streams side by side, and others that merge what
these leave. Sizes and the device decide, when it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from attnc.backends.numpy.layout import INDENT
from attnc.backends.triton.kernel import Printed, printed
from attnc.backends.triton.launch import Launcher, body_of
from attnc.backends.triton.layout import laid_out
from attnc.backends.triton.scope import KernelScope
from attnc.ir.printer import PRODUCT
from attnc.ir.tiles import Kernel, Plan
from attnc.ir.tiles_walk import pieces_of
from attnc.passes.tiling.fuse import parted

ROWS: Final = 64
"""Points of a tile, where programs are counted before tiles have a size."""
LONGEST, OUTER = 128, 64
"""What tiles along a stream divide; along one with others in each of its rounds."""
LATER: Final = "_FEW = lambda: None  # gives the function that takes calls in pieces, once told"
"""What a module begins with whose kernels for pieces are in another one."""


@dataclass
class Chooser(Launcher):
    """Prints the wrapper of a plan's kernels, and of those that have its streams in pieces."""

    pieces: Launcher | None = None
    """Of the plan in pieces."""
    later: frozenset[str] = frozenset()
    """The kernels that another module, made later, has in pieces."""

    def text(self) -> list[str]:
        """The lines of the functions."""
        lines = super().text()
        if self.pieces is None:
            return lines
        points = [self.pieces.value(p.points) for p in pieces_of(self.pieces.plan)]
        handed = [*self._handed(), *points]
        known = set(self.plan.lets)  # another plan packs others, by the same names
        more = [
            f"{self.value(x.name)} = {self.host(x.value)}"
            for x in self.pieces.plan.lets
            if x not in known
        ]
        return [
            *lines,
            "",
            "",
            *laid_out(f"def _launch_pieces({', '.join(handed)}):"),
            f'{INDENT}"""Runs the kernels with streams in pieces of so many points."""',
            *body_of([*more, *self.pieces._launched()]),
        ]

    def _launched(self) -> list[str]:
        return [*self._chosen(), *super()._launched()]

    def _chosen(self) -> list[str]:
        """The lines that hand a call on which others take."""
        scopes = [k.scope for k in self.kernels]
        handed, own = self._handed(), {s.kernel.name: s for s in scopes if _streams(s.kernel)}
        if self.pieces is None:
            found = [self._points(own[name]) for name in sorted(self.later & own.keys())]
            if not found:
                return []
            names, told = ["_others"], [f"_others = _FEW() if {' and '.join(found)} else None"]
            call = f"return _others({', '.join(handed)})"
        else:
            cut = list(pieces_of(self.pieces.plan))
            names = [self.pieces.value(piece.points) for piece in cut]
            found = [self._points(own[parted(piece.kernel)]) for piece in cut]
            told = [f"{n} = {x}" for n, x in zip(names, found, strict=True)]
            call = f"return _launch_pieces({', '.join([*handed, *names])})"
        test = f"if {' and '.join(names)}:"
        return [*told, test, *(INDENT + line for line in laid_out(call)), ""]

    def _points(self, scope: KernelScope) -> str:
        """How many points a piece of a kernel's stream is to have, as a call of a helper."""
        axes = scope.kernel.axes
        programs = [
            f"triton.cdiv({self.host(a.size)}, {ROWS})"
            if scope.is_tile(a.name)
            else self.host(a.size, PRODUCT)
            for a in axes
            if a.kind == "par"
        ]
        first, *others = [a for a in axes if a.kind == "stream"]
        tile = (OUTER if others else LONGEST) if scope.is_tile(first.name) else 1
        results = [self.host(a.size, PRODUCT) for a in axes if a.kind == "par"]
        told = ["_device", " * ".join(programs) or "1", " * ".join(results) or "1"]
        told += [self.host(first.size), str(tile)]
        if others:
            told.append(" * ".join(self.host(a.size, PRODUCT) for a in others))
        return f"_points({', '.join(told)})"


def with_same_streams(plan: Plan, pieces: Plan) -> bool:
    """Whether the kernels are there of which another plan has the streams in pieces."""
    return {parted(p.kernel) for p in pieces_of(pieces)} <= {
        k.name for k in plan.kernels if _streams(k)
    }


def _streams(kernel: Kernel) -> bool:
    """Whether a kernel goes along anything: it does not where nothing reads what comes of that."""
    return any(axis.kind == "stream" for axis in kernel.axes)


def printed_pieces(plan: Plan, kernels: Sequence[Printed], precision: str) -> Iterator[Printed]:
    """The kernels of a plan in pieces; one of `kernels` goes by its name there, and has no text."""
    cut = {piece.kernel.name for piece in pieces_of(plan)}
    counts = {piece.axis.size for piece in pieces_of(plan)}
    known = {_nameless(k): k.name for k in kernels}
    for i, kernel in enumerate(plan.kernels):
        merges = any(a.kind == "stream" and a.size in counts for a in kernel.axes)
        kind = "parts" if kernel.name in cut else "merge" if merges else "other"
        found = printed(plan, kernel, f"_{kind}{i}", precision)
        same = known.get(_nameless(found))
        yield found if same is None else replace(found, name=same, lines=[])


def _nameless(kernel: Printed) -> tuple[str, ...]:
    """The lines of a kernel but for that which names it."""
    return tuple(line for line in kernel.lines if not line.startswith("def "))
