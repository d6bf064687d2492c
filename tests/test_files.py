"""Files appear whole or not at all: whatever is in the way, whoever writes at once."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attnc.files import write_bytes_whole, write_whole
from tests.processes import (
    SECONDS,
    elsewhere,
    file_size_limit,
    public_folder,
    start,
    umask,
)

WRITERS = 64
ROUNDS = 5
LENGTH = 300_000


def listing(folder: Path) -> set[str]:
    """The names in a folder, hidden ones included."""
    return {p.name for p in folder.iterdir()}


def refusal(path: Path, text: str = "new") -> OSError:
    """The error of a write that cannot be; it names the path as it was given."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        write_whole(path, text)
    assert caught.value.filename == str(path)
    return caught.value


# What is written


@pytest.mark.parametrize("data", [b"", b"\0", b"\r\n\n\r", bytes(range(256)) * 5000])
def test_bytes_are_kept(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "out"
    for _ in range(2):
        write_bytes_whole(path, data)
        assert path.read_bytes() == data
    assert listing(tmp_path) == {"out"}


def test_text_is_utf8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_whole(tmp_path / "out", "é∑\r\n\n")
    assert (tmp_path / "out").read_bytes() == "é∑\r\n\n".encode()


@pytest.mark.parametrize("name", ["a b", "é", "-", "%s{}", "new\nline", "quo\"te'", "end\\"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    write_whole(tmp_path / name, "text")
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe"]  # noqa: PTH208


# Modes and owners


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077, 0o777])
def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        write_whole(tmp_path / "out", "text")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o666, 0o200, 0o4755])
def test_a_replaced_file_hands_on_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(mode)
    with umask(0o077):
        write_whole(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_was_private_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(0o600)
    modes = []

    def spied(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    opened = os.open

    def opening(name: Path, flags: int, mode: int) -> int:
        descriptor = opened(name, flags, mode)
        spied(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "fsync", spied)
    with umask(0):
        write_whole(path, "new")
    assert modes == [0o600, 0o600]


def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = tmp_path / "out"
    path.write_text("old")
    os.chown(path, 1234, 5678)
    write_whole(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)


def _replaces_foreign(path: Path) -> tuple[int, int]:
    write_whole(path, "new")
    status = path.stat()
    return status.st_uid - os.geteuid(), stat.S_IMODE(status.st_mode)


def test_a_file_that_changes_hands_loses_its_set_user_bit() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    with public_folder() as folder:
        folder.chmod(0o777)
        (folder / "out").write_text("old")
        (folder / "out").chmod(0o4777)
        assert elsewhere(_replaces_foreign, folder / "out") == (0, 0o777)
        assert (folder / "out").read_text() == "new"


# What is in the way


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name, target in (("one", "two"), ("two", "far/three")):
        (tmp_path / name).symlink_to(target)
    for text in ("first", "second"):  # first through a dangling link
        write_whole(tmp_path / "one", text)
        assert (tmp_path / "far/three").read_text() == text
    assert (tmp_path / "one").is_symlink()
    assert (tmp_path / "two").is_symlink()
    assert listing(tmp_path) == {"one", "two", "far"}
    assert listing(tmp_path / "far") == {"three"}


def test_a_link_into_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere/out")
    assert refusal(tmp_path / "link").errno == errno.ENOENT
    assert listing(tmp_path) == {"link"}


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert refusal(tmp_path / "a").errno == errno.ELOOP
    assert listing(tmp_path) == {"a", "b"}


def test_another_hard_link_keeps_the_old_text(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    (tmp_path / "other").hardlink_to(tmp_path / "out")
    write_whole(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"
    assert (tmp_path / "other").read_text() == "old"


def test_folders_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder").errno == errno.EISDIR
    (tmp_path / "file").write_text("old")
    assert refusal(tmp_path / "file" / "out").errno == errno.ENOTDIR
    assert refusal(tmp_path / "nowhere" / "out").errno == errno.ENOENT
    assert refusal(Path("/")).errno == errno.EISDIR
    assert refusal(tmp_path / ("x" * 300)).errno == errno.ENAMETOOLONG
    assert listing(tmp_path) == {"folder", "file"}


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(path.read_text()), daemon=True)
    reader.start()
    write_whole(path, "text")
    reader.join(SECONDS)
    assert found == ["text"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_devices_and_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(Path(os.devnull), "text")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    if Path("/dev/full").exists():
        assert refusal(Path("/dev/full")).errno == errno.ENOSPC
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert refusal(Path("socket")).errno == errno.ENXIO


# What is not allowed


def _refused(path: Path) -> int | None:
    try:
        write_whole(path, "new")
    except OSError as error:
        return error.errno if error.filename == str(path) else None
    return None


def test_a_folder_that_is_read_only() -> None:
    with public_folder() as folder:
        (folder / "out").write_text("old")
        (folder / "out").chmod(0o666)
        folder.chmod(0o555)
        for name in ("out", "new"):
            assert elsewhere(_refused, folder / name) == errno.EACCES
        assert listing(folder) == {"out"}
        assert (folder / "out").read_text() == "old"
        folder.chmod(0o755)


def test_a_file_that_is_read_only() -> None:
    with public_folder() as folder:
        folder.chmod(0o777)
        (folder / "out").write_text("old")
        (folder / "out").chmod(0o444)
        assert elsewhere(_refused, folder / "out") == errno.EACCES
        assert listing(folder) == {"out"}
        assert (folder / "out").read_text() == "old"


def test_a_folder_of_somebody_else() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder of another user")
    with public_folder() as folder:
        assert elsewhere(_refused, folder / "out") == errno.EACCES
        assert listing(folder) == set()


# A full disk


@pytest.mark.parametrize("limit", [0, 1, 4096, LENGTH - 1])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_file_that_cannot_grow(tmp_path: Path, limit: int, old: str | None) -> None:
    path = tmp_path / "out"
    if old is not None:
        path.write_text(old)
    with file_size_limit(limit):
        assert refusal(path, "x" * LENGTH).errno == errno.EFBIG
    assert listing(tmp_path) == ({"out"} if old else set())
    assert old is None or path.read_text() == old
    write_whole(path, "x" * LENGTH)
    assert path.stat().st_size == LENGTH


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own with little room, where the test may mount one."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    line = [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a test mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k"):
        write_whole(tmp_path / "out", "old")
        assert refusal(tmp_path / "out", "x" * LENGTH).errno == errno.ENOSPC
        assert listing(tmp_path) == {"out"}
        assert (tmp_path / "out").read_text() == "old"


@pytest.mark.parametrize("name", ["fsync", "fchmod", "fchown", "replace", "open"])
@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), MemoryError()]
)
def test_whatever_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def failing(*_: object, **__: object) -> None:
        if not (isinstance(error, OSError) and name == "fchown"):  # that one may fail
            raise error
        raise OSError(errno.EPERM, "not yours")

    owner: object = Path if name == "replace" else os
    monkeypatch.setattr(owner, name, failing)
    if isinstance(error, OSError) and name == "fchown":
        write_whole(path, "new")
    else:
        with pytest.raises(type(error)):
            write_whole(path, "new")
    monkeypatch.undo()
    assert listing(tmp_path) == {"out"}
    assert path.read_text() == ("new" if isinstance(error, OSError) and name == "fchown" else "old")


def test_an_interrupt_just_after_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def interrupted(*arguments: object) -> int:
        opened(*arguments)  # type: ignore[arg-type, call-overload]
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "out", "text")
    monkeypatch.undo()
    assert listing(tmp_path) == set()


# Many at once


def whole_text(writer: int) -> str:
    """What one of many writers writes, told from all others at every place."""
    return f"{writer:03d}\n" * (LENGTH // 4)


def _writes(path: Path, writer: int, rounds: int) -> None:
    for _ in range(rounds):
        write_whole(path, whole_text(writer))


def torn(path: Path) -> bool:
    """Whether a file is not what one writer wrote."""
    text = path.read_text()
    return len(text) != LENGTH or text != text[:4] * (LENGTH // 4)


def _writes_in_place(path: Path, writer: int, rounds: int) -> None:
    for _ in range(rounds):
        path.write_text(whole_text(writer))


def looks(path: Path, write: Callable[[Path, int, int], None], writers: int) -> list[bool]:
    """Whether the file was torn, each time that it was looked at while all wrote."""
    write_whole(path, whole_text(999))
    processes = [start(write, path, i, ROUNDS) for i in range(writers)]
    found = []
    while any(p.is_alive() for p in processes):
        found.append(torn(path))
    assert [p.exitcode for p in processes] == [0] * writers
    return [*found, torn(path)]


def test_many_processes_write_one_file(tmp_path: Path) -> None:
    found = looks(tmp_path / "out", _writes, WRITERS)
    assert len(found) > 1
    assert not any(found)
    assert listing(tmp_path) == {"out"}


def test_a_look_would_see_torn_files(tmp_path: Path) -> None:
    assert any(looks(tmp_path / "out", _writes_in_place, 4))
