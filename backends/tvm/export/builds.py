"""For which sizes the kernels of a library are built: what is held whole, and tiles of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from attnc.backends.tvm.kernel import Printed
from attnc.backends.tvm.scope import LaneScope
from attnc.errors import UsageError
from attnc.ir import printer
from attnc.ir.cascade import Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Expr, Int, Value
from attnc.ir.tiles import Plan
from attnc.ir.walk import subexpressions


@dataclass(frozen=True, slots=True)
class Build:
    """A kernel for some sizes of tiles, and that along rows, by which it is chosen, if it is."""

    function: object
    tile: int | None


@dataclass(frozen=True, slots=True)
class Builds:
    """A kernel as it is built: for many rows first."""

    kernel: Printed
    rows: str | None
    """The axis by whose size a build is chosen."""
    all: tuple[Build, ...]


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

    def __call__(self, kernel: Printed, whole: Mapping[Expr, int]) -> Builds:
        """A kernel for all that it is built for."""
        scope = kernel.scope
        fixed: list[object] = [
            int(self.known[v]) if v in self.known else whole[Value(v)] for v in kernel.fixed
        ]
        rows = scope.vector if scope.vector in dict(kernel.tiles) else None
        if rows is not None and scope.axis(rows).kind == "whole":
            rows = None
        choices: list[int | None] = [None] if rows is None else [*self._tiles(scope, rows)]
        pairs = [self.module._paired()] if scope.pairs else []
        make: Callable[..., object] = getattr(self.module, kernel.name)
        builds: list[Build] = []
        for choice in choices:
            tiles = [
                choice if axis == rows else self._tile(scope, axis) for axis, _ in kernel.tiles
            ]
            made = make(self.dtype, self.number, self.lanes, *pairs, *fixed, *tiles)
            builds.append(Build(made, choice))
        return Builds(kernel, rows if len(builds) > 1 else None, tuple(builds))

    def _tile(self, scope: LaneScope, axis: str) -> int:
        size = evaluate(scope.axis(axis).size, self.known)
        if scope.axis(axis).kind == "whole":
            lanes = self.lanes if axis == scope.vector else 1
            return int(_rules()._whole(size, lanes))
        return 64 if size is None else int(_rules()._tile(size, 1, 64))

    def _tiles(self, scope: LaneScope, rows: str) -> list[int]:
        """Tiles along rows: the one for a size that is known; else for many, some and few."""
        size = evaluate(scope.axis(rows).size, self.known)
        lanes = self.lanes
        if size is not None:
            return [int(_rules()._tile(size, _rules()._few(size, lanes), 64))]
        return [64, max(lanes, 8), 1]


def _rules() -> Any:
    """The rules by which modules choose tiles."""
    return import_module("attnc.backends.tvm.build")
