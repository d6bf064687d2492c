"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes `text` to `path` so that a reader sees the old file or the new one, never a part.

    A temporary file beside it is written, flushed to disk and renamed over it; whatever stops
    that leaves `path` as it was. A device or a pipe is written as it is. Raises `OSError`, which
    names `path`.
    """
    write_bytes_whole(path, text.encode("utf-8"))


def write_bytes_whole(path: Path, data: bytes) -> None:
    """Writes bytes to `path`, as `write_whole` does text."""
    try:
        _write(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _write(path: Path, data: bytes) -> None:
    old = _mode(path)
    if old is not None and not stat.S_ISREG(old):
        path.write_bytes(data)
        return
    if old is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    descriptor, name = tempfile.mkstemp(prefix=".attnc.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_new_mode() if old is None else stat.S_IMODE(old))
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _mode(path: Path) -> int | None:
    """Kind and mode of the file that is there."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _new_mode() -> int:
    """What the umask gives a new file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
