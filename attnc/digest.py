"""What the compiler is: a digest of its own files, so that no cache outlives a change of them."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator

from attnc.cache import Store, default_folder


@functools.cache
def compiler() -> str:
    """A digest of the compiler's own files."""
    found = hashlib.sha256()
    for name, path in sorted(sources()):
        found.update(f"{name}\0".encode())
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - there are hundreds
            found.update(hashlib.sha256(file.read()).digest())
    return found.hexdigest()


def sources() -> Iterator[tuple[str, str]]:
    """The files that decide what is emitted, by their names within the package."""
    import attnc
    import attnc.backends
    import attnc.grammar
    import attnc.passes

    for package in (attnc, attnc.backends, attnc.grammar, attnc.passes):
        for folder in package.__path__:
            yield from _below(package.__name__, folder)


def _below(name: str, folder: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = f"{name}/{entry.name}"
            if entry.name.endswith((".py", ".lark", ".attn", ".txt")):
                yield inner, entry.path
            elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _below(inner, entry.path)


def store() -> Store | None:
    """Where emitted texts are kept; None where they shall not be."""
    folder = default_folder()
    return None if folder is None else Store(folder)
