"""From the text of a spec to a function that runs, through two caches.

One cache is in the process, by the text and the choices; the other holds emitted modules on disk.
A spec that is not valid, or that has warnings, is checked each time.
"""

from __future__ import annotations

import functools
import json
import platform
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from attnc.backends import BACKENDS, LISTS, TOLD
from attnc.cache import key
from attnc.collecting import uncollected
from attnc.digest import compiler, store
from attnc.errors import Diagnostic, SpecError, UsageError
from attnc.ir.cascade import Constant
from attnc.modules import LATER, function_of, keywords, missing, without_tvm
from attnc.python.signature import Signature, from_data, signature
from attnc.version import LANGUAGE, VERSION

if TYPE_CHECKING:
    from attnc.api import Checked
    from attnc.planning import Plans

NUMPY: Final = "numpy"
TVM: Final = "tvm"
AT: Final[Mapping[str, str]] = {"cpu": TVM, "cuda": "triton"}
"""The backends by the kind of device that their kernels run on, as PyTorch calls it."""


class SpecWarning(UserWarning):
    """Something odd in a spec that is valid."""


@dataclass(frozen=True)
class Choices:
    """What is compiled: a cascade of a file, the backend, the floating type, fixed parameters.

    Without a backend, the device of the tensors decides in each call.
    """

    cascade: str | None = None
    backend: str | None = None
    dtype: str | None = None
    static: tuple[tuple[str, Constant], ...] = ()

    def on(self, device: str) -> Choices:
        """With the backend for tensors on a kind of device."""
        return self if self.backend else replace(self, backend=AT.get(device, NUMPY))

    def chosen(self) -> Choices:
        """With the backend that was chosen, else with NumPy's, which takes every spec."""
        return self if self.backend else replace(self, backend=NUMPY)

    def text(self) -> str:
        """All of this as one text, which tells 1 from 1.0."""
        return json.dumps([self.cascade, self.backend, self.dtype, self.static])


@dataclass(frozen=True)
class Built:
    """A compiled kernel: its arguments, and the function in its module."""

    key: str
    backend: str
    signature: Signature
    function: Callable[..., Any] = field(compare=False, repr=False)
    whole: Callable[[], str] = field(compare=False, repr=False)
    """Gives the text of the module with all that calls may need; see `attnc.api.emit`."""

    @functools.cached_property
    def source(self) -> str:
        """The text of the module with all that calls may need."""
        return self.whole()

    @functools.cached_property
    def keywords(self) -> dict[str, str]:
        """The keyword under which the function takes each parameter."""
        return keywords(self.function, {p.name for p in self.signature.parameters})

    def call(self, tensors: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
        """Runs the function; results are one array or a tuple of arrays."""
        return self.function(*tensors, **{self.keywords[n]: v for n, v in parameters.items()})


Shown = Callable[[Diagnostic], Diagnostic]
Make = Callable[[Choices], Built]
"""Compiles a spec with choices, once for each backend."""

_built: dict[str, Built] = {}
_lock: Final = threading.Lock()


def build(
    spec: str, choices: Choices, name: str, moved: Shown = lambda d: d, *, warn: bool = True
) -> Built:
    """The kernel of a spec, compiled unless that was done before; `choices` have a backend.

    `name` is what the spec is reported under. Warnings of the spec are issued as `SpecWarning`, at
    the place that `moved` gives, if `warn`. Raises `SpecError` and `UsageError` as `attnc.compile`
    does, and `UsageError` where what the kernel runs on is not installed.
    """
    identity = _key(spec, choices)
    found = _built.get(identity)
    if found is None:
        with _lock:
            known = _Spec(identity, spec, choices, name)
            found = _built.get(identity) or _load(known) or _compile(known, moved if warn else None)
    return found


def making(spec: str, name: str, moved: Shown = lambda d: d) -> Make:
    """What compiles one spec; see `build`. It is warned about once."""
    made: dict[str | None, Built] = {}

    def make(choices: Choices) -> Built:
        found = made.get(choices.backend)
        if found is None:
            found = build(spec, choices, name, moved, warn=not made)
            made[choices.backend] = found
        return found

    return make


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


@dataclass
class _Spec:
    """What is compiled, and the name of it on disk."""

    identity: str
    text: str
    choices: Choices
    name: str

    @functools.cached_property
    def checked(self) -> Checked:
        """The cascades, checked."""
        from attnc.api import check

        return check(self.text, self.name)

    @functools.cached_property
    def plans(self) -> Plans:
        """The plans of the one that is compiled."""
        from attnc.planning import Plans

        backend = self.choices.backend
        facts = self.checked.select(self.choices.cascade)
        return Plans(facts, lists=backend in LISTS, told=backend in TOLD)

    @functools.cached_property
    def static(self) -> dict[str, Constant]:
        """The parameters that are fixed."""
        from attnc.api import fixed

        return fixed(self.checked.select(self.choices.cascade), dict(self.choices.static))

    def emitted(self, *, later: bool) -> str:
        """The text of a module; see `attnc.api.emit`."""
        from attnc.api import emit

        return emit(
            self.checked.select(self.choices.cascade),
            backend=self.choices.backend or NUMPY,
            dtype=self.choices.dtype,
            static=self.static,
            source=self.checked.source,
            later=later,
            plans=None if self.choices.backend in BACKENDS else self.plans,
        )

    def whole(self) -> str:
        """The text of the module with all that calls may need; made when it is first asked for."""
        place, name = store(), key(whole=self.identity)
        found = None if place is None else place.get(name)
        if found is None:
            found = self.emitted(later=False)
            if place is not None and not self.checked.warnings:
                place.put(name, found)
            vars(self).pop("plans", None)  # which are large, and not needed any more
        return found

    def rest(self) -> str | None:
        """The same for calls that need it; None where it cannot be printed, and they do without."""
        try:
            return self.whole()
        except SpecError:
            return None


def _load(spec: _Spec) -> Built | None:
    """The kernel that the disk holds under a key, if it is there and whole."""
    place = store()
    entry = None if place is None else place.get(spec.identity)
    if entry is None:
        return None
    try:
        data = json.loads(entry)
        known, source = from_data(data["signature"]), str(data["source"])
        return _keep(spec, known, source)
    except (ValueError, KeyError, TypeError, SyntaxError, AttributeError):
        return None  # damaged, yet with a checksum that holds: as good as not there


@uncollected()
def _compile(spec: _Spec, moved: Shown | None) -> Built:
    checked, choices = spec.checked, spec.choices
    source = spec.emitted(later=True)
    known = signature(checked.select(choices.cascade).cascade, choices.dtype, spec.static)
    found = _keep(spec, known, source)
    if checked.warnings:
        del _built[spec.identity]
        if moved is not None:
            for warning in checked.warnings:
                _warn(moved(warning))
    elif (place := store()) is not None:
        place.put(spec.identity, json.dumps({"signature": known.data(), "source": source}))
    return found


def _warn(found: Diagnostic) -> None:
    line, _ = found.source.position(found.span.start)
    warnings.warn_explicit(found.render(), SpecWarning, found.source.name, line)


def _keep(spec: _Spec, known: Signature, source: str) -> Built:
    backend = spec.choices.backend or NUMPY
    if backend == TVM and (error := without_tvm()):
        raise error
    try:
        function = function_of(source, f"{known.name} {spec.identity[:12]}", spec.rest)
    except ModuleNotFoundError as error:
        raise missing(error) from None
    whole = spec.whole if LATER in source else lambda: source
    built = Built(spec.identity, backend, known, function, whole)
    _built[spec.identity] = built
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
