"""Operators and functions of level 2 on arrays of numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Final

import numpy as np

choice: Final[Callable[[Any, Any, Any], Any]] = np.where
"""`then if condition else other`, lane by lane."""


def _zero(dtype: Any) -> Any:
    return np.zeros((), dtype)


def _one(dtype: Any) -> Any:
    return np.ones((), dtype)


def _least(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _greatest(dtype: Any) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


FOLDS: Final[Mapping[str, tuple[Any, Callable[[Any], Any]]]] = {
    "sum": (np.add, _zero),
    "prod": (np.multiply, _one),
    "max": (np.maximum, _least),
    "min": (np.minimum, _greatest),
    "any": (np.logical_or, _zero),
    "all": (np.logical_and, _one),
}
UNARY: Final[Mapping[str, Callable[[Any], Any]]] = {
    "-": operator.neg,
    "~": np.invert,
    "not": np.logical_not,
}
BINARY: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": np.true_divide,
    "//": np.floor_divide,
    "%": np.remainder,
    "**": np.power,
    "&": np.bitwise_and,
    "|": np.bitwise_or,
    "^": np.bitwise_xor,
    "<<": np.left_shift,
    ">>": np.right_shift,
}
COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def found(rows: Any, op: str, value: Any) -> Any:
    """Where each row, sorted so, begins to compare with a value; rows and values meet."""
    shape = np.broadcast_shapes(rows.shape[:-1], np.shape(value))
    rows = np.broadcast_to(rows, (*shape, rows.shape[-1]))
    values = np.broadcast_to(value, shape)
    places = np.empty(shape, np.int64)
    for lane in np.ndindex(shape):
        row, up = rows[lane], op in (">=", ">")
        ascending = row if up else row[::-1]
        search: Any = ascending.searchsorted
        passed = search(values[lane], "left" if op in (">=", "<") else "right")
        places[lane] = passed if up else row.size - passed
    return places


def _ceildiv(a: Any, b: Any) -> Any:
    return -np.floor_divide(-a, b)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _greatest_of(*items: Any) -> Any:
    return reduce(np.maximum, items)


def _least_of(*items: Any) -> Any:
    return reduce(np.minimum, items)


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _integer(x: Any) -> Any:
    return np.asarray(x).astype(np.int64)


def _float(x: Any) -> Any:
    return np.asarray(x).astype(np.float64)


def _bool(x: Any) -> Any:
    return np.asarray(x).astype(np.bool_)


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "ceildiv": _ceildiv,
    "clip": _clip,
    "max": _greatest_of,
    "min": _least_of,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log2": np.log2,
    "pow": np.power,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "relu": _relu,
    "i32": _integer,
    "i64": _integer,
    "f32": _float,
    "f64": _float,
    "float": _float,
    "bool": _bool,
}
