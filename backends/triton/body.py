"""The statements of a kernel as lines of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from attnc.backends.elements import RANGES, constant
from attnc.backends.numpy.layout import INDENT
from attnc.backends.refused import NotPrinted
from attnc.backends.triton.addresses import Addresses
from attnc.backends.triton.boxes import Boxes
from attnc.backends.triton.presumed import Presumed
from attnc.backends.triton.products import Products
from attnc.backends.triton.reductions import Reductions
from attnc.backends.triton.rounds import Rounds
from attnc.backends.triton.searches import Searches
from attnc.backends.triton.terms import HELD, Held, Term, permuted, spread
from attnc.backends.triton.updates import Updates, updates
from attnc.ir import printer
from attnc.ir.expr import Apply, Bool, Expr, Int, Name, Value
from attnc.ir.tiles import (
    Carry,
    Dot,
    Find,
    Fold,
    If,
    Let,
    Load,
    Loop,
    Map,
    Range,
    Scan,
    Statement,
    Store,
    TopK,
)
from attnc.ir.tiles_walk import ahead, expressions, in_full, in_turn, names
from attnc.ir.tiles_walk import statements as walk
from attnc.ir.types import Kind
from attnc.ir.walk import children, subexpressions

WIDENED: Final = {
    "f16": Held.F32,
    "bf16": Held.F32,
    "f8e4m3": Held.F32,
    "f8e5m2": Held.F32,
    "i8": Held.I32,
    "u8": Held.I32,
}
"""What elements are held in that reading widens."""


@dataclass
class Body(Presumed):
    """Prints statements."""

    lines: list[str] = field(default_factory=list[str])
    depth: int = 1
    loops: frozenset[str] = frozenset()
    """The axes of the loops around."""
    _ready: dict[str, Term] = field(default_factory=dict[str, Term])
    """What is added to a product, where it has been computed already."""
    _same: dict[Expr, str] = field(default_factory=dict[Expr, str])
    """Conditions on coordinates of the block, and the tiles that have them."""
    _named: set[str] = field(default_factory=set[str])
    """Names whose axes have been noted."""

    def __post_init__(self) -> None:
        Presumed.__post_init__(self)
        self.addresses: Addresses = Addresses(self.scope)
        self.boxes: Boxes = Boxes(self.scope, self.addresses)
        self.products: Products = Products(self.scope)
        self.reductions: Reductions = Reductions(self.scope)
        self._narrowed = _narrowed(self.scope.kernel.body)
        loads = [s for s in walk(self.scope.kernel.body) if isinstance(s, Load)]
        self._reloaded = {s.tensor.removesuffix("?") for s in loads} & self.scope.context.stored

    def line(self, text: str, note: str = "") -> None:
        """Appends a line, with a note where there is room."""
        line = INDENT * self.depth + text
        if note and len(line) + len(note) + 4 <= printer.WIDTH:
            line += f"  # {note}"
        self.lines.append(line)

    def statements(self, body: Sequence[Statement], found: Updates | None = None) -> None:
        """Prints statements in order."""
        self._after(found, -1)
        for place, item in enumerate(body):
            if isinstance(item, Find) and item.target not in self.scope.tiles:
                self._search(item, [s for s in body[place + 1 :] if isinstance(s, Find)])
            self._statement(item)
            self._after(found, place)

    def _after(self, found: Updates | None, place: int) -> None:
        """What is added to products that come later."""
        for item, addend in found.early.get(place, []) if found else []:
            matrix = self.products.matrices[self.products.sums[item.target][0].target]
            axes = (matrix.rows, matrix.columns)
            python = self.scope.names.of("tile", self._aliases[item.target])
            text = self.scope.full(self._value(addend, item.kind), axes, item.kind)
            self.line(f"{python} = {text}")
            self._ready[item.target] = Term(python, axes, HELD[item.kind])

    def _statement(self, item: Statement) -> None:
        match item:
            case Load():
                self._load(item)
            case Map():
                self._map(item)
            case Dot():
                if item.target not in self.products.added:
                    self._define(item.target, self._dot(item), item.kind)
            case Fold() if self._is_some(item):
                self._true.add(item.target)
            case Fold():
                term = self.reductions.fold(item, self._truth, self._value)
                self._define(item.target, term, item.kind)
            case Let():
                self._let(item)
            case Loop():
                self._loop(item)
            case If():
                self._if(item)
            case Store():
                self._store(item)
            case Scan():
                self._define(item.target, self._scan(item), item.kind)
            case Find():
                assert item.target in self.scope.tiles, "it is printed with others"
            case TopK():
                term = self._value(item.value, self.scope.context.kind(item.value))
                term = self.reductions.ranked(item, term, self._truth(item.where))
                self._define(item.target, term, item.kind)

    def _define(self, name: str, term: Term, kind: Kind) -> None:
        """A line that gives a tile its name; what is carried is updated where it is."""
        scope = self.scope
        if term.text.isidentifier() and not term.literal and name not in self._aliases:
            scope.tiles[name] = term
            return
        if name in self._aliases:
            carried = scope.tiles[self._aliases[name]]
            term = Term(scope.full(term, carried.axes, kind), carried.axes, carried.held)
            python = carried.text
        else:
            python = scope.names.of("tile", name)
        note = f"[{', '.join(term.axes)}]" if term.axes and python not in self._named else ""
        self._named.add(python)
        self.line(f"{python} = {self.expression.as_tensor(term)}", note)
        scope.tiles[name] = Term(python, term.axes, term.held)

    def _search(self, first: Find, others: Sequence[Find]) -> None:
        """Searches in one rank of a tensor: those that can be made are made together.

        Each round of halves waits for memory; so they wait at once.
        """
        scope = self.scope
        together = [first]
        for item in others:
            same = (item.tensor, item.index, item.rank, item.where) == (
                *(first.tensor, first.index, first.rank, first.where),
            )
            if same and self._is_there(item.value):
                together.append(item)
        text = Searches(scope, self.addresses)
        for line in text.lines(together, self._value, self._mask(first.where)):
            self.line(line)

    def _is_there(self, expr: Expr) -> bool:
        """Whether all that an expression is made of has been printed."""
        scope = self.scope
        own = {n.name for n in subexpressions(expr) if isinstance(n, Value)}
        values = own - scope.context.facts.values.keys()
        return names(expr) <= scope.tiles.keys() and values <= scope.locals.keys()

    # Memory

    def _load(self, item: Load) -> None:
        scope = self.scope
        axes = self.addresses.natural(item.index, scope.dimensions(item.axes))
        with scope.ordered(axes):
            pointer = self.addresses.of(item.tensor, item.index, axes)
            mask = self._mask(item.where)
        varying = tuple(a for a in axes if a in pointer.axes or a in mask.axes)
        text = spread(pointer, varying).text
        if pointer.axes != varying:
            text = f"tl.broadcast_to({text}, {scope.shape(varying)})"
        parts = [text]
        if not mask.true:
            parts.append(f"mask={spread(mask, varying).text}")
            if item.fill is not None:
                parts.append(f"other={constant(item.fill, item.kind)}")
        term = self._loaded(item, Term(f"tl.load({', '.join(parts)})", varying, Held.TYPE))
        box = self.boxes.load(item, self._masked(item.where), axes) if self.loops else None
        if box is None:
            self._define(item.target, term, item.kind)
            return
        name, tile = box
        for line, way in ((f"if {name} is not None:", self._loaded(item, tile)), ("else:", term)):
            self.line(line)
            self.depth += 1
            self._define(item.target, way, item.kind)
            self.depth -= 1

    def _loaded(self, item: Load, term: Term) -> Term:
        """A tile as it is held: what only products take stays in the type it was loaded in."""
        plan = self.scope.plan
        declared = {i.name: i.element for i in plan.inputs}
        if item.tensor.removesuffix("?") in {b.name for b in plan.buffers}:
            return replace(term, held=HELD[item.kind])
        element = declared[item.tensor]
        if element is None:
            return term if item.target in self.products.operands else self._to(term, Held.FLOAT)
        if element in WIDENED:
            return self._to(term, WIDENED[element])
        return replace(term, held=HELD[item.kind])

    def _to(self, term: Term, held: Held) -> Term:
        return replace(term, text=f"{term.text}.to({held.value})", held=held)

    def _store(self, item: Store) -> None:
        scope = self.scope
        if item.combine is not None:
            raise NotPrinted(f"a store that combines by {item.combine}", item.value)
        kind = scope.context.facts.types[item.tensor].kind
        varying = scope.context.varies(*item.index, item.value, item.where, item.guard)
        axes = self.addresses.natural(item.index, scope.dimensions(scope.context.sorted(varying)))
        with scope.ordered(axes):
            pointer = self.addresses.of(item.tensor, item.index, axes)
            where = self._truth(item.where)
            guard = self._mask(item.guard)
            value = self._value(item.value, kind)
            buffer = next((b for b in scope.plan.buffers if b.name == item.tensor), None)
            if buffer is not None:
                self._put(pointer, value, guard, axes)
                if buffer.presence == "byte":
                    here = self.addresses.of(f"{item.tensor}?", item.index, axes)
                    self._put(here, where, guard, axes)
                self._meet(item.tensor)
                return
            output = next(o for o in scope.plan.outputs if o.name == item.tensor)
            if value.held is Held.I64 and output.element in RANGES:
                where = self._in_range(where, value, RANGES[output.element])
            if not where.true:
                fill = Term(constant(item.empty, kind), (), value.held, literal=True)
                value = self.expression.call("tl.where", value.held, where, value, fill)
            self._put(pointer, value, guard, axes)

    def _in_range(self, where: Term, value: Term, limits: tuple[int, int]) -> Term:
        low, high = (Term(str(x), (), Held.I64, literal=True) for x in limits)
        for op, limit in ((">=", low), ("<=", high)):
            inside = self.expression.infix(op, printer.COMPARE, value, limit, Held.BOOL)
            if where.true:
                where = inside
            else:
                where = self.expression.infix("&", printer.BIT_AND, where, inside, Held.BOOL)
        return where

    def _put(self, pointer: Term, value: Term, guard: Term, axes: tuple[str, ...]) -> None:
        varying = tuple(a for a in axes if a in {*pointer.axes, *value.axes, *guard.axes})
        parts = [spread(pointer, varying).text]
        parts.append(self.expression.as_tensor(spread(value, varying)))
        if not guard.true:
            parts.append(f"mask={spread(guard, varying).text}")
        self.line(f"tl.store({', '.join(parts)})")

    def _meet(self, tensor: str) -> None:
        """Lets all threads of a program see what was stored, where it loads that again."""
        if tensor in self._reloaded:
            self.line("tl.debug_barrier()")

    # Values

    def _map(self, item: Map) -> None:
        if item.target in self.products.sums:
            dot, addend = self.products.sums[item.target]
            matrix = self.products.matrices[dot.target]
            axes = (matrix.rows, matrix.columns)
            onto = self._ready.pop(item.target, None)
            if onto is None:
                text = self.scope.full(self._value(addend, item.kind), axes, item.kind)
                onto = Term(text, axes, HELD[item.kind])
            self._define(item.target, self._dot(dot, onto), item.kind)
            return
        value = self._folded(item.value)
        if item.target in self._narrowed:
            term = self.expression(Apply("float", (value,)))
            self._define(item.target, term, Kind.FLOAT)
            return
        if isinstance(value, Apply) and value.function == "rounded":
            (operand,) = value.arguments
            if isinstance(operand, Name) and item.target not in self.products.operands:
                self.scope.tiles[item.target] = self.scope.tiles[operand.name]
                return
            term = self.expression(value)
            if item.target in self.products.only:
                self.scope.tiles[item.target] = term
            else:
                self._define(item.target, term, item.kind)
            return
        if self.around and value == Bool(True) and item.target not in self._aliases:
            self._true.add(item.target)
            return
        if item.kind is Kind.BOOL:
            value = self.needless.condition(item.target, value)
            known = self._same.get(value)
            if known is not None:
                self.scope.tiles[item.target] = self.scope.tiles[known]
                return
            if not names(value):
                self._same[value] = item.target
        self._define(item.target, self._value(value, item.kind), item.kind)

    def _dot(self, item: Dot, onto: Term | None = None) -> Term:
        scope, held = self.scope, HELD[item.kind]
        matrix = self.products.matrices.get(item.target)
        if matrix is not None:
            sides = (
                self._operand(matrix.left, (matrix.rows, matrix.over)),
                self._operand(matrix.right, (matrix.over, matrix.columns)),
            )
            if any(s.held is not Held.TYPE for s in sides):
                left, right = (self.expression.held(s, held) for s in sides)
                sides = left, right
            parts = [*(s.text for s in sides), *([onto.text] if onto else [])]
            precision = f'input_precision="{scope.precision}", out_dtype={held.value}'
            text = f"tl.dot({', '.join(parts)}, {precision})"
            return Term(text, (matrix.rows, matrix.columns), held)
        left_tile, right_tile = (
            self.expression.held(scope.tile(n), held) for n in (item.left, item.right)
        )
        term = self.expression.infix("*", printer.PRODUCT, left_tile, right_tile, held)
        return self.reductions.reduced(
            self.reductions.filtered(term, self._truth(item.where), "sum", item.kind),
            "sum",
            item.over,
            item.kind,
        )

    def _scan(self, item: Scan) -> Term:
        term = self.reductions.filtered(
            self._value(item.value, item.kind), self._truth(item.where), item.op, item.kind
        )
        return self.reductions.running(term, item.op, item.over, item.kind, reverse=item.reverse)

    def _operand(self, name: str, axes: tuple[str, ...]) -> Term:
        """An operand of a product of matrices."""
        term = self.scope.tile(name)
        if set(term.axes) != set(axes):
            text = f"tl.broadcast_to({spread(term, axes).text}, {self.scope.shape(axes)})"
            term = Term(text, axes, term.held)
        return permuted(term, axes)

    def _let(self, item: Let) -> None:
        scope, kind = self.scope, item.kind
        scope.values[item.name] = scope.types()(item.value)
        within = self.expression.interval(item.value)
        if kind is Kind.I64 and within is not None:
            scope.bounds[item.name] = within
        term = scope.hoisted(item.value, kind) if kind.floating else None
        if term is None:
            term = self._value(item.value, kind)
            if not term.text.isidentifier():
                python = scope.names.of("value", item.name)
                self.line(f"{python} = {term.text}")
                term = Term(python, (), term.held)
        scope.locals[item.name] = term

    # Blocks

    def _starts(self, carries: tuple[Carry, ...]) -> None:
        for carry in carries:
            axes = self.scope.dimensions(carry.axes)
            text = self.scope.full(self._value(carry.start, carry.kind), axes, carry.kind)
            python = self.scope.names.of("tile", carry.name)
            self.line(f"{python} = {text}", f"[{', '.join(axes)}]" if axes else "")
            self._named.add(python)
            self.scope.tiles[carry.name] = Term(python, axes, HELD[carry.kind])

    def _inside(self, item: Loop | If) -> None:
        """The body of a block, and what it carries brought along.

        Of a loop that leaves out rounds, the statements that tell so come before a test.
        """
        before, same, true = self._aliases, self._same, self._true
        self._same, self._true = dict(same), set(true)
        sums = {t: addend for t, (_, addend) in self.products.sums.items()}
        found = updates(item.body, item.carries, sums)
        tested = isinstance(item, Loop) and item.where != Bool(True)
        first = 0
        if isinstance(item, Loop) and tested:
            first = ahead(item)
            self.statements(item.body[:first])
            here = self.scope.names.of("round", f"{item.axis}_here")
            self.line(f"{here} = {self._truth(item.where).text}")
            self.line(f"if {here}:")
            self.depth += 1
        self._aliases = {**before, **found.aliases}
        self.statements(item.body[first:], found.since(first))
        self._nexts([c for c in item.carries if c.name not in found.aliases.values()])
        self._aliases, self._same, self._true = before, same, true
        self.depth -= tested

    def _nexts(self, carries: Sequence[Carry]) -> None:
        """What a block carries, for the next round; all at once where one reads another."""
        texts: list[tuple[str, str]] = []
        stale: set[str] = set()
        together = False
        for carry in carries:
            together = together or bool(names(carry.next) & stale)
            stale.add(carry.name)
            tile = self.scope.tiles[carry.name]
            value = self._value(carry.next, carry.kind)
            texts.append((tile.text, self.scope.full(value, tile.axes, carry.kind)))
        if together:
            left, right = (", ".join(side) for side in zip(*texts, strict=True))
            texts = [(left, right)]
        for target, text in texts:
            self.line(f"{target} = {text}")

    def _loop(self, item: Loop) -> None:
        self._starts(item.carries)
        for parts in in_turn(item, self.scope.axis(item.axis).kind):
            self._rounds(item, parts)

    def _rounds(self, item: Loop, parts: tuple[Range, ...]) -> None:
        """The rounds through the ranges of one class."""
        scope, axis = self.scope, item.axis
        rounds = Rounds(scope, self.addresses, item, parts)
        for line in (*rounds.before, rounds.line):
            self.line(line)
        self.depth += 1
        outside, self.loops = self.loops, self.loops | {axis}
        if any(p.step != Int(1) for p in parts):
            self.boxes.spaced.add(axis)
        for line in (*rounds.inside, *scope.coordinates(self.loops, axis)):
            self.line(line)
        known = scope.ends.pop(axis, None)
        if rounds.end is not None:
            scope.ends[axis] = rounds.end
        scope.whole_ends[axis] = all(p.full or p.high == scope.axis(axis).size for p in parts)
        start = len(self.lines)
        with self._within(item, parts):
            self._inside(in_full(item) if parts[0].full else item)
        if parts[0].full:
            self.lines[start:] = _read_loads(self.lines[start:])
        self.depth -= 1
        self.loops = outside
        self.boxes.spaced.discard(axis)
        scope.ends.pop(axis, None)
        if known is not None:
            scope.ends[axis] = known

    def _if(self, item: If) -> None:
        self._starts(item.carries)
        self.line(f"if {self._truth(item.condition).text}:")
        self.depth += 1
        self._inside(item)
        self.depth -= 1


def _read_loads(lines: list[str]) -> list[str]:
    """The lines of a full range without loads of what nothing asks for there."""
    for place in range(len(lines) - 1, -1, -1):
        name, _, value = lines[place].strip().partition(" = ")
        if name.isidentifier() and value.startswith("tl.load("):
            read = re.compile(rf"\b{name}\b")
            boxed = (
                place > 2 and lines[place - 1].strip() == "else:" and ".load(" in lines[place - 2]
            )
            first = place - 3 if boxed else place
            if not any(read.search(other) for other in lines[:first] + lines[place + 1 :]):
                return _read_loads(lines[:first] + lines[place + 1 :])
    return lines


def _narrowed(body: tuple[Statement, ...]) -> frozenset[str]:
    """Waves of angles of 64 bits that are read in the kernel's floating type alone."""
    found = {s.target for s in walk(body) if isinstance(s, Map) and _is_wave(s)}
    for item in walk(body):
        for expr in expressions(item):
            plain = [expr]
            while plain:
                node = plain.pop()
                match node:
                    case Apply(function="float", arguments=(Name(),)):
                        pass
                    case Name(name=name):
                        found.discard(name)
                    case _:
                        plain += children(node)
    return frozenset(found)


def _is_wave(item: Map) -> bool:
    wave = isinstance(item.value, Apply) and item.value.function in ("sin", "cos")
    return wave and item.kind is Kind.F64
