"""For which sizes the kernels of a library are built: what is held whole, and tiles of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from attnc.backends.tvm.few_scope import ROWS, FewScope
from attnc.backends.tvm.kernel import Printed
from attnc.backends.tvm.scope import LaneScope
from attnc.errors import UsageError
from attnc.ir import printer
from attnc.ir.cascade import Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Expr, Int, Value
from attnc.ir.tiles import Plan
from attnc.ir.walk import subexpressions

FEW: Final = [ROWS, 2, 1]
"""Tiles along rows where these are few."""


@dataclass(frozen=True, slots=True)
class Build:
    """A kernel for some sizes of tiles, and that along rows, by which it is chosen, if it is.

    `dense`: vectors are read in memory, where their elements are neighbours.
    """

    function: object
    tile: int | None
    dense: bool = True


@dataclass(frozen=True, slots=True)
class Builds:
    """A kernel as it is built: for what is not dense first, then for many rows."""

    kernel: Printed
    rows: str | None
    """The axis by whose size a build is chosen."""
    all: tuple[Build, ...]

    @property
    def tiles(self) -> list[int]:
        """The tiles along rows, the largest first, of builds that are chosen by them."""
        return [b.tile for b in self.all if b.dense and b.tile is not None]


def known_values(plan: Plan, given: Mapping[str, Constant]) -> dict[str, Constant]:
    """The values that are known when a library is built: what is given, and bindings of it."""
    known = dict(given)
    for let in plan.lets:
        found = evaluate(let.value, known)
        if found is not None:
            known[let.name] = found
    return known


@dataclass(frozen=True)
class Builder:
    """Builds the kernels of an emitted module."""

    plan: Plan
    module: ModuleType
    dtype: str
    known: Mapping[str, Constant]

    @property
    def number(self) -> str:
        """The type that is computed in."""
        return "float64" if self.dtype == "float64" else "float32"

    @property
    def lanes(self) -> int:
        """How many numbers a vector has."""
        return int(self.module._vector(self.number))

    def whole(self, kernels: Iterable[Printed]) -> dict[Expr, int]:
        """The sizes that kernels are built for; raises `UsageError` where one is not known."""
        axes = [a for k in kernels for a in k.scope.kernel.axes if a.kind == "whole"]
        sizes = dict.fromkeys(a.size for a in axes if not isinstance(a.size, Int))
        found = {size: evaluate(size, self.known) for size in sizes}
        missing = [size for size, number in found.items() if number is None]
        if missing:
            texts = ", ".join(map(printer.expression, missing))
            ways = " ".join(self._ways(missing))
            raise UsageError(f"kernels are built for one size of {texts}, which is missing: {ways}")
        return {size: int(number) for size, number in found.items() if number is not None}

    def _ways(self, sizes: Iterable[Expr]) -> list[str]:
        """The options that make sizes known."""
        lets = {let.name: let.value for let in self.plan.lets}
        parameters = {p.name for p in self.plan.parameters}
        wanted: set[str] = set()
        stack = list(sizes)
        while stack:
            for node in subexpressions(stack.pop()):
                if isinstance(node, Value) and node.name not in self.known:
                    if node.name in lets:
                        stack.append(lets[node.name])
                    else:
                        wanted.add(node.name)
        return [f"--{'static' if n in parameters else 'size'} {n}=..." for n in sorted(wanted)]

    def __call__(
        self, kernel: Printed, whole: Mapping[Expr, int], few: Collection[Expr] = ()
    ) -> Builds:
        """A kernel for all that it is built for; `few` are sizes that are so where it is called."""
        scope = kernel.scope
        fixed: list[object] = [
            int(self.known[v]) if v in self.known else whole[Value(v)] for v in kernel.fixed
        ]
        rows = self._rows(kernel, few)
        choices: list[int | None] = [None] if rows is None else [*self._tiles(scope, rows)]
        told: list[object] = [self.module._paired()] if scope.pairs else []
        make: Callable[..., object] = getattr(self.module, kernel.name)

        def made(choice: int | None, *dense: bool) -> Build:
            tiles = [
                choice if axis == rows else self._tile(scope, axis) for axis, _ in kernel.tiles
            ]
            function = make(self.dtype, self.number, self.lanes, *told, *dense, *fixed, *tiles)
            return Build(function, choice, False not in dense)

        if isinstance(scope, FewScope):
            apart = [made(choices[0], False)] if scope.dense else []
            builds = [*apart, *(made(choice, True) for choice in choices)]
        else:
            builds = [made(choice) for choice in choices]
        return Builds(kernel, rows if len(choices) > 1 else None, tuple(builds))

    def _rows(self, kernel: Printed, few: Collection[Expr]) -> str | None:
        """The axis along whose tiles there are several builds."""
        scope = kernel.scope
        if isinstance(scope, FewScope):
            return next((a for a, _ in kernel.tiles if scope.axis(a).size in few), None)
        rows = scope.vector if scope.vector in dict(kernel.tiles) else None
        return None if rows is None or scope.axis(rows).kind == "whole" else rows

    def _tile(self, scope: LaneScope, axis: str) -> int:
        size = evaluate(scope.axis(axis).size, self.known)
        if scope.axis(axis).kind == "whole":
            lanes = self.lanes if axis == scope.vector else 1
            return int(_rules()._whole(size, lanes))
        least = scope.least(axis)
        if size is None:
            return max(least, 64)
        if scope.repeats(axis):
            least = int(_rules()._unless_many(size))
        return int(_rules()._tile(size, least, 64))

    def _tiles(self, scope: LaneScope, rows: str) -> list[int]:
        """Tiles along rows: the one for a size that is known; else for many, some and few."""
        size = evaluate(scope.axis(rows).size, self.known)
        lanes = self.lanes
        if isinstance(scope, FewScope):
            return FEW if size is None else [int(_rules()._tile(size, 1, FEW[0]))]
        if size is not None:
            return [int(_rules()._tile(size, _rules()._few(size, lanes), 64))]
        return [64, max(lanes, 8), 1]


def _rules() -> Any:
    """The rules by which modules choose tiles."""
    return import_module("attnc.backends.tvm.tiles")
