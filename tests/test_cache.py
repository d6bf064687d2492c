"""The cache: a damaged entry, or one that another could have written, is none; no trouble shows."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnc import cache
from attnc.cache import Store, default_folder, key
from tests.processes import (
    NOBODY,
    elsewhere,
    file_size_limit,
    public_folder,
    start,
    umask,
)

WRITERS = 64
KEY = key(spec="a")
TEXT = "def kernel():\n    return 'é \N{GREEK SMALL LETTER PSI}'\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one entry."""
    store = Store(tmp_path / "cache")
    store.put(KEY, TEXT)
    assert store.get(KEY) == TEXT
    return store


def entry(store: Store, name: str = KEY) -> Path:
    """The file of an entry."""
    return store.folder / f"{name}.entry"


def names(store: Store) -> set[str]:
    """The files in the folder, but the mark of the last sweep."""
    return {p.name for p in store.folder.iterdir()} - {"swept"}


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


# Keys


def test_keys_tell_apart_what_is_hashed() -> None:
    parts = [
        {"a": "x", "b": "y"},
        {"a": "xb", "": "y"},
        {"a": "x1:b1:y"},
        {"a": "", "bx": "y"},
        {"ab": "", "x": "y"},
        {"a": "y", "b": "x"},
        {"a": "x"},
        {},
        {"a": "\ud800\udc00"},
        {"a": "\U00010000"},
    ]
    found = {key(**p) for p in parts}
    assert len(found) == len(parts)
    assert all(len(k) == 64 and int(k, 16) >= 0 for k in found)
    assert key(b="y", a="x") == key(a="x", b="y")


@pytest.mark.parametrize("name", ["", "a", "../" + "a" * 61, "A" * 64, "a" * 65, "a" * 63 + "\n"])
def test_what_is_no_key(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.get(name)
    with pytest.raises(ValueError, match="not a key"):
        store.put(name, TEXT)


# What is kept


@pytest.mark.parametrize("text", ["", "\n", TEXT, "\r\n\0", "\ud800", "x" * 1_000_000])
def test_what_is_put_is_got(store: Store, text: str) -> None:
    other = key(text=text)
    assert store.get(other) is None
    for _ in range(2):
        store.put(other, text)
        assert store.get(other) == text
    assert store.get(KEY) == TEXT
    assert names(store) == {entry(store).name, entry(store, other).name}


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_folder_and_entries_are_private(tmp_path: Path, mask: int) -> None:
    store = Store(tmp_path / "caches" / "cache")
    store.folder.parent.mkdir()
    with umask(mask):
        store.put(KEY, TEXT)
    kept = mask != 0o777 or os.geteuid() == 0
    assert mode(store.folder) == 0o700 & ~mask
    if kept:
        assert mode(entry(store)) == 0o600 & ~mask
        assert store.get(KEY) == TEXT


def test_a_text_that_is_too_long_is_not_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ENTRY_BYTES", 1000)
    store.put(KEY, "x" * 1000)
    assert store.get(KEY) == TEXT
    entry(store).write_bytes(entry(store).read_bytes() + b"x" * 1000)
    assert store.get(KEY) is None


# Damage


def damaged(data: bytes) -> Iterator[bytes]:
    """All copies with one bit flipped, all that are cut, and some that are longer."""
    for i in range(len(data)):
        for bit in range(8):
            yield data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
        yield data[:i]
        yield data[i:]
    for more in (b"\0", b"\n", data):
        yield data + more
        yield more + data


def test_damage_of_any_bit_is_a_miss(store: Store) -> None:
    whole = entry(store).read_bytes()
    tried = 0
    for data in damaged(whole):
        if data != whole:
            entry(store).write_bytes(data)
            assert store.get(KEY) is None, data
            tried += 1
    assert tried > 1500
    store.put(KEY, TEXT)
    assert store.get(KEY) == TEXT


def test_an_entry_under_another_key_is_a_miss(store: Store) -> None:
    other = key(spec="b")
    entry(store).rename(entry(store, other))
    assert store.get(other) is None
    assert store.get(KEY) is None


def test_a_forged_checksum_over_bytes_that_are_no_text(store: Store) -> None:
    whole = cache._encoded(KEY, "x")
    assert whole.endswith(b"\nx")
    body = whole.split(b"\n", 2)[2][:-1] + b"\xff"
    import hashlib

    forged = b"attnc cache 1\n" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    entry(store).write_bytes(forged)
    assert store.get(KEY) is None


# Trust


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666, 0o777])
def test_an_entry_that_others_can_write_is_a_miss(store: Store, bits: int) -> None:
    entry(store).chmod(bits)
    assert store.get(KEY) is None
    entry(store).chmod(0o644)
    assert store.get(KEY) == TEXT


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(store: Store, bits: int) -> None:
    store.folder.chmod(bits)
    assert store.get(KEY) is None
    store.put(key(spec="b"), TEXT)
    assert names(store) == {entry(store).name}
    assert "others can write" in str(store.trouble())
    store.folder.chmod(0o755)
    assert store.get(KEY) == TEXT
    assert store.trouble() is None


def test_what_belongs_to_another_user_is_not_used(store: Store) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(entry(store), NOBODY, NOBODY)
    assert store.get(KEY) is None
    os.chown(entry(store), 0, 0)
    os.chown(store.folder, NOBODY, NOBODY)
    assert store.get(KEY) is None
    assert "belongs to another user" in str(store.trouble())
    store.put(KEY, "new")
    os.chown(store.folder, 0, 0)
    assert store.get(KEY) == TEXT


def test_an_entry_that_is_a_link_is_a_miss(store: Store, tmp_path: Path) -> None:
    entry(store).rename(tmp_path / "elsewhere")
    entry(store).symlink_to(tmp_path / "elsewhere")
    assert store.get(KEY) is None
    store.put(KEY, "new")  # replaces the link, not what it points to
    assert store.get(KEY) == "new"
    assert b"kernel" in (tmp_path / "elsewhere").read_bytes()


def test_what_is_no_file_is_a_miss(store: Store) -> None:
    entry(store).unlink()
    os.mkfifo(entry(store), 0o600)
    assert store.get(KEY) is None  # and does not wait for a writer
    entry(store).unlink()
    entry(store).mkdir(0o700)
    assert store.get(KEY) is None
    store.put(KEY, TEXT)
    assert store.get(KEY) is None
    assert names(store) == {entry(store).name}


def test_a_link_to_the_folder_is_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.folder)
    assert Store(tmp_path / "link").get(KEY) == TEXT


def test_a_system_without_owners_keeps_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "name", "nt")
    assert default_folder() is None
    assert store.get(KEY) is None
    store.put(KEY, "new")
    monkeypatch.undo()
    assert store.get(KEY) == TEXT


# Trouble with the disk


@pytest.mark.parametrize("limit", [0, 1, 100, 4096])
def test_a_full_disk_shows_nothing(store: Store, limit: int) -> None:
    with file_size_limit(limit):
        store.put(key(spec="b"), "x" * 10_000)
        store.put(KEY, "x" * 10_000)
        assert store.get(KEY) == TEXT
    assert names(store) == {entry(store).name}


def _uses(folder: Path) -> tuple[str | None, str | None]:
    store = Store(folder)
    before = store.get(KEY)
    store.put(KEY, "new")
    store.put(key(spec="b"), "new")
    return before, store.get(KEY)


def test_a_folder_of_root_is_read() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder of root")
    with public_folder() as folder:
        store = Store(folder)
        store.put(KEY, TEXT)
        assert elsewhere(_uses, folder) == (None, None)  # an entry that it may not read
        entry(store).chmod(0o644)
        assert elsewhere(_uses, folder) == (TEXT, TEXT)
        assert names(store) == {entry(store).name}


@pytest.mark.parametrize("path", ["file", "file/cache", "loop", "x" * 300, "/dev/null", "/proc/x"])
def test_a_folder_that_cannot_be(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    store = Store(tmp_path / path)
    store.put(KEY, TEXT)
    assert store.get(KEY) is None
    assert {p.name for p in tmp_path.iterdir()} == {"file", "loop"}


def test_a_put_that_is_interrupted_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def opens(name: str | Path, flags: int, *mode: int, dir_fd: int | None = None) -> int:
        descriptor = opened(name, flags, *mode, dir_fd=dir_fd)
        if str(name).endswith(".tmp"):
            raise KeyboardInterrupt
        return descriptor

    def replaces(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for call, interrupted in (("open", opens), ("replace", replaces)):
        monkeypatch.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put(KEY, "new")
        monkeypatch.undo()
        assert names(store) == {entry(store).name}
    assert store.get(KEY) == TEXT


# The bound


def old(path: Path, hours: float) -> None:
    """Makes a file one that was used so long ago."""
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


def size(store: Store) -> int:
    """What the entries take, in whole blocks."""
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in store.folder.glob("*.entry"))


def test_what_was_longest_unused_goes(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", total=20 * 4096)
    keys = [key(n=str(i)) for i in range(25)]
    for i, k in enumerate(keys[:20]):
        store.put(k, TEXT)
        old(entry(store, k), 100 - i)
    assert store.get(keys[0]) == TEXT  # used now
    for k in keys[20:]:
        store.put(k, "x" * 4000)
    assert size(store) <= store.total
    kept = {k for k in keys if store.get(k) is not None}
    assert keys[0] in kept
    assert kept >= set(keys[20:])
    gone = [k for k in keys if k not in kept]
    assert 1 <= len(gone) <= 15
    assert gone == keys[1 : 1 + len(gone)]


def test_very_many_entries_stay_within_the_bound(tmp_path: Path) -> None:
    random.seed(0)  # sweeps are drawn by chance, and now and then the bound is passed
    store = Store(tmp_path / "cache", total=64 * 4096)
    most = 0
    for i in range(1000):
        store.put(key(n=str(i)), TEXT)
        most = max(most, size(store))
    assert most <= store.total * 9 // 8


def test_files_of_killed_writers_go_later(store: Store) -> None:
    left = [store.folder / f"{KEY}.{i:016x}.tmp" for i in range(2)]
    for path in left:
        path.write_text("half")
    old(left[0], 2)
    old(store.folder / "swept", 25)
    foreign = store.folder / "notes.tmp"
    foreign.write_text("mine")
    old(foreign, 1000)
    store.put(key(spec="b"), TEXT)
    assert not left[0].exists()
    assert left[1].exists()  # it may be one that is just written
    assert foreign.exists()


def test_only_files_of_the_cache_go(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", total=4096)
    store.put(KEY, TEXT)
    for name in ("thesis.txt", "x.entry", f"{KEY}.py", KEY):
        (store.folder / name).write_text("mine" * 5000)
        old(store.folder / name, 1000)
    for i in range(20):
        store.put(key(n=str(i)), TEXT)
    assert names(store) >= {"thesis.txt", "x.entry", f"{KEY}.py", KEY}
    assert size(store) <= 4096 + 20480  # that of x.entry


def test_a_sweep_mark_that_is_a_link_or_a_pipe(store: Store, tmp_path: Path) -> None:
    mark, victim = store.folder / "swept", tmp_path / "victim"
    victim.write_text("mine")
    old(victim, 1000)
    mark.unlink()
    mark.symlink_to(victim)
    before = victim.stat().st_mtime
    old_link = time.time() - 90_000
    os.utime(mark, (old_link, old_link), follow_symlinks=False)
    store.put(KEY, "new")
    assert victim.stat().st_mtime == before
    mark.unlink()
    os.mkfifo(mark)
    old(mark, 25)
    store.put(KEY, "newer")
    assert store.get(KEY) == "newer"


# Many at once


def whole_text(writer: int) -> str:
    """What one of many writers puts."""
    return f"{writer:03d}\n" * 20_000


def _puts(folder: Path, writer: int) -> None:
    store = Store(folder, total=40 * 80_000)
    for i in range(8):
        for name in (KEY, key(n=str(writer % 8 * 8 + i))):
            store.put(name, whole_text(writer))
            found = store.get(name)
            assert found is None or found == found[:4] * 20_000


def test_many_processes_share_a_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", total=40 * 80_000)
    processes = [start(_puts, store.folder, i) for i in range(WRITERS)]
    looks = hits = 0
    while any(p.is_alive() for p in processes):
        found = store.get(KEY)
        assert found is None or found == found[:4] * 20_000
        hits += found is not None
        looks += hits > 0  # from when a writer has begun
    assert [p.exitcode for p in processes] == [0] * WRITERS
    assert looks > 10
    assert hits > looks // 2
    assert not list(store.folder.glob("*.tmp"))
    assert size(store) <= store.total * 5 // 4


# Where it is


def test_the_folder_is_that_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ATTNC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = default_folder()
    assert folder is not None
    assert folder.name == "attnc"


@pytest.mark.parametrize("value", ["", "off"])
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ATTNC_CACHE", value)
    assert default_folder() is None


def test_it_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for value in ("here", str(tmp_path / "here")):
        monkeypatch.setenv("ATTNC_CACHE", value)
        assert default_folder() == tmp_path / "here"


def test_without_a_home_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv("ATTNC_CACHE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: Path("~/.cache", name))
    assert default_folder() is None
