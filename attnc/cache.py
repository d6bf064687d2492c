"""A store of texts on disk, for compiled kernels.

What it holds is later executed, so that an entry is used only where nobody else can have written
it: the folder and the file belong to the user or to root, and only their owner can write to them.
An entry is one file that appears by one rename, and carries a checksum: a reader finds all of it,
or misses. Trouble with the disk is never an error; the cache is then not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import secrets
import stat
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

TOTAL_BYTES = 256 * 2**20
"""What all entries of a folder may take. At times it is exceeded by about a thirtieth."""
ENTRY_BYTES = 16 * 2**20
"""What one entry may take. A longer text is not kept."""

_MAGIC = b"attnc cache 1"
_NAME = re.compile(r"[0-9a-f]{64}\.entry")
_TEMPORARY = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}\.tmp")
_SWEPT = "swept"
_HOUR = 3600.0
_DAY = 24 * _HOUR
_BLOCK = 4096


def default_folder() -> Path | None:
    """The folder of the cache: `ATTNC_CACHE`, else the place the system has for caches.

    None where there shall be no cache (`ATTNC_CACHE` is empty or `off`), where the system names no
    such place, and where the owners of files cannot be told (Windows).
    """
    if os.name != "posix":
        return None
    wanted = os.environ.get("ATTNC_CACHE")
    if wanted is not None:
        return None if wanted in {"", "off"} else Path(wanted).absolute()
    import platformdirs

    folder = platformdirs.user_cache_path("attnc")
    return folder if folder.is_absolute() else None  # else there is no home folder


def key(**parts: str) -> str:
    """The name of what is made from `parts`: 64 hexadecimal digits.

    Other names or other values give another key: each is hashed together with its length.
    """
    text = "".join(
        f"{len(name)}:{name}{len(value)}:{value}" for name, value in sorted(parts.items())
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Store:
    """Texts under keys that `key` makes, in a folder that is made when the first is put.

    Processes may share it. Where more than `total` bytes are kept, those that were longest unused
    go; which is looked at now and then, not at each `put`.
    """

    folder: Path
    total: int = TOTAL_BYTES

    def get(self, key: str) -> str | None:
        """The text under `key`; None where there is none that is whole and trustworthy."""
        with contextlib.suppress(OSError), _opened(self.folder) as folder:
            data = _read(folder, _entry_name(key))
            return None if data is None else _decoded(key, data)
        return None

    def put(self, key: str, text: str) -> None:
        """Keeps `text` under `key`, if the disk and the state of the folder allow."""
        name, data = _entry_name(key), _encoded(key, text)
        if len(data) > min(ENTRY_BYTES, self.total):
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _opened(self.folder) as folder:
                _write(folder, name, data)
                if _is_sweep_due(folder, _on_disk(len(data)) / self.total):
                    _sweep(folder, self.total)

    def trouble(self) -> str | None:
        """In words, why the folder as it is cannot be used; None where it can, or is yet to be."""
        try:
            with _opened(self.folder):
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror


@contextlib.contextmanager
def _opened(folder: Path) -> Generator[int]:
    """A descriptor of the folder, which can be trusted.

    What is read and written through it stays in the folder that was looked at, whatever others do
    to the path. Raises `OSError` where there is none, or where others could have written to it.
    """
    if os.name != "posix":
        raise OSError("the owners of files cannot be told on this system")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _is_ours(os.fstat(descriptor)):
            raise PermissionError(0, "it belongs to another user, or others can write to it")
        yield descriptor
    finally:
        os.close(descriptor)


def _is_ours(status: os.stat_result) -> bool:
    """Whether only this user and root can have written to it."""
    others = stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid in {0, os.geteuid()} and not status.st_mode & others


def _entry_name(key: str) -> str:
    name = f"{key}.entry"
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a key: {key!r}")
    return name


def _encoded(key: str, text: str) -> bytes:
    """An entry: what it is, and a checksum over the key, the length and the text that follow."""
    data = text.encode("utf-8", "surrogatepass")
    body = b"\n".join((key.encode("ascii"), str(len(data)).encode("ascii"), data))
    return b"\n".join((_MAGIC, hashlib.sha256(body).hexdigest().encode("ascii"), body))


def _decoded(key: str, data: bytes) -> str | None:
    """The text of an entry; None where a byte is not as it was written."""
    text = data.split(b"\n", 4)[-1]
    try:
        found = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return found if _encoded(key, found) == data else None


def _read(folder: int, name: str) -> bytes | None:
    """The bytes of an entry that can be trusted. None where it cannot; `OSError` where it is not.

    A link is not followed, and a pipe is not waited for.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:  # noqa: PTH123 (a descriptor)
        status = os.fstat(file.fileno())
        if not (stat.S_ISREG(status.st_mode) and _is_ours(status)):
            return None
        if status.st_size > ENTRY_BYTES:
            return None
        if time.time() - status.st_mtime > _DAY:  # its age is that of its last use, to the day
            with contextlib.suppress(OSError):
                os.utime(file.fileno())
        return file.read(ENTRY_BYTES)


def _write(folder: int, name: str, data: bytes) -> None:
    """Makes an entry appear whole. It is not forced to the disk: a torn one is seen as such."""
    temporary = f"{name.removesuffix('.entry')}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123
            file.write(data)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _remove(folder, temporary)
        raise


def _is_sweep_due(folder: int, share: float) -> bool:
    """Whether to look for what has to go, after a put of this share of all that may be kept.

    By chance, so that a thirtieth of it lies between two sweeps on average, however many
    processes put; and once a day, which finds what killed writers left.
    """
    if random.random() < 32 * share:
        return True
    try:
        return time.time() - os.stat(_SWEPT, dir_fd=folder, follow_symlinks=False).st_mtime > _DAY
    except FileNotFoundError:
        return True


def _sweep(folder: int, total: int) -> None:
    """Removes temporary files of an hour ago and, above `total`, what was longest unused.

    Others may read, put and sweep meanwhile: a reader keeps the file that it has opened, and an
    entry that is put again just before it is removed is a miss.
    """
    now = time.time()
    entries: list[tuple[float, str, int]] = []
    with os.scandir(folder) as files:
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                status = file.stat(follow_symlinks=False)
                if _NAME.fullmatch(file.name):
                    entries.append((status.st_mtime, file.name, _on_disk(status.st_size)))
                elif _TEMPORARY.fullmatch(file.name) and now - status.st_mtime > _HOUR:
                    _remove(folder, file.name)
    kept = sum(size for _, _, size in entries)
    if kept > total:
        for _, name, size in sorted(entries):
            _remove(folder, name)
            kept -= size
            if kept <= total * 3 // 4:  # room for a while
                break
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(_SWEPT, flags, 0o600, dir_fd=folder)
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def _on_disk(size: int) -> int:
    """What a file takes, in whole blocks."""
    return -(-size // _BLOCK) * _BLOCK


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
