"""What the steps of the demo share: a line that tells what is under way, and paths as one types."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent


class DemoError(Exception):
    """Something the user can act on, shown without a traceback."""


def shown(path: Path) -> str:
    """A path as a user at the root of the repository would write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


@contextmanager
def step(console: Console, verb: str, what: str) -> Iterator[list[str]]:
    """Show that a step is under way, then how long it took and the notes added to the list."""
    notes: list[str] = []
    start = time.perf_counter()
    if console.is_terminal:
        with console.status(f"{verb} {what}"):
            yield notes
    else:
        console.print(f"{verb:8} {what} ...", soft_wrap=True)
        yield notes
    elapsed = f"{time.perf_counter() - start:5.1f} s"
    label = f"{verb:8} {what}: " if console.is_terminal else f"{'':8} "
    console.print(label + ", ".join([elapsed.strip(), *notes]), soft_wrap=True)
