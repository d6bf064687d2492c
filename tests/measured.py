"""A command, what it takes of time and memory, and what is executed meanwhile."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import sys
import time
from typing import Final, NamedTuple

import tests.warm  # noqa: F401 (what is loaded late is loaded before)
from attnc import cli

ADDRESSES: Final = 2**30
"""Most bytes of addresses that the process may have: it would fail before the machine does."""
LISTENED: Final = (
    "exec",
    "compile",
    "import",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "shutil.",
)
HARMLESS: Final = {"os.listdir", "os.scandir", "os.remove", "os.rename", "os.chown", "os.chmod"}


class Measured(NamedTuple):
    """What a command did, and what it took."""

    status: int
    out: str
    err: str
    seconds: float
    mib: float
    heard: tuple[str, ...]


def measured(arguments: list[str], folder: str) -> Measured:
    """Runs a command in this process, which is for nothing else: it listens, and has a limit."""
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    heard: list[str] = []
    listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event.startswith(LISTENED) and event not in HARMLESS:
            heard.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(listen)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, resource.RLIM_INFINITY))
    began = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(arguments)
    seconds = time.process_time() - began
    listening = False
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(status, out.getvalue(), err.getvalue(), seconds, mib, tuple(heard))
