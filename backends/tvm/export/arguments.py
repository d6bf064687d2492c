"""The arguments of an exported function: they are looked at before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attnc.backends.signature import FAR
from attnc.backends.tvm.export.interface import BUILT, NULL, SIZE
from attnc.backends.tvm.export.pieces import Pieces, stored
from attnc.ir.cascade import Constant
from attnc.ir.expr import Apply, Int, Value
from attnc.ir.types import Kind

MOST: Final = 2**29
"""More than a size can be."""


class Arguments(Pieces):
    """Takes arguments, and returns errors where they do not fit."""

    def _variables(self) -> list[Any]:
        types = {"size": "int64", "int": "int64", "float": "float64", "bool": "int32"}
        elements = {t.name: self.interface.element(t) for t in self.interface.tensors}
        found: list[Any] = []
        for argument in self.interface.arguments:
            match argument.role:
                case "input" | "output":
                    kind = stored(elements[argument.of])
                    found.append(self._pointer(argument.name, kind))
                case "strides":
                    found.append(self._pointer(argument.name, "int64"))
                case "threads":
                    found.append(self.tirx.Var(argument.name, "int32"))
                case role:
                    found.append(self.tirx.Var(argument.name, types[role]))
        return found

    def _checked(self, given: Mapping[Any, Any]) -> None:
        tirx, interface = self.tirx, self.interface
        for name, value in interface.options.static.items():
            self.values[name] = self._constant(name, value)
        for argument, variable in given.items():
            match argument.role:
                case "size" | "int" | "float":
                    self.values[argument.of] = variable
                case "bool":
                    self.values[argument.of] = tirx.NE(variable, self._whole(0, "int32"))
                case _:
                    pass
        for name in interface.plan.bounded:
            near = Apply("clip", (Value(name), Int(-FAR), Int(FAR)))
            self.values[name] = self._let(name, self.number_of(near).value)
        parameters = [p.name for p in interface.free if interface.is_extent(p.name)]
        for name in (*interface.extents(), *parameters):
            size = self.values[name]
            self._unless(tirx.Or(size < 0, size >= self._whole(MOST)), SIZE)
        for check in interface.checks:
            found = self.number_of(check.expr)
            self._unless(found.fails, check.code)
            if check.value is None:
                self._unless(tirx.Not(self.number_of.truth(found.value)), check.code)
            else:
                self._bound(check.value, found.value, check.code)
        for expr, number in self.whole.items():
            self._unless(tirx.NE(self._size(expr), self._whole(number)), BUILT)
        self._tensors(given)

    def _constant(self, name: str, value: Constant) -> Any:
        kinds = {p.name: p.type for p in self.interface.plan.parameters}
        match kinds[name]:
            case "float":
                return self.tirx.FloatImm("float64", float(value))
            case "bool":
                return self._whole(int(value), "bool")
            case _:
                number = int(value)
                bounded = name in self.interface.plan.bounded
                return self._whole(max(-FAR, min(number, FAR)) if bounded else number)

    def _bound(self, name: str, value: Any, code: int) -> None:
        """A binding, in its type."""
        kind = self.interface.facts.values[name].kind
        if kind in (Kind.I64, Kind.I32):
            value = self.number_of.whole(value)
        elif kind is not Kind.BOOL:
            value = self.number_of.real(value)
        self.values[name] = self._let(name, value)
        if self.interface.is_extent(name):
            size = self.values[name]
            self._unless(self.tirx.Or(size < 0, size >= self._whole(MOST)), code)

    def _tensors(self, given: Mapping[Any, Any]) -> None:
        """Where tensors are, and their strides: without any, rows lie one after the other."""
        tirx = self.tirx
        for argument, variable in given.items():
            if argument.role not in ("input", "output", "strides"):
                continue
            sizes = [self._size(s) for s in self.interface.shape(argument.of)]
            none = tirx.isnullptr(variable)
            if argument.role != "strides":
                some = self._product(sizes) > 0
                self._unless(tirx.And(none, some), NULL)
                self.places[argument.of] = variable
                self.strides[argument.of] = []
                continue
            table = self._buffer(argument.name, "int64", variable, [len(sizes)])
            self.lines.append(tirx.DeclBuffer(table, data=variable))
            for rank in range(len(sizes)):
                step = tirx.if_then_else(none, self._product(sizes[rank + 1 :]), table[rank])
                self.strides[argument.of].append(self._let(f"{argument.name}_{rank}", step))
