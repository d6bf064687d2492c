"""What stands around kernels: the function that is called, its checks, and the calls of kernels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from attnc.backends.names import Names
from attnc.backends.numpy.layout import INDENT, keywords
from attnc.backends.triton.launch import Launcher, empty_of, filled_rows, torch_name
from attnc.backends.triton.layout import laid_out
from attnc.backends.tvm.few_scope import ROWS, FewScope
from attnc.backends.tvm.kernel import Printed
from attnc.backends.tvm.scope import LaneScope
from attnc.backends.tvm.work import work
from attnc.ir.cascade import Input, Output
from attnc.ir.expr import Expr
from attnc.ir.printer import PRODUCT
from attnc.ir.tiles import Buffer, Load, Plan, Store
from attnc.ir.tiles_walk import statements
from attnc.ir.types import Kind

KINDS = {
    Kind.BOOL: '"bool"',
    Kind.I32: '"int32"',
    Kind.I64: '"int64"',
    Kind.F32: '"float32"',
    Kind.FLOAT: "_float",
    Kind.F64: '"float64"',
}
LANES = "_lanes = _vector(_float)"


@dataclass
class Caller(Launcher):
    """Prints the wrapper of a plan's kernels."""

    built: Sequence[Printed] = ()
    few: Caller | None = None
    """Of the kernels for few rows."""
    sizes: frozenset[Expr] = frozenset()
    """Sizes that are few wherever kernels are called."""
    later: frozenset[str] = frozenset()
    """The kernels of which a module that is made later has ones for few rows."""

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

    def _launched(self) -> list[str]:
        lines = ['_float = "float64" if _type == "float64" else "float32"']
        later = self._later()
        buffers = {b.name: b for b in self.plan.buffers}
        lines += later
        for output in self.plan.outputs:
            if output.name in buffers:
                continue
            made = f"_empty(_like, {self._shape(output.name)}, {dtype_of(output)})"
            lines.append(f"{self.tensor(output.name)} = {made}")
        lines += self._rooms(self.plan.buffers, {})
        lines += self._nothing()
        lines += ["_threads_of(_like)", *([] if later else [LANES])]
        if any(k.scope.pairs for k in self.built):
            lines.append("_pairs = _paired()")
        if self.few is not None:
            lines += self._of_few(self.few)
        for kernel in self.built:
            lines += ["", *self._call_of(kernel)]
        return [*lines, "", self._returned()]

    def _of_few(self, few: Caller) -> list[str]:
        """What runs where rows are few: kernels in pieces."""
        rows = rows_of_pieces(self.plan, self.built, few.plan)
        known = {b.name: b.presence for b in self.plan.buffers}
        lines = [
            f"{few.value(x.name)} = {few.host(x.value)}"
            for x in few.plan.lets
            if x.name not in self.facts.values
        ]
        lines += few._rooms(few.plan.buffers, known)
        if few.plan.given != self.plan.given:
            lines += few._nothing()
        for kernel in few.built:
            lines += ["", *few._call_of(kernel)]
        lines += ["", few._returned()]
        return ["", f"if {self._rows_are_few(rows)}:", *(INDENT + x if x else x for x in lines)]

    def _rows_are_few(self, rows: Sequence[tuple[Printed, str]]) -> str:
        return " and ".join(
            f"_few_rows({self.host(k.scope.axis(axis).size)}, {self._beside(k.scope)}, _lanes)"
            for k, axis in rows
        )

    def _later(self) -> list[str]:
        """What a call with few rows is handed on by, if another module is for that."""
        rows = rows_of(self.built, self.later)
        if not rows:
            return []
        call = laid_out(f"return _others({', '.join(self._handed())})")
        return [
            LANES,
            f"_others = _FEW() if {self._rows_are_few(rows)} else None",
            "if _others is not None:",
            *(INDENT + line for line in call),
        ]

    def _rooms(self, buffers: Sequence[Buffer], known: Mapping[str, str]) -> list[str]:
        """The lines that make room for what is between kernels, but for what is `known`."""
        lines: list[str] = []
        for buffer in buffers:
            shape = self._shape(buffer.name)
            if buffer.name not in known:
                made = f"_empty(_like, {shape}, {KINDS[buffer.kind]})"
                lines.append(f"{self.tensor(buffer.name)} = {made}")
            if buffer.presence == "byte" and known.get(buffer.name) != "byte":
                lines.append(f'{self.tensor(buffer.name + "?")} = _empty(_like, {shape}, "bool")')
        return lines

    def _empties(self) -> list[str]:
        return [
            f"_filled(_like, {self._shape(o.name)}, {dtype_of(o)}, {empty_of(o)})"
            for o in self.plan.outputs
        ]

    def _finished(self, name: str) -> str:
        output = next(o for o in self.plan.outputs if o.name == name)
        buffer = next(b for b in self.plan.buffers if b.name == name)
        here = self.tensor(name + "?") if buffer.presence == "byte" else "None"
        return f"_finished({self.tensor(name)}, {here}, {empty_of(output)}, {dtype_of(output)})"

    def _call_of(self, kernel: Printed) -> list[str]:
        scope = kernel.scope
        lines: list[str] = []
        taken = Names(set(self.names.used))
        tiles = {axis: taken.of("tile", size) for axis, size in kernel.tiles}
        for axis, name in tiles.items():
            extent = self.host(scope.axis(axis).size)
            rows = axis == scope.vector
            if scope.axis(axis).kind == "whole":
                text = f"_whole({extent}, {'_lanes' if rows else 1})"
            else:
                most = (
                    f"_shared({extent}, 64, {self._beside(scope)})"
                    if rows
                    else self._most(scope, axis)
                )
                least = f"_few({extent}, _lanes)" if rows else str(scope.least(axis))
                if not rows and scope.repeats(axis):
                    least = f"_unless_many({extent})"
                text = f"_tile({extent}, {least}, {most})"
            lines.append(f"{name} = {text}")
        call = [f"_at({self.tensor(t.name)})" for t in kernel.tensors]
        call += [f"*_steps({self.tensor(t.name)})" for t in kernel.tensors if t.strides]
        call += [self._passed(v) for v in kernel.values if not scope.is_constant(v)]
        call += [self.host(size) for size in kernel.sizes]
        call += [self._hoisted(a.value) for a in kernel.hoists]
        call.append("_workers()")
        fixed = [self.value(v) for v in kernel.fixed] + list(tiles.values())
        told = [*(["_pairs"] if scope.pairs else []), *self._dense(kernel), *fixed]
        types = ", ".join([kernel.name, "_type", "_float", "_lanes", *told])
        products = work(scope.whole, lambda size: self.host(size, PRODUCT))
        lines += laid_out(f"_run = _crew(_built({types}), {products})")
        lines.append("_run(")
        arguments = [x for line in filled_rows(call) for x in laid_out(line)]
        lines += [INDENT + line for line in arguments]
        lines.append(")")
        return lines

    def _most(self, scope: LaneScope, axis: str) -> str:
        """The most of a tile along an axis that is no vector: of few rows, what products take."""
        return str(ROWS) if scope.axis(axis).size in self.sizes else "64"

    def _dense(self, kernel: Printed) -> list[str]:
        """Whether tensors of which vectors are read have them next to each other in memory."""
        if not isinstance(kernel.scope, FewScope):
            return []
        steps = (f"_steps({self.tensor(t)})[{rank}] == 1" for t, rank in kernel.scope.dense.items())
        return [" and ".join(steps) or "True"]

    def _beside(self, scope: LaneScope) -> str:
        """How many programs there are at each tile."""
        return " * ".join(self.host(size, PRODUCT) for size in scope.beside) or "1"


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
