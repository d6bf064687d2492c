"""The statements of a kernel as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from attnc.backends.numpy.layout import INDENT
from attnc.backends.triton.terms import HELD, Held, Term
from attnc.backends.triton.updates import updates
from attnc.backends.tvm.lanes import is_scalar
from attnc.backends.tvm.loops import room_type
from attnc.backends.tvm.nests import Nest, as_fold, nests
from attnc.backends.tvm.products import Products
from attnc.backends.tvm.rounds import Rounds
from attnc.backends.tvm.terms import DTYPES, KEPT
from attnc.ir.comparisons import TURNED
from attnc.ir.expr import Bool, Expr, Name
from attnc.ir.printer import AND
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
from attnc.ir.tiles_facts import loaded_types, tensor_sizes
from attnc.ir.tiles_walk import ahead, expressions, in_full, in_turn, names, reads
from attnc.ir.types import Kind


@dataclass
class Body(Products):
    """Prints statements."""

    _handed: set[str] | None = None
    """What the block that is printed reads at its end, if all of it is printed at once."""
    _alone: bool = True
    """Whether what is printed is in no loop."""

    def statements(self, body: Sequence[Statement]) -> None:
        """Prints statements in order, those with the same loops together."""
        sums = self.scope.products.sums
        done = {d.target for d, _ in sums.values()}
        kept: list[Statement] = []
        for item in body:
            if isinstance(item, Dot) and item.target in done:
                continue
            if isinstance(item, Map) and self._is_known(item):
                continue
            if isinstance(item, Fold) and self._is_some(item):
                self._true.add(item.target)
                continue
            kept.append(item)
        for part in self._split(self._without_unread(kept, sums.values())):
            for found in self._with_extremes(nests(part, self.scope)):
                if isinstance(found, Nest):
                    self._nest(found)
                    made = [i.target for i in found.items]
                elif isinstance(found, tuple):
                    self._product_with(*found)
                    made = [found[0].target, *(i.target for i in found[1].items)]
                else:
                    self._statement(found)
                    made = [found.target] if isinstance(found, Dot | Scan | TopK) else []
                for name in made:
                    self._pack(name)

    def _without_unread(
        self, body: Sequence[Statement], sums: Iterable[tuple[Dot, Expr]]
    ) -> list[Statement]:
        """The statements of a block but loads that none reads, as conditions that did are known."""
        if self._handed is None:
            return list(body)
        read = self._handed.union(*map(reads, body), *(reads(dot) for dot, _ in sums))
        return [s for s in body if not (isinstance(s, Load) and s.target not in read)]

    def _split(self, body: Sequence[Statement]) -> Iterator[list[Statement]]:
        """Statements up to each sum onto a product, and that alone."""
        part: list[Statement] = []
        for item in body:
            if isinstance(item, Map) and item.target in self.scope.products.sums:
                yield part
                part = []
                self._sum(item)
                self._pack(item.target)
            elif isinstance(item, Load) and item.target in self.pairs.loaded:
                yield part
                part = []
                self._load_pairs(item)
            elif isinstance(item, Load) and self._is_placed(item):
                yield part
                part = []
                self._place(item)
                self._pack(item.target)
            elif isinstance(item, Dot) and not self.matrices.has(item):
                part.append(as_fold(item))
            else:
                part.append(item)
        yield part

    def _statement(self, item: Statement) -> None:
        match item:
            case Dot():
                self._product(item, item.target, "None")
            case Let():
                self._let(item)
            case Loop():
                self._loop(item)
            case If():
                self._if(item)
            case Store():
                self._store(item)
            case Scan():
                self._scan(item)
            case TopK():
                self._topk(item)
            case Find():
                self._find(item)
            case Load() | Map() | Fold():
                raise TypeError("a statement of lanes stands in a nest")

    def _is_known(self, item: Map) -> bool:
        """Whether a map is a condition that holds in all lanes of the full range around."""
        if not self.around or item.target in self._aliases or item.kind is not Kind.BOOL:
            return False
        if self._folded(item.value) == Bool(True):
            self._true.add(item.target)
            return True
        return False

    # Along an axis, in order

    def _scan(self, item: Scan) -> None:
        """What combines the lanes up to each one, or from each one on."""
        scope, over = self.scope, item.over
        room = self._room(item.target)
        if not scope.is_tile(over):
            self._nest_of(Map(item.target, item.axes, item.kind, item.value))
            return
        rest = tuple(a for a in scope.layouts[item.target] if a != over)
        run = scope.names.of("run", f"{room}_run")
        sizes = ", ".join([scope.size_of(a) for a in rest] or ["1"])
        self.buffers[run] = f"{run} = T.alloc_buffer(({sizes},), {room_type(item.kind)})"
        element = f"{run}[{', '.join(map(scope.lane, rest)) or '0'}]"
        start = len(self.lines)
        vector = not any(is_scalar(e, self._is_laned) for e in expressions(item))
        with self.level():
            self._loops(rest, vector=vector)
            self._assign(element, item.kind, self._identity(item.op, item.kind))
        with self.level():
            lane = scope.lane(over)
            if item.reverse:
                turn = scope.names.of("turn", f"{over}_turn")
                self.opens(f"for {turn} in range({scope.size_of(over)}):")
                self.line(f"{lane}: T.let = {scope.size_of(over)} - 1 - {turn}")
            else:
                self.opens(f"for {lane} in range({scope.size_of(over)}):")
            self._loops(rest, vector=vector)
            value = self._taken_in(item)
            self._assign(element, item.kind, self._combined(item.op, item.kind, element, value))
            self.line(f"{scope.element(item.target)} = {element}")
        self._plain_with_places(start)

    def _topk(self, item: TopK) -> None:
        """Coordinates, the largest value first: for each place, the best behind the one before."""
        scope, over, into = self.scope, item.over, item.into
        rest = tuple(a for a in scope.layouts[item.target] if a != into)
        kind = scope.context.kind(item.value)
        self._room(item.target)
        base = scope.buffer(item.target)
        names_ = {k: scope.names.of(k, f"{base}_{k}") for k in ("last", "at", "best", "found")}
        dtypes = {"last": DTYPES[HELD[kind]], "at": "INDEX", "best": DTYPES[HELD[kind]]}
        dtypes["found"] = "INDEX"
        for key, python in names_.items():
            self.buffers[python] = f"{python} = T.alloc_buffer((1,), {dtypes[key]})"
        last, at, best, found = (f"{names_[k]}[0]" for k in ("last", "at", "best", "found"))
        with self.level():
            self._loops(rest, vector=False)
            self.line(f"{last} = T.Cast({dtypes['last']}, 0)")
            self.line(f"{at} = T.Cast(INDEX, -1)")
            self._loops((into,), vector=False)
            self.line(f"{best} = T.Cast({dtypes['best']}, 0)")
            self.line(f"{found} = T.Cast(INDEX, -1)")
            with self.level():
                self._loops((over,), vector=False)
                self._better(item, kind, f"{base}_", last, at, best, found)
            self.line(f'{scope.element(item.target)} = T.Cast("int64", T.max({found}, 0))')
            self.line(f"{last} = {best}")
            self.line(f"{at} = T.Select({found} < 0, T.Cast(INDEX, 2**30), {found})")

    def _better(
        self, item: TopK, kind: Kind, base: str, last: str, at: str, best: str, found: str
    ) -> None:
        """What takes a value for the best so far, if it is behind the last one."""
        scope, over = self.scope, item.over
        value = scope.names.of("value", f"{base}value")
        here = scope.names.of("here", f"{base}here")
        coordinate = scope.names.of("coordinate", f"{base}{over}")
        self.line(f"{coordinate}: T.let = T.Cast(INDEX, {scope.variable(over).text})")
        self.line(f"{value}: T.let = {self._typed(item.value, kind)}")
        after = (
            f"{at} < 0 or _ahead({last}, {value}) or _tied({last}, {value}) and {at} < {coordinate}"
        )
        self.line(f"{here} = T.meta_var({self._truth(item.where).at(AND + 1)} and ({after}))")
        better = f"{here} and ({found} < 0 or _ahead({value}, {best}))"
        self.line(f"if {better}:")
        self.line(f"{INDENT}{best} = {value}")
        self.line(f"{INDENT}{found} = {coordinate}")

    def _find(self, item: Find) -> None:
        """A place in a sorted rank, by halves: an element that does not compare as it is to passes
        all before it."""
        scope, context = self.scope, self.scope.context
        room = self._room(item.target)
        left = scope.names.of("left", f"{room}_left")
        self.buffers[left] = f'{left} = T.alloc_buffer((1,), "int64")'
        half, at, sought = (scope.names.of(k, f"{room}_{k}") for k in ("half", "at", "sought"))
        element = scope.element(item.target)
        with self.level():
            self._loops(scope.layouts[item.target], vector=False)
            self.line(f"{sought}: T.let = {self._typed(item.value, Kind.I64)}")
            size = scope.text(tensor_sizes(scope.plan)[item.tensor][item.rank]).text
            here = self._truth(item.where)
            self.line(f"{element} = T.int64(0)")
            self.line(f"{left}[0] = {size if here.true else f'_where({here.text}, {size}, 0)'}")
            self.opens(f"while {left}[0] > 0:")
            self.line(f"{half}: T.let = T.truncdiv({left}[0] + 1, 2)")
            self.line(f"{at}: T.let = {element} + {half} - 1")
            place = f"{item.target} at"
            scope.numbers[place] = Term(at, (), Held.INT)
            context.kinds[place], context.axes[place] = Kind.I64, item.axes
            index = (*item.index[: item.rank], Name(place), *item.index[item.rank :])
            kind = loaded_types(scope.plan)[item.tensor].kind
            load = Load(f"{item.target} now", item.axes, kind, item.tensor, index, Bool(True))
            passed = f'T.Cast("int64", {self.memory.read(load)}) {TURNED[item.op]} {sought}'
            self.line(f"{element} = {element} + T.Select({passed}, {half}, T.int64(0))")
            self.line(f"{left}[0] = {left}[0] - {half}")
            del scope.numbers[place]

    # Numbers

    def _let(self, item: Let) -> None:
        scope, kind = self.scope, item.kind
        scope.values[item.name] = scope.types()(item.value)
        within = self.expression.interval(item.value)
        if kind is Kind.I64 and within is not None:
            scope.bounds[item.name] = within
        term = scope.hoisted(item.value, kind) if kind.floating else None
        if term is None:
            term = self._value(item.value, kind)
            if not term.text.isidentifier() or term.literal:
                python = scope.names.of("value", item.name)
                place = KEPT.get(term.held, "T.let")
                self.line(f"{python}: {place} = {self.expression.as_tensor(term)}")
                term = Term(python, (), term.held)
        scope.locals[item.name] = term

    # Blocks

    def _starts(self, carries: tuple[Carry, ...]) -> None:
        for carry in carries:
            self._nest_of(Map(carry.name, carry.axes, carry.kind, carry.start))

    def _inside(self, item: Loop | If) -> None:
        """The body of a block, and what it carries brought along."""
        before, true, handed = self._aliases, self._true, self._handed
        self._true, self._handed = set(true), None
        found = updates(item.body, item.carries, {}).aliases
        where = {t: s for s in item.body for t in ([s.target] if isinstance(s, Map) else [])}
        lies = self.scope.layouts
        found = {t: c for t, c in found.items() if t in where and lies[t] == lies[c]}
        tested = isinstance(item, Loop) and item.where != Bool(True)
        first = 0
        with self.level():
            if isinstance(item, Loop) and tested:
                first = ahead(item)
                self.statements(item.body[:first])
                self.opens(f"if {self._truth(item.where).text}:")
            self._aliases = {**before, **found}
            self._handed = None if tested else names(*(c.next for c in item.carries))
            scope = self.scope
            for target, carried in found.items():
                scope.buffers[target] = scope.buffer(carried)
            self.statements(item.body[first:])
            self._handed = handed
            self._nexts([c for c in item.carries if c.name not in found.values()])
        self._aliases, self._true = before, true

    def _nexts(self, carries: Sequence[Carry]) -> None:
        """What a block carries, for the next round; by way of others where one reads another."""
        scope, context = self.scope, self.scope.context
        stale: set[str] = set()
        together = False
        for carry in carries:
            together = together or bool(names(carry.next) & stale)
            stale.add(carry.name)
        if not together:
            for carry in carries:
                self._nest_of(Map(carry.name, carry.axes, carry.kind, carry.next))
            return
        for carry in carries:
            new = f"{carry.name}'"
            context.kinds[new], context.axes[new] = carry.kind, carry.axes
            scope.layouts[new] = scope.layouts[carry.name]
            scope.buffers[new] = scope.names.of("next", f"{scope.buffer(carry.name)}_next")
            self._nest_of(Map(new, carry.axes, carry.kind, carry.next))
        for carry in carries:
            self._nest_of(Map(carry.name, carry.axes, carry.kind, Name(f"{carry.name}'")))

    def _loop(self, item: Loop) -> None:
        self._starts(item.carries)
        classes, alone = in_turn(item, self.scope.axis(item.axis).kind), self._alone
        apart, self._alone = self._alone and len(classes) > 1, False
        for parts in classes:
            self._rounds(item, parts, apart=apart)
        self._alone = alone

    def _rounds(self, item: Loop, parts: tuple[Range, ...], *, apart: bool) -> None:
        """The rounds through the ranges of one class, which may be built apart."""
        scope = self.scope
        clipped = not parts[0].full and self.clips.has(item)
        for line in self.clips.before(item) if clipped else ():
            self.line(line)
        rounds = Rounds(scope, item, parts)
        for line in rounds.before:
            self.line(line)
        with self.level():
            frame = self.apart.frame(rounds.frame) if apart else rounds.frame
            self.opens(f"for {rounds.count} in {frame}:")
            full = parts[0].full
            with self.apart.rows(item, self.lines, full=full) if apart else nullcontext():
                self._round(item, parts, rounds, clipped=clipped)

    def _round(
        self, item: Loop, parts: tuple[Range, ...], rounds: Rounds, *, clipped: bool
    ) -> None:
        """One of the rounds."""
        scope, axis = self.scope, item.axis
        for line in rounds.inside:
            self.line(line)
        known = scope.ends.pop(axis, None)
        stride = scope.strides.pop(axis, None)
        if rounds.end is not None:
            scope.ends[axis] = rounds.end
        if rounds.step is not None:
            scope.strides[axis] = rounds.step
        scope.whole_ends[axis] = all(p.full or p.high == scope.axis(axis).size for p in parts)
        for line in self.clips.inside(item) if clipped else ():
            self.line(line)
        with self._within(item, parts):
            self._inside(in_full(item) if parts[0].full else item)
        scope.clipped.pop(axis, None)
        scope.ends.pop(axis, None)
        scope.strides.pop(axis, None)
        if known is not None:
            scope.ends[axis] = known
        if stride is not None:
            scope.strides[axis] = stride

    def _if(self, item: If) -> None:
        self._starts(item.carries)
        with self.level():
            self.opens(f"if {self._truth(item.condition).text}:")
            self._inside(item)
