"""What stands around kernels for a device."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnc.backends.names import Names
from attnc.backends.numpy.layout import INDENT
from attnc.backends.signature import Signature
from attnc.backends.triton.launch import empty_of, filled_rows
from attnc.backends.triton.layout import laid_out
from attnc.backends.tvm.device_kernel import DevicePrinted
from attnc.backends.tvm.launch import Caller, dtype_of
from attnc.ir.cascade import Input, Output
from attnc.ir.printer import PRODUCT
from attnc.ir.types import Kind


@dataclass
class DeviceCaller(Caller):
    """Prints the wrapper of a plan's kernels."""

    printed: list[DevicePrinted] = field(default_factory=list[DevicePrinted])

    def text(self) -> list[str]:
        """The lines of the functions; one more tells what a call launches."""
        lines = Caller.text(self)
        call: Signature = self.call
        return [
            *lines,
            "",
            "",
            *laid_out(f"def {self.names.of('helper', 'source')}({call}):"),
            f'{INDENT}"""What a call launches: of each kernel its text, name, programs, threads of',
            f'{INDENT}each, and arguments in order, with their types."""',
            f"{INDENT}return _recorded(lambda: _launch(*_check({call.forwarded()})))",
        ]

    def _launched(self) -> list[str]:
        lines = [
            f'{self.tensor(i.name)} = _sent("{i.name}", {self.tensor(i.name)}, {self._kept(i)})'
            for i in self.plan.inputs
        ]
        nothing = self._nothing()
        buffers = {b.name: b for b in self.plan.buffers}
        lines = [*nothing, *lines]
        for output in self.plan.outputs:
            if output.name not in buffers:
                made = f"_room({self._shape(output.name)}, {self._kept(output)})"
                lines.append(f"{self.tensor(output.name)} = {made}")
        for buffer in self.plan.buffers:
            shape = self._shape(buffer.name)
            lines.append(f"{self.tensor(buffer.name)} = _room({shape}, {_number(buffer.kind)})")
            if buffer.presence == "byte":
                lines.append(f'{self.tensor(buffer.name + "?")} = _room({shape}, "int32")')
        for kernel in self.printed:
            lines += ["", *self._launch_of(kernel)]
        lines.append("")
        results = []
        for output in self.plan.outputs:
            text = self._result(output.name, self._kept(output), dtype_of(output))
            if output.name in buffers:
                kept = buffers[output.name]
                text = self._result(output.name, _number(kept.kind), dtype_of(output))
                if kept.presence == "byte":
                    here = self._result(f"{output.name}?", '"int32"', '"bool"')
                    text = f"_like.where({here}, {text}, {empty_of(output)})"
            results.append(text)
        lines.append(f"return {', '.join(results)}")
        return lines

    def _result(self, name: str, stored: str, kind: str) -> str:
        shape = self._shape(name.removesuffix("?"))
        return f"_taken({self.tensor(name)}, {shape}, {stored}, _like, {kind})"

    def _kept(self, item: Input | Output) -> str:
        """The type of a tensor's elements on the device."""
        return _number(self.facts.types[item.name].kind)

    def _launch_of(self, kernel: DevicePrinted) -> list[str]:
        scope = kernel.scope
        lines: list[str] = []
        taken = Names(set(self.names.used))
        tiles = {axis: taken.of("tile", size) for axis, size in kernel.tiles}
        names = dict(kernel.tiles)
        free: list[str] = []
        for axis, name in tiles.items():
            extent = self.host(scope.axis(axis).size)
            if scope.axis(axis).kind == "whole":
                lines.append(f"{name} = max(1, {extent})")
            else:
                free.append(axis)
        called = {names[axis]: tiles[axis] for axis in tiles}
        products = [" * ".join(called[s] for s in sizes) for sizes in kernel.shared]
        room = f"4 * ({' + '.join(products)})" if products else "0"
        if free or products:
            chosen = ", ".join(tiles[a] for a in free)
            extents = ", ".join(self.host(scope.axis(a).size) for a in free)
            left = f"[{chosen}] = " if free else ""
            lines.append(f"{left}_chosen([{extents}], lambda {chosen}: {room})")
        counts = []
        for axis in kernel.parallel:
            size = self.host(scope.axis(axis).size, PRODUCT + 1)
            if axis in tiles:
                size = f"-(-{size} // {tiles[axis]})"
            counts.append(size)
        call = [kernel.name]
        fixed = [self.value(v) for v in kernel.fixed] + list(tiles.values())
        call.append(f"({', '.join(fixed)}{',' if len(fixed) == 1 else ''})")
        call.append(" * ".join(counts) or "1")
        tensors = [f'"{t.python}": {self.tensor(t.name)}' for t in kernel.tensors]
        call.append(f"{{{', '.join(tensors)}}}")
        values = [v for v in kernel.values if not scope.is_constant(v)]
        call += [f"{scope.names.of('value', v)}={self._passed(v)}" for v in values]
        call += [f"{scope.counted[size]}={self.host(size)}" for size in kernel.sizes]
        call += [f"{a.name}_given={self._hoisted(a.value)}" for a in kernel.hoists]
        lines.append("_run(")
        rows = [x for line in filled_rows(call) for x in laid_out(line)]
        lines += [INDENT + line for line in rows]
        lines.append(")")
        return lines


def _number(kind: Kind) -> str:
    return '"float32"' if kind.floating else '"int32"'
