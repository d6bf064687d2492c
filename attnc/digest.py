"""What the compiler is: a digest of its own files, so that no cache outlives a change of them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from attnc.cache import Store, default_folder


@functools.cache
def compiler() -> str:
    """A digest of the compiler's own files."""
    found = hashlib.sha256()
    for name, path in sorted(sources()):
        found.update(f"{name}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def sources() -> Iterator[tuple[str, Path]]:
    """The files that decide what is emitted, by their names within the package."""
    import attnc
    import attnc.backends
    import attnc.grammar
    import attnc.passes

    for package in (attnc, attnc.backends, attnc.grammar, attnc.passes):
        for folder in map(Path, package.__path__):
            for path in folder.rglob("*"):
                if path.suffix in (".py", ".lark", ".attn", ".txt"):
                    yield f"{package.__name__}/{path.relative_to(folder).as_posix()}", path


def store() -> Store | None:
    """Where emitted texts are kept; None where they shall not be."""
    folder = default_folder()
    return None if folder is None else Store(folder)
