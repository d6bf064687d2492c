"""Nodes of trees that passes make and look up by the ten thousand.

A frozen dataclass hashes all that is below it each time, and compares all of it even with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields, make_dataclass
from functools import cache, wraps
from operator import attrgetter
from typing import Any, ClassVar, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Hashed:
    """A node that remembers its hash once it was asked for, and how it is printed."""

    __slots__ = ("_hash", "printed")

    printed: str
    nothing: ClassVar[tuple[()]] = ()
    """The operands of a node that has none."""


def changed(node: T, **new: Any) -> T:
    """A node with other fields, as `dataclasses.replace` gives it; the same object where these hold
    the same objects."""
    for name, value in new.items():
        old = getattr(node, name)
        if value is not old and not (
            isinstance(value, tuple)
            and len(value) == len(old)
            and all(a is b for a, b in zip(value, old, strict=True))
        ):
            kind: Any = node.__class__
            return kind(*[new[n] if n in new else getattr(node, n) for n in _names(kind)])  # type: ignore[no-any-return]
    return node


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """The fields of a dataclass, in the order in which it takes them."""
    return tuple(f.name for f in fields(kind))


class Noted:
    """A node in which what functions say of it is noted."""

    __slots__ = ("_notes",)


N = TypeVar("N", bound=Noted)


def noted(function: Callable[[N], R]) -> Callable[[N], R]:
    """A function of a node that is run once for it; nobody changes what it gives."""

    @wraps(function)
    def once(node: N) -> R:
        try:
            notes: dict[object, Any] = _NOTES.__get__(node)
        except AttributeError:
            notes = {}
            _NOTES.__set__(node, notes)
        if function not in notes:
            notes[function] = function(node)
        found: R = notes[function]
        return found

    return once


_NOTES: Final = vars(Noted)["_notes"]


def quick(kind: type[T]) -> type[T]:
    """A frozen dataclass with slots that is sooner made and compared; put it above `dataclass`.

    It is equal to itself at once, and is no other kind of node; one that is `Hashed` remembers its
    hash. That nobody changes it is for type checkers to see: as it is made, fields are just set.
    """
    every = fields(kind)  # type: ignore[arg-type]
    compared = [f.name for f in every if f.compare]
    content: Callable[[Any], Any] = attrgetter(*compared) if compared else _nothing

    def equal(self: Any, other: object) -> Any:
        if self is other:
            return True
        if other.__class__ is not kind:
            return False if isinstance(other, Hashed) else NotImplemented
        return content(self) == content(other)

    def hashed(self: Any) -> int:
        try:
            return self._hash  # type: ignore[no-any-return]
        except AttributeError:
            found = self._hash = hash(content(self))
            return found

    made: dict[str, Any] = {"__init__": _maker(every), "__eq__": equal}
    if issubclass(kind, Hashed):
        made["__hash__"] = hashed
    for name, function in made.items():
        function.__name__, function.__qualname__ = name, f"{kind.__qualname__}.{name}"
        setattr(kind, name, function)
    del kind.__setattr__, kind.__delattr__  # it has those of all objects
    return kind


def _maker(every: Sequence[Field[Any]]) -> Callable[..., None]:
    """What sets the fields of a node: that of a dataclass with the same ones that is not frozen."""
    given = [(f.name, Any, field(default=f.default)) for f in every]
    init: Callable[..., None] = vars(make_dataclass("Plain", given, eq=False, repr=False))[
        "__init__"
    ]
    return init


def _nothing(_: object) -> tuple[()]:
    return ()
