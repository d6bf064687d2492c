# mypy: ignore-errors
"""Helpers that keep libraries on disk.

What was built before is found there, so that the compiler is imported only where it is needed.
"""

import hashlib
import importlib.util
import linecache
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from attnc.backends.tvm.processor import _KNOWN, _processor


def _stored_at(place, written, load):
    """A library that is written, kept at its place, and loaded; None if something is in the way."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours(place.parent):
            return None
        with tempfile.TemporaryDirectory(dir=place.parent, prefix="tvm") as folder:
            made = Path(folder, "kernel.so")
            written(made)
            data = made.read_bytes()
            made.write_bytes(data + hashlib.sha256(data).digest())
            made.replace(place)
        _swept(place.parent)
    except (OSError, subprocess.CalledProcessError):
        return None  # trouble with the disk or the linker
    return _found(place, load)


def _linked(linker, made, *parts):
    """Writes what the compiler makes of parts as one library; it makes them at the same time."""
    from concurrent.futures import ThreadPoolExecutor

    def written(number):
        unit = made.with_suffix(f".{number}.o")
        parts[number]().write_to_file(str(unit), "o")
        return unit

    with ThreadPoolExecutor(len(parts)) as threads:
        units = list(threads.map(written, range(len(parts))))
    command = [linker, "-shared", "-Bsymbolic", "-o", made, *units]
    subprocess.run(command, check=True, capture_output=True)


def _place(kernel, fixed):
    """Where a kernel is kept: by its module, what it is built for, the machine and the compiler.

    Nowhere if the module has no text.
    """
    path = kernel.__code__.co_filename
    text = "".join(linecache.getlines(path, globals()))
    return _place_of([text, kernel.__name__, *fixed]) if text else None


def _place_of(facts):
    """Where a library is kept: by what it is made of, the machine and the compiler.

    In a folder of the user's: `ATTNC_CACHE`, else where the system keeps such; nowhere if
    `ATTNC_CACHE` is empty or `off`, or if there is no compiler.
    """
    chosen = os.environ.get("ATTNC_CACHE")
    root = _root()
    if sys.platform != "linux" or chosen in ("", "off") or root is None or len(_processor()) < 2:
        return None
    folder = Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "attnc"))
    folder = folder.expanduser().absolute()
    status = root.stat()
    facts = [*facts, sorted(_processor())]
    facts += [str(root), status.st_size, status.st_mtime_ns, sys.version]
    name = hashlib.sha256(repr(facts).encode()).hexdigest()
    return folder / f"tvm-{name}.so"


def _root():
    """The file of the compiler's runtime."""
    if "root" not in _KNOWN:
        found = importlib.util.find_spec("tvm")
        places = found.submodule_search_locations if found else ()
        files = [Path(place, "lib", "libtvm_runtime.so") for place in places]
        _KNOWN["root"] = next((f for f in files if f.exists()), None)
    return _KNOWN["root"]


def _ours(path):
    """Whether only this user and root can have written to it: what it holds is run."""
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _found(place, load):
    """A library that was kept; None where there is none that is whole and ours."""
    try:
        if not (_ours(place.parent) and _ours(place)):
            return None
        data = place.read_bytes()
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            return None
        os.utime(place)
        return load(place)
    except OSError:
        return None


def _swept(folder):
    """Removes what was longest unused, where kernels take more than 256 MiB."""
    kept = []
    for path in folder.glob("tvm-*.so"):
        status = path.stat()
        kept.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= 2**28:
            break
        path.unlink(missing_ok=True)
        total -= size
