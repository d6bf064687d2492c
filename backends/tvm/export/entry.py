"""The function that C calls: it checks its arguments, and runs the kernels of a plan in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from attnc.backends.tvm.export.builds import Build, Builds
from attnc.backends.tvm.export.few import Few, are_few
from attnc.backends.tvm.export.interface import MEMORY, SIZE
from attnc.backends.tvm.export.outputs import Outputs
from attnc.backends.tvm.few_scope import FewScope
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
        self._checked(dict(zip(self.interface.arguments, variables, strict=True)))
        self._nothing()
        workers = self._let("workers", self._workers(variables[-1]))
        if self.few is not None:
            lines = self._in_pieces(self.few, workers)
            if self.builds:
                self._if(self._are_few(self.few), lines)
            else:
                self.lines.extend(lines)
        if self.builds:
            self._run(workers)
        body = tirx.SeqStmt([tirx.DeclBuffer(self.status, data=self.code), *self.lines])
        return tirx.PrimFunc([self.code, *variables], body, self.tvm.ir.PrimType("int32"))

    def _in_pieces(self, few: Few, workers: Any) -> list[Any]:
        """What runs where rows are few, as statements that stand apart."""
        part = replace(
            self,
            interface=few.interface,
            builds=few.builds,
            lines=[],
            values=dict(self.values),
            places=dict(self.places),
            strides=dict(self.strides),
        )
        for check in few.interface.checks:
            if check.value is not None and check.value not in self.values:
                part._bound(check.value, part.number_of(check.expr).value, SIZE)
        if few.interface.plan.given != self.interface.plan.given:
            part._nothing()
        part._run(workers)
        return part.lines

    def _are_few(self, few: Few) -> Any:
        """Whether rows are few."""
        found: Any = None
        for rows in few.rows:
            beside = self._product([self._size(size) for size in rows.beside])
            here = are_few(self._size(rows.size), beside, self.lanes)
            found = here if found is None else self.tirx.And(found, here)
        return found

    def _run(self, workers: Any) -> None:
        """The kernels of the plan in turn, and what they need and leave."""
        for tensor in self.interface.plan.outputs:
            if tensor.name in self._between():
                self.places[f"{tensor.name} as given"] = self.places.pop(tensor.name)
                self.strides[f"{tensor.name} as given"] = self.strides.pop(tensor.name)
        room = self._room()
        for builds in self.builds:
            self._ran(builds, workers, room)
        for output in self.interface.plan.outputs:
            if output.name in self._between():
                self._finished(output)
        if room is not None:
            self.lines.append(self._outside("int32", "attnc_leave", room))
        self.lines.extend(self._return(0))

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

    def _ran(self, builds: Builds, workers: Any, room: Any) -> None:
        """The call of a kernel: of the build for tensors that lie so, and for so many rows."""
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
            parts = kernel.name[1:], str(build.tile or ""), "" if build.dense else "apart"
            name = self.tvm.ir.GlobalVar("_".join(filter(None, parts)))
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
                chosen = self._chosen(self._fits(builds, build, workers), lines, chosen)
        self.lines.append(chosen)

    def _crew(self, kernel: Printed, workers: Any) -> Any:
        """How many threads are worth making: the caller's alone, where there is little to do."""
        around, lanes, products = counted(kernel.scope.whole)
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

    def _fits(self, builds: Builds, build: Build, workers: Any) -> Any:
        """Whether a build is taken, if none before it is."""
        scope = builds.kernel.scope
        if not isinstance(scope, FewScope):
            return self._many(builds, build.tile or 1, workers)
        if build.dense:
            assert builds.rows is not None
            tiles = builds.tiles
            less = tiles[tiles.index(build.tile or 1) + 1]
            return self._size(scope.axis(builds.rows).size) > self._whole(less)
        far: Any = None
        for tensor, rank in scope.dense.items():
            here = self.tirx.NE(self.strides[tensor][rank], self._whole(1))
            far = here if far is None else self.tirx.Or(far, here)
        return far

    def _many(self, builds: Builds, tile: int, workers: Any) -> Any:
        """Whether there are rows enough for a tile, and then a program for each thread."""
        tirx, scope = self.tirx, builds.kernel.scope
        assert builds.rows is not None
        rows = self._size(scope.axis(builds.rows).size)
        some = builds.tiles[1]
        if tile <= some:
            return rows * 4 > tile
        beside = self._product([self._size(size) for size in scope.beside])
        count = self.number_of.quotient(rows + (tile - 1), self._whole(tile)) * beside
        return tirx.And(rows > self._whole(some), count >= workers)
