"""The names under which a kernel knows the functions of the language."""

from __future__ import annotations

from typing import Final

PLAIN: Final = {
    "exp": "tl.exp",
    "exp2": "tl.exp2",
    "log": "tl.log",
    "sqrt": "tl.sqrt",
    "rsqrt": "tl.rsqrt",
    "sin": "tl.sin",
    "cos": "tl.cos",
    "abs": "tl.abs",
    "floor": "tl.floor",
    "ceil": "tl.ceil",
    "erf": "tl.erf",
}
"""Those of Triton itself."""

FUNCTIONS: Final = {
    "expm1": "_expm1",
    "log1p": "_log1p",
    "log2": "_log2",
    "tanh": "_tanh",
    "sigmoid": "_sigmoid",
    "relu": "_relu",
    "gelu": "_gelu",
    "silu": "_silu",
    "softplus": "_softplus",
    "sign": "_sign",
    "round": "_round",
}
"""Helpers of `device.py`, which are copied into the module."""

INTEGER: Final = {"abs": "tl.abs", "sign": "_sign", "relu": "_relu"}
"""What integers have a text of their own for."""
