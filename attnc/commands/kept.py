"""What `attnc compile` has written for a device before, kept on disk.

Planning and printing take a second at most, and finding what they gave last time a part of that. A
text that follows the spec line by line is made as fast as it is found.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Final

from attnc.cache import Store

BESIDE: Final = frozenset(("spec", "output", "run"))
"""The options that do not decide about the text; all others do, as they were given."""


@dataclass(frozen=True)
class Kept:
    """The place of one text."""

    store: Store | None
    key: str = ""

    @classmethod
    def of(cls, options: argparse.Namespace, text: str) -> Kept:
        """Where the module of a spec with these options is; nowhere if passes are to be seen."""
        from attnc.backends import DEVICES

        if (
            options.backend not in DEVICES
            or options.tiled
            or options.split
            or options.print_after
            or options.verify_passes
        ):
            return cls(None)
        from attnc.cache import key
        from attnc.digest import compiler, store
        from attnc.version import LANGUAGE, VERSION

        place = store()
        if place is None:
            return cls(None)
        given = sorted(vars(options).items())
        chosen = json.dumps([[name, value] for name, value in given if name not in BESIDE])
        found = key(
            command="compile",
            language=LANGUAGE,
            compiler=f"{VERSION} {compiler()}",
            options=chosen,
            spec=text,
        )
        return cls(place, found)

    def get(self) -> str | None:
        """The text, if it is there and whole."""
        return None if self.store is None else self.store.get(self.key)

    def put(self, text: str) -> None:
        """Keeps the text, if the disk allows."""
        if self.store is not None:
            self.store.put(self.key, text)
