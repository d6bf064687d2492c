"""`attnc check`: what is wrong or odd in a spec."""

from __future__ import annotations

import argparse
from typing import Final

from attnc.commands.common import add_name, add_spec, count, read_spec, show
from attnc.errors import Diagnostic, Source, Span, SpecError, printable

SUMMARY: Final = "report what is wrong or odd in a spec"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_spec(parser)
    add_name(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for editors")


def run(options: argparse.Namespace) -> int:
    """Checks; warnings are shown and change nothing."""
    return _for_editors(options) if options.json else _for_people(options)


def _for_people(options: argparse.Namespace) -> int:
    from attnc.api import check

    found = check(*read_spec(options.spec, options.name))
    if options.cascade is not None:
        found.select(options.cascade)
    show(found.warnings)
    names = ", ".join(c.name for c in found.cascades)
    warned = f" ({count(len(found.warnings), 'warning')})" if found.warnings else ""
    print(f"{printable(found.source.name)}: {names}: valid{warned}")
    return 0


def _for_editors(options: argparse.Namespace) -> int:
    """One JSON document, whatever is wrong with the spec; docs/editors.md describes it."""
    import json

    from attnc.api import diagnose

    name = options.name or ("<stdin>" if options.spec == "-" else options.spec)
    cascades: list[str] = []
    try:
        found, diagnostics = diagnose(*read_spec(options.spec, options.name))
    except SpecError as error:  # not UTF-8
        diagnostics, valid = error.diagnostics, False
    else:
        valid = not any(d.severity == "error" for d in diagnostics)
        cascades += (c.name for c in found.cascades)
        if valid and options.cascade is not None:
            found.select(options.cascade)
    shown = [_data(d) for d in diagnostics]
    document = {"file": name, "valid": valid, "cascades": cascades, "diagnostics": shown}
    print(json.dumps(document, indent=2))
    return 0 if valid else 1


def _data(diagnostic: Diagnostic) -> dict[str, object]:
    source = diagnostic.source
    notes = [{"message": n.message, **_place(source, n.span)} for n in diagnostic.notes]
    return {
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_place(source, diagnostic.span),
        "hints": list(diagnostic.hints),
        "notes": notes,
    }


def _place(source: Source, span: Span) -> dict[str, object]:
    """Lines and columns from 1, in characters; the end is behind the last one, on its line."""
    start = max(span.start, 0)
    line, column = source.position(start)
    end_line, last = source.position(max(start, span.end - 1))
    return {
        "file": source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": last + 1,
    }
