"""What stands around kernels: the function that is called, its checks, and the calls of kernels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from attnc.backends.numpy.layout import keywords
from attnc.backends.triton.launch import Launcher, empty_of, torch_name
from attnc.backends.tvm.kernel import Printed
from attnc.ir.cascade import Input, Output
from attnc.ir.tiles import Load, Plan, Store
from attnc.ir.tiles_walk import statements


@dataclass
class Caller(Launcher):
    """Prints the wrapper of a plan's kernels."""

    def _handed(self) -> list[str]:
        tensors = [self.tensor(i.name) for i in self.plan.inputs]
        return [*tensors, *map(self.value, self.facts.values), "_type", "_like"]

    def _device(self, names: dict[str, str]) -> str:
        return f"_like = _library({keywords(names)})"

    def _type_of(self, untyped: list[Input]) -> list[str]:
        if self.options.dtype is not None:
            return [f'_type = "{torch_name(self.options.dtype)}"']
        if not untyped:
            return ['_type = "float32"']
        names = {i.name: self.tensor(i.name) for i in untyped}
        return [f"_type = _common({keywords(names)})"]

    def _empties(self) -> list[str]:
        return [
            f"_filled(_like, {self._shape(o.name)}, {dtype_of(o)}, {empty_of(o)})"
            for o in self.plan.outputs
        ]


def with_pieces(plan: Plan, few: Plan, *, stores: bool) -> set[str]:
    """The kernels of a plan in pieces that read what these leave; with `stores`, or leave it."""
    left = {b.name for b in few.buffers} - {b.name for b in plan.buffers}
    return {
        kernel.name
        for kernel in few.kernels
        for s in statements(kernel.body)
        if isinstance(s, Load) or (stores and isinstance(s, Store))
        if s.tensor.removesuffix("?") in left
    }


def rows_of_pieces(plan: Plan, built: Sequence[Printed], few: Plan) -> list[tuple[Printed, str]]:
    """The kernels of a plan that another one has in pieces, with their axes of rows.

    Only those are taken whose products go along rows; nothing, if there is none.
    """
    return rows_of(built, with_pieces(plan, few, stores=False))


def rows_of(built: Sequence[Printed], merging: Collection[str]) -> list[tuple[Printed, str]]:
    """Those of the kernels that merge pieces whose products go along rows, with these."""
    found: list[tuple[Printed, str]] = []
    for kernel in built:
        scope = kernel.scope
        along = {a for m in scope.products.matrices.values() for a in (m.rows, m.columns)}
        if scope.kernel.name in merging and scope.vector is not None and scope.vector in along:
            found += [(kernel, scope.vector)] if scope.axis(scope.vector).kind == "par" else []
    return found


def dtype_of(output: Output) -> str:
    """The element type of an output."""
    return "_type" if output.element is None else f'"{torch_name(output.element)}"'
