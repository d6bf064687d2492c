"""Where the threads of a program wait for each other."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

Owner: TypeAlias = tuple[str, ...] | None
"""The axes along which lanes are given to threads, where these tell which thread has an element of
a tile; None where any thread may."""


@dataclass
class Barriers:
    """What has been read and written since threads have waited last.

    Two accesses of a tile need no barrier between them if both read, or if each element is of the
    same thread in both.
    """

    seen: dict[str, set[tuple[Owner, bool]]] = field(
        default_factory=dict[str, set[tuple[Owner, bool]]]
    )

    def needed(self, touched: Mapping[str, Owner], written: AbstractSet[str]) -> bool:
        """Whether threads must wait before some tiles are read, and some of these written."""
        wait = any(
            (wrote or tile in written) and (owner is None or owner != before)
            for tile, owner in touched.items()
            for before, wrote in self.seen.get(tile, ())
        )
        if wait:
            self.seen.clear()
        for tile, owner in touched.items():
            self.seen.setdefault(tile, set()).add((owner, tile in written))
        return wait

    def waited(self) -> None:
        """Notes that all threads have waited."""
        self.seen.clear()
