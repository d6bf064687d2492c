"""The function that is called: what it makes ready for calls alike, and what runs in each.

At sizes, strides and types that were there before, a call makes tensors and takes their addresses;
all else, tiles, kernels and their numbers, is kept in a function, which has no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from attnc.backends.names import Names
from attnc.backends.numpy.layout import INDENT, tuple_of
from attnc.backends.triton.launch import empty_of, filled_rows
from attnc.backends.triton.layout import laid_out
from attnc.backends.tvm.few_scope import ROWS, FewScope
from attnc.backends.tvm.kernel import Printed
from attnc.backends.tvm.launch import Caller, dtype_of, rows_of, rows_of_pieces
from attnc.backends.tvm.scope import LaneScope
from attnc.backends.tvm.work import work
from attnc.ir.expr import Expr
from attnc.ir.printer import PRODUCT
from attnc.ir.tiles import Buffer
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
CLAIM = "_claim("


@dataclass
class ReadyCaller(Caller):
    """Prints the wrapper of a plan's kernels for CPUs."""

    built: Sequence[Printed] = ()
    few: ReadyCaller | None = None
    """Of the kernels for few rows."""
    one: ReadyCaller | None = None
    """Of those for few rows where each stream has one piece."""
    sizes: frozenset[Expr] = frozenset()
    """Sizes that are few wherever kernels are called."""
    later: frozenset[str] = frozenset()
    """The kernels of which a module that is made later has ones for few rows."""
    _places: dict[str, str] = field(default_factory=dict[str, str])
    """The names of the places of tensors between kernels, which lie in one room."""

    def _called(self) -> list[str]:
        tensors = tuple_of([self.tensor(i.name) for i in self.plan.inputs])
        others = ["*_others.items()"] if self.call.also else []
        seen = ", ".join([tensors, *self.call.free.values(), *others])
        return [
            f"_key = _seen({seen})",
            "_run = _CALLS.get(_key)",
            "if _run is None:",
            f"{INDENT}_run = _remembered(_key, _launch(*_check({self.call.forwarded()})))",
            *(x for x in Caller._checked(self) if x.startswith(CLAIM)),
            f"return _run({tensors[1:-1].removesuffix(',')})",
        ]

    def _checked(self) -> list[str]:
        """The checks that are not made in each call: those that look at no element."""
        return [x for x in Caller._checked(self) if not x.startswith(CLAIM)]

    def _does(self) -> str:
        return '"""What runs the kernels at these sizes, for any tensors that have them."""'

    def _launched(self) -> list[str]:
        lines = ['_float = "float64" if _type == "float64" else "float32"']
        lines += ["_threads_of(_like)", LANES, *self._later()]
        lines += self._nothing()
        if any(k.scope.pairs for k in self.built):
            lines.append("_pairs = _paired()")
        if self.few is not None:
            rows = rows_of_pieces(self.plan, self.built, self.few.plan)
            lines += ["", f"if {self._rows_are_few(rows)}:"]
            lines += _under(self._of_few(self.few))
        return [*lines, *self._ready()]

    def _of_few(self, few: ReadyCaller) -> list[str]:
        """What is made ready where rows are few: kernels in pieces."""
        lines = [
            f"{few.value(x.name)} = {few.host(x.value)}"
            for x in few.plan.lets
            if x.name not in self.facts.values
        ]
        counts = [e for k in few.built if isinstance(k.scope, FewScope) for e in k.scope.pieces]
        if self.one is not None and counts:
            lines.append(f"if _one_piece({', '.join(dict.fromkeys(map(few.host, counts)))}):")
            lines += _under(self.one._ready())
        if few.plan.given != self.plan.given:
            lines += few._nothing()
        return [*lines, *few._ready()]

    def _ready(self) -> list[str]:
        """All that kernels are called with but tensors, and the function that has these."""
        lines = self._rooms()
        for kernel in self.built:
            lines += ["", *self._made_ready(kernel)]
        if len(self.built) > 1:
            asked = ", ".join(f"{kernel.name}_asked" for kernel in self.built)
            lines += ["", *laid_out(f"_kernels = _all_built({asked})")]
            for i, kernel in enumerate(self.built):
                lines += self._chosen(kernel, f"_kernels[{i}]")
        tensors = ", ".join(self.tensor(i.name) for i in self.plan.inputs)
        lines += ["", f"def _run({tensors}):"]
        run = self._tensors()
        for kernel in self.built:
            run += self._call_of(kernel)
        run.append(self._returned())
        return [*lines, *_under(run), "", "return _run"]

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
            f"_others = _FEW() if {self._rows_are_few(rows)} else None",
            "if _others is not None:",
            *_under(call),
        ]

    def _nothing_else(self) -> str:
        empties = self._empties()
        return f"lambda *_: {tuple_of(empties) if len(empties) > 1 else empties[0]}"

    # Tensors

    def _new(self, name: str, kind: str) -> str:
        """The line that says what tensor each call makes."""
        return f"_new_{self.tensor(name)} = _maker(_like, {self._shape_of(name)}, {kind})"

    def _laid(self, name: str) -> list[str]:
        """The lines that tell the shape of a tensor that each call makes, and its strides."""
        shape = self._shape_of(name)
        return [f"{shape} = {self._shape(name)}", f"{self._steps(name)} = _packed({shape})"]

    def _shape_of(self, name: str) -> str:
        """What the shape of a tensor is called that a call makes."""
        return f"_shape_{self.tensor(name.removesuffix('?'))}"

    def _rooms(self) -> list[str]:
        """The lines that say which tensors a call makes.

        Those between kernels lie in one room, but for such as become outputs.
        """
        buffers = {b.name for b in self.plan.buffers}
        lines: list[str] = []
        for output in self.plan.outputs:
            if output.name not in buffers:
                lines += self._laid(output.name)
                lines.append(self._new(output.name, dtype_of(output)))
        outputs = {o.name for o in self.plan.outputs}
        parts: dict[str, str] = {}
        for buffer in self.plan.buffers:
            lines += self._laid(buffer.name)
            for name, kind in _parts(buffer):
                if buffer.name in outputs:
                    lines.append(self._new(name, kind))
                else:
                    parts[name] = f"({self._shape_of(name)}, {kind})"
        self._places.update({name: f"_{self.tensor(name)}" for name in parts})
        if parts:
            lines.append(f"_size, *_places = _rooms({', '.join(parts.values())})")
            lines.append('_new_room = _maker(_like, (_size,), "uint8")')
        return lines

    def _tensors(self) -> list[str]:
        """The lines that make the tensors of a call."""
        made = {b.name: b for b in self.plan.buffers}
        lines: list[str] = []
        for output in self.plan.outputs:
            names = [output.name]
            if output.name in made:
                names = [name for name, _ in _parts(made[output.name])]
            lines += [f"{self.tensor(name)} = _new_{self.tensor(name)}()" for name in names]
        if self._places:
            places = list(self._places.values())
            left = f"({places[0]},)" if len(places) == 1 else ", ".join(places)
            lines += ["_room = _new_room()", f"{left} = _within(_room, _places)"]
        return lines

    def _finished(self, name: str) -> str:
        output = next(o for o in self.plan.outputs if o.name == name)
        buffer = next(b for b in self.plan.buffers if b.name == name)
        here = self.tensor(name + "?") if buffer.presence == "byte" else "None"
        return f"_finished({self.tensor(name)}, {here}, {empty_of(output)}, {dtype_of(output)})"

    # Kernels

    def _made_ready(self, kernel: Printed) -> list[str]:
        """The lines that choose tiles, and give the kernel and the numbers that it takes."""
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
        numbers = [f"*{self._steps(t.name)}" for t in kernel.tensors if t.strides]
        numbers += [self._passed(v) for v in kernel.values if not scope.is_constant(v)]
        numbers += [self.host(size) for size in kernel.sizes]
        numbers += [self._hoisted(a.value) for a in kernel.hoists]
        numbers.append("_workers()")
        fixed = [self.value(v) for v in kernel.fixed] + list(tiles.values())
        told = [*(["_pairs"] if scope.pairs else []), *self._dense(kernel), *fixed]
        types = ", ".join([kernel.name, "_type", "_float", "_lanes", *told])
        if len(self.built) > 1:  # each is built while others are
            lines += laid_out(f"{kernel.name}_asked = ({types})")
        else:
            lines += self._chosen(kernel, f"_built({types})")
        lines.append(f"{kernel.name}_numbers = (")
        rows_ = [x for line in filled_rows(numbers) for x in laid_out(line)]
        return [*lines, *(INDENT + line for line in rows_), ")"]

    def _chosen(self, kernel: Printed, built: str) -> list[str]:
        """The lines that give what is called of a kernel: on all threads, or on one."""
        products = work(kernel.scope.whole, lambda size: self.host(size, PRODUCT))
        return laid_out(f"{kernel.name}_call = _crew({built}, {products})")

    def _call_of(self, kernel: Printed) -> list[str]:
        """The lines that call a kernel."""
        call = [self._address(t.name) for t in kernel.tensors]
        rows = filled_rows([*call, f"*{kernel.name}_numbers"])
        if len(rows) == 1:
            return [f"{kernel.name}_call({rows[0].removesuffix(',')})"]
        return [f"{kernel.name}_call(", *(INDENT + row for row in rows), ")"]

    def _address(self, name: str) -> str:
        """Where a tensor begins in memory."""
        return self._places.get(name) or f"_at({self.tensor(name)})"

    def _steps(self, name: str) -> str:
        """The strides of a tensor."""
        if name in {i.name for i in self.plan.inputs}:
            return f"_steps({self.tensor(name)})"
        return f"_steps_{self.tensor(name.removesuffix('?'))}"

    def _most(self, scope: LaneScope, axis: str) -> str:
        """The most of a tile along an axis that is no vector: of few rows, what products take."""
        return str(ROWS) if scope.axis(axis).size in self.sizes else "64"

    def _dense(self, kernel: Printed) -> list[str]:
        """Whether tensors of which vectors are read have them next to each other in memory."""
        if not isinstance(kernel.scope, FewScope):
            return []
        steps = (f"{self._steps(t)}[{rank}] == 1" for t, rank in kernel.scope.dense.items())
        return [" and ".join(steps) or "True"]

    def _beside(self, scope: LaneScope) -> str:
        """How many programs there are at each tile."""
        return " * ".join(self.host(size, PRODUCT) for size in scope.beside) or "1"


def _under(lines: Sequence[str]) -> list[str]:
    """Lines of a block."""
    return [INDENT + line if line else line for line in lines]


def _parts(buffer: Buffer) -> list[tuple[str, str]]:
    """The tensors that a buffer is, and the types of their elements."""
    found = [(buffer.name, KINDS[buffer.kind])]
    return [*found, (f"{buffer.name}?", '"bool"')] if buffer.presence == "byte" else found
