"""Python's collector of cycles, which stops while something is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector: what is made for a kernel stays until it is made, and looking at all
    objects of a process that has imported PyTorch takes longer than a plan does.

    Of threads that do so at once, the first one lets it go on.
    """
    runs = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if runs:
            gc.enable()
