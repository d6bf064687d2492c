"""Processes that write without end, to be killed."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from attnc import cache
from attnc.cache import Store, key

KEYS = [key(n=str(n)) for n in range(4)]


def text(n: int, turn: int) -> str:
    """What the writer of the cache puts under a key: of 500 KB, told apart at every line."""
    return f"{n} {turn}\n" * 120_000


def keeps(folder: Path, seed: int) -> None:
    """Puts into the cache, and gets."""
    store = Store(folder)
    rng = random.Random(seed)
    while True:
        n, turn = rng.randrange(len(KEYS)), rng.randrange(10)
        store.put(KEYS[n], text(n, turn))
        found = store.get(KEYS[n])
        assert found is not None


def writes_in_place(folder: Path, seed: int) -> None:
    """What a writer must not do: it writes an entry where it is read."""
    data = cache._encoded(KEYS[0], text(0, 1))
    for i in itertools.count():
        mark = folder / f"{seed}.{i}.tmp"
        mark.touch()
        (folder / f"{KEYS[0]}.entry").write_bytes(data)
        mark.unlink()
