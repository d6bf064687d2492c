"""Outputs that no kernel writes as they are asked for: empty ones, and those that kernels read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attnc.backends.tvm.export.arguments import Arguments
from attnc.backends.tvm.export.pieces import stored
from attnc.ir.cascade import Output

FRACTIONS: Final = {"float8_e4m3fn": 3, "float8_e5m2": 2}
"""How many digits the fractions of short floats have."""


class Outputs(Arguments):
    """Writes outputs, element by element."""

    def _nothing(self) -> None:
        """Outputs where sizes leave no point of any: each its empty value everywhere."""
        holds: Any = None
        for condition in self.interface.plan.given:
            found = self.number_of(condition)
            here = self.number_of.truth(found.value)
            if found.fails is not None:
                here = self.tirx.And(self.tirx.Not(found.fails), here)
            holds = here if holds is None else self.tirx.And(holds, here)
        if holds is None:
            return
        filled: list[Any] = []
        for output in self.interface.plan.outputs:
            filled += self._each(output, lambda o, _: self._empty(o))
        self._if(self.tirx.Not(holds), [*filled, *self._return(0)])

    def _finished(self, output: Output) -> None:
        """An output that kernels have read again: its absent points filled, in its own type."""
        buffer = self._between()[output.name]
        sizes = [self._size(s) for s in buffer.sizes]
        kept = self._buffer(output.name, self._kind(buffer.kind), self.places[output.name], sizes)
        self.lines.append(self.tirx.DeclBuffer(kept, data=self.places[output.name]))
        here: Any = None
        if buffer.presence == "byte":
            place = self.places[f"{output.name}?"]
            here = self._buffer(f"{output.name}_here", "bool", place, sizes)
            self.lines.append(self.tirx.DeclBuffer(here, data=place))

        def value(output: Output, index: list[Any]) -> Any:
            found = self._as(output, kept[tuple(index)] if index else kept[0])
            if here is None:
                return found
            there = here[tuple(index)] if index else here[0]
            return self.tirx.Select(there, found, self._empty(output))

        self.lines.extend(self._each(output, value))

    def _each(self, output: Output, value: Callable[[Output, list[Any]], Any]) -> list[Any]:
        """Every element of an output becomes what a function of its place gives."""
        tirx = self.tirx
        given = f"{output.name} as given"
        name = given if given in self.places else output.name
        sizes = [self._size(s) for s in self.interface.shape(output.name)]
        data = self.places[name]
        kind = stored(self.interface.element(output))
        to = self._buffer(output.name, kind, data, sizes or [1], self.strides[name] or None)
        index = [tirx.Var(f"i{rank}", "int64") for rank in range(len(sizes))]
        body = tirx.BufferStore(to, value(output, index), index or [self._whole(0)])
        for i, size in zip(reversed(index), reversed(sizes), strict=True):
            body = tirx.For(i, self._whole(0), size, tirx.ForKind.SERIAL, body)
        return [tirx.DeclBuffer(to, data=data), body]

    def _empty(self, output: Output) -> Any:
        empty = output.empty if output.empty is not None else 0
        number = self.tirx.FloatImm("float64", float(empty))
        if not self.interface.element(output).startswith(("float", "bfloat")):
            number = self._whole(int(empty))
        return self._as(output, number)

    def _as(self, output: Output, value: Any) -> Any:
        """A number as an element of an output."""
        element = self.interface.element(output)
        if element == "bfloat16":
            return self.script._narrow(self.tirx.Cast("float32", value), element)
        if element in FRACTIONS:
            return self.script._to_f8(value, FRACTIONS[element])
        return self.tirx.Cast(stored(element), value)
