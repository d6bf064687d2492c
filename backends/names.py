"""Python names for what a spec names.

Values, tensors and variables of a spec live in namespaces of their own and may be called `np` or
`lambda`; in the emitted function they share one. The first to ask gets its own name, unless that
is taken; helpers begin with an underscore, which no name of a spec does.
"""

from __future__ import annotations

import builtins
import keyword
from dataclasses import dataclass, field
from typing import Final

TAKEN: Final = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "math", "self"}
)


@dataclass
class Names:
    """Hands out Python names, each once."""

    used: set[str] = field(default_factory=lambda: set(TAKEN))
    temporaries: int = 0
    _known: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, kind: str, name: str) -> str:
        """The Python name of a spec's tensor, value or variable; the same each time."""
        key = (kind, name)
        if key not in self._known:
            self._known[key] = self.fresh(name)
        return self._known[key]

    def call(self, kind: str, name: str, wanted: str) -> str:
        """Gives a spec's name a Python name that begins with another."""
        self._known[(kind, name)] = self.fresh(wanted)
        return self._known[(kind, name)]

    def fresh(self, name: str) -> str:
        """`name`, or the first of `name_`, `name_2`, ... that is free."""
        candidate, number = name, 1
        while candidate in self.used:
            candidate = f"{name}_" if number == 1 else f"{name}_{number}"
            number += 1
        self.used.add(candidate)
        return candidate

    def temporary(self) -> str:
        """A new name for an intermediate result."""
        self.temporaries += 1
        return f"_{self.temporaries}"
