"""What a run is asked for, and the pieces of work that it is cut into."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
REPEATS: Final = 20
"""How often a kernel must give the same bits."""


@dataclass(frozen=True)
class Settings:
    """One run. `dry`: at tiny sizes, under Triton's interpreter."""

    kernels: str
    out: str
    dry: bool = False
    tutorial: str | None = None
    repeats: int = REPEATS
    milliseconds: float = 400
    """How long the contestants of one workload are timed, each."""

    @property
    def scratch(self) -> Path:
        """Where workers leave what is of no use later."""
        return Path(self.out) / "work"


@dataclass(frozen=True)
class Task:
    """What one process does: all items of one subject of a section, in order."""

    section: str
    subject: str
    settings: Settings
    options: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def to_json(self) -> str:
        """As text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The inverse."""
        values = json.loads(text)
        return cls(**{**values, "settings": Settings(**values["settings"])})
