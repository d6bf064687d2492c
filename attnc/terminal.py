"""Tidy output: tables and colours on a terminal, plain text in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnc.compiled_text import compiled_sections
from attnc.device_text import device_sections
from attnc.errors import Diagnostic
from attnc.sections import Section, amount, lines_of

if TYPE_CHECKING:
    from rich.console import Console


def show_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    """Diagnostics in colour on standard error."""
    from rich.text import Text

    console = _console(stderr=True)
    colours = {"error": "bold red", "warning": "bold yellow"}
    for diagnostic in diagnostics:
        text = Text(diagnostic.render())
        text.highlight_regex(r"(?m)^.*?:\d+:\d+:", "bold")
        text.highlight_regex(rf"(?m): ({diagnostic.severity}):", colours[diagnostic.severity])
        text.highlight_regex(r"(?m)^\s+\|\s+\^+", colours[diagnostic.severity])
        text.highlight_regex(r"(?m)^\s+\d* ?\|", "dim")
        text.highlight_regex(r"(?m)^  hint:", "cyan")
        console.print(text)


def show_explanation(found: Mapping[str, Any], *, colour: bool) -> None:
    """An explanation: sections of aligned rows, then the graph."""
    if colour:
        _in_colour(found)
    else:
        print(explanation_text(found))


def explanation_text(found: Mapping[str, Any]) -> str:
    """An explanation as plain lines."""
    lines = _head(found)
    for section in _sections(found):
        lines += ["", *lines_of(section)]
    lines += ["", "Graph"]
    for node, einsum in _graph(found):
        lines += [f"  {node}", f"      {einsum}"]
    for section in _compiled(found):
        lines += ["", *lines_of(section)]
    return "\n".join(lines)


def _in_colour(found: Mapping[str, Any]) -> None:
    from rich.text import Text

    console = _console(stderr=False)
    title, *rest = _head(found)
    console.print(Text(title, "bold"), *(Text(line, "dim") for line in rest), sep="\n")
    for section in _sections(found):
        _table(console, section)
    console.print(Text("\nGraph", "bold"))
    for node, einsum in _graph(found):
        console.print(Text(f"  {node}"), Text(f"      {einsum}", "dim"), sep="\n")
    for section in _compiled(found):
        _table(console, section)


def _table(console: Console, section: Section) -> None:
    from rich.table import Table
    from rich.text import Text

    name, heads, rows = section
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=any(heads))
    for i, head in enumerate(heads):
        table.add_column(Text(head, "dim"), justify="right" if i == 1 else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(Text(f"\n{name}", "bold"))
    console.print(table, soft_wrap=False)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console
    from rich.highlighter import NullHighlighter

    return Console(stderr=stderr, highlighter=NullHighlighter(), soft_wrap=True)


# What is shown, in either form


def _head(found: Mapping[str, Any]) -> list[str]:
    lines = [f"{found['cascade']}, as written"]
    sizes = ", ".join(f"{n} = {v}" for n, v in found["sizes"].items())
    if sizes:
        lines.append(f"at {sizes}, untyped tensors in {found['dtype']}")
    if found["missing"]:
        lines.append(f"formulas only: no size for {', '.join(found['missing'])}")
    return lines


def _sections(found: Mapping[str, Any]) -> Iterator[Section]:
    written = found["written"]
    passes = [(v, str(n), "") for v, n in written["passes"].items()]
    yield "Passes over each input rank", ("rank", "passes", ""), passes
    amounts = [
        amount("operations", written["operations"]),
        *(amount(f"bytes, {name}", item) for name, item in written["bytes"].items()),
        amount("live footprint, bytes", written["footprint"]["live"]),
    ]
    for name, value in written["intensity"].items():
        amounts.append((f"operations per byte, {name}", "" if value is None else f"{value:g}", ""))
    yield "Amounts", ("", "value", "formula"), amounts
    tensors = [amount(t["tensor"], t) for t in written["footprint"]["tensors"]]
    if tensors:
        yield "Intermediate tensors, in bytes", ("tensor", "value", "formula"), tensors


def _compiled(found: Mapping[str, Any]) -> Iterator[Section]:
    yield from compiled_sections(found)
    if "device" in found:
        yield from device_sections(found["device"])


def _graph(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for node in found["written"]["graph"]:
        loop = f"  (loop over {node['loop']})" if "loop" in node else ""
        yield f"{node['tensor']} <- {', '.join(node['reads']) or 'nothing'}{loop}", node["einsum"]
