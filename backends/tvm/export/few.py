"""Kernels for few rows in a library, and the sizes by which a call takes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from attnc.backends.tvm.export.builds import Builds
from attnc.backends.tvm.export.interface import Interface
from attnc.backends.tvm.kernel import Printed
from attnc.ir.cascade import Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Expr


@dataclass(frozen=True)
class Rows:
    """The size of an axis of rows, and those of the programs beside them."""

    size: Expr
    beside: tuple[Expr, ...]

    @classmethod
    def of(cls, kernel: Printed, axis: str) -> Rows:
        """Those of a kernel's axis."""
        return cls(kernel.scope.axis(axis).size, tuple(kernel.scope.beside))

    def known(self, known: Mapping[str, Constant], lanes: int) -> bool | None:
        """Whether they are few, as far as values tell that are known; None: a call tells."""
        rows = evaluate(self.size, known)
        if rows is None:
            return None
        sizes = [evaluate(size, known) for size in self.beside]
        told = [size for size in sizes if size is not None]
        if len(told) == len(sizes):
            return bool(are_few(rows, math.prod(told), lanes))
        least, most = are_few(rows, 0, lanes), are_few(rows, 2**62, lanes)
        return bool(least) if least == most else None


@dataclass(frozen=True)
class Few:
    """The kernels of a plan in pieces: a call takes them if all these rows are few."""

    interface: Interface
    builds: list[Builds]
    rows: tuple[Rows, ...]


def are_few(rows: Any, others: Any, lanes: int) -> Any:
    """The rule by which modules tell whether rows are few, of numbers or expressions of TVM's."""
    return import_module("attnc.backends.tvm.tiles")._few_rows(rows, others, lanes)


def known_few(rows: Iterable[Rows], known: Mapping[str, Constant], lanes: int) -> bool | None:
    """Whether all rows are few, as far as values tell that are known; None: a call tells."""
    found = [r.known(known, lanes) for r in rows]
    if False in found:
        return False
    return None if None in found else bool(found)
