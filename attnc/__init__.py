"""A compiler for attention written as extended Einsums."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnc.version import VERSION as __version__

if TYPE_CHECKING:
    from attnc.api import Checked, check, compile, explain, format
    from attnc.errors import AttncError, Diagnostic, SpecError, UsageError
    from attnc.exporting import export
    from attnc.python.build import SpecWarning
    from attnc.python.kernel import Kernel, kernel
    from attnc.python.processor import BackendWarning

__all__ = [
    "AttncError",
    "BackendWarning",
    "Checked",
    "Diagnostic",
    "Kernel",
    "SpecError",
    "SpecWarning",
    "UsageError",
    "__version__",
    "check",
    "compile",
    "explain",
    "export",
    "format",
    "kernel",
]

_PLACES = {
    "attnc.api": ("Checked", "check", "compile", "explain", "format"),
    "attnc.exporting": ("export",),
    "attnc.errors": ("AttncError", "Diagnostic", "SpecError", "UsageError"),
    "attnc.python.build": ("SpecWarning",),
    "attnc.python.kernel": ("Kernel", "kernel"),
    "attnc.python.processor": ("BackendWarning",),
}


def __getattr__(name: str) -> Any:
    """Loads the public names when they are first used, so that the import stays light."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'attnc' has no attribute '{name}'")
