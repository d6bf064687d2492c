"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Final

BINARY: Final = getattr(os, "O_BINARY", 0)
"""On Windows, keeps line ends as they are."""


def write_whole(path: Path, text: str) -> None:
    """Writes `text` to `path` so that a reader sees the old file or the new one, never a part.

    A temporary file beside it is written, flushed to disk and renamed over it; whatever stops
    that leaves `path` as it was. Links are followed. A file that is replaced hands on its mode
    and, where the system allows, its owner and group; other hard links to it keep the old text.
    A device or a pipe is written as it is. Raises `OSError`, which names `path`.
    """
    write_bytes_whole(path, text.encode("utf-8"))


def write_bytes_whole(path: Path, data: bytes) -> None:
    """Writes bytes to `path`, as `write_whole` does text."""
    try:
        _write(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _write(path: Path, data: bytes) -> None:
    old = _status(path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        path.write_bytes(data)
        return
    if old is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = path.with_name(f".attnc.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
    mode = 0o666 if old is None else 0o600  # what was private never shows
    try:  # the name is known before the file is there, so that an interrupt cannot leave it
        with open(os.open(temporary, flags, mode), "wb") as file:  # noqa: PTH123 (a descriptor)
            file.write(data)
            file.flush()
            if old is not None:
                _hand_on(old, file.fileno())
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _status(path: Path) -> os.stat_result | None:
    """The file that is there."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _hand_on(old: os.stat_result, descriptor: int) -> None:
    """Gives a new file the owner, group and mode of the one that it replaces.

    A mode that would let a program run as another user is not for a file that changed hands.
    """
    if not hasattr(os, "fchown"):
        return
    mode = stat.S_IMODE(old.st_mode)
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:
        mode &= 0o777
    os.fchmod(descriptor, mode)
