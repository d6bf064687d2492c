"""What `explain` says of examples, once for all tests of a process that ask for it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import attnc
from tests import examples

sys.path.append(str(examples.ROOT / "docs"))

import make_gallery

__all__ = ["explained", "make_gallery"]


@cache
def explained(name: str) -> dict[str, Any]:
    """At the sizes of the gallery, which shows it."""
    checked = attnc.check(examples.text(name), f"{name}.attn")
    facts = checked.select()
    found: Any = attnc.explain(facts, make_gallery.sizes_of(facts), "f32", checked.source)
    return found  # type: ignore[no-any-return]
