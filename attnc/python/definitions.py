"""Every kernel of the process under the name of its PyTorch operator, made or not."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Final

from attnc.cache import key
from attnc.ir.cascade import Cascade, Constant
from attnc.python.build import AT, TVM, Built, Choices, Make
from attnc.python.processor import on_processor
from attnc.version import LANGUAGE


@dataclass(frozen=True)
class Definition:
    """A kernel with the spec and the choices that it was built from."""

    built: Built
    """Where the device decides, the one of NumPy: it has what is the same in all."""
    spec: str
    choices: Choices
    make: Make = field(compare=False, repr=False)

    def on(self, device: str) -> Built:
        """The kernel for tensors on a kind of device, compiled when there are the first."""
        if self.choices.backend is None and AT.get(device) == TVM:
            return self._on_processor
        return self.make(self.choices.on(device))

    @functools.cached_property
    def _on_processor(self) -> Built:
        return on_processor(self.built, self.make, self.choices)

    @functools.cached_property
    def checked(self) -> tuple[Cascade, dict[str, Constant]]:
        """The cascade, and the values of the parameters that are fixed."""
        from attnc.api import check, fixed

        facts = check(self.spec).select(self.choices.cascade)
        return facts.cascade, fixed(facts, dict(self.choices.static))


DEFINITIONS: Final[dict[str, Definition]] = {}


def declare(definition: Definition) -> str:
    """The name of a kernel's operator: of its cascade, and a digest of spec and choices.

    It is the same in every process, so that a saved program finds the operator again.
    """
    digest = key(language=LANGUAGE, spec=definition.spec, choices=definition.choices.text())
    name = f"{definition.built.signature.name}_{digest[:12]}"
    DEFINITIONS.setdefault(name, definition)
    return name
