"""Kernels of the Triton backend, run by Triton's interpreter, in a process of its own.

Whether kernels are interpreted is decided once, when triton is imported, and a process in which
they are cannot compile any. So the tests' own process imports triton as it is, and one that is
started beside it, when it is first asked, interprets.
"""

from __future__ import annotations

import atexit
import importlib
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from attnc.api import Device, emit
from attnc.ir.facts import Facts

ROOT = Path(__file__).parent.parent
SECONDS = 300
"""The longest that one call may take."""


class Failed(Exception):
    """What a call in the other process raised: the name of its type, and what it says."""

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(f"{kind}: {message}\n{trace}")
        self.kind, self.message, self.trace = kind, message, trace


@dataclass(frozen=True)
class Strided:
    """A tensor as a view: elements of an array in memory, with the distances between them."""

    memory: np.ndarray
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


# The other process


def serve(descriptor: int) -> None:
    """Calls functions of modules by name until the connection ends."""
    import torch

    torch.set_num_threads(1)
    importlib.import_module("tests.watched").put_right()
    connection = Connection(descriptor)
    while True:
        try:
            module, function, arguments = connection.recv()
        except EOFError:
            return
        try:
            found = getattr(importlib.import_module(module), function)(*arguments)
            connection.send((found, None))
        except BaseException as error:
            cause = error.__cause__ or error
            problem = type(cause).__name__, str(cause), traceback.format_exc()
            connection.send((None, problem))


@cache
def _loaded(text: str) -> Callable[..., Any]:
    from attnc.modules import function_of

    return function_of(text, f"{hash(text):x}")


def tensor(value: Any) -> Any:
    """An array, or a view of one, as a tensor; other things are as they are."""
    import torch

    match value:
        case Strided():
            return tensor(value.memory).as_strided(value.sizes, value.strides, value.offset)
        case np.ndarray() if value.dtype.name in WIDE:
            return torch.from_numpy(value.astype(np.float32)).to(
                getattr(torch, WIDE[value.dtype.name])
            )
        case np.ndarray():
            return torch.from_numpy(value.copy())
        case _:
            return value


WIDE = {"bfloat16": "bfloat16", "float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}


def array(value: Any) -> np.ndarray:
    """A tensor as an array."""
    import torch

    name = str(value.dtype).removeprefix("torch.")
    if name in WIDE:
        return value.to(torch.float32).numpy().astype(getattr(ml_dtypes, name))
    return value.numpy()


@dataclass(frozen=True)
class Forced:
    """What a call is made to choose otherwise than it would."""

    wide: bool = False
    """Coordinates of 64 bits."""
    tile: int | None = None
    """Tiles of so many points along axes that are not held whole: more tiles, of fewer points."""
    points: int | None = None
    """Pieces of so many points where there are kernels for that; 0: the others."""

    def names(self, space: Mapping[str, Any]) -> dict[str, Any]:
        """Helpers of the module in place of its own."""
        import triton.language as tl

        found: dict[str, Any] = {}
        if self.wide and "_index" in space:
            found["_index"] = lambda *_: tl.int64
        if self.tile is not None and "_power" in space:
            power, tile = space["_power"], self.tile
            found["_power"] = lambda size, least=1, most=None: (
                power(size, least) if most is None else power(size, 1, tile)
            )
            found["_fitting"] = lambda *_: 1
        if self.points is not None and "_points" in space:
            found["_points"] = lambda *_: self.points
        return found


class Making:
    """The library torch, whose `empty` tells what it makes."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def empty(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        """A tensor that kernels may use, full of rubbish."""
        from tests.watched import MEMORY

        made = self._torch.full(shape, RUBBISH, dtype=self._torch.float32, device=device).to(dtype)
        MEMORY.add(made)
        return made


RUBBISH = 77.0


def call(
    text: str, arguments: Sequence[Any], parameters: Mapping[str, Any], forced: Forced
) -> tuple[np.ndarray, ...]:
    """The outputs of an emitted module."""
    import torch

    from tests.watched import MEMORY

    function = _loaded(text)
    space = function.__globals__
    given = [*map(tensor, arguments)]
    MEMORY.watch(x for x in given if isinstance(x, torch.Tensor))
    other = {**forced.names(space), "torch": Making()}
    kept = {name: space[name] for name in other if name in space}
    space.update(other)
    try:
        found = function(*given, **parameters)
    finally:
        space.update(kept)
    return tuple(map(array, found if isinstance(found, tuple) else (found,)))


# This process


class Interpreter:
    """The other process, started when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def ask(self, module: str, function: str, *arguments: Any) -> Any:
        """What a function of a module returns there; raises `Failed` if it raises."""
        if self._connection is None or self._process is None or self._process.poll() is not None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send((module, function, arguments))
            if not self._connection.poll(SECONDS):
                raise EOFError(f"no answer within {SECONDS} seconds")
            found, problem = self._connection.recv()
        except (EOFError, OSError) as error:
            self.stop()
            raise Failed(type(error).__name__, str(error) or "it is gone", "") from None
        if problem is not None:
            raise Failed(*problem)
        return found

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        code = f"from {__name__} import serve; serve({theirs.fileno()})"
        environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None


INTERPRETER = Interpreter()


@dataclass(frozen=True)
class Interpreted:
    """An emitted module and how it is called.

    Kernels that load or store anything beside the tensors of a call fail; see `tests/watched.py`.
    """

    facts: Facts
    text: str

    def __call__(
        self,
        inputs: Mapping[str, Any] | Sequence[Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        wide: bool = False,
        tile: int | None = None,
        points: int | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Its outputs."""
        values = inputs
        if isinstance(inputs, Mapping):
            values = [inputs[i.name] for i in self.facts.cascade.inputs]
        found: tuple[np.ndarray, ...] = INTERPRETER.ask(
            __name__,
            "call",
            self.text,
            list(values),
            dict(parameters or {}),
            Forced(wide, tile, points),
        )
        return found


def interpreted(facts: Facts, *, exact: bool = False) -> Interpreted:
    """The kernels of a cascade; raises `SpecError` where the backend cannot print them."""
    device = Device(nonfinite="exact" if exact else "fast")
    return Interpreted(facts, emit(facts, backend="triton", dtype=None, static={}, device=device))
