"""Kernels for few rows: vectors go along what is streamed, or what lies in memory.

A product takes vectors of what is streamed as they lie: along what is added up, or along its
result. A reduction along vectors keeps one of them, and combines its lanes behind the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from attnc.backends.triton.terms import HELD, Held
from attnc.backends.tvm.body import Body
from attnc.backends.tvm.few_scope import FewScope, few_scope
from attnc.backends.tvm.kernel import KernelText, Printed
from attnc.backends.tvm.lanes import is_scalar
from attnc.backends.tvm.loops import room_type
from attnc.backends.tvm.matrices import Matrices
from attnc.backends.tvm.memory import Tensor
from attnc.backends.tvm.nests import Nest
from attnc.backends.tvm.rounding import unrounded
from attnc.backends.tvm.terms import DTYPES
from attnc.ir.expr import Var
from attnc.ir.tiles import Dot, Fold, Kernel, Load, Plan
from attnc.ir.tiles_walk import expressions, names

TOGETHER: Final = {"sum": "_plus", "prod": "_times", "any": "_any_of", "all": "_all_of"}
"""What combines lanes; of extremes, it depends on whether they may be NaN."""


def few_printed(plan: Plan, kernel: Kernel, function: str) -> Printed:
    """The text of a kernel for few rows, which a Python function of that name builds."""
    return FewText(few_scope(plan, unrounded(kernel)), function).printed()


@dataclass
class FewMatrices(Matrices):
    """Products of a kernel: the operand without rows is taken in vectors, as it lies."""

    scope: FewScope

    def has(self, item: Dot) -> bool:
        """Whether a product has a text of its own: tiles lie as that takes them."""
        found = self.scope.products.matrices.get(item.target)
        # Vectors of sums are of the type that the kernel computes in.
        if found is None or not self.alike(item) or HELD[item.kind] is not Held.FLOAT:
            return False
        vector, other = self.sides(item)
        layouts, (left, right) = self.scope.layouts, self.operands(item)
        known = layouts[right] == (found.over, vector) or self.inner(item)
        return known and layouts[item.target] == (other, vector) and len(layouts[left]) == 2

    def read(self, item: Dot) -> str:
        """The operand that may be read in memory."""
        return self.operands(item)[1]

    def inner(self, item: Dot) -> bool:
        """Whether both operands lie along what is added up."""
        over, layouts = self.scope.products.matrices[item.target].over, self.scope.layouts
        return all(layouts[name][-1:] == (over,) for name in self.operands(item))

    def _readable(self, item: Load) -> str | None:
        """When vectors of a load lie in memory; None: never, or not as numbers."""
        declared = {i.name: i.element for i in self.scope.plan.inputs}
        if item.tensor not in declared or names(*item.index) or not item.kind.floating:
            return None
        (last,) = self.scope.layouts[item.target][-1:]
        places = [i for i, e in enumerate(item.index) if last in self.scope.context.varies(e)]
        if [item.index[i] for i in places] != [Var(last)] or self.scope.axis(last).kind != "whole":
            return None
        if self.scope.dense.setdefault(item.tensor, places[0]) != places[0]:
            return None
        return "DENSE"


@dataclass
class FewBody(Body):
    """Prints statements for few rows."""

    scope: FewScope
    _across: dict[str, str] = field(default_factory=dict[str, str])
    """Folds that go along the vectors of the nest that is printed, with the axis of these."""

    def _matrices(self) -> Matrices:
        return FewMatrices(self.scope)

    def _is_plain(self, nest: Nest) -> bool:
        first = any(isinstance(i, Fold) and i.op in ("argmax", "argmin") for i in nest.items)
        if first or any(isinstance(i, Load) for i in nest.items):
            return True
        return any(is_scalar(e) for i in nest.items for e in expressions(i))

    def _nest(self, nest: Nest) -> None:
        folds = [i for i in nest.items if isinstance(i, Fold)]
        last = nest.loops[-1:]
        if not self._is_plain(nest):
            self._across = {i.target: last[0] for i in folds if last and last[0] in i.over}
        across = self._across
        Body._nest(self, nest)
        self._across = {}
        for item in folds:
            if item.target in across:
                self._together(item, across[item.target])

    def _loops(self, axes: Sequence[str], *, vector: bool) -> None:
        if not (vector and axes):
            Body._loops(self, axes, vector=False)
            return
        Body._loops(self, axes[:-1], vector=False)
        lane, size, width = self.scope.lane(axes[-1]), self._size(axes[-1]), self._width(axes[-1])
        part = self.scope.names.of("part", f"{lane}_part")
        self.opens(f"for {part} in range({size} // {width}):")
        self._vector(axes[-1])
        self.line(f"{lane} = T.meta_var({part} * {width} + {self._one(axes[-1])})")

    def _vector(self, axis: str) -> None:
        """The head of a loop over the lanes of a vector."""
        self.opens(f"for {self._one(axis)} in _each({self._width(axis)}):")

    def _size(self, axis: str) -> str:
        return self.scope.size_of(axis)

    def _width(self, axis: str) -> str:
        """How many lanes along an axis a vector has."""
        return f"_width({self._size(axis)}, LANES)"

    def _one(self, axis: str) -> str:
        """The name of a lane of a vector."""
        return self.scope.names.of("lane", f"{self.scope.lane(axis)}_lane")

    # Reductions along vectors

    def _begin(self, item: Fold) -> None:
        if item.target not in self._across:
            Body._begin(self, item)
            return
        self._room(item.target)
        with self.level():
            Body._loops(self, self.scope.layouts[item.target], vector=False)
            self._vector(self._across[item.target])
            self._assign(self._sum_of(item), item.kind, self._identity(item.op, item.kind))

    def _sum_of(self, item: Fold) -> str:
        if item.target not in self._across:
            return Body._sum_of(self, item)
        axis = self._across[item.target]
        index = [*map(self.scope.lane, self.scope.layouts[item.target]), self._one(axis)]
        return f"{self._lanes(item, axis)}[{', '.join(index)}]"

    def _lanes(self, item: Fold, axis: str) -> str:
        """The room for a vector of each lane of a fold."""
        scope = self.scope
        room = scope.names.of("lanes", f"{scope.buffer(item.target)}_lanes")
        sizes = [*map(scope.size_of, scope.layouts[item.target]), self._width(axis)]
        shape = ", ".join(sizes) + ("," if len(sizes) == 1 else "")
        self.buffers[room] = f"{room} = T.alloc_buffer(({shape}), {room_type(item.kind)})"
        return room

    def _together(self, item: Fold, axis: str) -> None:
        """What a fold along vectors is, of the lanes of one."""
        scope = self.scope
        with self.level():
            Body._loops(self, scope.layouts[item.target], vector=False)
            index = "".join(f"{scope.lane(a)}, " for a in scope.layouts[item.target])
            combined = self._combined(item.op, item.kind, "a", "b", item.target)
            name = TOGETHER.get(item.op, combined.partition("(")[0])
            lanes = f"_across({self._lanes(item, axis)}, ({index}), {self._width(axis)}, {name})"
            self.line(f"{scope.element(item.target)} = {lanes}")

    # Products

    def _has_extremes(self, dot: Dot, nest: Nest) -> bool:
        """Never: products leave nothing in registers here."""
        return False

    def _product(self, item: Dot, target: str, begin: str) -> None:
        scope, matrices = self.scope, self.matrices
        assert isinstance(matrices, FewMatrices)
        over = scope.products.matrices[item.target].over
        vector, other = matrices.sides(item)
        single, vectors = matrices.operands(item)
        inner = matrices.inner(item)
        sizes = ", ".join(map(scope.size_of, (other, vector, over)))
        room = self._room(target)
        self._room(single)
        self._room(vectors)
        lanes = ", ".join(map(scope.lane, (vector, over) if inner else (over, vector)))
        taken = f"(lambda {lanes}: {scope.element(vectors)})"
        if vectors in self._placed:
            condition = matrices.placed[vectors]
            taken = f"_either({condition}, (lambda {lanes}: {self._placed[vectors]}), {taken})"
        one = f"(lambda {scope.lane(other)}, {scope.lane(over)}: {scope.element(single)})"
        name, dtype = "_inner" if inner else "_outer", DTYPES[HELD[item.kind]]
        self.line(f"{name}({room}, {one}, {taken}, {sizes}, LANES, {dtype}, {begin})")


@dataclass
class FewText(KernelText):
    """Prints one kernel for few rows."""

    asked: ClassVar[tuple[str, ...]] = ("DENSE",)

    scope: FewScope

    def _body(self) -> Body:
        return FewBody(self.scope, depth=4)

    def _steps(self, tensor: Tensor) -> list[str]:
        steps = list(tensor.strides)
        if tensor.name in self.scope.dense:
            rank = self.scope.dense[tensor.name]
            steps[rank] = f"_either(DENSE, T.int64(1), {steps[rank]})"
        return steps
