"""Tidy output: tables and colours on a terminal, plain text in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attnc.errors import Diagnostic

if TYPE_CHECKING:
    from rich.console import Console

Row: TypeAlias = tuple[str, str, str]
Section: TypeAlias = tuple[str, Row, list[Row]]
"""A title, the heads of three columns, and rows; the second column is right-justified."""


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
    for title, heads, rows in _sections(found):
        lines += ["", title, *_columns([heads, *rows] if any(heads) else rows)]
    lines += ["", "Graph"]
    for node, einsum in _graph(found):
        lines += [f"  {node}", f"      {einsum}"]
    return "\n".join(lines)


def _in_colour(found: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = _console(stderr=False)
    title, *rest = _head(found)
    console.print(Text(title, "bold"), *(Text(line, "dim") for line in rest), sep="\n")
    for name, heads, rows in _sections(found):
        table = Table(box=None, pad_edge=False, padding=(0, 2))
        for i, head in enumerate(heads):
            table.add_column(Text(head, "dim"), justify="right" if i == 1 else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(Text(f"\n{name}", "bold"))
        console.print(table, soft_wrap=False)
    console.print(Text("\nGraph", "bold"))
    for node, einsum in _graph(found):
        console.print(Text(f"  {node}"), Text(f"      {einsum}", "dim"), sep="\n")


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
        _row("operations", written["operations"]),
        *(_row(f"bytes, {name}", item) for name, item in written["bytes"].items()),
        _row("live footprint, bytes", written["footprint"]["live"]),
    ]
    for name, value in written["intensity"].items():
        amounts.append((f"operations per byte, {name}", "" if value is None else f"{value:g}", ""))
    yield "Amounts", ("", "value", "formula"), amounts
    yield from _compiled(found)
    tensors = [_row(t["tensor"], t) for t in written["footprint"]["tensors"]]
    if tensors:
        yield "Intermediate tensors, in bytes", ("tensor", "value", "formula"), tensors


def _compiled(found: Mapping[str, Any]) -> Iterator[Section]:
    plan = found["compiled"]
    if plan is not None:
        kernels = [(k["name"], ", ".join(k["streams"]) or "-", "") for k in plan["kernels"]]
        if plan["buffers"]:
            kernels.append(("buffers", ", ".join(plan["buffers"]), ""))
        yield "Kernels, as compiled", ("kernel", "streams", ""), kernels
    title = "Not tiled yet" if plan is None else "What takes another pass"
    refusals = [
        (f"line {r['line']}" if r["line"] else "", "", f"{r['term']}: {r['reason']}")
        for r in found["refusals"]
    ]
    if refusals:
        yield title, ("", "", ""), refusals


def _row(name: str, item: Mapping[str, Any]) -> Row:
    value = "" if item["value"] is None else f"{item['value']:,}"
    return name, value, str(item["formula"])


def _graph(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for node in found["written"]["graph"]:
        loop = f"  (loop over {node['loop']})" if "loop" in node else ""
        yield f"{node['tensor']} <- {', '.join(node['reads']) or 'nothing'}{loop}", node["einsum"]


def _columns(rows: Sequence[Row]) -> Iterator[str]:
    """Rows in columns parted by spaces."""
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    for a, b, c in rows:
        yield f"  {a.ljust(first)}  {b.rjust(second)}  {c}".rstrip()
