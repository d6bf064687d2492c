"""The function that C calls: it checks its arguments, and runs the kernels of a plan in turn."""

from __future__ import annotations

from typing import Any, Final

from attnc.backends.tvm.export.builds import Builds
from attnc.backends.tvm.export.interface import MEMORY
from attnc.backends.tvm.export.outputs import Outputs
from attnc.backends.tvm.kernel import Printed
from attnc.backends.tvm.work import FUNCTION, counted
from attnc.ir.expr import Expr

LITTLE: Final = 2**19
"""So many products of matrices take less time than it takes to make a thread."""

BYTES: Final = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


class Entry(Outputs):
    """Makes the function, as one of TVM's."""

    def function(self) -> Any:
        """The function; `calls` are those that it calls."""
        tirx = self.tirx
        variables = self._variables()
        threads = variables[-1]
        self._checked(dict(zip(self.interface.arguments, variables, strict=True)))
        for tensor in self.interface.plan.outputs:
            if tensor.name in self._between():
                self.places[f"{tensor.name} as given"] = self.places.pop(tensor.name)
                self.strides[f"{tensor.name} as given"] = self.strides.pop(tensor.name)
        self._nothing()
        workers = self._let("workers", self._workers(threads))
        room = self._room()
        for i, builds in enumerate(self.builds):
            self._ran(builds, i, workers, room)
        for output in self.interface.plan.outputs:
            if output.name in self._between():
                self._finished(output)
        if room is not None:
            self.lines.append(self._outside("int32", "attnc_leave", room))
        self.lines.extend(self._return(0))
        body = tirx.SeqStmt([tirx.DeclBuffer(self.status, data=self.code), *self.lines])
        return tirx.PrimFunc([self.code, *variables], body, self.tvm.ir.PrimType("int32"))

    def _workers(self, threads: Any) -> Any:
        tirx = self.tirx
        asked = tirx.Cast("int64", threads)
        return tirx.if_then_else(asked > 0, asked, tirx.call_extern("int64", "attnc_processors"))

    def _room(self) -> Any:
        """Memory for what lies between kernels, in one piece; none if nothing does."""
        tirx, ir = self.tirx, self.tvm.ir
        total = self._whole(0)
        starts: list[tuple[str, str, Any]] = []
        for buffer in self.interface.plan.buffers:
            sizes = [self._size(s) for s in buffer.sizes]
            count = self._product(sizes)
            parts = [(buffer.name, self._kind(buffer.kind))]
            if buffer.presence == "byte":
                parts.append((f"{buffer.name}?", "bool"))
            for name, kind in parts:
                starts.append((name, kind, total))
                taken = self.number_of.quotient(count * BYTES[kind] + 63, self._whole(64)) * 64
                total = self._let(f"room_{len(starts)}", total + taken)
                steps = [self._product(sizes[rank + 1 :]) for rank in range(len(sizes))]
                self.strides[name] = steps
        if not starts:
            return None
        of_bytes = ir.PointerType(ir.PrimType("uint8"), "global")
        room = self._let("room", tirx.call_extern(of_bytes, "attnc_take", total))
        self._unless(tirx.isnullptr(room), MEMORY)
        for name, kind, start in starts:
            pointer = ir.PointerType(ir.PrimType(kind), "global")
            place = tirx.call_extern(pointer, "attnc_at", room, start)
            self.places[name] = self._let(name.replace("?", "_here"), place)
        return room

    def _ran(self, builds: Builds, number: int, workers: Any, room: Any) -> None:
        """The call of a kernel: of the build for so many rows as there are."""
        kernel, tirx = builds.kernel, self.tirx
        scope = kernel.scope
        given = [self.places[t.name] for t in kernel.tensors]
        for tensor in kernel.tensors:
            given += self.strides[tensor.name][: len(tensor.strides)]
        for value in kernel.values:
            if not scope.is_constant(value):
                given.append(self.number_of.whole(self.values[value]))
        given += [self._size(size) for size in kernel.sizes]
        given += [self.number_of.real(self.number_of(h.value).value) for h in kernel.hoists]
        given.append(self._crew(kernel, workers))
        chosen: Any = None
        for build in reversed(builds.all):
            name = self.tvm.ir.GlobalVar(f"k{number}_{build.tile or ''}".rstrip("_"))
            self.calls[name] = build.function
            code = tirx.Var("code", "int32")
            call = self.tvm.ir.Call(name, given, ret_ty="int32")
            lines = [tirx.Bind(code, call)]
            left = [] if room is None else [self._outside("int32", "attnc_leave", room)]
            failed = tirx.NE(code, self._whole(0, "int32"))
            lines.append(self._chosen(failed, [*left, *self._return(MEMORY)], None))
            if chosen is None:
                chosen = self._sequence(lines)
            else:
                chosen = self._chosen(self._many(builds, build.tile or 1, workers), lines, chosen)
        self.lines.append(chosen)

    def _crew(self, kernel: Printed, workers: Any) -> Any:
        """How many threads are worth making: the caller's alone, where there is little to do."""
        around, lanes, products = counted(kernel.scope.kernel)
        real = self.number_of.real
        each = sum((self._real_product(lane) for lane in lanes), real(self._whole(0)))
        if products:
            each = each + real(self._whole(FUNCTION))
        else:
            each = (each if lanes else real(self._whole(1))) * real(self._whole(FUNCTION))
        enough = self._real_product(around) * each >= real(self._whole(LITTLE))
        return self._let("crew", self.tirx.Select(enough, workers, self._whole(1)))

    def _real_product(self, sizes: list[Expr]) -> Any:
        found = self.number_of.real(self._whole(1))
        for size in sizes:
            found = found * self.number_of.real(self._size(size))
        return found

    def _many(self, builds: Builds, tile: int, workers: Any) -> Any:
        """Whether there are rows enough for a tile, and then a program for each thread."""
        tirx, scope = self.tirx, builds.kernel.scope
        assert builds.rows is not None
        rows = self._size(scope.axis(builds.rows).size)
        some = builds.all[1].tile or 1
        if tile <= some:
            return rows * 4 > tile
        others = [a for a in scope.kernel.axes if a.kind == "par" and not scope.is_tile(a.name)]
        beside = self._product([self._size(a.size) for a in others])
        count = self.number_of.quotient(rows + (tile - 1), self._whole(tile)) * beside
        return tirx.And(rows > self._whole(some), count >= workers)
