"""Goldens: expected texts in files, one folder a kind; missing, orphan and stale ones fail."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def compare(kind: str, name: str, text: str, renew: bool, ending: str = ".txt") -> None:
    """Fails unless the golden holds exactly `text`; writes it if goldens are being renewed."""
    path = FOLDER / kind / f"{name}{ending}"
    if renew:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    assert path.exists(), f"no golden {path.name}: run `make goldens` and read what it wrote"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} is stale: see `make goldens`"


def read(kind: str, name: str, ending: str = ".txt") -> str:
    """A golden."""
    return (FOLDER / kind / f"{name}{ending}").read_text(encoding="utf-8")


def orphans(kind: str, names: Iterable[str], ending: str = ".txt") -> list[str]:
    """Goldens that no case has."""
    known = {f"{name}{ending}" for name in names}
    return sorted(p.name for p in (FOLDER / kind).iterdir() if p.name not in known)


def prune(kind: str, names: Iterable[str], ending: str = ".txt") -> None:
    """Removes goldens that no case has."""
    for name in orphans(kind, names, ending):
        (FOLDER / kind / name).unlink()
