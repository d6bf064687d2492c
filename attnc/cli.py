"""The command line: one parser, one place where errors become an exit status.

Exit status 0: done; 1: the spec is not valid; 2: wrong usage, or a file cannot be read or written.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

from attnc.commands import check, draw, explain, export, fmt
from attnc.commands import compile as compile_
from attnc.commands.common import cannot, misused, show
from attnc.errors import InternalError, SpecError, UsageError
from attnc.version import VERSION

COMMANDS: Final[dict[str, ModuleType]] = {
    "compile": compile_,
    "export": export,
    "check": check,
    "explain": explain,
    "draw": draw,
    "fmt": fmt,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status is returned."""
    gc.set_threshold(100_000)  # many nodes, few cycles: a sixth of the time went into looking
    _prepare_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with _unwinding():
            status = run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except SpecError as error:
        show(error.diagnostics)
        return 1
    except UsageError as error:
        return misused(str(error))
    except InternalError as error:
        print(error.text, file=sys.stderr)
        return misused(str(error), "this is a fault of attnc, not of the spec")
    except BrokenPipeError:
        _drop_output()
        return 2
    except OSError as error:
        if error.filename is None:  # standard output cannot be written
            _drop_output()
        return cannot(error)
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        return misused("not enough memory")


@contextlib.contextmanager
def _unwinding() -> Generator[None]:
    """Makes a termination unwind, as Ctrl-C does, so that no temporary file stays."""

    def stop(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {n: signal.signal(n, stop) for n in numbers if signal.getsignal(n) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare_streams() -> None:
    """A character that a stream cannot encode becomes an escape; a closed stream takes all."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Lets what is still buffered vanish: the interpreter would fail on it at its end."""
    with contextlib.suppress(OSError):
        number = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors look like all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(misused(message, f"{self.prog} --help shows how it is used"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="attnc",
        description="A compiler for attention written as extended Einsums.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"attnc {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = module.SUMMARY
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        module.declare(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
