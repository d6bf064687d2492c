"""Runs functions in processes of their own, which start in milliseconds and may be killed."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

SECONDS = 60
NOBODY = 65534

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["attnc.cache", "tests.measured", "tests.writers"])


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A process that runs a function of a module, and is gone when the test run is."""
    process = _context.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def elsewhere(function: Callable[..., Any], *arguments: Any, root: bool = False) -> Any:
    """What a function returns in a process of its own; not as root unless told."""
    ours, theirs = _context.Pipe(duplex=False)
    process = start(_call, theirs, root, function, arguments)
    theirs.close()
    assert ours.poll(SECONDS), "the process is not done"
    value, problem = ours.recv()
    process.join(SECONDS)
    assert problem is None, problem
    return value


def _call(
    out: Connection, root: bool, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    try:
        if not root and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        out.send((function(*arguments), None))
    except BaseException:
        out.send((None, traceback.format_exc()))


def command(arguments: Sequence[str]) -> None:
    """The command line as a process, its streams dropped; its status is the process's."""
    from attnc.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started with `&` ignores it
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = main(arguments)
    os._exit(status)


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user can look into, as those of pytest are not."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="attnc.tests.") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def file_size_limit(count: int) -> Iterator[None]:
    """No file can grow beyond `count` bytes: what a full disk looks like to a writer."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """The umask, for as long as this lasts."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
