"""From the text of a spec to a function that runs, through two caches.

One cache is in the process, by the text and the choices; the other holds emitted modules on disk.
A spec that is not valid, or that has warnings, is checked each time.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import json
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from attnc.cache import Store, default_folder, key
from attnc.errors import Diagnostic, UsageError
from attnc.ir.cascade import Constant
from attnc.modules import function_of
from attnc.python.signature import Signature, from_data, signature
from attnc.version import LANGUAGE, VERSION


class SpecWarning(UserWarning):
    """Something odd in a spec that is valid."""


@dataclass(frozen=True)
class Choices:
    """What is compiled: a cascade of a file, the backend, the floating type, fixed parameters."""

    cascade: str | None = None
    backend: str = "numpy"
    dtype: str | None = None
    static: tuple[tuple[str, Constant], ...] = ()

    def text(self) -> str:
        """All of this as one text, which tells 1 from 1.0."""
        return json.dumps([self.cascade, self.backend, self.dtype, self.static])


@dataclass(frozen=True)
class Built:
    """A compiled kernel: its arguments, the text of its module, and the function in that."""

    key: str
    signature: Signature
    source: str
    function: Callable[..., Any] = field(compare=False, repr=False)

    @functools.cached_property
    def keywords(self) -> dict[str, str]:
        """The keyword under which the function takes each parameter.

        In the module a parameter goes by another name where its own is taken.
        """
        accepted = inspect.signature(self.function).parameters
        keyword = {n for n, p in accepted.items() if p.kind is p.KEYWORD_ONLY}
        own = {p.name for p in self.signature.parameters}
        found = {}
        for name in own:
            others = itertools.chain([f"{name}_"], (f"{name}_{i}" for i in itertools.count(2)))
            free = (o for o in others if o in keyword and o not in own)
            found[name] = name if name in keyword else next(free)
        return found

    def call(self, tensors: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
        """Runs the function; results are one array or a tuple of arrays."""
        return self.function(*tensors, **{self.keywords[n]: v for n, v in parameters.items()})


Shown = Callable[[Diagnostic], Diagnostic]

_built: dict[str, Built] = {}
_lock: Final = threading.Lock()


def build(spec: str, choices: Choices, name: str, moved: Shown = lambda d: d) -> Built:
    """The kernel of a spec, compiled unless that was done before.

    `name` is what the spec is reported under. Warnings of the spec are issued as `SpecWarning`, at
    the place that `moved` gives. Raises `SpecError` and `UsageError` as `attnc.compile` does.
    """
    identity = _key(spec, choices)
    found = _built.get(identity)
    if found is None:
        with _lock:
            found = (
                _built.get(identity)
                or _load(identity)
                or _compile(identity, spec, choices, name, moved)
            )
    return found


def _key(spec: str, choices: Choices) -> str:
    """Whatever decides what is emitted."""
    return key(
        language=LANGUAGE,
        compiler=f"{VERSION} {compiler()}",
        toolchain=toolchain(),
        choices=choices.text(),
        spec=spec,
    )


@functools.cache
def toolchain() -> str:
    """Versions of what the emitted text runs on."""
    import numpy as np

    return f"python {platform.python_version()}, numpy {np.__version__}"


@functools.cache
def compiler() -> str:
    """A digest of the compiler's own files, so that no cache outlives a change of them."""
    found = hashlib.sha256()
    for name, path in sorted(_sources()):
        found.update(f"{name}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _sources() -> Iterator[tuple[str, Path]]:
    import attnc
    import attnc.backends
    import attnc.grammar
    import attnc.passes

    for package in (attnc, attnc.backends, attnc.grammar, attnc.passes):
        for folder in map(Path, package.__path__):
            for path in folder.rglob("*"):
                if path.suffix in (".py", ".lark", ".attn", ".txt"):
                    yield f"{package.__name__}/{path.relative_to(folder).as_posix()}", path


def _store() -> Store | None:
    folder = default_folder()
    return None if folder is None else Store(folder)


def _load(identity: str) -> Built | None:
    """The kernel that the disk holds under a key, if it is there and whole."""
    store = _store()
    entry = None if store is None else store.get(identity)
    if entry is None:
        return None
    try:
        data = json.loads(entry)
        known, source = from_data(data["signature"]), str(data["source"])
        return _keep(identity, known, source)
    except (ValueError, KeyError, TypeError, SyntaxError, AttributeError):
        return None  # damaged, yet with a checksum that holds: as good as not there


def _compile(identity: str, spec: str, choices: Choices, name: str, moved: Shown) -> Built:
    from attnc.api import check, emit, fixed

    checked = check(spec, name)
    facts = checked.select(choices.cascade)
    static = fixed(facts, dict(choices.static))
    source = emit(facts, backend=choices.backend, dtype=choices.dtype, static=static)
    known = signature(facts.cascade, choices.dtype, static)
    found = _keep(identity, known, source)
    if checked.warnings:
        del _built[identity]
        for warning in checked.warnings:
            _warn(moved(warning))
    elif (store := _store()) is not None:
        store.put(identity, json.dumps({"signature": known.data(), "source": source}))
    return found


def _warn(found: Diagnostic) -> None:
    line, _ = found.source.position(found.span.start)
    warnings.warn_explicit(found.render(), SpecWarning, found.source.name, line)


def _keep(identity: str, known: Signature, source: str) -> Built:
    built = Built(identity, known, source, function_of(source, f"{known.name} {identity[:12]}"))
    _built[identity] = built
    return built


def forget() -> None:
    """Empties the cache of this process."""
    _built.clear()


def static_items(static: Mapping[str, Constant] | None) -> tuple[tuple[str, Constant], ...]:
    """Fixed parameters in an order of their own, so that equal choices compare equal.

    Raises `UsageError` for a value that no parameter can have.
    """
    found = []
    for name, value in sorted((static or {}).items()):
        plain = value.item() if hasattr(value, "item") else value  # a scalar of NumPy
        if not isinstance(plain, int | float):
            raise UsageError(f"the parameter '{name}' cannot be {value!r}: it is no number")
        found.append((name, plain))
    return tuple(found)
