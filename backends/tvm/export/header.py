"""The header of an exported function."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Final

from attnc.backends.signature import described
from attnc.backends.triton.host import may_fail
from attnc.backends.tvm.export.interface import BUILT, MEMORY, NULL, SIZE, Argument, Interface
from attnc.ir import printer
from attnc.ir.cascade import Input
from attnc.ir.expr import Expr
from attnc.version import VERSION

WIDTH: Final = 96

ELEMENTS: Final = {
    "float16": "f16, as its 16 bits",
    "bfloat16": "bf16, as its 16 bits",
    "float8_e4m3fn": "f8e4m3, as its 8 bits",
    "float8_e5m2": "f8e5m2, as its 8 bits",
    "bool": "0 or 1",
}
"""Elements that C has no type for."""


STRIDES: Final = (
    "..._strides: of each rank, how many elements apart its neighbours are, a table of as many "
    "numbers as the tensor has ranks; NULL: row lies after row"
)
RETURNS: Final = (
    "Returns 0, or an error, after which outputs hold anything. May be called from several threads "
    "at once. Outputs overlap nothing else."
)


def header(interface: Interface, whole: Mapping[Expr, int], notes: str, machine: str) -> str:
    """The text of the header; `machine` says what the library was built for."""
    symbol = interface.symbol
    guard = f"ATTNC_{symbol.upper()}_H"
    lines = [f"/* {symbol}: exported by attnc {VERSION} for {machine}.", ""]
    lines += [f"   {line}".rstrip() for line in _safe(notes).splitlines()]
    lines += ["", *_explained(interface, whole), "*/", ""]
    lines += [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    lines += [*codes(interface), "", *declaration(interface, ";"), ""]
    lines += ["#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def declaration(interface: Interface, end: str) -> list[str]:
    """The head of the function in C."""
    rows: list[str] = []
    given, before = interface.arguments, ""
    for argument, after in zip(given, [*given[1:], None], strict=True):
        text = f"{argument.type}{argument.name}" + ("," if after else f"){end}")
        tensor = argument.role in ("input", "output")
        begins = tensor or (before in ("input", "output", "strides") and argument.role != "strides")
        before = argument.role
        if not rows or begins or len(rows[-1]) + len(text) >= WIDTH - 4:
            rows.append(text)
        else:
            rows[-1] += f" {text}"
    return [f"int32_t {interface.symbol}(", *(f"    {row}" for row in rows)]


def _errors(interface: Interface) -> list[tuple[str, int, str]]:
    prefix = interface.symbol.upper()
    found = [
        (f"{prefix}_NULL", NULL, "a pointer to a tensor that has elements is null"),
        (f"{prefix}_SIZE", SIZE, "a size is negative, or 2^29 or more"),
        (f"{prefix}_BUILT", BUILT, "a size is not the one that the library is built for"),
        (f"{prefix}_MEMORY", MEMORY, "there is not enough memory"),
    ]
    for check in interface.checks:
        if check.value and not (may_fail(check.expr) or interface.is_extent(check.value)):
            continue
        name = f"{prefix}_NO_{check.value or f'REQUIRE_{check.code}'}"
        holds = "does not hold" if check.value is None else "has no value, or none that is a size"
        found.append((name, check.code, f"`{check.text}` {holds}"))
    return found


def codes(interface: Interface) -> list[str]:
    """What the function returns, as constants."""
    lines = [f"#define {interface.symbol.upper()}_OK 0"]
    for name, code, text in _errors(interface):
        lines.append(f"#define {name} {code} /* {_safe(text)} */")
    return lines


def _explained(interface: Interface, whole: Mapping[Expr, int]) -> list[str]:
    """What arguments are."""
    lines: list[str] = []
    sizes = [a.name for a in interface.arguments if a.role == "size"]
    for argument in interface.arguments:
        if argument.role not in ("strides", "size", "threads"):
            lines += _wrapped(f"{argument.name}: {_meaning(interface, argument)}")
    if any(a.role == "strides" for a in interface.arguments):
        lines += _wrapped(STRIDES)
    if sizes:
        lines += _wrapped(f"{', '.join(sizes)}: the sizes")
    lines += _wrapped("threads: how many threads work; 0: one for each processor")
    if whole:
        shown = ", ".join(f"{printer.expression(e)} = {n}" for e, n in whole.items())
        lines += ["", *_wrapped(f"Built for {shown}; what else is a size may be any.")]
    return [*lines, "", *_wrapped(RETURNS)]


def _meaning(interface: Interface, argument: Argument) -> str:
    tensors = {t.name: t for t in interface.tensors}
    if argument.role in ("input", "output"):
        tensor = tensors[argument.of]
        element = ELEMENTS.get(interface.element(tensor))
        note = f", elements {element}" if element else ""
        made = "" if isinstance(tensor, Input) else ", which is written"
        return f"{described(tensor).partition(':')[0]}{note}{made}"
    default = next(p.default for p in interface.plan.parameters if p.name == argument.of)
    kind = "a truth, 0 or 1" if argument.role == "bool" else f"the parameter {argument.of}"
    return kind if default is None else f"{kind}; by default {str(default).lower()}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        _safe(text),
        WIDTH - 3,
        initial_indent="   ",
        subsequent_indent="     ",
        break_on_hyphens=False,
    )
