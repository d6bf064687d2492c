"""A compiler for attention written as extended Einsums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnc.version import VERSION as __version__

if TYPE_CHECKING:
    from attnc.api import Checked, check, compile, explain, format
    from attnc.errors import AttncError, Diagnostic, SpecError, UsageError

__all__ = [
    "AttncError",
    "Checked",
    "Diagnostic",
    "SpecError",
    "UsageError",
    "__version__",
    "check",
    "compile",
    "explain",
    "format",
]


def __getattr__(name: str) -> Any:
    """Loads the public names when they are first used, so that the import stays light."""
    if name in ("Checked", "check", "compile", "explain", "format"):
        from attnc import api

        return getattr(api, name)
    if name in ("AttncError", "Diagnostic", "SpecError", "UsageError"):
        from attnc import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'attnc' has no attribute '{name}'")
