"""What commands share: the spec they read, `NAME=VALUE` options, what they tell the user."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attnc.errors import Diagnostic, UsageError, printable

if TYPE_CHECKING:
    from attnc.api import Checked

MAX_SHOWN: Final = 100
"""Most diagnostics shown of one run."""

SIZE: Final = re.compile(r"-?[0-9]{1,18}")


def add_spec(parser: argparse.ArgumentParser) -> None:
    """The argument SPEC and the option --cascade."""
    parser.add_argument("spec", metavar="SPEC", help="a .attn file (-: standard input)")
    parser.add_argument("--cascade", metavar="NAME", help="the cascade, where a file has several")


def add_name(parser: argparse.ArgumentParser) -> None:
    """The option --name."""
    parser.add_argument("--name", metavar="FILE", help="what standard input is called in messages")


def add_sizes(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,  # pyright: ignore[reportPrivateUsage]
    text: str,
) -> None:
    """The option --size."""
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="N=4096,...",
        help=f"{text} (may be repeated)",
    )


def read_spec(spec: str, name: str | None = None) -> tuple[str, str]:
    """The text of a spec and the name it is reported under; `name` is that of standard input."""
    from attnc.api import MAX_BYTES, read, text_of

    if spec != "-":
        if name is not None:
            raise UsageError("--name is for standard input")
        return read(spec)
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    name = name or "<stdin>"
    return text_of(sys.stdin.buffer.read(MAX_BYTES), name), name


def checked(options: argparse.Namespace) -> Checked:
    """The spec that the options name, checked."""
    from attnc.api import check

    return check(*read_spec(options.spec))


def pairs(items: Iterable[str], option: str) -> Iterator[tuple[str, str]]:
    """Each `NAME=VALUE` as a pair; raises `UsageError` for anything else."""
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} takes NAME=VALUE, not '{item}'")
        yield name.strip(), value.strip()


def sizes(items: Iterable[str]) -> dict[str, int]:
    """The sizes that `--size N=4096,M=128` gave."""
    parts = (part for item in items for part in item.split(",") if part)
    return {name: _size(name, value) for name, value in pairs(parts, "--size")}


def _size(name: str, value: str) -> int:
    if not SIZE.fullmatch(value):
        raise UsageError(f"--size {name}={value}: a size is an integer")
    return int(value)


def check_output(options: argparse.Namespace) -> None:
    """Raises `UsageError` if `--output` names the spec itself."""
    if _same_file(options.spec, options.output):
        raise UsageError(f"the output '{options.output}' is the spec itself")


def write_bytes(options: argparse.Namespace, data: bytes) -> None:
    """Writes bytes to the file that `--output` names, whole."""
    from attnc.files import write_bytes_whole

    check_output(options)
    write_bytes_whole(Path(options.output), data)


def write_text(options: argparse.Namespace, text: str) -> None:
    """Writes what a command made to the file that `--output` names, whole, or prints it for `-`."""
    from attnc.files import write_whole

    if options.output == "-":
        if sys.stdout is None:
            raise UsageError("standard output is closed")
        print(text, end="", flush=True)
        return
    check_output(options)
    write_whole(Path(options.output), text)


def _same_file(spec: str, output: str) -> bool:
    with contextlib.suppress(OSError):
        return spec != "-" and Path(spec).samefile(output)
    return False


def show(diagnostics: Sequence[Diagnostic]) -> None:
    """Diagnostics on standard error, coloured where that is a terminal."""
    if not diagnostics:
        return
    shown = diagnostics[:MAX_SHOWN]
    if sys.stderr.isatty():
        from attnc.terminal import show_diagnostics

        show_diagnostics(shown)
    else:
        print("\n".join(d.render() for d in shown), file=sys.stderr)
    errors = sum(d.severity == "error" for d in diagnostics)
    if len(diagnostics) > MAX_SHOWN:
        print(f"... and {len(diagnostics) - MAX_SHOWN} more", file=sys.stderr)
    if errors:
        print(count(errors, "error"), file=sys.stderr)


def cannot(error: OSError) -> int:
    """Tells that a file cannot be read or written; the exit status is returned."""
    return misused(f"{error.strerror or error}: {error.filename or 'standard output'}")


def misused(message: str, hint: str | None = None) -> int:
    """Tells what is wrong with how the command was called; the exit status is returned."""
    print(f"attnc: error: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    return 2


def count(number: int, word: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {word}{'' if number == 1 else 's'}"
