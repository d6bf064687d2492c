"""`attnc fmt`: specs in their standard layout."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attnc.commands.common import add_name, cannot, count, read_spec, show
from attnc.errors import SpecError, UsageError, printable

SUMMARY: Final = "lay out specs in the standard way"
SUFFIX: Final = ".attn"

OUTCOMES: Final = ("formatted", "would be formatted", "unchanged", "failed")


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a .attn file, or a folder for all in it (-: standard input to standard output)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file would change"
    )
    parser.add_argument(
        "--diff", action="store_true", help="as --check, and show what would change"
    )
    add_name(parser)


def run(options: argparse.Namespace) -> int:
    """Lays out each file; one that cannot be does not stop the others."""
    if "-" in options.files:
        if len(options.files) > 1:
            raise UsageError("standard input is laid out alone")
        return _standard_input(options)
    if options.name is not None:
        raise UsageError("--name is for standard input")
    status = 0
    outcomes: Counter[str] = Counter()
    for path in dict.fromkeys(_specs(options.files)):
        try:
            outcome = _file(path, options)
            status = max(status, outcome == "would be formatted")
        except SpecError as error:
            show(error.diagnostics)
            outcome, status = "failed", max(status, 1)
        except OSError as error:
            if error.filename is None:
                raise
            outcome, status = "failed", cannot(error)
        outcomes[outcome] += 1
        if not options.diff and outcome in OUTCOMES[:2]:
            print(f"{printable(str(path))}: {outcome}")
    if not options.diff:
        found = [f"{count(outcomes[o], 'file')} {o}" for o in OUTCOMES if outcomes[o]]
        print(", ".join(found) or f"no {SUFFIX} files")
    return status


def _specs(names: Sequence[str]) -> Iterator[Path]:
    """The files that were named, and those in the folders that were, in order.

    Hidden folders are passed over, and links to folders not followed.
    """
    for name in names:
        if not Path(name).is_dir():
            yield Path(name)
            continue
        for folder, inner, files in os.walk(name):
            inner[:] = sorted(i for i in inner if not i.startswith("."))
            yield from (Path(folder, f) for f in sorted(files) if f.endswith(SUFFIX))


def _file(path: Path, options: argparse.Namespace) -> str:
    """Lays out one file, unless only asked about it; what became of it."""
    from attnc.api import format, read  # noqa: A004
    from attnc.files import write_whole

    text, name = read(path)
    result = format(text, name=name)
    if result == text:
        return "unchanged"
    if options.diff:
        _show_difference(text, result, name)
    if options.check or options.diff:
        return "would be formatted"
    write_whole(path, result)
    return "formatted"


def _standard_input(options: argparse.Namespace) -> int:
    from attnc.api import format  # noqa: A004

    text, name = read_spec("-", options.name)
    result = format(text, name=name)
    if options.diff:
        _show_difference(text, result, name)
    elif options.check:
        print(f"{printable(name)}: {OUTCOMES[1] if result != text else OUTCOMES[2]}")
    else:
        print(result, end="")
    return int((options.check or options.diff) and result != text)


def _show_difference(text: str, result: str, name: str) -> None:
    """Prints a unified diff; on a terminal, what could steer it is escaped."""
    from difflib import unified_diff

    shown = printable if sys.stdout is not None and sys.stdout.isatty() else str
    before, after = text.split("\n"), result.split("\n")
    for line in unified_diff(before, after, name, f"{name} (formatted)", lineterm=""):
        print(shown(line))
