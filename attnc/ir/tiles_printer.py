"""Level 2 as text, which `attnc.grammar.tiles` parses back to an equal plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from attnc.ir import printer
from attnc.ir.cascade import Cascade
from attnc.ir.expr import Bool, Expr, Int
from attnc.ir.tiles import (
    Carry,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Scan,
    Statement,
    Store,
    Tile,
    TopK,
)

INDENT = "    "


def plan(item: Plan) -> str:
    """A whole plan."""
    header = Cascade(item.name, item.inputs, item.parameters, item.outputs, ())
    lines = ["plan " + printer.header(header).removeprefix("cascade ")]
    lines += [f"{INDENT}var {name} in {_text(size)}" for name, size in item.variables]
    lines += [f"{INDENT}let {x.name}: {x.kind} = {_text(x.value)}" for x in item.lets]
    lines += [f"{INDENT}require {_text(x)}" for x in item.requires]
    lines += [f"{INDENT}tile {name}" for name in item.tiles]
    lines += [f"{INDENT}given {_text(x)}" for x in item.given]
    lines += [f"{INDENT}bound {name}" for name in item.bounded]
    for buffer in item.buffers:
        sizes = ",".join(map(_text, buffer.sizes))
        lines.append(f"{INDENT}buffer {buffer.name}[{sizes}]: {buffer.kind} {buffer.presence}")
    for one in item.kernels:
        lines += ["", *(INDENT + line for line in kernel(one))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def kernel(item: Kernel) -> Iterator[str]:
    """One kernel."""
    yield f"kernel {item.name}"
    for axis in item.axes:
        last = " last first" if axis.name in item.reversed else ""
        tile = f" by {axis.tile}" if axis.tile else ""
        yield f"{INDENT}axis {axis.name} {axis.kind} {_text(axis.size)}{tile}{last}"
    for coord in item.coords:
        yield f"{INDENT}coord {coord.name} = {_text(coord.value)} of {_text(coord.size)}"
    for statement_ in item.body:
        yield from (INDENT + line for line in statement(statement_))


def statement(item: Statement) -> Iterator[str]:
    """One statement, a loop with its body."""
    match item:
        case Load():
            index = ",".join(map(_text, item.index))
            fill = "" if item.fill is None else f" else {printer.constant(item.fill)}"
            yield f"{_left(item)} = load {item.tensor}[{index}]{_where(item.where)}{fill}"
        case Map():
            yield f"{_left(item)} = map {_text(item.value)}"
        case Dot():
            over = ",".join(item.over)
            operands = f"{item.left}, {item.right}: {item.kind}"
            yield f"{_left(item)} = dot[{over}]({operands}){_where(item.where)}"
        case Fold():
            over = ",".join((item.op, *item.over))
            yield f"{_left(item)} = reduce[{over}]({_text(item.value)}){_where(item.where)}"
        case Scan():
            over = ",".join((item.op, item.over, *(["reverse"] if item.reverse else [])))
            yield f"{_left(item)} = scan[{over}]({_text(item.value)}){_where(item.where)}"
        case TopK():
            over = f"{item.over} -> {item.into}"
            yield f"{_left(item)} = topk[{over}]({_text(item.value)}){_where(item.where)}"
        case Find():
            places = list(map(_text, item.index))
            places.insert(item.rank, ":")
            value = printer.expression(item.value, printer.BIT_OR)
            found = f"find {item.tensor}[{','.join(places)}] {item.op} {value}"
            yield f"{_left(item)} = {found}{_where(item.where)}"
        case Let():
            yield f"let {item.name}: {item.kind} = {_text(item.value)}"
        case If():
            yield f"if {_text(item.condition)}"
            yield from _block(item)
        case Loop():
            yield from _loop(item)
        case Store():
            index = ",".join(map(_text, item.index))
            mode = f" {item.combine}" if item.combine else ""
            empty = printer.constant(item.empty)
            yield f"store{mode} {item.tensor}[{index}] = {_text(item.value)}{_where(item.where)}"
            yield f"{INDENT}else {empty}, over {_text(item.guard)}"
        case _:
            assert_never(item)


def _loop(item: Loop) -> Iterator[str]:
    order = " ordered" * item.ordered + " backward" * item.backward
    present = (f"[{_text(r.low)}, {_text(r.high)}) present" for r in item.present)
    ranges = ", ".join((*map(_range, item.ranges), *present))
    yield f"for {item.axis}{order} in {ranges}{_where(item.where)}"
    for condition in item.given:
        yield f"{INDENT}given {_text(condition)}"
    yield from _block(item)


def _block(item: Loop | If) -> Iterator[str]:
    """What is inside, between what is carried before and after."""
    for carry in item.carries:
        yield f"{INDENT}carry {_carried(carry)} = {_text(carry.start)}"
    for inner in item.body:
        yield from (INDENT + line for line in statement(inner))
    for carry in item.carries:
        yield f"{INDENT}next {carry.name} = {_text(carry.next)}"


def _range(item: Range) -> str:
    step = "" if item.step == Int(1) else f" step {_text(item.step)}"
    kind = "full" if item.full else "partial"
    of = ""
    if item.of is not None:
        of = f"{item.of.tensor}[{','.join(map(_text, item.of.index))}] at "
    return f"{of}[{_text(item.low)}, {_text(item.high)}){step} {kind}"


def _left(item: Tile) -> str:
    return f"{item.target}[{','.join(item.axes)}]: {item.kind}"


def _carried(item: Carry) -> str:
    return f"{item.name}[{','.join(item.axes)}]: {item.kind}"


def _where(predicate: Expr) -> str:
    return "" if predicate == Bool(True) else f" where {_text(predicate)}"


def _text(expr: Expr) -> str:
    return printer.expression(expr)
