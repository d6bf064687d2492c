"""Names that are not in use."""

from __future__ import annotations

from collections.abc import Collection


def unused(base: str, taken: Collection[str]) -> str:
    """A name that is not taken: `base`, or `base2` and so on."""
    found, count = base, 1
    while found in taken:
        count += 1
        found = f"{base}{count}"
    return found
