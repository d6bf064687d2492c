"""Level 2 from text: what `attnc.ir.tiles_printer` prints, parsed back to an equal plan.

A line is one statement; it goes on while a bracket is open, and where the next one begins with
`else`. What belongs to a loop, an `if` or a kernel is indented further than it. All names that an
expression of a kernel may use are of one namespace: values, axes, coordinates and tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from lark import Token

from attnc.errors import NOWHERE, Report, Source, Span
from attnc.grammar.lines import span
from attnc.grammar.parser import (
    lexed,
)
from attnc.grammar.tiles_names import Lost, Named, Names, as_tile, as_value, as_variable, place_of
from attnc.grammar.tiles_syntax import (
    Bound,
    Given,
    Line,
    Next,
    Open,
    Reversed,
    TileSize,
    lexer,
    lines_of,
    said,
)
from attnc.ir.cascade import Cascade, Input, Output, Require, Variables
from attnc.ir.expr import (
    Expr,
    Name,
)
from attnc.ir.tiles import (
    Axis,
    Buffer,
    Carry,
    Coord,
    Dot,
    Find,
    Fold,
    If,
    Kernel,
    Let,
    Listed,
    Load,
    Loop,
    Map,
    Plan,
    Range,
    Statement,
    Store,
)
from attnc.ir.tiles import Scan as TileScan
from attnc.ir.tiles import TopK as TileTopK
from attnc.ir.tiles_walk import mapped
from attnc.ir.walk import subexpressions

MAX_BLOCKS: Final = 12
"""Deepest nesting of loops and `if`s."""


def parse(source: Source) -> Plan:
    """The plan that a text is; raises `SpecError` with every error found."""
    report = Report(source)
    lines = list(lines_of(lexed(report, lexer().lex), report))
    report.raise_errors()
    plan = _Reader(report).plan(lines)
    report.raise_errors()
    assert plan is not None
    return plan


@dataclass
class _Block:
    """A block that is being read: its line, and what it holds so far."""

    item: Kernel | Loop | If
    names: Names
    indent: int
    """Of the line that opened it."""
    inside: int = 0
    """Of its own lines; 0 before the first."""
    body: list[Statement] = field(default_factory=list)
    nexts: dict[str, Expr] = field(default_factory=dict)


@dataclass
class _Reader:
    """Reads the lines of one plan."""

    report: Report
    blocks: list[_Block] = field(default_factory=list)
    inside: int = 0
    variables: list[tuple[str, Expr]] = field(default_factory=list)
    lets: list[Let] = field(default_factory=list)
    requires: list[Expr] = field(default_factory=list)
    given: list[Expr] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    tiles: list[str] = field(default_factory=list)
    bounded: list[str] = field(default_factory=list)
    readable: set[str] = field(default_factory=set)
    """Outputs that no buffer stands for so far: kernels that read an output say how."""
    awaited: dict[str, Span] = field(default_factory=dict)
    """Tiles that coordinates of the kernel speak of, not defined so far."""
    lost: int | None = None
    """How far a line is indented that was refused: what is inside of it is not looked at."""

    def plan(self, lines: Sequence[Line]) -> Plan | None:
        """The plan; None if something was reported."""
        header = said(lines[0], self.report) if lines else None
        if not isinstance(header, Cascade):
            if not self.report.count:
                place = span(lines[0].tokens[0]) if lines else Span(0, 0)
                self.report.error("a plan begins with `plan name(...) -> ...:`", place)
            return None
        self.names = Names(self.report)
        self._header(header)
        self.indent = lines[0].indent
        for line in lines[1:]:
            self._line(line)
            if self.report.crowded:
                return None
        while self.blocks:
            self._close()
        return Plan(
            str(header.name),
            header.inputs,
            header.parameters,
            header.outputs,
            tuple(self.lets),
            tuple(self.requires),
            tuple(self.buffers),
            tuple(self.kernels),
            tuple(self.variables),
            tuple(self.given),
            tuple(self.tiles),
            tuple(self.bounded),
        )

    def _header(self, header: Cascade) -> None:
        names = self.names
        tensors: tuple[Input | Output, ...] = (*header.inputs, *header.outputs)
        for item in tensors:
            if item.name in names.tensors:
                self.report.error(f"two tensors are called '{item.name}'", item.span)
            names.tensors.add(item.name)
            place = item.span if item in header.inputs else NOWHERE
            for size in item.sizes:
                if isinstance(size, str) and size not in names.known:
                    names.known[size] = Named(as_value, "value", place)
        self.readable = {o.name for o in header.outputs}
        for parameter in header.parameters:
            extent = parameter.name in names.known  # one that is given beside the tensors
            if extent and parameter.type != "int":
                self.report.error(f"'{parameter.name}' is an extent", parameter.span)
            names.known[parameter.name] = Named(as_value, "value", parameter.span)

    def _line(self, line: Line) -> None:
        first = line.tokens[0]
        if self.lost is not None and line.indent > self.lost:
            if first.type == "CARRY" and len(line.tokens) > 1:  # what comes after it may read it
                self._keep(line.tokens[1])
            return
        self.lost = None
        while self.blocks and line.indent <= self.blocks[-1].indent:
            self._close()
        before = self.blocks[-1].inside if self.blocks else self.inside
        if line.indent <= self.indent or before not in (0, line.indent):
            self.report.error("this line is not indented as those beside it", span(first))
        if self.blocks:
            self.blocks[-1].inside = before or line.indent
        else:
            self.inside = before or line.indent
        errors = self.report.count
        node = said(line, self.report)
        try:
            if node is None:
                pass
            elif isinstance(node, Open):
                self._open(node.item, line)
            elif self.blocks:
                self._inner(self.blocks[-1], node, first)
            else:
                self._outer(node, first)
        except Lost:
            pass
        if self.report.count > errors:
            self._lose(line)

    def _lose(self, line: Line) -> None:
        """Keeps what a refused line would define from being reported as unknown."""
        self.lost = line.indent
        first, *rest = line.tokens
        if first.type == "NAME":
            self._keep(first)
        elif first.type in ("AXIS", "CARRY") and rest and rest[0].type == "NAME":
            self._keep(rest[0], axis=first.type == "AXIS")

    def _keep(self, name: Token, axis: bool = False) -> None:
        names = self.blocks[-1].names if self.blocks else self.names
        if name.value not in names.known:
            kind = Named(as_variable, "axis", span(name)) if axis else None
            names.known[name.value] = kind or Named(as_tile, "tile", span(name))
            self.awaited.pop(name.value, None)

    # Lines outside of kernels

    def _outer(self, node: object, first: Token) -> None:
        names = self.names
        match node:
            case Variables(names=found, range=size):
                size = names(size)
                for name in found:
                    if name in names.known:
                        self.report.error(f"'{name}' is already a name", node.span)
                    names.known[name] = Named(as_variable, "variable", node.span)
                    self.variables.append((name, size))
            case Require(condition=condition):
                self.requires.append(names(condition))
            case Given(condition=condition):
                self.given.append(names(condition))
            case Bound(name=name):
                names.of(name, "value")
                self.bounded.append(str(name))
            case TileSize(name=name):
                self.tiles.append(names.add(name, as_value, "value"))
            case Let(name=name, value=value, kind=kind):
                value = names(value)
                if name not in self._extents():
                    name = names.add(name, as_value, "value")
                self.lets.append(Let(str(name), value, kind))
            case Buffer(name=name, sizes=sizes):
                if name in names.tensors - self.readable:
                    self.report.error(f"two tensors are called '{name}'", place_of(name))
                self.readable.discard(name)
                names.tensors.add(str(name))
                item = replace(node, name=str(name), sizes=tuple(map(names, sizes)))
                self.buffers.append(item)
            case _:
                self.report.error("this belongs into a kernel", span(first))

    def _extents(self) -> set[str]:
        """Extents that no let has given yet: an output's may be a let."""
        given = {let.name for let in self.lets}
        return {n for n, k in self.names.known.items() if k.place == NOWHERE} - given

    # Blocks

    def _open(self, item: Kernel | Loop | If, line: Line) -> None:
        first = line.tokens[0]
        outer = self.blocks[-1] if self.blocks else None
        names = (outer.names if outer else self.names).inner()
        if isinstance(item, Kernel):
            if outer is not None:
                raise self._misplaced("a kernel stands in no other block", first)
            if any(k.name == item.name for k in self.kernels):
                self.report.error(f"two kernels are called '{item.name}'", place_of(item.name))
            names.known = {n: k for n, k in names.known.items() if k.what != "variable"}
            item = replace(item, name=str(item.name))
        elif outer is None:
            raise self._misplaced("this belongs into a kernel", first)
        elif len(self.blocks) > MAX_BLOCKS:
            raise self._misplaced(f"blocks nest more than {MAX_BLOCKS} deep", first)
        elif isinstance(item, Loop):
            item = replace(
                item,
                axis=names.of(item.axis, "axis"),
                ranges=tuple(_range(r, names) for r in item.ranges),
                present=tuple(_range(r, names) for r in item.present),
            )
        else:
            item = replace(item, condition=names(item.condition))
        self.blocks.append(_Block(item, names, line.indent))

    def _misplaced(self, message: str, first: Token) -> Lost:
        self.report.error(message, span(first))
        return Lost()

    def _close(self) -> None:
        block = self.blocks.pop()
        body = tuple(block.body)
        match block.item:
            case Kernel():
                for name, place in self.awaited.items():
                    self.report.error(f"unknown name '{name}'", place)
                self.awaited.clear()
                self.kernels.append(replace(block.item, body=body))
            case Loop(carries=carries) | If(carries=carries) as item:
                for carry in carries:
                    if carry.name not in block.nexts:
                        message = f"the block has no next value of '{carry.name}'"
                        self.report.error(message, self._at(block, carry.name))
                    self.blocks[-1].names.known[carry.name] = block.names.known[carry.name]
                carries = tuple(replace(c, next=block.nexts.get(c.name, c.next)) for c in carries)
                item = replace(item, carries=carries, body=body)
                if isinstance(item, Loop):  # which may read what the body defines
                    with suppress(Lost):
                        given = tuple(map(block.names, item.given))
                        item = replace(item, given=given, where=block.names(item.where))
                self._add(item)

    def _at(self, block: _Block, name: str) -> Span:
        return block.names.known[name].place

    def _add(self, item: Statement) -> None:
        """Adds a statement to the block that is open."""
        self.blocks[-1].body.append(item)

    # Lines of blocks

    def _inner(self, block: _Block, node: object, first: Token) -> None:
        names = block.names
        match node, block.item:
            case Axis() | Reversed(), Kernel() as kernel if not (kernel.coords or block.body):
                axis = node.axis if isinstance(node, Reversed) else node
                assert isinstance(axis, Axis)
                size = names(axis.size)
                if axis.tile and axis.tile not in self.tiles:
                    self.report.error(f"'{axis.tile}' is no size of tiles", place_of(axis.tile))
                tile = str(axis.tile)
                axis = Axis(names.add(axis.name, as_variable, "axis"), size, axis.kind, tile)
                last = (axis.name,) if isinstance(node, Reversed) else ()
                block.item = replace(
                    kernel, axes=(*kernel.axes, axis), reversed=(*kernel.reversed, *last)
                )
            case Coord(), Kernel() as kernel if not block.body:
                self._coordinate(block, kernel, node)
            case Given(condition=condition), Loop() as loop if not (loop.carries or block.body):
                block.item = replace(loop, given=(*loop.given, condition))
            case Carry(), Loop() | If() as loop if not block.body:
                start, axes = self.blocks[-2].names(node.start), names.axes(node.axes)
                name = self._defined(names, node.name, as_tile, "tile")
                item = Carry(name, axes, node.kind, start, start)
                block.item = replace(loop, carries=(*loop.carries, item))
            case Next(name=name, value=value), Loop(carries=carries) | If(carries=carries):
                if name not in {c.name for c in carries} - block.nexts.keys():
                    raise self._misplaced(f"the block carries no '{name}' without a next", name)
                block.nexts[str(name)] = names(value)
            case _, _ if block.nexts:
                raise self._misplaced("`next` ends a block", first)
            case (
                (Let() | Load() | Map() | Dot() | Fold() | TileScan() | TileTopK() | Find())
                | Store(),
                _,
            ):
                self._add(self._resolved(node, names))
            case _:
                raise self._misplaced("this does not belong here", first)

    def _coordinate(self, block: _Block, kernel: Kernel, node: Coord) -> None:
        """Adds a coordinate; tiles in its value are defined further down."""
        names = block.names
        size = names(node.size)
        later = names.inner()
        for name, place in _mentioned(node.value):
            if name not in names.known:
                later.known[name] = Named(as_tile, "tile", place)
                self.awaited.setdefault(name, place)
        value = later(node.value)
        name = names.add(node.name, as_variable, "coordinate")
        block.item = replace(kernel, coords=(*kernel.coords, Coord(name, value, size)))

    def _resolved(self, item: Statement, names: Names) -> Statement:
        """A statement with its names resolved, and what it defines added to them."""
        match item:
            case Let():
                value = names(item.value)
                return Let(self._defined(names, item.name, as_value, "value"), value, item.kind)
            case Store():
                tensor = names.tensor(item.tensor, presence=False)
                return mapped(replace(item, tensor=tensor), names)
            case Loop() | If():
                raise TypeError("blocks are opened")
            case _:
                pass
        found = mapped(item, names)
        assert not isinstance(found, Let | Store | Loop | If)
        axes = names.axes(item.axes)
        match found:
            case Load():
                found = replace(found, tensor=names.tensor(found.tensor))
            case Find():
                found = replace(found, tensor=names.tensor(found.tensor, presence=False))
            case Map():
                pass
            case Dot():
                left, right = (names.of(side, "tile") for side in (found.left, found.right))
                found = replace(found, left=left, right=right, over=names.axes(found.over))
            case Fold():
                found = replace(found, over=names.axes(found.over))
            case TileScan():
                found = replace(found, over=names.of(found.over, "axis"))
            case TileTopK():
                over, into = names.axes((found.over, found.into))
                found = replace(found, over=over, into=into)
        target = self._defined(names, item.target, as_tile, "tile")
        return replace(found, target=target, axes=axes)

    def _defined(
        self, names: Names, name: str, make: Callable[[str, Span], Expr], what: str
    ) -> str:
        """A new name of a kernel's body."""
        if what == "tile":
            self.awaited.pop(name, None)
        return names.add(name, make, what)


def _range(part: Range, names: Names) -> Range:
    """A range whose names are resolved."""
    of = part.of
    if of is not None:
        of = Listed(names.tensor(of.tensor, presence=False), tuple(map(names, of.index)))
    return Range(names(part.low), names(part.high), part.full, names(part.step), of)


def _mentioned(expr: Expr) -> Iterator[tuple[str, Span]]:
    for node in subexpressions(expr):
        if isinstance(node, Name):
            yield node.name, node.span
